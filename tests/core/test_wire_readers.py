"""Can any reply break the readers? Arbitrary JSON gives a result or a ChatError, and a result goes there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isochat
from isochat.status_errors import error_under_200, status_error
from isochat.wire_format.chat_completions import read_completion, write_message
from isochat.wire_format.json_text import decode
from isochat.wire_format.responses import read_response

QUICK = settings(deadline=None, database=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])

# The words of the two dialects, so that arbitrary values stand in the places that are read.
WORDS = [
    "id", "model", "created", "created_at", "choices", "index", "message", "finish_reason", "logprobs", "usage",
    "role", "content", "text", "type", "reasoning", "reasoning_content", "summary", "signature", "data",
    "encrypted_content", "citations", "annotations", "refusal", "tool_calls", "function", "name", "arguments",
    "call_id", "output", "status", "incomplete_details", "reason", "error", "error_code", "code", "retry_after",
    "details", "request_id", "external_model_message", "detail", "parts", "isochat_parts", "image_url", "url",
    "prompt_tokens", "input_tokens", "prompt_tokens_details", "cached_tokens",
]  # fmt: skip
VALUES = [
    "text", "reasoning", "output_text", "message", "function_call", "function_call_output", "refusal", "image_url",
    "stop", "length", "assistant", "summary_text", "summary_encrypted_text", "completed", "incomplete", "failed",
    "max_output_tokens", "429", "²", "{}", "9999999999",
]  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(VALUES)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=15,
)
blocks = st.dictionaries(st.sampled_from(WORDS), scalars | st.lists(anything, max_size=2), max_size=5)
calls = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": st.text(max_size=5)}, optional={"arguments": anything})},
    optional={"id": anything, "type": anything, "thought_signature": anything},
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "role": anything,
        "content": scalars | st.lists(blocks, max_size=3),
        "reasoning_content": scalars,
        "refusal": scalars,
        "tool_calls": st.none() | st.lists(calls, max_size=2),
        "parts": anything,
    },
)
completions = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {"message": messages}, optional={"index": scalars, "finish_reason": scalars, "logprobs": anything}
            ),
            max_size=2,
        )
    },
    optional={"id": anything, "model": anything, "created": anything, "usage": blocks},
)
items = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "function_call_output", "other"])},
    optional={
        "content": scalars | st.lists(blocks, max_size=2),
        "summary": scalars | st.lists(blocks, max_size=2),
        "call_id": anything,
        "id": anything,
        "name": scalars,
        "arguments": anything,
    },
)
replies = st.fixed_dictionaries(
    {"output": st.lists(items, max_size=3)},
    optional={
        "id": anything,
        "status": scalars,
        "incomplete_details": anything,
        "usage": blocks,
        "created_at": scalars,
    },
)


def read(reader: Any, data: Any) -> isochat.ChatResult | None:
    try:
        result: isochat.ChatResult = reader(data)
    except isochat.ChatError:
        return None
    return result


def goes_there_and_back(result: isochat.ChatResult) -> bool:
    written = json.loads(json.dumps(result.to_dict()))
    return isochat.ChatResult.from_dict(result.to_dict()) == result == isochat.ChatResult.from_dict(written)


@QUICK
@given(anything | completions)
def test_completions(data: Any) -> None:
    result = read(read_completion, data)

    assert result is None or goes_there_and_back(result)


@QUICK
@given(anything | replies)
def test_responses(data: Any) -> None:
    result = read(read_response, data)

    assert result is None or goes_there_and_back(result)


@QUICK
@given(completions)
def test_a_result_can_be_shown_and_sent_back(data: Any) -> None:
    result = read(read_completion, data)
    if result is not None:
        assert isinstance(repr(result) + str(result), str)
        assert json.dumps(write_message(result.message))
        assert isochat.diff(result, result) == []


@QUICK
@given(anything, st.sampled_from([400, 408, 413, 422, 429, 500, 503]))
def test_error_bodies(data: Any, status: int) -> None:
    error = status_error(status, {}, json.dumps(data).encode())

    assert (error.status_code, isinstance(error, isochat.StatusError)) == (status, True)
    assert error.retryable == (status in (408, 429, 503))


@QUICK
@given(st.dictionaries(st.sampled_from(["error", "error_code", "message", "code", "status"]), anything))
def test_errors_under_200(data: Any) -> None:
    error = error_under_200(data, 200, {}, json.dumps(data).encode())

    assert error is None or error.status_code == 200


@QUICK
@given(st.binary(max_size=50))
def test_bodies_that_are_anything(body: bytes) -> None:
    said = ""
    try:
        decode(body)
    except isochat.BadResponseError as error:
        said = error.message

    assert "\n" not in said


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
    ],
)
def test_json_that_providers_send(body: bytes, value: Any) -> None:
    assert decode(body) == value


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": Infinity}', b"{'a': 1}", b"", b"  ", b"{}x", b"1" * 5000])
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(isochat.BadResponseError):
        decode(body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_nested_too_deep(opening: bytes) -> None:
    with pytest.raises(isochat.BadResponseError):
        decode(opening * 100_000)


def test_a_providers_parts_are_not_ours() -> None:
    data = {"choices": [{"message": {"role": "assistant", "content": "Hi", "parts": [{"text": "other"}]}}]}

    assert read_completion(data).text == "Hi"


def test_arguments_as_an_object() -> None:
    chat = {"choices": [{"message": {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}]}}]}
    reply = {"output": [{"type": "function_call", "call_id": "1", "name": "f", "arguments": {"a": 1}}]}

    assert read_completion(chat).tool_calls == read_response(reply).tool_calls


def test_an_agents_last_message_is_the_answer() -> None:
    def message(text: str) -> dict[str, Any]:
        return {"type": "message", "content": [{"type": "output_text", "text": text}]}

    answered = [
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "5"},
    ]
    result = read_response({"output": [message("First."), *answered, message("Last.")]})

    assert (result.text, result.tool_calls, result.finish_reason) == ("Last.", (), None)
    assert [type(part).__name__ for part in result.message.parts] == ["TextPart", "OtherPart", "OtherPart", "TextPart"]
    assert isochat.ChatResult.from_dict(result.to_dict()) == result
