"""Does a conversation of several turns hold, on each client and across all of them?

Tools and reasoning in every turn; ``result.to_message()`` goes back as it is. The endpoint replays its replies in turn
in either API's words; what it received is compared to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import isochat
from isochat_workspace import Endpoint, HttpReply, Replay, Workspace

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
CHAT, RESPONSES = "chat-completions", "responses"
API = {name: RESPONSES if name == "openai-responses" else CHAT for name in BACKENDS}

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
FLAT_TOOL = {"type": "function", **TOOL["function"], "strict": False}  # type: ignore[dict-item]

# What the model says: twice a call, then answers.
ARGUMENTS = ('{"city": "P"}', '{"city":"Q"}')
TEXTS = ("Let me look.", None, "Mild in both.", "Yes.", "Quite.")


def signed(turn: int) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": f"T{turn}", "signature": f"S{turn}"}]}


def item(turn: int) -> dict[str, Any]:
    return {"id": f"rs_{turn}", "type": "reasoning", "summary": [], "encrypted_content": f"E{turn}"}


def call(turn: int) -> dict[str, Any]:
    """A chat call; the second one has a field of the provider's own."""
    function = {"name": "weather", "arguments": ARGUMENTS[turn]}
    plain = {"id": f"call_{turn}", "type": "function", "function": function}
    return {**plain, "thoughtSignature": "sig=="} if turn == 1 else plain


def chat_reply(turn: int) -> dict[str, Any]:
    blocks = [signed(turn), *([{"type": "text", "text": TEXTS[turn]}] if TEXTS[turn] is not None else [])]
    message: dict[str, Any] = {"role": "assistant", "content": blocks}
    if turn < 2:
        message["tool_calls"] = [call(turn)]
    return {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if turn < 2 else "stop"}]}


def responses_reply(turn: int) -> dict[str, Any]:
    output = [item(turn)]
    if TEXTS[turn] is not None:
        block = {"type": "output_text", "text": TEXTS[turn], "annotations": []}
        output.append({"id": f"msg_{turn}", "type": "message", "role": "assistant", "content": [block]})
    if turn < 2:
        asked = {"call_id": f"call_{turn}", "name": "weather", "arguments": ARGUMENTS[turn]}
        output.append({"id": f"fc_{turn}", "type": "function_call", **asked})
    return {"object": "response", "status": "completed", "output": output}


def said_on_chat(turn: int, origin: str) -> dict[str, Any]:
    """The model's message of ``turn``, made by the API ``origin``, as a chat endpoint must receive it."""
    calls = {"tool_calls": [call(turn)]} if turn < 2 else {}
    if origin == CHAT:
        return {**chat_reply(turn)["choices"][0]["message"], **calls}
    if turn < 2:
        calls = {"tool_calls": [{name: v for name, v in call(turn).items() if name != "thoughtSignature"}]}
    return {"role": "assistant", "content": TEXTS[turn], **calls}


def said_on_responses(turn: int, origin: str) -> list[dict[str, Any]]:
    """The same as the items that a Responses endpoint must receive."""
    items = [item(turn)] if origin == RESPONSES else []
    if TEXTS[turn] is not None:
        items.append({"role": "assistant", "content": [{"type": "output_text", "text": TEXTS[turn]}]})
    if turn < 2:
        asked = {"call_id": f"call_{turn}", "name": "weather", "arguments": ARGUMENTS[turn]}
        items.append({"type": "function_call", **asked})
    return items


def answered(turn: int, api: str) -> dict[str, Any]:
    """What the caller says after the model's message of ``turn``."""
    if turn >= 2:
        return {"role": "user", "content": "Sure?"}
    if api == CHAT:
        return {"role": "tool", "tool_call_id": f"call_{turn}", "content": "12 C"}
    return {"type": "function_call_output", "call_id": f"call_{turn}", "output": "12 C"}


def expected_body(turn: int, backends: Sequence[str]) -> dict[str, Any]:
    """The body on the wire of ``turn``, after turns on ``backends``."""
    api = API[backends[turn]]
    said: list[Any] = [{"role": "user", "content": "Weather in P and Q?"}]
    for before in range(turn):
        origin = API[backends[before]]
        said += [said_on_chat(before, origin)] if api == CHAT else said_on_responses(before, origin)
        said.append(answered(before, api))
    if api == CHAT:
        return {"messages": said, "tools": [TOOL], "max_tokens": 99}
    return {"input": said, "tools": [FLAT_TOOL], "max_output_tokens": 99}


def expected_warnings(turn: int, backends: Sequence[str]) -> list[str]:
    """Words of the warnings of ``turn``, in turn: what the API that carries it cannot take back."""
    api = API[backends[turn]]
    told = []
    for before in range(turn):
        place = 1 + 2 * before
        if API[backends[before]] != api:
            told.append(f"left out messages[{place}].content[0] (reasoning of")
            if api == RESPONSES and before == 1:
                told.append(f"left out messages[{place}].tool_calls[0].thoughtSignature")
    return told


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace([], token="t-0") as running:
        yield running


def as_http(reply: dict[str, Any]) -> HttpReply:
    return HttpReply(200, {"content-type": "application/json"}, json.dumps(reply).encode())


def converse(workspace: Workspace, backends: Sequence[str]) -> list[isochat.ChatResult]:
    """A turn on each of ``backends``, one history for all."""
    messages: list[Any] = [{"role": "user", "content": "Weather in P and Q?"}]
    results = []
    for turn, backend in enumerate(backends):
        # An endpoint a turn: which API is asked at which turn differs, and each of them must give that turn's reply.
        name = f"turn-{turn}"
        replies = {"chat": as_http(chat_reply(turn)), "responses": as_http(responses_reply(turn))}
        workspace.add(Endpoint(name, Replay(replies)))  # type: ignore[arg-type]
        with isochat.Client(backend, endpoint=name, host=workspace.url, token="t-0", trust_env=False) as client:
            result = client.chat(messages, tools=[TOOL], max_tokens=99)
        results.append(result)
        messages.append(result.to_message())
        messages.append(answered(turn, CHAT))
    return results


def check(workspace: Workspace, backends: Sequence[str]) -> None:
    results = converse(workspace, backends)
    posts = [request for request in workspace.requests if request.method == "POST"]
    assert len(posts) == len(results) == len(backends)
    for turn, (result, post) in enumerate(zip(results, posts, strict=True)):
        body = {name: value for name, value in json.loads(post.body).items() if name != "model"}
        assert body == expected_body(turn, backends), turn
        added = [told for told in result.meta.warnings if told.startswith("added ")]
        assert [told.split(":")[0] for told in added] == (["added strict"] if API[backends[turn]] != CHAT else [])
        warned, words = [told for told in result.meta.warnings if told not in added], expected_warnings(turn, backends)
        assert len(warned) == len(words), (turn, warned)
        assert all(word in told for word, told in zip(words, warned, strict=True)), (turn, warned)
        assert result.message.content == TEXTS[turn]
        assert [call.id for call in result.tool_calls] == ([f"call_{turn}"] if turn < 2 else [])


@pytest.mark.parametrize("backend", BACKENDS)
def test_five_turns_on_one_backend_lose_nothing(backend: str, workspace: Workspace) -> None:
    check(workspace, [backend] * 5)
    # Back on the API that said it, all of it goes back: signatures, encrypted reasoning, a provider's own fields.
    assert expected_warnings(4, [backend] * 5) == []


@pytest.mark.parametrize(
    "backends",
    [[*BACKENDS[start:], *BACKENDS[:start]] for start in range(5)],
    ids=lambda names: " > ".join(names),
)
def test_five_turns_through_all_five_backends(backends: list[str], workspace: Workspace) -> None:
    check(workspace, backends)


AGENT = {
    "messages": [
        {"role": "assistant", "content": "", "id": "m1", "tool_calls": [{**call(0)}]},
        {"role": "tool", "content": "12 C", "id": "m2", "tool_call_id": "call_0"},
        {"role": "assistant", "content": "Mild.", "id": "m3"},
    ]
}
AGENT_ITEMS = [
    {"type": "function_call", "id": "fc_1", "call_id": "call_0", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_0", "output": "12 C"},
]
AGENT_OUTPUT = {
    "object": "response",
    "output": [
        *AGENT_ITEMS,
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Mild.", "annotations": []}],
        },
    ],
}


@pytest.mark.parametrize("reply", [AGENT, AGENT_OUTPUT], ids=["ChatAgent", "ResponsesAgent"])
@pytest.mark.parametrize("second", BACKENDS)
def test_an_agents_answer_goes_on_everywhere(reply: dict[str, Any], second: str, workspace: Workspace) -> None:
    """What it did inside its reply goes back where the API has words for it, and is noted where not."""
    workspace.add(Endpoint("agent", Replay({"chat": as_http(reply)})))
    replies = {"chat": as_http(chat_reply(3)), "responses": as_http(responses_reply(3))}
    workspace.add(Endpoint("model", Replay(replies)))  # type: ignore[arg-type]
    with isochat.Client("rest", endpoint="agent", host=workspace.url, token="t-0", trust_env=False) as client:
        first = client.chat("Weather?")
    messages = [{"role": "user", "content": "Weather?"}, first.to_message(), {"role": "user", "content": "Sure?"}]
    with isochat.Client(second, endpoint="model", host=workspace.url, token="t-0", trust_env=False) as client:
        result = client.chat(messages)
    body = json.loads(workspace.requests[-1].body)
    if API[second] == CHAT:
        assert body["messages"] == [messages[0], {"role": "assistant", "content": "Mild."}, messages[2]]
        noted = 2
    else:
        text = {"role": "assistant", "content": [{"type": "output_text", "text": "Mild."}]}
        items = AGENT_ITEMS if reply is AGENT_OUTPUT else []
        assert body["input"] == [messages[0], *items, text, messages[2]]
        noted = 0 if reply is AGENT_OUTPUT else 2
    assert len(result.meta.warnings) == noted, result.meta.warnings
