"""Does an answer come as an object of the type that was asked for, through every client?"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
import typing_extensions

import isochat
from isochat.output_types import output_type
from isochat_workspace import Endpoint, HttpReply, Replay, StreamReply, Workspace

Make = Callable[..., isochat.Client]
EVENTS = {"content-type": "text/event-stream"}


class Mood(enum.Enum):
    GLAD = "glad"
    SAD = "sad"


@dataclasses.dataclass
class Address:
    city: str
    zip: str | None = None


@dataclasses.dataclass
class Person:
    """Somebody."""

    name: str
    age: int
    mood: Mood
    address: Address
    home: Address | None
    tags: list[str] = dataclasses.field(default_factory=list)
    title: str = ""


class Town(TypedDict):
    name: str
    size: NotRequired[int]


class District(typing_extensions.TypedDict):
    name: str
    size: typing_extensions.NotRequired[int]


class Point(msgspec.Struct):
    x: float
    y: float | None = None
    kind: Literal["a", "b"] = "a"


class Inner(pydantic.BaseModel):
    n: int = pydantic.Field(description="How many")


class Order(pydantic.BaseModel):
    id: int
    lines: list[Inner]
    note: str | None = None

    @pydantic.field_validator("id")
    @classmethod
    def positive(cls, value: int) -> int:
        if value < 0:
            raise ValueError("below zero")
        return value


@pydantic.dataclasses.dataclass
class Checked:
    n: int


T = TypeVar("T")


class Box(pydantic.BaseModel, Generic[T]):
    value: T


@dataclasses.dataclass
class Node:
    value: int
    next: Node | None


class Open(msgspec.Struct):
    counts: dict[str, int]
    anything: Any


TYPES: list[tuple[Any, str, Any]] = [
    (
        Person,
        '{"name":"Ann","age":3,"mood":"glad","address":{"city":"Bern","zip":null},"home":null,"tags":[],"title":"Dr"}',
        Person("Ann", 3, Mood.GLAD, Address("Bern"), None, [], "Dr"),
    ),
    (Town, '{"name":"Bern","size":3}', {"name": "Bern", "size": 3}),
    (District, '{"name":"Bern","size":3}', {"name": "Bern", "size": 3}),
    (Point, '{"x":1.5,"y":null,"kind":"b"}', Point(1.5, None, "b")),
    (Order, '{"id":1,"lines":[{"n":2}],"note":null}', Order(id=1, lines=[Inner(n=2)])),
    (Checked, '{"n":1}', Checked(1)),
    (Box[int], '{"value":1}', Box[int](value=1)),
    (Node, '{"value":1,"next":{"value":2,"next":null}}', Node(1, Node(2, None))),
    (Open, '{"counts":{"a":1},"anything":[]}', Open({"a": 1}, [])),
]
NAMES = [
    "dataclass",
    "TypedDict",
    "TypedDict of typing_extensions",
    "Struct",
    "pydantic",
    "pydantic dataclass",
    "generic",
    "recursive",
    "open",
]


def endpoint(workspace: Workspace, text: str, finish: str = "stop", **message: Any) -> str:
    """An endpoint that answers with `text` on both APIs."""
    chat = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text, **message}}]}
    chat["choices"][0]["finish_reason"] = finish
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    status = {"status": "completed"}
    if finish == "length":
        status = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    replies = {"chat": [_json(chat)], "responses": [_json({"object": "response", "output": [item], **status})]}
    workspace.add(Endpoint("typed", Replay(replies)))
    return "typed"


def _json(value: Any) -> HttpReply:
    return HttpReply(200, {"content-type": "application/json"}, json.dumps(value).encode())


@pytest.mark.parametrize(("kind", "text", "value"), TYPES, ids=NAMES)
def test_an_answer_of_a_type(
    backend: str, workspace: Workspace, make_client: Make, kind: Any, text: str, value: Any
) -> None:
    client = make_client(backend, workspace, endpoint=endpoint(workspace, text))

    result = client.chat("Who?", response_format=kind)

    assert (type(result.parsed), result.parsed) == (type(value), value)
    assert result.parsed is result.parsed
    sent = workspace.requests[0].json()
    asked = output_type(kind).response_format
    flat = {"type": "json_schema", **asked["json_schema"]}
    assert (sent["text"]["format"] if backend == "openai-responses" else sent["response_format"]) == (
        flat if backend == "openai-responses" else asked
    )


def test_a_stream_and_a_loop_give_it_too(backend: str, workspace: Workspace, make_client: Make) -> None:
    client = make_client(backend, workspace, endpoint="databricks-gpt-5")

    streamed = client.chat("Who?", response_format=Order, stream=True).result()
    awaited = asyncio.run(client.achat("Who?", response_format=Order))

    assert isinstance(streamed.parsed, Order)
    assert streamed.parsed == awaited.parsed


def test_what_has_come_of_a_stream_and_the_whole_are_read_apart(workspace: Workspace, make_client: Make) -> None:
    halfway = threading.Event()

    def pieces() -> Iterator[bytes]:
        for text in ('{"name": "Be', 'rn", "size": 3}'):
            yield b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
            halfway.wait(30)
        yield b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'

    workspace.add(Endpoint("halves", Replay({"chat": [StreamReply(200, EVENTS, pieces)]})))
    stream = make_client("rest", workspace, endpoint="halves").chat("?", response_format=Town, stream=True)
    next(stream)

    with pytest.raises(isochat.OutputParseError):
        print(stream.partial.parsed)
    halfway.set()
    assert stream.result().parsed == {"name": "Bern", "size": 3}


CLOSED = {"additionalProperties": False}
ADDRESS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "zip": {"type": ["string", "null"]}},
    "required": ["city", "zip"],
    **CLOSED,
}


def test_the_schema_has_no_references_and_is_strict() -> None:
    told = output_type(Person).response_format["json_schema"]

    assert (told["name"], told["strict"]) == ("Person", True)
    assert told["schema"] == {
        "description": "Somebody.",
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "mood": {"type": "string", "enum": ["glad", "sad"]},
            "address": ADDRESS,
            "home": {**ADDRESS, "type": ["object", "null"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "title": {"type": "string"},
        },
        "required": ["name", "age", "mood", "address", "home", "tags", "title"],
        **CLOSED,
    }


def test_a_type_that_contains_itself_keeps_its_references() -> None:
    schema = output_type(Node).response_format["json_schema"]["schema"]

    assert schema["type"] == "object"
    assert schema["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["additionalProperties"] is False


def test_an_open_object_is_not_strict() -> None:
    told = output_type(Open).response_format["json_schema"]

    assert told["strict"] is False
    assert told["schema"]["properties"] == {
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "anything": {},
    }


def test_a_generic_type_has_a_name_that_endpoints_take() -> None:
    assert output_type(Box[int]).response_format["json_schema"]["name"] == "Box_int_"


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        (Person, '{"name": 1}', r"the answer is no Person: Expected `str`, got `int` - at `\$\.name`"),
        (Person, "Hello.", r"the answer is no Person: JSON is malformed"),
        (Person, "", r"the answer is no Person: Input data was truncated"),
        (Order, '{"id": -1, "lines": [{"n": "x"}]}', r"id: Value error, below zero; lines\.0\.n: Input should be"),
        (Order, "[" * 5000, r"the answer is no Order: it: "),
        (Point, "[" * 100_000, r"the answer is no Point: "),
    ],
)
def test_an_answer_that_is_none_says_where(
    workspace: Workspace, make_client: Make, kind: Any, text: str, why: str
) -> None:
    result = make_client("rest", workspace, endpoint=endpoint(workspace, text)).chat("?", response_format=kind)

    with pytest.raises(isochat.OutputParseError, match=why) as caught:
        print(result.parsed)
    assert "\n" not in str(caught.value)
    assert result.text == text


@pytest.mark.parametrize(
    ("finish", "message", "remedy"),
    [
        ("length", {}, "raise max_tokens"),
        ("stop", {"refusal": "No."}, "The model refused"),
        ("content_filter", {}, "A content filter"),
        ("tool_calls", {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}, "calls tools"),
    ],
)
def test_the_remedy_is_that_of_the_end(
    workspace: Workspace, make_client: Make, finish: str, message: Any, remedy: str
) -> None:
    where = endpoint(workspace, '{"name": "An', finish, **message)
    result = make_client("rest", workspace, endpoint=where).chat("?", response_format=Town)

    with pytest.raises(isochat.OutputParseError, match=remedy):
        print(result.parsed)


@pytest.mark.parametrize("kind", [int, dict, list[int], object, Mood, type("Plain", (), {})])
def test_other_types_are_refused_before_anything_is_sent(workspace: Workspace, make_client: Make, kind: Any) -> None:
    with pytest.raises(isochat.InvalidInputError, match="expected a pydantic model, a dataclass, a TypedDict or a msg"):
        make_client("rest", workspace).chat("?", response_format=kind)

    assert workspace.requests == []


def test_a_field_that_json_cannot_carry_is_refused(workspace: Workspace, make_client: Make) -> None:
    @dataclasses.dataclass
    class Odd:
        value: complex

    with pytest.raises(isochat.InvalidInputError, match="Odd has no JSON schema"):
        make_client("rest", workspace).chat("?", response_format=Odd)


@pytest.mark.parametrize("asked", [None, isochat.UNSET, {"type": "json_object"}])
def test_without_a_type_nothing_is_parsed(workspace: Workspace, make_client: Make, asked: Any) -> None:
    where = endpoint(workspace, '{"n": 1}')

    assert make_client("rest", workspace, endpoint=where).chat("?", response_format=asked).parsed is None


def test_a_pickled_result_finds_its_type_again(workspace: Workspace, make_client: Make) -> None:
    where = endpoint(workspace, '{"x": 1, "y": null, "kind": "a"}')
    result = make_client("rest", workspace, endpoint=where).chat("?", response_format=Point)

    assert pickle.loads(pickle.dumps(result)).parsed == Point(1.0)


def test_a_pickled_result_of_a_local_type_says_so(workspace: Workspace, make_client: Make) -> None:
    @dataclasses.dataclass
    class Local:
        n: int

    result = make_client("rest", workspace, endpoint=endpoint(workspace, '{"n": 1}')).chat("?", response_format=Local)
    again = pickle.loads(pickle.dumps(result))

    assert (result.parsed, again) == (Local(1), result)
    with pytest.raises(isochat.OutputParseError, match="there is no such type"):
        print(again.parsed)


def test_threads_get_one_object(workspace: Workspace, make_client: Make) -> None:
    where = endpoint(workspace, '{"n": 1}')
    result = make_client("rest", workspace, endpoint=where).chat("?", response_format=Checked)
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.append(result.parsed)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {id(one) for one in seen} == {id(result.parsed)}
