"""What if the service reports an error inside a stream: as its first event, in the middle, on a line of its own?"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from stream_bytes import chunk, read, sse

import isochat
from isochat.errors import ChatError
from isochat.redaction import Redactor
from isochat.streaming.reading import StreamReading

A, STOP = chunk({"role": "assistant", "content": "A"}), chunk({}, "stop")
MESSAGE = {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": "A"}]}
ITEM = {"type": "response.output_item.done", "item": MESSAGE}


class Told(NamedTuple):
    """How the service words an error, with what it is as the first event."""

    data: Any
    error: type[ChatError]
    code: str | None
    words: str


REQUEST_INFO = {"details": [{"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": "u"}]}
TOLD: dict[str, Told] = {
    "no endpoint": Told(
        {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Endpoint with name 'x' does not exist.", **REQUEST_INFO},
        isochat.NotFoundError,
        "RESOURCE_DOES_NOT_EXIST",
        "Endpoint with name 'x' does not exist.",
    ),
    "denied": Told(
        {"error_code": "PERMISSION_DENIED", "message": "User does not have permission 'View'", **REQUEST_INFO},
        isochat.PermissionDeniedError,
        "PERMISSION_DENIED",
        "User does not have permission 'View'",
    ),
    "rate limit": Told(
        {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "REQUEST_LIMIT_EXCEEDED: Exceeded workspace input tokens"},
        isochat.RateLimitError,
        "REQUEST_LIMIT_EXCEEDED",
        "Exceeded workspace input tokens",
    ),
    "external model": Told(
        {
            "error": "Received error from databricks-model-serving",
            "external_model_message": {
                "error_code": "INVALID_PARAMETER_VALUE",
                "message": "Missing required parameter",
            },
        },
        isochat.BadRequestError,
        "INVALID_PARAMETER_VALUE",
        "Missing required parameter",
    ),
    "external filter": Told(
        {
            "error": "Received error from openai",
            "external_model_message": {"error": {"code": "content_filter", "message": "x1"}},
        },
        isochat.ContentFilteredError,
        "content_filter",
        "x1",
    ),
    "unknown field": Told(
        {"error_code": "BAD_REQUEST", "message": 'Bad request: json: unknown field "inputs"'},
        isochat.BadRequestError,
        "BAD_REQUEST",
        'unknown field "inputs"',
    ),
    "tool without parameters": Told(
        {"error_code": "BAD_REQUEST", "message": 'Bad request: "parameters" is a required property'},
        isochat.BadRequestError,
        "BAD_REQUEST",
        "required property",
    ),
    "temperature": Told(
        {"error_code": "BAD_REQUEST", "message": "BAD_REQUEST: Model x does not support the temperature parameter."},
        isochat.BadRequestError,
        "BAD_REQUEST",
        "does not support the temperature parameter",
    ),
    "lists refused": Told(
        {
            "error_code": "BAD_REQUEST",
            "message": "BAD_REQUEST: field 'messages.content' expects input with json type 'string'",
        },
        isochat.BadRequestError,
        "BAD_REQUEST",
        "'messages.content' expects",
    ),
    "scoring server": Told(
        {
            "error_code": "BAD_REQUEST",
            "message": "Encountered an unexpected error",
            "sqlstate": "KAM00",
            "stack_trace": "T ...",
        },
        isochat.BadRequestError,
        "BAD_REQUEST",
        "Encountered an unexpected error",
    ),
    "detail": Told(
        {"detail": "Invalid parameters for ResponsesAgent"}, isochat.ServerError, None, "Invalid parameters for"
    ),
    "details of FastAPI": Told(
        {"detail": [{"loc": ["body"], "msg": "Field required"}]}, isochat.BadRequestError, None, "Field required"
    ),
    "OpenAI's object": Told(
        {"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}},
        isochat.RateLimitError,
        "rate_limit_exceeded",
        "Slow down",
    ),
    "OpenAI's object beside empty choices": Told(
        {"choices": [], "error": {"message": "Busy", "code": 503}},
        isochat.OverloadedError,
        "503",
        "Busy",
    ),
    "Anthropic's object": Told(
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        isochat.OverloadedError,
        "overloaded_error",
        "Overloaded",
    ),
    "an error event of Responses": Told(
        {"type": "error", "code": "server_error", "message": "Oops", "param": None, "sequence_number": 3},
        isochat.ServerError,
        "server_error",
        "Oops",
    ),
    "a failed response": Told(
        {
            "type": "response.failed",
            "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow"}},
        },
        isochat.RateLimitError,
        "rate_limit_exceeded",
        "Slow",
    ),
    "a code beside a type": Told(
        {"type": "about:blank", "error_code": "TEMPORARILY_UNAVAILABLE", "message": "Later"},
        isochat.OverloadedError,
        "TEMPORARILY_UNAVAILABLE",
        "Later",
    ),
    "text": Told({"error": "it broke"}, isochat.ServerError, None, "it broke"),
    "too long": Told(
        {"error_code": "BAD_REQUEST", "message": "Input is too long for requested model."},
        isochat.ContextLengthExceededError,
        "BAD_REQUEST",
        "Input is too long",
    ),
}


def failure(body: bytes, **arguments: Any) -> ChatError:
    with pytest.raises(ChatError) as caught:
        read([body], **arguments)
    return caught.value


@pytest.mark.parametrize("name", TOLD)
def test_an_error_as_the_first_event_counts_as_its_status(name):
    told = TOLD[name]
    error = failure(b": hello\n\n" + sse(told.data, STOP))

    assert type(error) is told.error
    assert error.code == told.code
    assert told.words in error.message
    assert error.body is not None


@pytest.mark.parametrize("name", TOLD)
def test_an_error_in_the_middle_fails_the_stream_with_the_same_code_and_words(name):
    told = TOLD[name]
    first, later = failure(sse(told.data)), failure(sse(A, told.data, STOP))

    assert type(later) is isochat.StreamFailedError
    assert later.code == told.code
    assert later.message == f"the service failed after 1 event: {first.message}"
    assert later.partial.text == "A"
    assert later.remedy == first.remedy


@pytest.mark.parametrize("name", TOLD)
def test_an_error_of_an_error_event_and_on_a_bare_line_is_the_same(name):
    told = TOLD[name]
    data = json.dumps(told.data).encode()
    for body in (b"event: error\ndata: " + data + b"\n\n", data + b"\n\n", data + b"\n", b": hello\n" + data + b"\n"):
        first = failure(body)
        later = failure(sse(A) + body + sse(STOP))

        assert type(first) is told.error
        assert (first.code, later.code) == (told.code, told.code)
        assert type(later) is isochat.StreamFailedError
        assert told.words in first.message
        assert told.words in later.message


@pytest.mark.parametrize("name", [name for name in TOLD if "type" not in TOLD[name].data])
def test_an_error_as_the_whole_body_is_the_same(name):
    for indent in (None, 2):
        error = failure(json.dumps(TOLD[name].data, indent=indent).encode())

        assert type(error) is TOLD[name].error
        assert error.code == TOLD[name].code


@pytest.mark.parametrize("name", TOLD)
def test_an_error_among_mappings_is_the_same(name):
    reading = StreamReading("chat-completions")
    with pytest.raises(TOLD[name].error):
        reading.feed(TOLD[name].data)

    reading = StreamReading("chat-completions")
    reading.feed(A)
    with pytest.raises(isochat.StreamFailedError) as caught:
        reading.feed(TOLD[name].data)
    assert caught.value.partial.text == "A"


def test_an_error_event_may_hold_text_or_nothing():
    assert "it broke" in failure(sse(A) + b"event: error\ndata: it broke\n\n").message
    assert type(failure(sse(A) + b"event: error\ndata: it broke\n\n")) is isochat.StreamFailedError
    assert type(failure(b"event: error\ndata: it broke\n\n")) is isochat.ServerError
    assert type(failure(sse(A) + b"event: error\ndata:\n\n")) is isochat.StreamFailedError
    assert type(failure(sse(A) + b'event: error\ndata: "it broke"\n\n')) is isochat.StreamFailedError


def test_an_error_quotes_no_token_and_stays_on_one_line():
    secret = "dapi-of-the-test"
    body = sse(A, {"error_code": "BAD_REQUEST", "message": f"no\nsuch {secret}\r\nhere"})
    error = failure(body, redactor=Redactor((secret,)))

    assert secret not in f"{error} {error.body} {error!r}"
    assert "no such" in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize("data", [{"error": {"message": "half \ud83d"}}, {"error": "half \ud83d"}])
def test_an_error_with_half_a_surrogate_pair_is_told_too(data):
    body = b"data: " + json.dumps(data).encode() + b"\n\n"

    assert type(failure(body)) is isochat.ServerError
    assert type(failure(sse(A) + body)) is isochat.StreamFailedError


@pytest.mark.parametrize(
    "data",
    [
        {**STOP, "error": None},
        {**STOP, "error": {}},
        {**STOP, "error_code": ""},
        {**STOP, "detail": "x"},
        {**STOP, "error": {"message": "beside an answer"}},
    ],
)
def test_an_empty_error_beside_an_answer_is_none(data):
    assert read([sse(A, data)])[0].text == "A"


def test_an_item_with_an_error_of_its_own_is_an_item():
    item = {"type": "mcp_call", "id": "x", "error": "no such tool", "name": "f", "arguments": "{}"}

    assert read([sse(item, ITEM, "[DONE]")])[0].text == "A"


def test_an_error_after_the_end_is_no_part_of_the_stream():
    assert read([sse(A, STOP, "[DONE]", {"error": "x"})])[0].text == "A"
