"""Does one answer come in the dress of each kind of endpoint, and does it stay the same answer?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3

import isochat
from isochat_workspace import (
    Answer,
    AnswerChoice,
    Endpoint,
    Model,
    Prompt,
    Reasoning,
    TokenUsage,
    ToolCall,
    Workspace,
)
from isochat_workspace.dialects.dressings import DRESSINGS

Send = Callable[..., urllib3.BaseHTTPResponse]
USAGE = TokenUsage(prompt=50, completion=25, reasoning=5, cache_read=20, cache_creation=3)
CALLS = (ToolCall("c1", "get_weather", '{"city": "Paris"}'), ToolCall("c2", "now", "{}"))
SAID = {
    "text": AnswerChoice("It is warm.", "stop"),
    "thought": AnswerChoice("It is warm.", "stop", (), Reasoning("Let me think.")),
    "signed": AnswerChoice("It is warm.", "stop", (), Reasoning("Let me think.", "sig")),
    "calls": AnswerChoice(None, "tool_calls", CALLS),
}
CHAT_DRESSES = ["plain", "claude-like", "gpt-like", "gpt-oss-like", "llama-like"]
AGENTS = {"agent-like chat": "agent/v2/chat", "agent-like responses": "agent/v1/responses"}


class Talker(Model):
    """Says what the question names."""

    served_name = "talker"

    async def answer(self, prompt: Prompt) -> Answer:
        return Answer((SAID[prompt.messages[-1]["content"]],), USAGE)


@pytest.fixture(scope="module")
def dressed() -> Iterator[Workspace]:
    model = Talker()
    endpoints = [
        Endpoint(dress, model, dress=dress, reported_model=f"m-{dress}") for dress in DRESSINGS if dress != "agent-like"
    ]
    agents = [Endpoint(name.replace(" ", "-"), model, dress="agent-like", task=task) for name, task in AGENTS.items()]
    with Workspace([*endpoints, *agents]) as workspace:
        yield workspace


def ask(send: Send, workspace: Workspace, endpoint: str, said: str, **more: Any) -> urllib3.BaseHTTPResponse:
    messages = [{"role": "user", "content": said}]
    body = {"input" if endpoint == "agent-like-responses" else "messages": messages, **more}
    reply = send(workspace, "POST", f"/serving-endpoints/{endpoint}/invocations", body)
    assert reply.status == 200, reply.data
    return reply


def events(reply: urllib3.BaseHTTPResponse) -> list[dict[str, Any]]:
    assert reply.data.endswith(b"data: [DONE]\n\n")
    lines = reply.data.decode().splitlines()
    assert {line[:6] for line in lines} <= {"data: ", ""}
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def choice_of(send: Send, workspace: Workspace, endpoint: str, said: str) -> dict[str, Any]:
    choice: dict[str, Any] = ask(send, workspace, endpoint, said).json()["choices"][0]
    return choice


def test_claude_thinks_in_signed_blocks(dressed: Workspace, send: Send) -> None:
    for said in ("thought", "signed"):
        choice = choice_of(send, dressed, "claude-like", said)
        assert set(choice) == {"index", "message", "finish_reason"}
        reasoning, text = choice["message"]["content"]
        assert text == {"type": "text", "text": "It is warm."}
        [summary] = reasoning["summary"]
        assert set(summary) == {"type", "text", "signature"}
        assert (summary["signature"] == "sig") == (said == "signed")
        deltas = [
            c["delta"] for e in events(ask(send, dressed, "claude-like", said, stream=True)) for c in e["choices"]
        ]
        thoughts = [d["content"][0]["summary"][0] for d in deltas if isinstance(d.get("content"), list)]
        assert [one["signature"] for one in thoughts] == ["", "", "", summary["signature"]]
        assert "".join(one["text"] for one in thoughts) == "Let me think."
        assert thoughts[-1]["text"] == ""


def test_claude_counts_its_cache_on_each_chunk(dressed: Workspace, send: Send) -> None:
    whole = ask(send, dressed, "claude-like", "text").json()
    assert whole["usage"] == {
        "prompt_tokens": 50, "completion_tokens": 25, "total_tokens": 75,
        "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3,
    }  # fmt: skip
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "It is warm."}
    told = events(ask(send, dressed, "claude-like", "text", stream=True))
    assert all("usage" in event for event in told)
    assert told[-1]["usage"] == whole["usage"]


def test_gpt_oss_does_not_sign(dressed: Workspace, send: Send) -> None:
    choice = choice_of(send, dressed, "gpt-oss-like", "signed")
    assert choice["message"]["content"][0]["summary"] == [{"type": "summary_text", "text": "Let me think."}]
    told = events(ask(send, dressed, "gpt-oss-like", "signed", stream=True))
    assert b"signature" not in json.dumps(told).encode()
    assert told[-1]["usage"]["reasoning_tokens"] == 5


def test_gpt_counts_its_reasoning_and_does_not_show_it(dressed: Workspace, send: Send) -> None:
    whole = ask(send, dressed, "gpt-like", "signed").json()
    assert whole["choices"][0] == {
        "index": 0, "message": {"role": "assistant", "content": "It is warm."}, "finish_reason": "stop",
    }  # fmt: skip
    assert whole["usage"] == {
        "prompt_tokens": 50, "completion_tokens": 25, "total_tokens": 75,
        "prompt_tokens_details": {"cached_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 5},
    }  # fmt: skip
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    *said, last = events(ask(send, dressed, "gpt-like", "signed", **asked))
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    assert not any("usage" in event for event in said)
    assert "think" not in json.dumps(said)


def test_llama_has_nulls_and_calls_in_one_piece(dressed: Workspace, send: Send) -> None:
    whole = ask(send, dressed, "llama-like", "text").json()
    assert whole["system_fingerprint"] is None
    assert whole["usage"]["completion_tokens_details"] is whole["usage"]["prompt_tokens_details"] is None
    assert whole["choices"][0]["logprobs"] is None
    # Databricks' own provider for the AI SDK takes no null for the calls of a message.
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "It is warm."}
    assert len(choice_of(send, dressed, "llama-like", "calls")["message"]["tool_calls"]) == 2
    told = events(ask(send, dressed, "llama-like", "calls", stream=True))
    deltas = [event["choices"][0]["delta"] for event in told]
    assert all("usage" in event for event in told)
    assert all(delta["content"] is None for delta in deltas)
    assert [call for delta in deltas for call in delta.get("tool_calls", ())] == [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city": "Paris"}'}},
        {"index": 1, "id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    assert deltas[-1] == {"content": None}


def test_the_model_reported_is_the_one_declared(dressed: Workspace, send: Send) -> None:
    assert ask(send, dressed, "claude-like", "text").json()["model"] == "m-claude-like"
    assert {e["model"] for e in events(ask(send, dressed, "gpt-like", "text", stream=True))} == {"m-gpt-like"}
    reply = send(dressed, "POST", "/serving-endpoints/responses", {"model": "plain", "input": "text"})
    assert reply.json()["model"] == "m-plain"


def test_a_chat_agent(dressed: Workspace, send: Send) -> None:
    whole = ask(send, dressed, "agent-like-chat", "text", custom_inputs={"k": 1}).json()
    [message] = whole["messages"]
    assert set(whole) == {"messages", "custom_outputs"}
    assert whole["custom_outputs"] == {"k": 1}
    assert (message["role"], message["content"], set(message)) == (
        "assistant",
        "It is warm.",
        {"role", "content", "id"},
    )
    told = events(ask(send, dressed, "agent-like-chat", "text", stream=True))
    assert [event["delta"]["content"] for event in told] == ["It", " is", " warm."]
    assert len({(event["id"], event["delta"]["id"]) for event in told}) == 1
    [call] = events(ask(send, dressed, "agent-like-chat", "calls", stream=True))
    assert call["delta"]["content"] == ""
    assert [one["function"]["name"] for one in call["delta"]["tool_calls"]] == ["get_weather", "now"]


def test_a_responses_agent(dressed: Workspace, send: Send) -> None:
    reply = ask(send, dressed, "agent-like-responses", "thought")
    whole = reply.json()
    assert set(whole) == {"object", "id", "output", "databricks_output"}
    assert whole["databricks_output"] == {"databricks_request_id": reply.headers["x-request-id"]}
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message"]
    told = events(ask(send, dressed, "agent-like-responses", "thought", stream=True))
    kinds = [event["type"].removeprefix("response.") for event in told]
    assert kinds == [*["output_text.delta"] * 3, "output_item.done", "output_item.done"]
    assert set(told[0]) == {"type", "item_id", "delta"}
    assert told[-1]["item"]["id"] == told[0]["item_id"]
    calls = events(ask(send, dressed, "agent-like-responses", "calls", stream=True))
    assert [event["item"]["arguments"] for event in calls] == ['{"city": "Paris"}', "{}"]


@pytest.mark.parametrize("said", list(SAID))
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_answer_is_the_same_in_each_dress(dressed: Workspace, said: str, stream: bool) -> None:
    """Read by isochat, which knows the dresses: text, calls and end are those of the answer."""
    for endpoint in [*CHAT_DRESSES, *(name.replace(" ", "-") for name in AGENTS)]:
        api = {"api": "responses"} if endpoint == "agent-like-responses" else {}
        with isochat.Client("rest", endpoint=endpoint, host=dressed.url, token=dressed.token, **api) as client:
            result = client.chat(said, stream=True).result() if stream else client.chat(said)
        message = result.choices[0].message
        assert (message.content, [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls]) == (
            SAID[said].text,
            [(c.id, c.name, c.arguments) for c in SAID[said].tool_calls],
        ), endpoint
        if endpoint in CHAT_DRESSES:
            assert result.choices[0].finish_reason == SAID[said].finish_reason
        shown = SAID[said].reasoning if endpoint not in ("gpt-like", "agent-like-chat") else None
        assert message.reasoning == (None if shown is None else shown.text), endpoint
