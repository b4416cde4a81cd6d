"""Does a Responses stream have OpenAI's events, in their order, and end in exactly the plain answer?"""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import (
    Answer,
    AnswerChoice,
    Endpoint,
    Model,
    Piece,
    Prompt,
    Reasoning,
    Scripted,
    ServiceError,
    TextPiece,
    TokenUsage,
    ToolCall,
    Workspace,
)

Send = Callable[..., urllib3.BaseHTTPResponse]
PATH = "/serving-endpoints/responses"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}


def events(data: bytes) -> list[Any]:
    """The data of each event, once its name and number were checked."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    read = []
    for number, block in enumerate(blocks):
        name, line = block.split("\n")
        event = json.loads(line.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        read.append(event)
    return read


def without_ids(value: Any) -> Any:
    """The value without what is new in every answer."""
    if isinstance(value, dict):
        return {key: without_ids(part) for key, part in value.items() if key not in ("id", "created_at")}
    return [without_ids(part) for part in value] if isinstance(value, list) else value


def fold(stream: list[Any]) -> list[Any]:
    """The output items, put together from deltas alone (OpenAI's streaming reference)."""
    items: list[Any] = []
    for event in stream:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(items)
            items.append(json.loads(json.dumps(event["item"])))
        elif kind == "content_part.added":
            items[event["output_index"]]["content"].append(dict(event["part"]))
        elif kind == "reasoning_summary_part.added":
            items[event["output_index"]]["summary"].append(dict(event["part"]))
        elif kind == "output_text.delta":
            items[event["output_index"]]["content"][event["content_index"]]["text"] += event["delta"]
        elif kind == "reasoning_summary_text.delta":
            items[event["output_index"]]["summary"][event["summary_index"]]["text"] += event["delta"]
        elif kind == "function_call_arguments.delta":
            items[event["output_index"]]["arguments"] += event["delta"]
        elif kind == "output_item.done" and "status" in event["item"]:
            items[event["output_index"]]["status"] = event["item"]["status"]
        if "item_id" in event:
            assert event["item_id"] == items[event["output_index"]]["id"]
    return items


FEATURES: dict[str, dict[str, Any]] = {
    "text": {},
    "items": {"input": [{"role": "user", "content": "a\u2028b\u0085"}], "instructions": "Be brief."},
    "cut": {"max_output_tokens": 3},
    "tool": {"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}},
    "schema": {"text": {"format": {"type": "json_schema", "name": "w", "schema": SCHEMA}}},
    "reasoning": {"reasoning": {"effort": "low", "summary": "auto"}},
    "reasoning, cut": {"reasoning": {"summary": "auto"}, "max_output_tokens": 1},
    "reasoning, tool": {"reasoning": {"summary": "auto"}, "tools": [TOOL], "tool_choice": "required"},
    "echoed": {"metadata": {"a": "b"}, "temperature": 0.5, "top_p": 0.9, "parallel_tool_calls": False},
}


@pytest.mark.parametrize("feature", list(FEATURES))
def test_stream_and_plain_answer_are_the_same(workspace: Workspace, send: Send, feature: str) -> None:
    body = {"model": "scripted", "input": "Hi you", **FEATURES[feature]}
    plain = send(workspace, "POST", PATH, body).json()
    reply = send(workspace, "POST", PATH, {**body, "stream": True})
    stream = events(reply.data)
    assert reply.headers["content-type"] == "text/event-stream"
    assert without_ids(stream[-1]["response"]) == without_ids(plain)
    assert stream[-1]["type"] == f"response.{plain['status']}"
    assert fold(stream) == stream[-1]["response"]["output"]
    done = [event["item"] for event in stream if event["type"] == "response.output_item.done"]
    assert done == stream[-1]["response"]["output"]
    for event in stream[:2]:
        begun = {**plain, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
        assert without_ids(event["response"]) == without_ids(begun)
        assert event["response"]["id"] == stream[-1]["response"]["id"]


def test_the_order_of_events(workspace: Workspace, send: Send) -> None:
    body = {"model": "scripted", "input": "Hi", "stream": True, "max_output_tokens": 14}
    stream = events(send(workspace, "POST", PATH, {**body, "reasoning": {"summary": "auto"}}).data)
    kinds = [event["type"].removeprefix("response.") for event in stream]
    assert [kind for at, kind in enumerate(kinds) if kind != kinds[at - 1]] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    assert kinds.count("output_text.delta") == 4


def test_the_events_of_a_call(workspace: Workspace, send: Send) -> None:
    body = {"model": "scripted", "input": "Hi", "stream": True, "tools": [TOOL], "tool_choice": "required"}
    stream = events(send(workspace, "POST", PATH, body).data)[2:-1]
    assert stream[0]["item"]["arguments"] == ""
    assert stream[0]["item"]["status"] == "in_progress"
    assert {event["type"] for event in stream[1:-2]} == {"response.function_call_arguments.delta"}
    assert stream[-2]["type"] == "response.function_call_arguments.done"
    assert stream[-2]["arguments"] == "".join(event["delta"] for event in stream[1:-2])
    assert stream[-1]["item"]["call_id"] == "call_weather_1"


class Talker(Model):
    """Answers as told, or fails after its first word."""

    served_name = "talker"

    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer

    async def answer(self, prompt: Prompt) -> Answer:
        assert self._answer is not None
        return self._answer

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece]:
        if self._answer is not None:
            async for piece in super().stream(prompt):
                yield piece
        else:
            yield TextPiece("Half")
            raise ServiceError(500, "INTERNAL_ERROR", "it broke")


TWO_CALLS = (ToolCall("c1", "f", '{"a": 1}'), ToolCall("c2", "g", "{}"))
ANSWERS = {
    "nothing": AnswerChoice(None, "stop"),
    "empty": AnswerChoice("", "length"),
    "text and calls": AnswerChoice("Let me see.", "tool_calls", TWO_CALLS),
    "text and calls, cut": AnswerChoice("Let me see.", "length", TWO_CALLS),
    "everything": AnswerChoice("Yes.", "tool_calls", TWO_CALLS, Reasoning("Well, ...", "sig")),
}


@pytest.mark.parametrize("kind", list(ANSWERS))
def test_a_model_that_only_answers_streams_by_itself(send: Send, kind: str) -> None:
    answer = Answer((ANSWERS[kind], AnswerChoice("a second choice", "stop")), TokenUsage(3, 9, 2))
    with Workspace([Endpoint("t", Talker(answer))]) as workspace:
        plain = send(workspace, "POST", PATH, {"model": "t", "input": "Hi"}).json()
        stream = events(send(workspace, "POST", PATH, {"model": "t", "input": "Hi", "stream": True}).data)
    assert without_ids(stream[-1]["response"]) == without_ids(plain)
    assert fold(stream) == stream[-1]["response"]["output"]
    assert plain["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}


def test_a_model_that_fails_half_way_fails_the_response(send: Send) -> None:
    with Workspace([Endpoint("t", Talker(None))]) as workspace:
        reply = send(workspace, "POST", PATH, {"model": "t", "input": "Hi", "stream": True})
    last = events(reply.data)[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "server_error", "message": "it broke"}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (PATH, "scripted"),
        ("/serving-endpoints/v1/responses", "scripted"),
        ("/ai-gateway/mlflow/v1/responses", "system.ai.gpt-5"),
    ],
)
def test_every_responses_path_streams(workspace: Workspace, send: Send, path: str, model: str) -> None:
    reply = send(workspace, "POST", path, {"model": model, "input": "Hi", "stream": True})
    assert events(reply.data)[-1]["type"] == "response.completed"


def test_an_agent_endpoint_streams_as_mlflows_agent_server_does(send: Send) -> None:
    with Workspace([Endpoint("agent", Scripted(), task="agent/v1/responses")]) as workspace:
        reply = send(workspace, "POST", "/serving-endpoints/agent/invocations", {"input": "Hi", "stream": True})
    blocks = reply.data.decode().split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert all(block.startswith("data: {") for block in blocks[:-2])
    assert json.loads(blocks[-3].removeprefix("data: "))["type"] == "response.completed"


def test_the_clients_own_types_accept_every_event(workspace: Workspace, send: Send) -> None:
    from openai.types.responses import ResponseStreamEvent
    from pydantic import TypeAdapter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a field named as a method of pydantic's, in the client's own types
        types: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for feature in FEATURES.values():
        body = {"model": "scripted", "input": "Hi you", **feature, "stream": True}
        for event in events(send(workspace, "POST", PATH, body).data):
            assert types.validate_python(event).type == event["type"]
