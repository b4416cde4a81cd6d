"""Which error is an error reply: class, code and message, from whatever words the service has for it?"""

from __future__ import annotations

import json
from typing import Any

import pytest

import isochat
from isochat.status_errors import error_under_200, status_error
from isochat.wire_format.replies import read_reply

LONG = "the field 'messages' must hold at least one message"
NESTED_LONG = json.dumps({"message": LONG})


def refused(body: Any, status: int = 400) -> isochat.StatusError:
    return status_error(status, {}, json.dumps(body).encode())


def under_200(body: Any) -> isochat.StatusError | None:
    return error_under_200(body, 200, {}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"error": "Bad Request", "message": LONG}, None, LONG),
        ({"error": "Internal Server Error", "message": "boom"}, None, "boom"),
        ({"error": "Bad Request", "detail": LONG}, None, LONG),
        ({"error": "Bad Request", "message": "", "detail": LONG}, None, LONG),
        ({"error": "Bad Request", "message": NESTED_LONG}, None, LONG),
        ({"error": LONG, "message": "Error"}, None, LONG),
        ({"error": "Bad Request"}, None, "Bad Request"),
        ({"error": "invalid_client", "error_description": "no"}, "invalid_client", "no"),
        ({"error": "invalid_client"}, "invalid_client", "invalid_client"),
        ({"error": "invalid_client", "error_code": "X", "message": LONG}, "X", LONG),
        ({"error": {"message": LONG, "code": "c"}, "message": "outer"}, "c", LONG),
        ({"error_code": "BAD_REQUEST", "message": LONG}, "BAD_REQUEST", LONG),
        ({"detail": [{"msg": LONG}]}, None, LONG),
        ({"detail": [{"loc": ["body", "input", 0], "msg": "a"}, {"loc": [], "msg": "b"}]}, None, "body.input.0: a; b"),
        ({"detail": [{"message": LONG}]}, None, LONG),
        ({"detail": {"where": "body"}}, None, '{"where": "body"}'),
        ({"detail": [{"loc": 5, "msg": LONG}]}, None, LONG),
        ({"error_code": "X", "message": "a\n  b\n"}, "X", "a b"),
        ([{"error": {"code": 400, "message": LONG, "status": "INVALID_ARGUMENT"}}], "400", LONG),
        ([LONG], None, LONG),
        ({"error_code": "X", "message": json.dumps([{"error": {"code": 400, "message": LONG}}])}, "400", LONG),
        ([LONG, LONG], None, json.dumps([LONG, LONG])),
    ],
)
def test_the_fuller_words_are_quoted(body: Any, code: str | None, message: str) -> None:
    error = refused(body)

    assert (error.code, error.message.partition(": ")[2]) == (code, message)


@pytest.mark.parametrize(
    "words",
    [
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
        "The number of tokens in the prompt exceeds the maximum allowed",
        "Prompt exceeds max length",
        "The decoder prompt (length 10127) is longer than the maximum model length of 8192.",
        "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        "the request exceeds the available context size, try increasing it",
        "Your request exceeded model token limit: 131072 (requested: 140000)",
        "Please reduce the length of the messages or completion.",
        "Input tokens exceed the configured limit of 272000 tokens.",
        "invalid params, context window exceeds limit",
    ],
)
def test_an_overflow_in_the_words_of_any_server_is_one(words: str) -> None:
    assert type(refused({"error_code": "BAD_REQUEST", "message": words})) is isochat.ContextLengthExceededError


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens (10000) cannot exceed 8192. Please reduce the length of max output tokens generated.",
        'Bad request: json: unknown field "context_window"',
        "Request body too large",
    ],
)
def test_other_lengths_are_no_overflow(words: str) -> None:
    assert type(refused({"error_code": "BAD_REQUEST", "message": words})) is isochat.BadRequestError


def test_a_guardrail_is_quoted_by_what_it_took_offence_at() -> None:
    flagged = {"flagged": True, "categories": {"hate": False, "violent-crimes": True}, "pii_detection": True}
    account = {"usage": {}, "input_guardrail": [flagged], "finishReason": "input_guardrail_triggered"}

    error = refused({"error_code": "BAD_REQUEST", "message": json.dumps(account)})

    assert (type(error), error.code) == (isochat.ContentFilteredError, "input_guardrail_triggered")
    assert error.message.endswith(": input_guardrail_triggered: violent-crimes, personal data")
    assert "category" not in error.message
    assert error.body is not None
    assert "usage" in error.body


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"type": "invalid_request_error", "code": "odd_words"}, isochat.BadRequestError),
        ({"type": "invalid_request_error", "code": 1301}, isochat.BadRequestError),
        ({"type": "invalid_request_error", "code": None}, isochat.BadRequestError),
        ({"type": "rate_limit_error", "code": "tokens"}, isochat.RateLimitError),
        ({"type": "authentication_error", "code": ""}, isochat.AuthenticationError),
        ({"type": "permission_error"}, isochat.PermissionDeniedError),
        ({"type": "not_found_error"}, isochat.NotFoundError),
        ({"type": "request_too_large"}, isochat.RequestTooLargeError),
        ({"type": "overloaded_error"}, isochat.OverloadedError),
        ({"type": "odd", "code": "429"}, isochat.RateLimitError),
        ({"type": "invalid_request_error", "code": "server_error"}, isochat.ServerError),
        ({"type": "odd", "code": "odd"}, isochat.ServerError),
        ({"type": "odd", "message": "Input is too long."}, isochat.ContextLengthExceededError),
    ],
)
def test_a_known_type_counts_where_the_code_is_unknown(told: dict[str, Any], kind: type[isochat.StatusError]) -> None:
    error = under_200({"error": {"message": "no", **told}})

    assert type(error) is kind


def test_the_code_is_told_as_it_came() -> None:
    error = under_200({"error": {"message": "no", "type": "rate_limit_error", "code": 1301}})

    assert error is not None
    assert (error.code, error.retryable, error.may_have_executed) == ("1301", True, False)


TEXT = [{"type": "output_text", "text": "Hi"}]
SAID = {"type": "message", "role": "assistant", "content": TEXT}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
TOLD = {"role": "tool", "content": "12 C", "tool_call_id": "c"}
FAULT = {"code": "server_error", "message": "boom"}


@pytest.mark.parametrize(
    "body",
    [
        {"output": [SAID], "error": None},
        {"output": [SAID], "error": {}},
        {"output": [CALL], "error": {"code": None, "message": ""}},
        {"output": [CALL], "status": "completed", "error": FAULT},
        {"output": [SAID], "status": "incomplete", "error": FAULT},
        {"output": [CALL, SAID], "error": "a tool was slow"},
        {"output": [SAID], "error": FAULT},
        {"messages": [{"role": "assistant", "content": "Hi"}], "error": FAULT},
        {"messages": [TOLD, {"role": "assistant", "content": "Hi"}], "error_code": "TOOL_FAILED"},
        {"choices": [{"message": {"content": "Hi"}}], "error": FAULT, "status": "failed"},
    ],
)
def test_an_error_beside_an_answer_fails_nothing_and_is_told(body: dict[str, Any]) -> None:
    assert under_200(body) is None
    beside = body.get("error") in (FAULT, "a tool was slow") or "error_code" in body
    told = read_reply(body, "chat-completions").meta.warnings
    assert [text.partition(";")[0] for text in told] == ["the reply names an error beside its answer"] * beside


@pytest.mark.parametrize(
    "body",
    [
        {"output": [SAID], "status": "failed", "error": FAULT},
        {"output": [SAID], "status": "failed"},
        {"output": [], "status": "completed", "error": FAULT},
        {"output": [CALL], "error": FAULT},
        {"output": [{"type": "reasoning", "content": TEXT}], "error": FAULT},
        {"output": [{**SAID, "content": []}], "error": FAULT},
        {"messages": [TOLD], "error": FAULT},
        {"messages": [{"role": "user", "content": "Hi"}], "error": "boom"},
        {"messages": "Hi", "error": "boom"},
        {"error": "boom"},
        {"error_code": "INTERNAL_ERROR", "message": "boom"},
    ],
)
def test_an_error_without_an_answer_is_an_error(body: dict[str, Any]) -> None:
    assert type(under_200(body)) is isochat.ServerError


@pytest.mark.parametrize("body", [{"error": {}}, {"error": {"code": None, "message": " "}}, {"error": ""}, {}])
def test_an_error_field_that_names_none_is_no_error(body: dict[str, Any]) -> None:
    assert under_200(body) is None


@pytest.mark.parametrize(
    ("message", "lower"),
    [
        ("Input is too long.", False),
        ("This model's maximum context length is 8192 tokens, your messages have 9000", False),
        (
            "maximum context length is 8192 tokens; you asked for 9000 (1000 in the messages, 8000 in the completion)",
            True,
        ),
        ("'max_tokens' is too large: 9000. This model's maximum context length is 8192 tokens", True),
        ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", True),
    ],
)
def test_the_remedy_for_a_full_context_names_max_tokens_where_the_service_does(message: str, lower: bool) -> None:
    error = refused({"error_code": "BAD_REQUEST", "message": message})

    assert type(error) is isochat.ContextLengthExceededError
    assert ("lower max_tokens" in (error.remedy or "")) is lower


def test_a_500_is_the_servers_whatever_it_says() -> None:
    """Every overflow on record came as 400; the same words under 500 may tell of the service's own failure."""
    error = refused({"error_code": "INTERNAL_ERROR", "message": "Input is too long."}, 500)

    assert type(error) is isochat.ServerError
    assert error.may_have_executed


def test_a_500_whose_code_says_so_is_a_full_context() -> None:
    error = refused({"error": {"code": "context_length_exceeded", "message": "no"}}, 500)

    assert type(error) is isochat.ContextLengthExceededError
