"""Which error is an error reply?

The one place where a status and the words of a body become an error's class and its verdict on retrying. Error objects
also come under status 200 and among a stream's events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from isochat.errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ContentFilteredError,
    ContextLengthExceededError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    StatusError,
)
from isochat.remedies import remedy_for
from isochat.wire_format.error_objects import SEARCHED, ErrorFacts, facts_of, quoted, read_error
from isochat.wire_format.retry_after import read_retry_after
from isochat.wire_format.verdict import breaks_off, fails, names_error

_CLASSES: Mapping[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: RequestTooLargeError,
    422: BadRequestError,
    429: RateLimitError,
    503: OverloadedError,
    529: OverloadedError,
}
# Sent again without asking: the service did not take the request, or says to come back.
RETRIED = frozenset({408, 429, 502, 503, 529})
_MAY_HAVE_EXECUTED = frozenset({500, 502, 504})

# An error object under status 200 counts as the status that its code stands for.
_STATUS_OF_CODE: Mapping[str, int] = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "invalid_prompt": 400,
    "invalid_image": 400,
    "invalid_image_format": 400,
    "invalid_image_url": 400,
    "invalid_base64_image": 400,
    "image_too_large": 400,
    "image_parse_error": 400,
    "image_content_policy_violation": 400,
    "unsupported_image_media_type": 400,
    "failed_to_download_image": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "RESOURCE_EXHAUSTED": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "unsupported_parameter": 400,
    "unsupported_value": 400,
    "authentication_error": 401,
    "overloaded_error": 529,
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "model_not_found": 404,
    # Anthropic's types of error, which come through external models
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "api_error": 500,
    "timeout_error": 504,
    "INTERNAL_ERROR": 500,
    "server_error": 500,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# The ways in which the services behind an endpoint say that messages are too long: OpenAI, Anthropic, Bedrock, Gemini,
# Groq, Grok, Kimi, GLM, and the servers vLLM, SGLang, TGI and llama.cpp.
_CONTEXT_LENGTH = re.compile(
    r"context[_ ](length|overflow)|maximum context|context window|input is too long|prompt is too long|"
    r"(prompt|input) token count|too many (input )?tokens|exceed context limit|maximum prompt length|"
    r"exceeds? (the )?(model'?s )?(maximum|max) (input|prompt|context)|prompt exceeds (the )?max|"
    r"tokens in the (prompt|input) exceeds?|input tokens exceed|exceed(ed|s)? (the )?(model )?token limit|"
    r"token limit exceeded|longer than the maximum model length|available context size|"
    r"`inputs` tokens \+ `max_new_tokens`|reduce the length of (the|your) (messages?|prompt|input)",
    re.IGNORECASE,
)
_UNKNOWN_FIELD = re.compile(r"unknown field|Extra inputs are not permitted", re.IGNORECASE)
_CONTENT_FILTER = re.compile(
    r"content_filter|content_policy|guardrail_triggered|content management policy", re.IGNORECASE
)

_BODY_SHOWN = 2000
_MESSAGE_SHOWN = 600


def status_error(status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """The error for a reply of ``status`` >= 400.

    Args:
        headers: The reply's headers, names in lower case.
        body: Its body, the token blanked already.
    """
    text = body.decode("utf-8", "replace")
    facts = read_error(text)
    return _error(status, status, facts, headers, text)


def error_under_200(data: Any, status: int, headers: Mapping[str, str], body: bytes) -> StatusError | None:
    """The error that a reply with a success status spells out, or ``None`` if it spells none."""
    if not isinstance(data, Mapping) or not fails(data):
        return None
    facts = facts_of(data)
    return _error(_counts_as(facts), status, facts, headers, _quotable(body))


def reports_error(event: Mapping[str, Any]) -> bool:
    """Whether an event of a stream is the service's account of a failure, and no part of the answer."""
    kind = event.get("type")
    if kind in ("error", "response.failed"):
        return True
    if event.get("choices"):
        return breaks_off(event)
    if event.get("error_code"):
        return True
    if isinstance(kind, str):  # an item, of which some have an `error` of their own
        return False
    return names_error(event) or _is_detail(event)


def reported_error(event: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """The error that an event of a stream reports, counted as the status that its code stands for.

    Args:
        status: The reply's own status, a success.
        body: The event's bytes, the token blanked already.
    """
    response = event.get("response")
    facts = facts_of(response if isinstance(response, Mapping) else event)
    if _is_detail(event) and not isinstance(event["detail"], str):  # what FastAPI finds wrong with a request
        return _error(422, status, facts, headers, _quotable(body))
    return _error(_counts_as(facts), status, facts, headers, _quotable(body))


def _quotable(body: bytes) -> str:
    return body[:SEARCHED].decode("utf-8", "replace")


def _is_detail(event: Mapping[str, Any]) -> bool:
    """Whether it is FastAPI's error object, which is nothing but a ``detail`` (payload fact 35)."""
    return event.keys() == {"detail"} and bool(event["detail"])


def _counts_as(facts: ErrorFacts) -> int:
    for word in (facts.code or "", facts.kind or ""):
        if re.fullmatch("[45][0-9][0-9]", word):
            return int(word)
        if word in _STATUS_OF_CODE:
            return _STATUS_OF_CODE[word]
    said = (facts.message or "")[:SEARCHED]
    return 400 if _CONTEXT_LENGTH.search(said) or _CONTENT_FILTER.search(said) else 500


def _error(counts_as: int, status: int, facts: ErrorFacts, headers: Mapping[str, str], text: str) -> StatusError:
    message = (facts.message or quoted(text))[:SEARCHED]
    kind = _class(counts_as, facts, message)
    retry_after = read_retry_after(headers.get("retry-after"), headers.get("date"))
    said = _HEADLINES_OF_CODES.get(facts.code or "") or _HEADLINES.get(kind, "the service answered with an error")
    return kind(
        f"{said}: {' '.join(message[:_MESSAGE_SHOWN].split())}" if message else said,
        status_code=status,
        code=facts.code,
        request_id=headers.get("x-request-id") or facts.request_id,
        retry_after=facts.retry_after if retry_after is None else retry_after,
        retryable=counts_as in RETRIED,
        may_have_executed=counts_as in _MAY_HAVE_EXECUTED,
        body=text[:_BODY_SHOWN],
        remedy=remedy_for(kind, message),
    )


_HEADLINES_OF_CODES: Mapping[str, str] = {
    "FEATURE_DISABLED": "the workspace does not offer this",
    "CASSETTE_MISS": "this was not recorded",
}
_HEADLINES: Mapping[type[StatusError], str] = {
    BadRequestError: "the endpoint refused the request",
    ContextLengthExceededError: "the messages are too long for the model",
    ContentFilteredError: "a guardrail refused the request",
    AuthenticationError: "the workspace takes no such credentials",
    PermissionDeniedError: "the workspace denied access",
    NotFoundError: "there is no such endpoint",
    RequestTooLargeError: "the request is too large",
    RateLimitError: "the rate limit is reached",
    OverloadedError: "the endpoint takes no requests for now",
    ServerError: "the service failed",
}


def _class(status: int, facts: ErrorFacts, message: str) -> type[StatusError]:
    if status < 500 or facts.code in ("context_length_exceeded", "content_filter"):
        said = f"{facts.code or ''} {facts.kind or ''} {message}"
        if status in (400, 422) and _UNKNOWN_FIELD.search(said):  # the field's name is no word of the message
            return BadRequestError
        # By its words only where the request is blamed: all overflows on record came as 400, and one told as 500 was
        # a client's mistake (databricks/databricks-sdk-go#1183).
        if (status in (400, 413, 422) or facts.code == "context_length_exceeded") and _CONTEXT_LENGTH.search(said):
            return ContextLengthExceededError
        if _CONTENT_FILTER.search(said):
            return ContentFilteredError
    return _CLASSES.get(status) or (ServerError if status >= 500 else StatusError)
