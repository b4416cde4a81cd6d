"""Does the scripted model answer from the request alone, and the same over both APIs?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import Workspace
from isochat_workspace.models.schema_instance import instance_of

Send = Callable[..., urllib3.BaseHTTPResponse]
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 3},
        "days": {"type": "integer", "minimum": 2, "maximum": 9},
        "unit": {"enum": ["C", "F"]},
    },
    "required": ["city", "days", "unit"],
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "now?"}]},
]


def chat(workspace: Workspace, send: Send, **body: Any) -> dict[str, Any]:
    reply = send(workspace, "POST", "/serving-endpoints/scripted/invocations", body)
    assert reply.status == 200, reply.data
    answer: dict[str, Any] = reply.json()
    return answer


def respond(workspace: Workspace, send: Send, **body: Any) -> dict[str, Any]:
    reply = send(workspace, "POST", "/serving-endpoints/responses", {"model": "scripted", **body})
    assert reply.status == 200, reply.data
    answer: dict[str, Any] = reply.json()
    return answer


def test_it_says_what_reached_it(workspace: Workspace, send: Send) -> None:
    answer = chat(workspace, send, messages=CONVERSATION)
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": 'You asked: "And now?". The system prompt is: "Be brief.". The conversation has 4'
                ' messages: system, user, assistant, user. It began with: "Hello".',
            },
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    assert answer["usage"] == {"prompt_tokens": 6, "completion_tokens": 23, "total_tokens": 29}
    assert answer["model"] == "scripted"


def test_both_apis_give_one_answer(workspace: Workspace, send: Send) -> None:
    plain = chat(workspace, send, messages=CONVERSATION)
    text = plain["choices"][0]["message"]["content"]
    items = [dict(message) for message in CONVERSATION[1:]]
    items[-1]["content"] = [{"type": "input_text", "text": "And now?"}]
    for body in (
        {"instructions": "Be brief.", "input": items},
        {"input": [{"type": "message", "role": "developer", "content": "Be brief."}, *items]},
    ):
        answer = respond(workspace, send, **body)
        assert answer["status"] == "completed"
        assert [part["text"] for part in answer["output"][0]["content"]] == [text]
        assert answer["usage"]["input_tokens"] == plain["usage"]["prompt_tokens"]
        assert answer["usage"]["output_tokens"] == plain["usage"]["completion_tokens"]


def test_a_tool_conversation_is_one_prompt_in_both_apis(workspace: Workspace, send: Send) -> None:
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "5 degrees"},
    ]  # fmt: skip
    items = [
        messages[0],
        {"type": "function_call", "call_id": "c1", **function},
        {"type": "function_call_output", "call_id": "c1", "output": "5 degrees"},
    ]
    plain = chat(workspace, send, messages=messages)
    answer = respond(workspace, send, input=items)
    assert 'The last tool result is: "5 degrees".' in plain["choices"][0]["message"]["content"]
    assert answer["output"][0]["content"][0]["text"] == plain["choices"][0]["message"]["content"]
    assert answer["usage"]["total_tokens"] == plain["usage"]["total_tokens"]


def test_max_tokens_cuts_after_whole_words(workspace: Workspace, send: Send) -> None:
    choice = chat(workspace, send, messages=CONVERSATION, max_tokens=4)["choices"][0]
    assert choice["message"]["content"] == 'You asked: "And now?".'
    assert choice["finish_reason"] == "length"
    answer = respond(workspace, send, input="Hi", max_output_tokens=2)
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["output"][0]["content"][0]["text"] == "You asked:"
    assert answer["usage"]["output_tokens"] == 2


def test_the_word_that_ends_at_the_limit_is_no_cut(workspace: Workspace, send: Send) -> None:
    choice = chat(workspace, send, messages=CONVERSATION, max_tokens=23)["choices"][0]
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("stop", ["system", ["nowhere", "system", "prompt"]])
def test_a_stop_sequence_cuts_before_itself(workspace: Workspace, send: Send, stop: Any) -> None:
    choice = chat(workspace, send, messages=CONVERSATION, stop=stop)["choices"][0]
    assert choice["message"]["content"] == 'You asked: "And now?". The '
    assert choice["finish_reason"] == "stop"


def test_n_choices_differ(workspace: Workspace, send: Send) -> None:
    choices = chat(workspace, send, messages=CONVERSATION, n=3)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in choices}) == 3


@pytest.mark.parametrize("named", [True, False])
def test_a_forced_tool_is_called_with_arguments_of_its_schema(workspace: Workspace, send: Send, named: bool) -> None:
    function = {"name": "weather", "parameters": WEATHER}
    nested = {"type": "function", "function": {"name": "weather"}} if named else "required"
    flat = {"type": "function", "name": "weather"} if named else "required"
    tool = {"type": "function", "function": function}
    plain = chat(workspace, send, messages=CONVERSATION, tools=[tool], tool_choice=nested)["choices"][0]
    call = plain["message"]["tool_calls"][0]
    answer = respond(workspace, send, input="Hi", tools=[{"type": "function", **function}], tool_choice=flat)
    item = answer["output"][0]
    assert plain["finish_reason"] == "tool_calls"
    assert plain["message"]["content"] is None
    assert json.loads(call["function"]["arguments"]) == {"city": "city", "days": 2, "unit": "C"}
    assert item["type"] == "function_call"
    assert (item["call_id"], item["name"], item["arguments"]) == (
        call["id"],
        "weather",
        call["function"]["arguments"],
    )


def test_a_tool_it_may_call_is_not_called(workspace: Workspace, send: Send) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
    choice = chat(workspace, send, messages=CONVERSATION, tools=[tool], tool_choice="auto")["choices"][0]
    assert choice["finish_reason"] == "stop"


def test_a_schema_is_satisfied_in_both_apis(workspace: Workspace, send: Send) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER}}
    plain = chat(workspace, send, messages=CONVERSATION, response_format=form)
    text = plain["choices"][0]["message"]["content"]
    flat = {"format": {"type": "json_schema", "name": "weather", "schema": WEATHER}}
    answer = respond(workspace, send, input="Hi", text=flat)
    assert json.loads(text) == {"city": "city", "days": 2, "unit": "C"}
    assert answer["output"][0]["content"][0]["text"] == text
    assert answer["text"] == flat


def test_a_json_object_still_says_what_was_asked(workspace: Workspace, send: Send) -> None:
    answer = chat(workspace, send, messages=CONVERSATION, response_format={"type": "json_object"})
    assert "And now?" in json.loads(answer["choices"][0]["message"]["content"])["answer"]


def test_any_text_comes_back(workspace: Workspace, send: Send) -> None:
    text = "\N{SNOWMAN} \ud800 \x00"
    answer = chat(workspace, send, messages=[{"role": "user", "content": text}])
    assert text in answer["choices"][0]["message"]["content"]


NODE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
}


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2}, [0.5, 0.5]),
        ({"type": ["string", "null"], "maxLength": 2}, "va"),
        ({"type": "string", "minLength": 7}, "value.."),
        ({"type": ["null"]}, None),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, True),
        ({"allOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {}}}]}, {"a": 1, "b": "b"}),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer", "exclusiveMaximum": -3}}}, -4),
        ({"type": "integer", "minimum": 3, "maximum": 4}, 3),
        ({}, "value"),
    ],
)
def test_an_instance_of_a_schema(schema: dict[str, Any], instance: Any) -> None:
    assert instance_of(schema) == instance


def test_a_schema_that_contains_itself_ends() -> None:
    tree = instance_of({"$ref": "#/$defs/node", "$defs": {"node": NODE}})
    assert tree["children"][0]["children"][0]["name"] == "name"
    assert '"children": []' in json.dumps(tree)
