"""Which error is an error reply?

The one place where a status and a body become an error's class, code and message. The service words its errors in
many shapes (payload facts 25 to 35): flat ``error_code``, OpenAI's ``error`` object, a provider's own error nested in
``external_model_message`` or as JSON text inside ``message``, FastAPI's ``detail``, HTML, nothing. The same objects
also come under status 200.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

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
from isochat.wire_format.verdict import fails

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

_CONTEXT_LENGTH = re.compile(
    r"context[_ ]length|maximum context|context window|input is too long|prompt is too long|(prompt|input) token count|"
    r"too many (input )?tokens|exceeds? (the )?(model'?s )?(maximum|max) (input|prompt|context)|"
    r"exceed context limit|maximum prompt length",
    re.IGNORECASE,
)
# The context is exceeded by messages and asked-for output together.
_OUTPUT_COUNTS = re.compile(r"max_(completion_|output_|new_)?tokens|in the completion|max output tokens", re.IGNORECASE)
_UNKNOWN_FIELD = re.compile(r"unknown field|Extra inputs are not permitted", re.IGNORECASE)
_CONTENT_FILTER = re.compile(
    r"content_filter|content_policy|guardrail_triggered|content management policy", re.IGNORECASE
)

_REMEDIES: tuple[tuple[type[StatusError], str], ...] = (
    (ContextLengthExceededError, "Shorten the messages, or use a model with a larger context"),
    (ContentFilteredError, "Reword the request; the endpoint's guardrail refused it"),
    (AuthenticationError, "Check that the token is one of this workspace and is sent as Bearer or Basic"),
    (PermissionDeniedError, "Check that the token is valid and has CAN QUERY on the endpoint"),
    (NotFoundError, "Check the endpoint's name and that the host is its workspace"),
    (RequestTooLargeError, "Shorten the messages: the service takes 4 MB for foundation models"),
    (RateLimitError, "Wait, lower max_tokens (it is reserved in advance), or raise the endpoint's limit"),
    (OverloadedError, "Wait: the endpoint may be scaling up from zero"),
)
# What the service's own words call for; the first that fits says more than the class of the error does.
_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"has no reply to this request: "),
        "Ask as it was recorded, or record it: isochat serve --record FILE --upstream URL",
    ),
    (
        re.compile(r"not support the (temperature|top_p|top_k) parameter", re.I),
        r"This model takes no \1: leave it out",
    ),
    (
        re.compile(r"use 'max_completion_tokens' instead", re.I),
        "Pass extra_body={'max_completion_tokens': ...} in place of max_tokens",
    ),
    (
        re.compile(r"unknown field \"(?:messages|input)\"|Missing required Chat parameter", re.I),
        "This endpoint does not take what was sent: check its task; api='responses' is for agents that take input",
    ),
    (re.compile(r"unsupported (?:value|parameter): '(\w+)'", re.I), r"This model takes no such \1: leave it out"),
    (
        re.compile(r"\.strict: Extra inputs|unknown field \"strict\"", re.I),
        "Leave strict out: GPT models alone take it",
    ),
    (
        re.compile(r"unknown field \"([^\"]+)\"|Extra inputs are not permitted", re.I),
        "Leave out the field that the message names",
    ),
    (
        re.compile(r"\"parameters\" is a required property|input_schema\.type: Field required", re.I),
        "Give each function its parameters, {'type': 'object', 'properties': {}} where it takes none",
    ),
    (re.compile(r"both response_format and tools", re.I), "Leave out one of the two, or use another model"),
    (
        re.compile(r"tools with reasoning_effort are not supported", re.I),
        "Use the backend openai-responses, or pass reasoning_effort='none'",
    ),
    (
        re.compile(r"thinking\.type\.adaptive", re.I),
        "Pass thinking={'type': 'adaptive'} and extra_body={'output_config': {'effort': ...}}",
    ),
    (re.compile(r"max_tokens \(\d+\) cannot exceed (\d+)", re.I), r"Pass max_tokens of at most \1"),
    (
        re.compile(r"'messages\.content' expects", re.I),
        "Pass content as text: this endpoint takes no lists of content blocks",
    ),
    (
        re.compile(r"missing a thought_signature", re.I),
        "Send the model's own message back as result.to_message() gives it: it keeps the signatures",
    ),
    (
        re.compile(r"passthrough is not supported|API type .* is not supported", re.I),
        "This model does not speak that API: use a backend that speaks chat completions",
    ),
    (re.compile(r"AI Gateway (legacy endpoint )?is not available", re.I), "Use route='serving-endpoints'"),
    (re.compile(r"IP ACL", re.I), "Call from an address that the workspace's IP access list allows"),
    (
        re.compile(r"rate limit of 0", re.I),
        "Use another endpoint: Databricks has switched this one off for the workspace",
    ),
)
# A word for programs, such as invalid_client or RESOURCE_EXHAUSTED.
_CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+|[A-Z0-9]+(_[A-Z0-9]+)+")
# What some servers put beside the message: the status in words.
_PHRASES = frozenset(status.phrase for status in HTTPStatus)
_BODY_SHOWN = 2000
_MESSAGE_SHOWN = 600
# What an error means is said by then; a megabyte of message would be searched for seconds.
_SEARCHED = 20_000


class _Facts(NamedTuple):
    code: str | None
    message: str | None
    retry_after: float | None = None
    request_id: str | None = None
    kind: str | None = None
    """OpenAI's and Anthropic's ``type`` of error, which may say more than a code that nobody knows."""


def status_error(status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """The error for a reply of ``status`` >= 400.

    Args:
        headers: The reply's headers, names in lower case.
        body: Its body, the token blanked already.
    """
    text = body.decode("utf-8", "replace")
    facts = _read(text)
    return _error(status, status, facts, headers, text)


def error_under_200(data: Any, status: int, headers: Mapping[str, str], body: bytes) -> StatusError | None:
    """The error that a reply with a success status spells out, or ``None`` if it spells none."""
    if not isinstance(data, Mapping) or not fails(data):
        return None
    facts = _facts(data)
    return _error(_counts_as(facts), status, facts, headers, body.decode("utf-8", "replace"))


def reports_error(event: Mapping[str, Any]) -> bool:
    """Whether an event of a stream is the service's account of a failure, and no part of the answer."""
    kind = event.get("type")
    if kind in ("error", "response.failed"):
        return True
    if event.get("choices"):
        return False
    if event.get("error_code"):
        return True
    if isinstance(kind, str):  # an item, of which some have an `error` of their own
        return False
    return bool(event.get("error")) or _is_detail(event)


def reported_error(event: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """The error that an event of a stream reports, counted as the status that its code stands for.

    Args:
        status: The reply's own status, a success.
        body: The event's bytes, the token blanked already.
    """
    response = event.get("response")
    facts = _facts(response if isinstance(response, Mapping) else event)
    if _is_detail(event) and not isinstance(event["detail"], str):  # what FastAPI finds wrong with a request
        return _error(422, status, facts, headers, body.decode("utf-8", "replace"))
    return _error(_counts_as(facts), status, facts, headers, body.decode("utf-8", "replace"))


def _is_detail(event: Mapping[str, Any]) -> bool:
    """Whether it is FastAPI's error object, which is nothing but a ``detail`` (payload fact 35)."""
    return event.keys() == {"detail"} and bool(event["detail"])


def _counts_as(facts: _Facts) -> int:
    for word in (facts.code or "", facts.kind or ""):
        if re.fullmatch("[45][0-9][0-9]", word):
            return int(word)
        if word in _STATUS_OF_CODE:
            return _STATUS_OF_CODE[word]
    said = (facts.message or "")[:_SEARCHED]
    return 400 if _CONTEXT_LENGTH.search(said) or _CONTENT_FILTER.search(said) else 500


def _error(counts_as: int, status: int, facts: _Facts, headers: Mapping[str, str], text: str) -> StatusError:
    message = (facts.message or _plain(text))[:_SEARCHED]
    kind = _class(counts_as, facts, message)
    retry_after = read_retry_after(headers.get("retry-after"), headers.get("date"))
    said = _HEADLINES_OF_CODES.get(facts.code or "") or _HEADLINES.get(kind, "the service answered with an error")
    return kind(
        f"{said}: {message[:_MESSAGE_SHOWN]}" if message else said,
        status_code=status,
        code=facts.code,
        request_id=headers.get("x-request-id") or facts.request_id,
        retry_after=facts.retry_after if retry_after is None else retry_after,
        retryable=counts_as in RETRIED,
        may_have_executed=counts_as in _MAY_HAVE_EXECUTED,
        body=text[:_BODY_SHOWN],
        remedy=_remedy(kind, message),
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


def _class(status: int, facts: _Facts, message: str) -> type[StatusError]:
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


def _remedy(kind: type[StatusError], message: str) -> str | None:
    if kind in (BadRequestError, PermissionDeniedError, NotFoundError):
        for pattern, hint in _HINTS:
            if found := pattern.search(message):
                return found.expand(hint)
    if kind is ContextLengthExceededError and _OUTPUT_COUNTS.search(message):
        return "Shorten the messages, lower max_tokens (it counts towards the context), or use a larger model"
    return next((remedy for cls, remedy in _REMEDIES if kind is cls), None)


def _read(text: str) -> _Facts:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return _Facts(None, None)
    return _facts(data)


def _facts(data: Any, depth: int = 0) -> _Facts:
    """Code and message of an error object, the innermost one that has them."""
    if isinstance(data, list) and len(data) == 1:  # Gemini's OpenAI-like API puts its error object into a list
        data = data[0]
    if isinstance(data, str):
        return _Facts(None, data.strip() or None)
    if not isinstance(data, Mapping) or depth > 4:
        return _Facts(None, None)
    inner = _Facts(None, None)
    nested = data.get("external_model_message") or data.get("external_model_error") or data.get("error")
    if isinstance(nested, Mapping):
        inner = _facts(nested, depth + 1)
    message = _message(data)
    if message is not None and message.startswith(("{", "[{")):
        try:
            told = _facts(json.loads(message), depth + 1)
        except (ValueError, RecursionError):
            told = inner
        if told.message:
            inner, message = told, None
        elif told.code and not inner.code and message.startswith("{"):  # a guardrail's account of itself: no message
            inner = told
    code = data.get("error_code", data.get("code"))
    kind = data.get("type")
    if code is None:
        code = data.get("finishReason") or kind
    if isinstance(nested, str):
        title = nested.strip()
        if code is None and _CODE.fullmatch(title):  # OAuth's {"error": "invalid_client", "error_description": ...}
            code = title
        if message is None or (len(title) > len(message) and title not in _PHRASES and not _CODE.fullmatch(title)):
            message = title or None
    return _Facts(
        inner.code or (None if code is None else str(code)),
        inner.message or message,
        inner.retry_after if inner.retry_after is not None else _seconds(data.get("retry_after")),
        _request_id(data) or inner.request_id,
        inner.kind or (kind if isinstance(kind, str) else None),
    )


def _message(data: Mapping[str, Any]) -> str | None:
    """The explanation of an error object: of OpenAI and Databricks, of OAuth (RFC 6749 5.2), of FastAPI."""
    for name in ("message", "error_description", "detail"):
        said = data.get(name)
        if said is not None:
            said = said if isinstance(said, str) else json.dumps(said) if name == "detail" else ""
            if said.strip():
                return said.strip()
    return None


def _request_id(data: Mapping[str, Any]) -> str | None:
    details = data.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("request_id"), str):
            return str(detail["request_id"])
    return None


def _plain(text: str) -> str:
    """A body that is no JSON, as a person would quote it."""
    text = text[:_SEARCHED]
    text = re.sub(r"(?is)<(script|style)\b.*?(</\1>|\Z)|<[^>]*>", " ", text) if "<" in text else text
    return " ".join(text.split())[:_MESSAGE_SHOWN]


def read_retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (RFC 9110 10.2.3), or ``None`` if it says nothing usable.

    A date is measured against the server's own ``Date``, so that no clock of ours matters. Of several headers, joined
    with commas as they are, the longest wait holds.
    """
    if value is None:
        return None
    waits = [_wait(part.strip(), date) for part in re.split(r",(?!\s*\d\d[ -][A-Za-z])", value)]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(value: str, date: str | None) -> float | None:
    try:
        if value.isascii() and value.replace(".", "", 1).isdigit():
            seconds = float(value)
            return seconds if math.isfinite(seconds) else None
        then = parsedate_to_datetime(value)
        now = parsedate_to_datetime(date) if date else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if now is None:
        return None
    try:
        return max(0.0, (then - now).total_seconds())
    except TypeError:  # one of the two has no zone
        return None


def _seconds(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    return None
