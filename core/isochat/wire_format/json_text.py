"""How is JSON read off the wire, and what may go into it?"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from isochat.errors import BadResponseError, InvalidInputError, ResponseTooLargeError, UnsafeInputError

_BOM = b"\xef\xbb\xbf"
_SNIPPET = 200
_MAX_DEPTH = 64
_MAX_BITS = 1024
# No text up to the first size can take more than the second.
_LIGHT = 1024 * 1024
_HEAVY = 48 * 1024 * 1024
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# What makes CPython keep each letter of a text in four bytes, and in two.
_IN_FOUR = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")
_IN_TWO = re.compile(rb"[\xc4-\xef]|\\u")

_REFUSED = object()
_decode = msgspec.json.Decoder().decode


def decode(body: bytes, content_type: str | None = None) -> Any:
    """The value that ``body`` spells, read as UTF-8 whatever the charset of ``content_type`` claims.

    Raises:
        BadResponseError: it is not JSON; the message shows the beginning and names the content type.
        ResponseTooLargeError: it is nested deeper than anything that a model answers, or has far more values.
    """
    check_weight(body)
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = _REFUSED
    if value is _REFUSED:  # not above: that error would be the context of the next
        value = _read_again(body.removeprefix(_BOM), content_type)
    # Few bodies have so many brackets at all; where to stop must not depend on how deep the caller's stack is.
    if body.count(b"[") + body.count(b"{") > _MAX_DEPTH and _is_deeper(value, _MAX_DEPTH):
        raise _too_deep()
    return value


def check_weight(body: bytes) -> None:
    """Refuse a JSON text whose values would take far more memory than its letters: up to thirty times as much.

    Estimated from its punctuation, with CPython's own sizes on 64 bits: an object of one member, a list, a string, a
    reference. One emoji makes a text four times as large as its letters.

    Raises:
        ResponseTooLargeError: they would take more than 48 MB.
    """
    if len(body) < _LIGHT:
        return
    weight = 184 * body.count(b"{") + 64 * body.count(b"[") + 25 * body.count(b'"') + 8 * body.count(b",")
    if weight <= _HEAVY and not (body.isascii() and b"\\u" not in body):
        weight += _weight_of_wide_texts(body)
    if weight > _HEAVY:
        raise ResponseTooLargeError(f"the values of the reply's JSON would take more than {_HEAVY} bytes of memory")


def _weight_of_wide_texts(body: bytes) -> int:
    weight = 0
    for text in _TEXT.finditer(body):
        start, end = text.span()
        if _IN_FOUR.search(body, start, end):
            weight += 4 * (end - start)
        elif _IN_TWO.search(body, start, end):
            weight += 2 * (end - start)
    return weight


def _read_again(body: bytes, content_type: str | None) -> Any:
    """Read what msgspec refuses: a byte order mark, and an escaped lone surrogate, which providers do send. json also
    takes NaN and 1e400.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise BadResponseError(_not_json(body, content_type, error)) from None


def _is_deeper(value: Any, levels: int) -> bool:
    within = [value]
    for _ in range(levels + 1):
        within = [
            inner
            for outer in within
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not within:
            return False
    return True


def _too_deep() -> ResponseTooLargeError:
    return ResponseTooLargeError(f"the reply's JSON is nested deeper than {_MAX_DEPTH} levels")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]} is beyond every number")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _not_json(body: bytes, content_type: str | None, error: ValueError) -> str:
    kind = f" ({content_type})" if content_type else ""
    if not body.strip():
        return f"the reply has status 200 and an empty body{kind}"
    if body.lstrip()[:1] == b"<":
        return f"the reply is a web page, not JSON{kind}; a login page stands in for a missing or wrong host"
    if isinstance(error, UnicodeDecodeError):
        return f"the reply is not UTF-8{kind}: {error.reason} at byte {error.start}"
    return f"the reply is not JSON{kind}: {error}; it begins {body[:_SNIPPET].decode('utf-8', 'replace')!r}"


def check_sendable(value: Any, path: str, depth: int = 0) -> None:
    """Refuse what cannot stand in a JSON request.

    Raises:
        InvalidInputError: NaN, infinity, bytes, a key that is no string, a foreign type, a cycle.
        UnsafeInputError: text with a lone surrogate, which one client escapes and another cannot send.
    """
    match value:
        case None | bool():
            pass
        case int():
            if value.bit_length() > _MAX_BITS:
                raise InvalidInputError(f"{path} is a number of {value.bit_length()} bits", remedy="Pass a smaller one")
        case str():
            if not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise UnsafeInputError(
                        f"{path} holds half of a surrogate pair at character {error.start}",
                        remedy="Decode the text with the right encoding before sending it",
                    ) from None
        case float():
            if not math.isfinite(value):
                raise InvalidInputError(f"{path} is {value}, which JSON cannot carry", remedy="Pass a finite number")
        case dict() | list() | tuple():
            if depth > _MAX_DEPTH:
                raise InvalidInputError(
                    f"{path[:80]}... is nested deeper than {_MAX_DEPTH} levels, or contains itself",
                    remedy="Flatten it, or pass it as JSON text",
                )
            if isinstance(value, dict):
                for key, item in value.items():
                    if not isinstance(key, str):
                        raise InvalidInputError(f"{path} has the key {key!r}; expected a string")
                    if not key.isascii():
                        check_sendable(key, f"a key of {path}")
                    check_sendable(item, f"{path}.{key}", depth + 1)
            else:
                for index, item in enumerate(value):
                    check_sendable(item, f"{path}[{index}]", depth + 1)
        case _:
            raise InvalidInputError(
                f"{path} is of type {type(value).__name__}, which JSON cannot carry",
                remedy="Pass plain dicts, lists, strings, numbers, booleans or None",
            )


def type_name(value: Any) -> str:
    """What a person calls this JSON value."""
    match value:
        case None:
            return "null"
        case bytes() | bytearray():
            return "bytes"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
    return type(value).__name__
