"""Does the real model keep to a schema and make valid calls, whatever it would like to say?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import urllib3

from isochat_workspace import Workspace

pytestmark = [pytest.mark.smollm2, pytest.mark.long]

Send = Callable[..., urllib3.BaseHTTPResponse]
QUESTION = [{"role": "user", "content": "What is the weather in Paris in July, and which sights are there?"}]
CHAT = "/serving-endpoints/smollm2/invocations"
RESPONSES = "/serving-endpoints/responses"
Schema = dict[str, Any]


def required(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
CITY = {"$defs": {"City": required(name=TEXT)}}

SCHEMAS: dict[str, Schema] = {
    "texts and numbers": required(city=TEXT, days=WHOLE, degrees=NUMBER, sunny={"type": "boolean"}),
    "optional fields": {"type": "object", "properties": {"city": TEXT, "days": WHOLE}},
    "enums": required(unit={"type": "string", "enum": ["c", "f"]}, mixed={"enum": [None, 1, "x"]}),
    "const": required(kind={"const": {"deep": [1, "\N{SNOWMAN}"]}}),
    "nested": required(a=required(b=required(c={"type": "array", "items": required(d=TEXT)}))),
    "lists": required(sights={"type": "array", "items": TEXT, "minItems": 2}, days={"type": "array", "items": WHOLE}),
    "long list": required(days={"type": "array", "items": WHOLE, "minItems": 12, "maxItems": 1000}),
    "tuple": required(pair={"type": "array", "prefixItems": [TEXT, WHOLE], "minItems": 2, "items": False}),
    "null": required(a={"type": ["string", "null"]}, b={"anyOf": [WHOLE, {"type": "null"}]}),
    "one of": required(a={"oneOf": [required(k={"const": "x"}, v=WHOLE), required(k={"const": "y"}, w=TEXT)]}),
    "all of": {"allOf": [required(a=TEXT), required(b=WHOLE)]},
    "definitions": {**CITY, **required(city={"$ref": "#/$defs/City"}, same={"allOf": [{"$ref": "#/$defs/City"}]})},
    "numbers far out": required(a={"type": "integer", "minimum": 5_000_000}, b={"type": "number", "maximum": -3e7}),
    "narrow numbers": required(a={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001}),
    "below zero": required(a={"type": "number", "exclusiveMaximum": 0}, b={"type": "integer", "maximum": -7}),
    "steps": required(a={"type": "integer", "multipleOf": 7}),
    "lengths": required(a={"type": "string", "minLength": 100}, b={"type": "string", "maxLength": 2}),
    "pattern": required(a={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}),
    "formats": required(a={"type": "string", "format": "date"}, b={"type": "string", "format": "ipv4"}),
    "map": {"type": "object", "additionalProperties": WHOLE},
    "map within": required(by_city={"type": "object", "additionalProperties": {"type": "array", "items": NUMBER}}),
    "open object": {"type": "object"},
    "open value": required(anything=True, more={}),
    "closed": {**required(a=TEXT), "additionalProperties": False},
    "required and not described": {"type": "object", "properties": {"a": TEXT}, "required": ["a", "b"]},
    "no type": {"properties": {"a": {"minimum": 3}, "b": {"minLength": 2}}, "required": ["a", "b"]},
    "annotations": {"$schema": "http://json-schema.org/draft-07/schema#", "title": "T", **required(a=TEXT), "x-y": 1},
    "odd names": required(**{'na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve "q"\n': WHOLE, "a b": WHOLE}),
    "alternatives beside properties": {
        "type": "object",
        "properties": {"a": WHOLE, "b": WHOLE},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "a definition and more": {**CITY, "$ref": "#/$defs/City", "properties": {"size": WHOLE}, "required": ["size"]},
    "parts that agree": {"allOf": [required(a={"minimum": 3}), required(a={"type": "integer", "maximum": 5})]},
    "many fields": {"type": "object", "properties": {f"f{n}": {"type": "boolean"} for n in range(40)}},
    "three to five of many": {
        "type": "object",
        "properties": {f"f{n}": WHOLE for n in range(40)},
        "required": ["f39"],
        "minProperties": 3,
        "maxProperties": 5,
    },
    "a list": {"type": "array", "items": required(n=WHOLE), "minItems": 1},
    "a text": TEXT,
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_gives_an_instance_of_it(smollm2: Workspace, send: Send, name: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMAS[name]}}
    answer = send(smollm2, "POST", CHAT, {"messages": QUESTION, "response_format": form}).json()
    [choice] = answer["choices"]
    assert choice["finish_reason"] == "stop"
    validate(choice["message"]["content"], SCHEMAS[name])


def validate(written: str, schema: Schema) -> None:
    """By somebody else's validator, formats included."""
    jsonschema.validate(json.loads(written), schema, format_checker=jsonschema.FormatChecker())


def test_json_object_gives_an_object_that_says_something(smollm2: Workspace, send: Send) -> None:
    body = {"messages": QUESTION, "response_format": {"type": "json_object"}}
    choice = send(smollm2, "POST", CHAT, body).json()["choices"][0]
    value = json.loads(choice["message"]["content"])
    assert isinstance(value, dict)
    assert value
    assert choice["finish_reason"] == "stop"


def test_chat_and_responses_write_the_same(smollm2: Workspace, send: Send) -> None:
    schema = SCHEMAS["texts and numbers"]
    chat = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    flat = {"type": "json_schema", "name": "answer", "schema": schema}
    one = send(smollm2, "POST", CHAT, {"messages": QUESTION, "response_format": chat}).json()
    body = {"model": "smollm2", "input": QUESTION[0]["content"], "text": {"format": flat}}
    other = send(smollm2, "POST", RESPONSES, body).json()
    assert one["choices"][0]["message"]["content"] == other["output"][0]["content"][0]["text"]
    assert other["status"] == "completed"


IMPOSSIBLE: dict[str, tuple[Schema, str]] = {
    "nothing satisfies it": (required(a={"type": "integer", "minimum": 5, "maximum": 1}), "nothing satisfies it"),
    "an unknown type": ({"type": "text"}, "makes no grammar of it"),
    "not": (required(a={"not": TEXT}), r"at \$.properties.a: the keyword 'not'"),
    "unique items": (required(a={"type": "array", "items": TEXT, "uniqueItems": True}), "'uniqueItems'"),
    "look-ahead": (required(a={"type": "string", "pattern": "^(?=a)b$"}), "makes no grammar of it"),
    "overlapping alternatives": (required(a={"oneOf": [WHOLE, NUMBER]}), "makes no grammar of it"),
    "a reference to nothing": ({"$ref": "#/$defs/Nobody"}, "nothing is at '#/\\$defs/Nobody'"),
    "a name by number": ({"type": "object", "required": [{}]}, "'required' has to be a list of names"),
    "too few names": ({**required(a=TEXT, b=TEXT), "maxProperties": 1}, "makes no grammar of it"),
    "a circle": ({"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}, "lead in a circle"),
    "parts that contradict": ({"allOf": [{"type": "string"}, {"type": "null"}]}, "two things are said of 'type'"),
    "a type by number": (required(a={"type": 5}), "'type' has to be the name"),
    "a text too long": (required(a={"const": "x" * 9999}), "more than this model can write"),
    "too much": (required(a={"enum": [f"value {n}" for n in range(30_000)]}), "longer than 300000"),
    "no schema": (required(a=5), r"at \$.properties.a: it is no schema: 5"),
    "properties as a list": ({"type": "object", "properties": ["a"]}, "'properties' has to be an object"),
    "a bound of letters": (required(a={"type": "string", "maxLength": "x"}), "'maxLength' has to be a number"),
    "a book": (required(a={"type": "string", "minLength": 10**9}), "more than this model can write"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_schema_that_cannot_be_kept_is_a_400(smollm2: Workspace, send: Send, name: str, stream: bool) -> None:
    schema, reason = IMPOSSIBLE[name]
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    refused = send(smollm2, "POST", CHAT, {"messages": QUESTION, "response_format": form, "stream": stream})
    assert (refused.status, refused.json()["error_code"]) == (400, "BAD_REQUEST")
    assert re.search(reason, refused.json()["message"]), refused.json()["message"]


def test_a_schema_nested_without_end_is_a_400(smollm2: Workspace, send: Send) -> None:
    schema: Schema = TEXT
    for _ in range(300):
        schema = required(a=schema)
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    refused = send(smollm2, "POST", CHAT, {"messages": QUESTION, "response_format": form})
    assert refused.status == 400
    assert "levels deep" in refused.json()["message"]


PARAMETERS: dict[str, Schema] = {
    "weather": required(city=TEXT, unit={"type": "string", "enum": ["c", "f"]}),
    "find-sights": {"type": "object", "properties": {"city": TEXT, "most": {"type": "integer", "maximum": 10}}},
    "now": {"type": "object", "properties": {}},
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}}
    for name, parameters in PARAMETERS.items()
]
FLAT = [
    {"type": "function", "name": name, "parameters": schema, "strict": False} for name, schema in PARAMETERS.items()
]


def named(name: str) -> Schema:
    return {"type": "function", "function": {"name": name}}


def allowed(*names: str) -> Schema:
    tools = [named(name) for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}}


@pytest.mark.parametrize(
    ("demand", "names", "most"),
    [
        ({"tool_choice": "required"}, set(PARAMETERS), 1),
        ({"tool_choice": "required", "parallel_tool_calls": False}, set(PARAMETERS), 1),
        ({"tool_choice": "required", "parallel_tool_calls": True}, set(PARAMETERS), 4),
        ({"tool_choice": named("now")}, {"now"}, 1),
        ({"tool_choice": named("find-sights"), "stop": ["e", '"'], "logprobs": True}, {"find-sights"}, 1),
        ({"tool_choice": allowed("weather", "now")}, {"weather", "now"}, 1),
        ({"tool_choice": "required", "n": 2, "temperature": 1.5, "seed": 4}, set(PARAMETERS), 1),
    ],
    ids=["required", "one", "parallel", "named", "stop", "allowed", "n"],
)
def test_a_forced_call_is_valid_plain_and_streamed(
    smollm2: Workspace, send: Send, demand: dict[str, Any], names: set[str], most: int
) -> None:
    body = {"messages": QUESTION, "tools": TOOLS, "max_tokens": 200, **demand}
    plain = send(smollm2, "POST", CHAT, body).json()
    streamed = send(smollm2, "POST", CHAT, {**body, "stream": True}).data
    ids = []
    for choice in plain["choices"]:
        calls = choice["message"]["tool_calls"]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        assert 1 <= len(calls) <= most
        for call in calls:
            ids.append(call["id"])
            assert call["type"] == "function"
            assert call["function"]["name"] in names
            validate(call["function"]["arguments"], PARAMETERS[call["function"]["name"]])
        assert from_deltas(streamed, choice["index"]) == calls
    assert len(set(ids)) == len(ids)


def from_deltas(events: bytes, index: int) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for line in events.decode().split("\n\n"):
        data = line.removeprefix("data: ")
        for choice in json.loads(data)["choices"] if data.startswith("{") else ():
            for delta in choice["delta"].get("tool_calls", ()) if choice["index"] == index else ():
                if "id" in delta:
                    assert delta["index"] == len(calls)
                    calls.append({key: delta[key] for key in ("id", "type")} | {"function": dict(delta["function"])})
                else:
                    calls[delta["index"]]["function"]["arguments"] += delta["function"]["arguments"]
    return calls


@pytest.mark.parametrize("parallel", [False, True])
def test_a_forced_call_over_responses_is_a_function_call_item(smollm2: Workspace, send: Send, parallel: bool) -> None:
    chat = {"messages": QUESTION, "tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": parallel}
    calls = send(smollm2, "POST", CHAT, {**chat, "max_tokens": 200}).json()["choices"][0]["message"]["tool_calls"]
    body = {"model": "smollm2", "input": QUESTION[0]["content"], "tools": FLAT, "tool_choice": "required",
            "parallel_tool_calls": parallel, "max_output_tokens": 200}  # fmt: skip
    items = send(smollm2, "POST", RESPONSES, body).json()["output"]
    assert [item["type"] for item in items] == ["function_call"] * len(calls)
    assert [(item["call_id"], item["name"], item["arguments"]) for item in items] == [
        (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls
    ]
    streamed = send(smollm2, "POST", RESPONSES, {**body, "stream": True}).data.decode()
    events = [json.loads(block.partition("data: ")[2]) for block in streamed.strip().split("\n\n")]
    for place, item in enumerate(items):
        mine = [event for event in events if event.get("output_index") == place]
        deltas = [event["delta"] for event in mine if event["type"] == "response.function_call_arguments.delta"]
        assert "".join(deltas) == item["arguments"]
        assert mine[-1]["item"]["arguments"] == item["arguments"]


def test_a_call_that_is_cut_off_says_so(smollm2: Workspace, send: Send) -> None:
    body = {"messages": QUESTION, "tools": TOOLS, "tool_choice": named("weather"), "max_tokens": 4}
    choice = send(smollm2, "POST", CHAT, body).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])


def test_a_tool_that_may_be_called_is_not(smollm2: Workspace, send: Send) -> None:
    for choice in ("auto", "none", None):
        answer = send(
            smollm2, "POST", CHAT, {"messages": QUESTION, "tools": TOOLS, "tool_choice": choice, "max_tokens": 4}
        )
        assert answer.json()["choices"][0]["message"].keys() == {"role", "content"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"anyOf": [required(a=WHOLE), required(b=TEXT)]},
        {**CITY, "$ref": "#/$defs/City"},
        {"type": "object", "additionalProperties": WHOLE},
        {"required": ["a"]},
        {},
    ],
    ids=["alternatives", "reference", "map", "no properties", "nothing"],
)
def test_parameters_of_any_shape_give_an_object(smollm2: Workspace, send: Send, parameters: Schema) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    body = {"messages": QUESTION, "tools": tools, "tool_choice": "required"}
    [call] = send(smollm2, "POST", CHAT, body).json()["choices"][0]["message"]["tool_calls"]
    validate(call["function"]["arguments"], {"type": "object", **parameters})


def test_misshapen_history_is_never_the_engines_fault(smollm2: Workspace, send: Send) -> None:
    for calls in ([{"function": None}], "x", 5, [7]):
        messages = [*QUESTION, {"role": "assistant", "content": None, "tool_calls": calls}]
        assert send(smollm2, "POST", CHAT, {"messages": messages, "max_tokens": 1}).status == 400


def test_a_name_no_function_can_have_is_a_400(smollm2: Workspace, send: Send) -> None:
    for name in ("two words", "", "line\nbreak"):
        tools = [{"type": "function", "function": {"name": name, "parameters": {}}}]
        refused = send(smollm2, "POST", CHAT, {"messages": QUESTION, "tools": tools, "tool_choice": "required"})
        assert (refused.status, refused.json()["error_code"]) == (400, "BAD_REQUEST")
