"""The forms of a call as a typed program writes them; mypy --strict reads this file, nobody runs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, assert_type

import isochat


def client_forms() -> None:
    with isochat.Client("openai-chat", endpoint="e") as client:
        assert_type(client, isochat.Client)
        assert_type(client.capabilities, isochat.Capabilities)
    isochat.Client()
    isochat.Client(target="dev", config_file="isochat.toml", timeout=5, deadline=math.inf, max_retries=0)
    isochat.Client("rest", host="h", token="t", headers={"X-A": "1"}, on_unsupported="warn", auth_scheme="basic")


def call_forms(client: isochat.Client) -> None:
    assert_type(client.chat("Hi"), isochat.ChatResult)
    assert_type(client.chat("Hi", stream=False, max_tokens=5, temperature=0.5, stop=["a"]), isochat.ChatResult)
    assert_type(client.chat([{"role": "user", "content": "Hi"}], timeout=5, deadline=9.5), isochat.ChatResult)
    history: list[Mapping[str, Any] | isochat.Message] = [isochat.Message("user"), {"role": "user", "content": ""}]
    assert_type(client.chat(history, extra_headers={"X-A": "1"}, extra_body={"a": 1}), isochat.ChatResult)
    assert_type(isochat.chat("Hi", backend="rest", endpoint="e", max_tokens=5), isochat.ChatResult)


def every_parameter(client: isochat.Client, messages: list[dict[str, Any]]) -> None:
    result = client.chat(
        messages,
        max_tokens=1,
        temperature=isochat.UNSET,
        top_p=None,
        top_k=1,
        stop="x",
        n=1,
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
        reasoning_effort="low",
        thinking={"type": "adaptive"},
        logprobs=True,
        top_logprobs=2,
        seed=1,
        frequency_penalty=0.1,
        presence_penalty=0.1,
        logit_bias={"1": 2.0},
        user="u",
        stream_options={"include_usage": True},
        client_request_id="r",
        usage_context={"team": "search"},
        databricks_options={"return_trace": True},
        custom_inputs={"k": 1},
    )
    client.chat([*messages, result.to_message(), {"role": "tool", "tool_call_id": "c", "content": "42"}])
    assert_type(result.tool_calls[0].parse(), Any)
    isochat.Client("rest", endpoint="system.ai.x", route="auto")
    isochat.Client("mlflow", endpoint="e", served_model="m", api="responses")


def wrong_calls(client: isochat.Client) -> None:
    # With --warn-unused-ignores each of these must be an error.
    client.chat("Hi", max_token=5)  # type: ignore[call-arg]
    client.chat("Hi", max_tokens="5")  # type: ignore[arg-type]
    client.chat(5)  # type: ignore[arg-type]
    isochat.Client(5)  # type: ignore[arg-type]
    isochat.Client(on_unsupported="perhaps")  # type: ignore[arg-type]
    client.chat("Hi").id = "2"  # type: ignore[misc]


def result_forms(result: isochat.ChatResult) -> None:
    assert_type(result.text, str)
    assert_type(result.reasoning, str | None)
    assert_type(result.tool_calls, tuple[isochat.ToolCall, ...])
    assert_type(result.choices[0].message.content, str | None)
    assert_type(result.usage, isochat.Usage | None)
    assert_type(result.meta.request_id, str | None)
    assert_type(result.meta.headers, Mapping[str, str])
    assert_type(result.to_dict(), dict[str, Any])
    assert_type(isochat.ChatResult.from_dict(result.to_dict()), isochat.ChatResult)
    assert_type(isochat.diff(result, result), isochat.Diff)
    for part in result.message.parts:
        match part:
            case isochat.TextPart(text=text):
                assert_type(text, str)
            case isochat.ReasoningPart(signature=signature):
                assert_type(signature, str | None)
            case _:
                pass


def error_forms(error: isochat.ChatError) -> None:
    assert_type(error.status_code, int | None)
    assert_type(error.retryable, bool)
    assert_type(error.retry_after, float | None)
    if isinstance(error, isochat.ChatTimeoutError):
        assert_type(error.message, str)
