"""Does a chat stream, put together as OpenAI documents it, give exactly the plain answer?

The fold below knows nothing of the workspace: it is written after OpenAI's reference of the streaming chat
completion object (deltas are appended by choice index, tool calls by their own index) and Databricks' content
blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import (
    Answer,
    AnswerChoice,
    Endpoint,
    Model,
    Prompt,
    Reasoning,
    Scripted,
    TextPiece,
    TokenUsage,
    ToolCall,
    Workspace,
)
from isochat_workspace.models.pieces import cut_into_pieces

Send = Callable[..., urllib3.BaseHTTPResponse]
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi you"}]}
LLAMA, GPT, CLAUDE = (
    "databricks-meta-llama-3-3-70b-instruct",
    "databricks-gpt-5",
    "databricks-claude-sonnet-4-5",
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
USAGE = {"stream_options": {"include_usage": True}}


def events(data: bytes) -> list[Any]:
    """The data of each event; the last is checked to be `[DONE]` and left out."""
    lines = data.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def fold(chunks: list[Any]) -> dict[str, Any]:
    """The completion that a stream of chunks stands for: id, model, choices, usage."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        usage = chunk.get("usage") or usage
        for part in chunk["choices"]:
            choice = choices.setdefault(part["index"], {"index": part["index"], "message": {}, "finish_reason": None})
            assert choice["finish_reason"] is None, "a choice went on after its end"
            choice["finish_reason"] = part["finish_reason"]
            if "logprobs" in part:
                choice["logprobs"] = part["logprobs"]
            append(choice["message"], part["delta"])
    [head] = {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks}
    return {
        "id": head[0],
        "object": "chat.completion",
        "created": head[2],
        "model": head[1],
        "choices": [choices[index] for index in sorted(choices)],
        "usage": usage,
    }


def append(message: dict[str, Any], delta: dict[str, Any]) -> None:
    if "role" in delta:
        assert "role" not in message
        message["role"] = delta["role"]
        message["content"] = None
    content = delta.get("content")
    if isinstance(content, list):
        message["content"] = message["content"] or []
        for block in content:
            append_reasoning(message["content"], block)
    elif isinstance(content, str) and isinstance(message["content"], list):
        if message["content"][-1]["type"] != "text":
            message["content"].append({"type": "text", "text": ""})
        message["content"][-1]["text"] += content
    elif isinstance(content, str):
        message["content"] = (message["content"] or "") + content
    for call in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        if call["index"] == len(calls):
            calls.append({"id": call["id"], "type": call["type"], "function": {"name": "", "arguments": ""}})
        function = calls[call["index"]]["function"]
        function["name"] += call["function"].get("name", "")
        function["arguments"] += call["function"]["arguments"]


def append_reasoning(content: list[dict[str, Any]], block: dict[str, Any]) -> None:
    assert block["type"] == "reasoning"
    if not content:
        content.append({"type": "reasoning", "summary": [{"type": "summary_text", "text": ""}]})
    [whole], [part] = content[0]["summary"], block["summary"]
    whole["text"] += part["text"]
    if "signature" in part:
        whole["signature"] = part["signature"]


def same_but_for_identity(completion: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in completion.items() if key not in ("id", "created")}


FEATURES: dict[str, dict[str, Any]] = {
    "text": {},
    "history": {"messages": [{"role": "system", "content": "S"}, *ASK["messages"], {"role": "tool", "content": "5"}]},
    "no words at all": {"messages": [], "stop": "You"},
    "blanks of every kind": {"messages": [{"role": "user", "content": "  a\n\n b\t\u2028c\u0085d\r\n\u3000 "}]},
    "text that is no valid UTF-8": {"messages": [{"role": "user", "content": "\ud800 \x00 \N{SNOWMAN}"}]},
    "max_tokens": {"max_tokens": 3},
    "max_completion_tokens": {"max_completion_tokens": 1},
    "stop after a blank": {"stop": ["system"]},
    "stop within a word": {"stop": ["stem"]},
    "n": {"n": 3},
    "n cut": {"n": 2, "max_tokens": 2},
    "tool named": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
    "tool required, n": {"tools": [TOOL], "tool_choice": "required", "n": 2},
    "tool free": {"tools": [TOOL], "tool_choice": "auto"},
    "json_schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA}}},
    "json_object": {"response_format": {"type": "json_object"}, "messages": ASK["messages"]},
    "reasoning": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "reasoning, cut": {"thinking": {"type": "adaptive"}, "max_tokens": 12},
    "reasoning, nothing left": {"thinking": {"type": "adaptive"}, "max_tokens": 3},
    "reasoning, n, tool": {"thinking": {"type": "enabled"}, "n": 2, "tools": [TOOL], "tool_choice": "required"},
}


@pytest.mark.parametrize("feature", list(FEATURES))
def test_the_folded_stream_is_the_plain_answer(workspace: Workspace, send: Send, feature: str) -> None:
    body = {**ASK, **FEATURES[feature]}
    path = "/serving-endpoints/scripted/invocations"
    plain = send(workspace, "POST", path, body).json()
    folded = fold(events(send(workspace, "POST", path, {**body, "stream": True}).data))
    assert same_but_for_identity(folded) == same_but_for_identity(plain)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/serving-endpoints/{GPT}/invocations", {}),
        (f"/serving-endpoints/{GPT}/served-models/gpt-5-2025-08-07/invocations", {}),
        ("/serving-endpoints/chat/completions", {"model": GPT}),
        ("/serving-endpoints/v1/chat/completions", {"model": GPT}),
        ("/ai-gateway/mlflow/v1/chat/completions", {"model": "system.ai.gpt-5"}),
    ],
)
def test_every_chat_path_streams_with_the_headers_of_the_service(
    workspace: Workspace, send: Send, path: str, body: Any
) -> None:
    plain = send(workspace, "POST", path, {**ASK, **body})
    streamed = send(workspace, "POST", path, {**ASK, **body, **USAGE, "stream": True})
    assert same_but_for_identity(fold(events(streamed.data))) == same_but_for_identity(plain.json())
    assert (streamed.status, streamed.headers["content-type"]) == (200, "text/event-stream")
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert streamed.headers["served-model-name"] == "gpt-5-2025-08-07"
    assert {*plain.headers} - {*streamed.headers} == {"Content-Length"}
    assert streamed.headers["x-request-id"] != plain.headers["x-request-id"]


@pytest.mark.parametrize("stream", [False, None])
def test_what_does_not_ask_for_a_stream_gets_none(workspace: Workspace, send: Send, stream: Any) -> None:
    reply = send(workspace, "POST", f"/serving-endpoints/{GPT}/invocations", {**ASK, "stream": stream})
    assert reply.json()["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("endpoint", "style"), [(LLAMA, "every"), (CLAUDE, "every"), ("scripted", "every"), (GPT, "last"), ("shy", "last")]
)
@pytest.mark.parametrize("asked", [True, False, None])
def test_the_usage_comes_where_the_endpoint_puts_it(
    workspace: Workspace, send: Send, endpoint: str, style: str, asked: bool | None
) -> None:
    workspace.add(Endpoint("shy", Scripted(), stream_usage="asked"))
    options = {} if asked is None else {"stream_options": {"include_usage": asked}}
    given = asked if endpoint == "shy" else asked is not False
    body = {**ASK, "stream": True, **options}
    chunks = events(send(workspace, "POST", f"/serving-endpoints/{endpoint}/invocations", body).data)
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks if chunk.get("usage")]
    assert (chunks[-1]["choices"] == []) == (style == "last" and bool(given))
    if style == "every":
        assert len(counts) == len(chunks)
        assert counts == sorted(counts)
        assert counts[0] < counts[-1]
    else:
        assert len(counts) == bool(given)
        assert not any("usage" in chunk for chunk in chunks[:-1])


def test_an_endpoint_may_never_tell_its_usage(send: Send) -> None:
    with Workspace([Endpoint("e", Scripted(), stream_usage="never")]) as workspace:
        streamed = send(workspace, "POST", "/serving-endpoints/e/invocations", {**ASK, **USAGE, "stream": True})
    assert fold(events(streamed.data))["usage"] is None


@pytest.mark.parametrize("stream", [True, False])
def test_an_endpoint_that_does_not_know_stream_options_refuses_them(send: Send, stream: bool) -> None:
    with Workspace([Endpoint("e", Scripted(), unknown_fields=("stream_options",))]) as workspace:
        path = "/serving-endpoints/e/invocations"
        refused = send(workspace, "POST", path, {**ASK, **USAGE, "stream": stream})
        repeated = send(workspace, "POST", path, {**ASK, "stream": True})
    assert (refused.status, refused.json()["error_code"]) == (400, "BAD_REQUEST")
    assert refused.json()["message"] == 'Bad request: json: unknown field "stream_options"\n'
    assert repeated.status == 200


def test_no_default_endpoint_refuses_stream_options(workspace: Workspace) -> None:
    assert {endpoint.unknown_fields for endpoint in workspace.endpoints} == {()}


def test_the_chunks_of_a_text(workspace: Workspace, send: Send) -> None:
    """As recorded from a live Llama endpoint: role with empty text, words, the reason with empty text."""
    body = {**ASK, "stream": True, "max_tokens": 2}
    chunks = events(send(workspace, "POST", f"/serving-endpoints/{LLAMA}/invocations", body).data)
    assert [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks] == [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "You"}, None),
        ({"content": " asked:"}, None),
        ({"content": ""}, "length"),
    ]
    assert chunks[0]["id"].startswith("chatcmpl_")


def test_the_chunks_of_a_tool_call(workspace: Workspace, send: Send) -> None:
    body = {**ASK, "stream": True, "tools": [TOOL], "tool_choice": "required"}
    chunks = events(send(workspace, "POST", "/serving-endpoints/scripted/invocations", body).data)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    opened = {
        "index": 0,
        "id": "call_weather_1",
        "type": "function",
        "function": {"name": "weather", "arguments": ""},
    }
    assert deltas[0] == {"role": "assistant", "content": None, "tool_calls": [opened]}
    assert deltas[1] == {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}
    assert deltas[-1] == {}
    assert len(deltas) > 4


class Talker(Model):
    """Answers as told."""

    served_name = "talker"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def answer(self, prompt: Prompt) -> Answer:
        return self._answer


TWO_CALLS = (ToolCall("c1", "f", '{"a": 1}'), ToolCall("c2", "g", "{}"), ToolCall("c3", "h", ""))
ANSWERS = {
    "nothing": AnswerChoice(None, "stop"),
    "empty": AnswerChoice("", "stop"),
    "text and calls": AnswerChoice("Let me see.", "tool_calls", TWO_CALLS),
    "calls cut": AnswerChoice(None, "length", TWO_CALLS),
    "reasoning without a signature": AnswerChoice("So.", "stop", (), Reasoning("Well, ...")),
    "reasoning alone": AnswerChoice(None, "length", (), Reasoning("Well", "sig")),
    "everything": AnswerChoice("Yes.", "tool_calls", TWO_CALLS, Reasoning("Well, ...", "sig")),
}


@pytest.mark.parametrize("kind", list(ANSWERS))
def test_a_model_that_only_answers_streams_by_itself(send: Send, kind: str) -> None:
    answer = Answer((ANSWERS[kind], AnswerChoice("other", "stop")), TokenUsage(3, 9))
    with Workspace([Endpoint("t", Talker(answer), stream_usage="every")]) as workspace:
        plain = send(workspace, "POST", "/serving-endpoints/t/invocations", ASK).json()
        streamed = send(workspace, "POST", "/serving-endpoints/t/invocations", {**ASK, "stream": True})
    assert same_but_for_identity(fold(events(streamed.data))) == same_but_for_identity(plain)


def test_pieces_are_single_words() -> None:
    answer = Answer((AnswerChoice("one  two\nthree ", "stop"),), TokenUsage(1, 3))
    pieces = list(cut_into_pieces(answer))
    assert [piece.text for piece in pieces if isinstance(piece, TextPiece)] == ["one", "  two", "\nthree", " "]
