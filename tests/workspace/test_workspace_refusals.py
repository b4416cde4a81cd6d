"""Is each refusal of the table made, where it holds and nowhere else?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import Endpoint, Scripted, Workspace
from isochat_workspace.serving.refusals import NAMES, REFUSALS

Send = Callable[..., urllib3.BaseHTTPResponse]
CLAUDE, GPT, LLAMA, OPEN = (
    "databricks-claude-sonnet-4-5",
    "databricks-gpt-5",
    "databricks-meta-llama-3-3-70b-instruct",
    "scripted",
)
ALL = {CLAUDE, GPT, LLAMA, OPEN}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
TOOL_WITHOUT_PARAMETERS = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
USER = {"role": "user", "content": "a"}
CALLED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}],
}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x.invalid/i.png"}}


def thinking(budget: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


# By row: a body that it refuses, the endpoints that do, what the message says.
CHAT: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "inputs": ({"inputs": ["Hi"]}, ALL, 'Bad request: json: unknown field "inputs"'),
    "tool-without-parameters": (
        {"tools": [TOOL, TOOL_WITHOUT_PARAMETERS]}, ALL,
        'Bad request: "parameters" is a required property for "function" object in parameter "tools"',
    ),
    "more-than-32-tools": ({"tools": [TOOL] * 33}, ALL, "at most 32 tools"),
    "response_format-name": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, ALL, '"name" is a required',
    ),
    "store": ({"store": False}, ALL, 'unknown field "store"'),
    "range-temperature": ({"temperature": -0.1}, ALL, "'temperature' has to be between 0 and 2, got -0.1"),
    "range-temperature-2": ({"temperature": 2.1}, ALL, "'temperature' has to be between 0 and 2, got 2.1"),
    "range-top_p": ({"top_p": 1.01}, ALL, "'top_p' has to be above 0 and at most 1"),
    "range-top_p-0": ({"top_p": 0}, ALL, "'top_p' has to be above 0 and at most 1, got 0"),
    "range-top_k": ({"top_k": 0}, ALL, "'top_k' has to be a positive integer, got 0"),
    "claude-response_format-with-tools": (
        {"tools": [TOOL], "response_format": SCHEMA}, {CLAUDE},
        "Cannot specify both response_format and tools in the same request.",
    ),
    "claude-json_object": ({"response_format": {"type": "json_object"}}, {CLAUDE}, "json_object"),
    "claude-json_schema-stream": ({"response_format": SCHEMA, "stream": True}, {CLAUDE}, "not supported with stream"),
    "claude-reasoning_effort": ({"reasoning_effort": "low"}, {CLAUDE}, "reasoning_effort"),
    "claude-thinking-budget": (thinking(1023), {CLAUDE, GPT}, "thinking"),
    "claude-thinking-max_tokens": ({**thinking(2048), "max_tokens": 2048}, {CLAUDE, GPT}, "thinking"),
    "claude-empty-text": (
        {"messages": [USER, CALLED]}, {CLAUDE}, '{"message":"messages.1: text content blocks must be non-empty"}',
    ),
    "claude-reasoning_details": (
        {"messages": [USER, {"role": "assistant", "reasoning_details": []}]}, {CLAUDE},
        '{"message":"messages.1.reasoning_details: Extra inputs are not permitted"}',
    ),
    "claude-thinking_blocks": (
        {"messages": [{"role": "assistant", "content": "a", "thinking_blocks": [1]}]}, {CLAUDE},
        '{"message":"messages.0.thinking_blocks: Extra inputs are not permitted"}',
    ),
    "claude-reasoning_content": (
        {"messages": [USER, {"role": "assistant", "content": "a", "reasoning_content": "r"}]}, {CLAUDE},
        "messages.1.reasoning_content: Extra inputs",
    ),
    "gpt-thinking": ({"thinking": {"type": "disabled"}}, {GPT}, "thinking"),
}  # fmt: skip

# Rows of one model: the endpoint, a body that is refused, what the message says, and a body that is let through.
ONE_MODEL: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "gemini-reasoning_effort-none": (
        "gemini", {"reasoning_effort": "none"}, "use 'minimal'", {"reasoning_effort": "minimal"},
    ),
    "claude-opus-5-temperature": (
        "databricks-claude-opus-5", {"temperature": 0},
        "BAD_REQUEST: Model served does not support the temperature parameter.", {"top_p": 0.5},
    ),
    "claude-opus-5-seed": ("databricks-claude-opus-5", {"seed": 1}, "seed", {"seed": None}),
    "claude-opus-5-thinking": (
        "databricks-claude-opus-5", thinking(2048), 'Use "thinking.type.adaptive" and "output_config.effort"',
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
    ),
    "claude-opus-5-parameters": (
        "databricks-claude-opus-5", {"tools": [TOOL]}, "tools.0.custom.input_schema.type: Field required",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    ),
    "claude-sonnet-5-temperature": (
        "databricks-claude-sonnet-5", {"temperature": 1}, "the temperature parameter", {"max_tokens": 9},
    ),
    "claude-sonnet-5-top_p": ("databricks-claude-sonnet-5", {"top_p": 1}, "the top_p parameter", {"stop": "x"}),
    "claude-sonnet-5-top_k": ("databricks-claude-sonnet-5", {"top_k": 1}, "the top_k parameter", {"n": 1}),
    "gpt-5-6-sol-temperature": (
        "databricks-gpt-5-6-sol", {"temperature": 0}, "the temperature parameter", {"seed": 1},
    ),
    "gpt-5-6-sol-tools": (
        "databricks-gpt-5-6-sol", {"tools": [TOOL]}, "set reasoning_effort to 'none'",
        {"tools": [TOOL], "reasoning_effort": "none"},
    ),
    "list-content": (
        "list-content", {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        "expects input with json type 'string' but got 'array'", {},
    ),
    "remote-image": (
        "remote-image", {"messages": [{"role": "user", "content": [IMAGE]}]}, "data URIs",
        {"messages": [{"role": "user", "content": [{**IMAGE, "image_url": {"url": "data:image/png;base64,"}}]}]},
    ),
}  # fmt: skip
RESPONSES = ["background", "store", "conversation", "previous_response_id"]


@pytest.mark.parametrize("endpoint", [CLAUDE, GPT, LLAMA, OPEN])
@pytest.mark.parametrize("row", CHAT)
def test_chat_refusals(workspace: Workspace, send: Send, endpoint: str, row: str) -> None:
    body, refused_by, message = CHAT[row]
    ask = {"messages": [USER], **body}
    reply = send(workspace, "POST", f"/serving-endpoints/{endpoint}/invocations", ask)
    if endpoint in refused_by:
        code = "INVALID_PARAMETER_VALUE" if row.startswith("range-") else "BAD_REQUEST"
        assert (reply.status, reply.json()["error_code"]) == (400, code)
        assert message in reply.json()["message"]
    else:
        assert reply.status == 200


@pytest.mark.parametrize("row", ONE_MODEL)
def test_refusals_of_one_model(send: Send, row: str) -> None:
    name, refused, message, passed = ONE_MODEL[row]
    family = name if name == "gemini" else "gpt" if "gpt" in name else "claude" if "claude" in name else "open"
    refuse = (row,) if name == row else ()
    endpoint = Endpoint(name, Scripted(), family=family, served_model="served", refuse=refuse)
    lenient = Endpoint("other", Scripted(), family="open")
    accepting = Endpoint(name, Scripted(), family=family, accept=(row,))
    path = f"/serving-endpoints/{name}/invocations"
    with Workspace([endpoint, lenient]) as workspace:
        reply = send(workspace, "POST", path, {"messages": [USER], **refused})
        assert (reply.status, reply.json()["error_code"]) == (400, "BAD_REQUEST")
        assert message in reply.json()["message"]
        assert send(workspace, "POST", path, {"messages": [USER], **passed}).status == 200
        assert (
            send(workspace, "POST", "/serving-endpoints/other/invocations", {"messages": [USER], **refused}).status
            == 200
        )
        workspace.add(accepting)
        assert send(workspace, "POST", path, {"messages": [USER], **refused}).status == 200


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_refusals(workspace: Workspace, send: Send, name: str) -> None:
    ask = {"model": GPT, "input": "Hi", name: True}
    for path in ("/serving-endpoints/responses", "/serving-endpoints/open-responses"):
        reply = send(workspace, "POST", path, ask)
        assert reply.status == 400
        assert f"'{name}'" in reply.json()["message"]
        assert send(workspace, "POST", path, {**ask, name: None}).status == 200


def test_a_cap_of_max_tokens_is_worded_as_pasted(send: Send) -> None:
    with Workspace([Endpoint("e", Scripted(), max_output_tokens=8192)]) as workspace:
        path = "/serving-endpoints/e/invocations"
        reply = send(workspace, "POST", path, {"messages": [USER], "max_tokens": 10000})
        assert reply.json() == {
            "error_code": "BAD_REQUEST",
            "message": "Bad request: rpc error: code = InvalidArgument desc = max_tokens (10000) cannot exceed 8192."
            " Please reduce the length of max output tokens generated.",
        }
        assert send(workspace, "POST", path, {"messages": [USER], "max_tokens": 8192}).status == 200


@pytest.mark.parametrize(
    "extra",
    [
        {"service_tier": "priority"},
        {"made_up": 1},
        {"max_completion_tokens": 5},
        {"seed": 1, "temperature": 0.5, "top_p": 0.5, "stream_options": {"include_usage": True}},
        {"temperature": 2, "top_p": 1, "top_k": 1},
        {"tools": [TOOL] * 32, "parallel_tool_calls": True},
        {"inputs": None},
        {"messages": [{**USER, "name": "me"}]},
        {"messages": [USER, {**CALLED, "content": None}]},
        {"messages": [USER, {**CALLED, "content": " "}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}]},
        {"messages": [{"role": "assistant", "content": ""}]},
        {"response_format": SCHEMA},
    ],
)
@pytest.mark.parametrize("endpoint", [CLAUDE, GPT, LLAMA, OPEN])
def test_what_no_source_says_is_refused_passes(workspace: Workspace, send: Send, endpoint: str, extra: Any) -> None:
    ask = {"messages": [USER], **extra}
    assert send(workspace, "POST", f"/serving-endpoints/{endpoint}/invocations", ask).status == 200


def test_thinking_within_its_bounds_passes(workspace: Workspace, send: Send) -> None:
    path = f"/serving-endpoints/{CLAUDE}/invocations"
    for body, words in (
        (thinking(1023), "at least 1024, got 1023"),
        ({**thinking(2048), "max_tokens": 2048}, "less than max_tokens, got 2048"),
    ):
        assert words in send(workspace, "POST", path, {"messages": [USER], **body}).json()["message"]
    for more in ({}, {"max_tokens": 1025}):
        assert send(workspace, "POST", path, {"messages": [USER], **thinking(1024), **more}).status == 200


def test_a_row_may_be_named_in_and_out(send: Send) -> None:
    path, ask = "/serving-endpoints/e/invocations", {"messages": [USER], "reasoning_effort": "low"}
    for endpoint, status in (
        (Endpoint("e", Scripted(), family="claude", accept=("claude-reasoning_effort",)), 200),
        (Endpoint("e", Scripted(), family="open", refuse=("claude-reasoning_effort",)), 400),
    ):
        with Workspace([endpoint]) as workspace:
            assert send(workspace, "POST", path, ask).status == status


def test_an_unknown_row_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="no refusal is called 'claude-json-object'; there is claude-json_object"):
        Endpoint("e", Scripted(), accept=("claude-json-object",))


def test_every_row_has_a_source_and_a_test() -> None:
    assert set(NAMES) == {*CHAT, *ONE_MODEL, *(f"responses-{name}" for name in RESPONSES)}
    assert len(set(NAMES)) == len(NAMES)
    assert all(row.source for row in REFUSALS)
