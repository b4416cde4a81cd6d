"""Is each refusal of the table made, where it holds and nowhere else?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import Endpoint, Scripted, Workspace
from isochat_workspace.refusals import REFUSALS

Send = Callable[..., urllib3.BaseHTTPResponse]
CLAUDE, GPT, LLAMA, OPEN = (
    "databricks-claude-sonnet-4-5",
    "databricks-gpt-5",
    "databricks-meta-llama-3-3-70b-instruct",
    "scripted",
)
OPUS = "databricks-claude-opus-5"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
TOOL_WITHOUT_PARAMETERS = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}

CHAT = [
    ({"inputs": ["Hi"]}, {CLAUDE, GPT, LLAMA, OPEN}, 'Bad request: json: unknown field "inputs"'),
    (
        {"tools": [TOOL, TOOL_WITHOUT_PARAMETERS]},
        {CLAUDE, GPT, LLAMA, OPEN},
        'Bad request: "parameters" is a required property for "function" object in parameter "tools"',
    ),
    (
        {"tools": [TOOL], "response_format": SCHEMA},
        {CLAUDE},
        "Cannot specify both response_format and tools in the same request.",
    ),
    ({"response_format": {"type": "json_object"}}, {CLAUDE}, "json_object"),
    ({"reasoning_effort": "low"}, {CLAUDE}, "reasoning_effort"),
    ({"thinking": {"type": "disabled"}}, {GPT}, "thinking"),
    (
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "reasoning_details": []}]},
        {CLAUDE},
        '{"message":"messages.1.reasoning_details: Extra inputs are not permitted"}',
    ),
    (
        {"messages": [{"role": "assistant", "content": "a", "thinking_blocks": [1]}]},
        {CLAUDE},
        '{"message":"messages.0.thinking_blocks: Extra inputs are not permitted"}',
    ),
]
RESPONSES = ["background", "store", "conversation", "previous_response_id"]


@pytest.mark.parametrize("endpoint", [CLAUDE, GPT, LLAMA, OPEN])
@pytest.mark.parametrize(("body", "refused_by", "message"), CHAT)
def test_chat_refusals(
    workspace: Workspace, send: Send, endpoint: str, body: Any, refused_by: set[str], message: str
) -> None:
    ask = {"messages": [{"role": "user", "content": "Hi"}], **body}
    reply = send(workspace, "POST", f"/serving-endpoints/{endpoint}/invocations", ask)
    if endpoint in refused_by:
        assert (reply.status, reply.json()["error_code"]) == (400, "BAD_REQUEST")
        assert message in reply.json()["message"]
    else:
        assert reply.status == 200


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_refusals(workspace: Workspace, send: Send, name: str) -> None:
    ask = {"model": GPT, "input": "Hi", name: True}
    reply = send(workspace, "POST", "/serving-endpoints/responses", ask)
    assert reply.status == 400
    assert f"'{name}'" in reply.json()["message"]
    assert send(workspace, "POST", "/serving-endpoints/responses", {**ask, name: None}).status == 200


def test_a_refusal_of_one_model(send: Send) -> None:
    with Workspace([Endpoint(OPUS, Scripted(), family="claude", served_model="eu.opus")]) as workspace:
        ask = {"messages": [], "temperature": 0}
        reply = send(workspace, "POST", f"/serving-endpoints/{OPUS}/invocations", ask)
    assert reply.json() == {
        "error_code": "BAD_REQUEST",
        "message": "BAD_REQUEST: Model eu.opus does not support the temperature parameter.",
    }


@pytest.mark.parametrize(
    "extra",
    [
        {"service_tier": "priority"},
        {"made_up": 1},
        {"max_completion_tokens": 5},
        {"seed": 1, "temperature": 0.5, "top_p": 0.5, "stream_options": {"include_usage": True}},
        {"tools": [TOOL], "parallel_tool_calls": True},
        {"inputs": None},
    ],
)
@pytest.mark.parametrize("endpoint", [CLAUDE, GPT, LLAMA, OPEN])
def test_what_no_source_says_is_refused_passes(workspace: Workspace, send: Send, endpoint: str, extra: Any) -> None:
    ask = {"messages": [{"role": "user", "content": "Hi"}], **extra}
    assert send(workspace, "POST", f"/serving-endpoints/{endpoint}/invocations", ask).status == 200


def test_every_row_has_a_source_and_a_test() -> None:
    assert len(REFUSALS) == len(CHAT) + len(RESPONSES) + 1
    assert all(row.source for row in REFUSALS)
