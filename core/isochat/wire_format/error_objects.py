"""What does an error object say: code, message, request id, seconds to wait?

The service words its errors in many shapes (payload facts 25 to 35): flat ``error_code``, OpenAI's ``error`` object, a
provider's own error nested in ``external_model_message`` or as JSON text inside ``message``, OAuth's, FastAPI's
``detail``, HTML, nothing.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

# A word for programs, such as invalid_client or RESOURCE_EXHAUSTED.
_CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+|[A-Z0-9]+(_[A-Z0-9]+)+")
# What some servers put beside the message: the status in words.
_PHRASES = frozenset(status.phrase for status in HTTPStatus)


# What an error means is said by then; a megabyte of message would be searched for seconds.
SEARCHED = 20_000
# Letters of one text, and of one explanation in another shape, that are looked at.
_READ = 100_000


class ErrorFacts(NamedTuple):
    """What an error object says; ``None`` for what it leaves out."""

    code: str | None
    message: str | None
    retry_after: float | None = None
    request_id: str | None = None
    kind: str | None = None
    """OpenAI's and Anthropic's ``type`` of error, which may say more than a code that nobody knows."""


def read_error(text: str) -> ErrorFacts:
    """What the body of an error reply says."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return ErrorFacts(None, None)
    return facts_of(data)


def facts_of(data: Any, depth: int = 0) -> ErrorFacts:
    """Code and message of an error object, the innermost one that has them."""
    if isinstance(data, list) and len(data) == 1:  # Gemini's OpenAI-like API puts its error object into a list
        data = data[0]
    if isinstance(data, str):
        return ErrorFacts(None, data[:_READ].strip() or None)
    if not isinstance(data, Mapping) or depth > 4:
        return ErrorFacts(None, None)
    inner = ErrorFacts(None, None)
    nested = data.get("external_model_message") or data.get("external_model_error") or data.get("error")
    if isinstance(nested, Mapping):
        inner = facts_of(nested, depth + 1)
    message = _message(data)
    if message is not None and message.startswith(("{", "[{")):
        try:
            account = json.loads(message)
            told = facts_of(account, depth + 1)
        except (ValueError, RecursionError):
            account, told = None, inner
        if told.message:
            inner, message = told, None
        elif told.code and not inner.code and message.startswith("{"):  # a guardrail's account of itself: no message
            inner, message = told, _flagged(account) or message
    code = data.get("error_code", data.get("code"))
    kind = data.get("type")
    if code is None:
        code = data.get("finishReason") or kind
    if isinstance(nested, str):
        title = nested[:_READ].strip()
        if code is None and _CODE.fullmatch(title):  # OAuth's {"error": "invalid_client", "error_description": ...}
            code = title
        if message is None or (len(title) > len(message) and title not in _PHRASES and not _CODE.fullmatch(title)):
            message = title or None
    return ErrorFacts(
        inner.code or (None if code is None else str(_clipped(code, [_READ]))),
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
            said = said[:_READ] if isinstance(said, str) else _found_wrong(said) if name == "detail" else ""
            if said.strip():
                return said.strip()
    return None


def _clipped(value: Any, left: list[int]) -> Any:
    """``value`` up to as many letters and values as are ``left``: more explains nothing."""
    left[0] -= 1
    if isinstance(value, str):
        value = value[: max(left[0], 0)]
        left[0] -= len(value)
    elif isinstance(value, list):
        return [_clipped(item, left) for item in itertools.takewhile(lambda _: left[0] > 0, value)]
    elif isinstance(value, Mapping):
        return {name: _clipped(item, left) for name, item in value.items() if left[0] > 0}
    return value


def _found_wrong(detail: Any) -> str:
    """What FastAPI finds wrong with a request: a list of places and what is the matter there."""
    detail = _clipped(detail, [_READ])
    if not isinstance(detail, list) or not all(map(_is_finding, detail)):
        return json.dumps(detail)
    told = []
    for one in detail:
        place = one.get("loc")
        told.append(f"{'.'.join(map(str, place))}: {one['msg']}" if isinstance(place, list) and place else one["msg"])
    return "; ".join(told)


def _is_finding(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("msg"), str)


def _flagged(account: Any) -> str | None:
    """Why a guardrail was triggered and what it took offence at, in its account of itself."""
    if not isinstance(account, Mapping):
        return None
    words: list[str] = []
    for verdicts in (account.get("input_guardrail"), account.get("output_guardrail")):
        for verdict in verdicts if isinstance(verdicts, list) else ():
            if isinstance(verdict, Mapping):
                categories = verdict.get("categories")
                words += (
                    [str(word) for word, hit in categories.items() if hit] if isinstance(categories, Mapping) else []
                )
                words += ["personal data"] if verdict.get("pii_detection") else []
    return f"{account.get('finishReason')}: {', '.join(words)}" if words else None


def _request_id(data: Mapping[str, Any]) -> str | None:
    details = data.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("request_id"), str):
            return str(detail["request_id"])
    return None


def quoted(text: str) -> str:
    """A body that is no JSON, as a person would quote it."""
    text = text[:SEARCHED]
    text = re.sub(r"(?is)<(script|style)\b.*?(</\1>|\Z)|<[^>]*>", " ", text) if "<" in text else text
    return " ".join(text.split())


def _seconds(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    return None
