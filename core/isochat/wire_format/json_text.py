"""How is JSON read off the wire, and what may go into it?"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from isochat.errors import BadResponseError, InvalidInputError, ResponseTooLargeError, UnsafeInputError
from isochat.wire_format.json_weight import LIGHT, ROOM, check_weight, weight_as_text

_BOM = b"\xef\xbb\xbf"
_SNIPPET = 200
_MAX_DEPTH = 64
_MAX_BITS = 1024
_MAX_DIGITS = 4300  # Python's own limit; it copies the digits before it counts them
_WORD = re.compile(rb"\S")
# A string, or a whole number that is too long.
_STRING_OR_LONG = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"?|(?<![0-9.])[0-9]{%d}[0-9]*+(?![.eE])' % (_MAX_DIGITS + 1), re.DOTALL
)
_QUOTE = ord('"')

_REFUSED = object()
_decode = msgspec.json.Decoder().decode


def decode(body: bytes, content_type: str | None = None, room: int = ROOM) -> Any:
    """The value that ``body`` spells, read as UTF-8 whatever the charset of ``content_type`` claims.

    Args:
        room: Bytes of memory that reading may take, those of ``body`` included.

    Raises:
        BadResponseError: it is not JSON; the message shows the beginning and names the content type.
        ResponseTooLargeError: it is nested deeper than anything that a model answers, or would take more memory.
    """
    check_weight(body, room)
    text = memoryview(body)[len(_BOM) :] if body.startswith(_BOM) else body
    try:
        value = _decode(text)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = _REFUSED
    if value is _REFUSED:  # not above: that error would be the context of the next
        value = _read_again(body, text, content_type, room)
    # Few bodies have so many brackets at all; where to stop must not depend on how deep the caller's stack is.
    if body.count(b"[") + body.count(b"{") > _MAX_DEPTH and _is_deeper(value, _MAX_DEPTH):
        raise _too_deep()
    return value


def _read_again(body: bytes, text: bytes | memoryview, content_type: str | None, room: int) -> Any:
    """Read what msgspec refuses: an escaped lone surrogate, which providers do send. json also takes NaN and 1e400.

    It reads all of it as one text first, and an error of its holds one more copy.
    """
    if len(body) >= LIGHT:
        if any(body[found.start()] != _QUOTE for found in _STRING_OR_LONG.finditer(body)):
            raise BadResponseError(f"the reply is not JSON: it holds a number of more than {_MAX_DIGITS} digits")
        check_weight(body, room - weight_as_text(body) + len(body))
    try:
        return json.loads(str(text, "utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        told = _not_json(body.removeprefix(_BOM), content_type, error)
    raise BadResponseError(told)


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
    first = _WORD.search(body)
    if first is None:
        return f"the reply has status 200 and an empty body{kind}"
    if first[0] == b"<":
        return f"the reply is a web page, not JSON{kind}; a login page stands in for a missing or wrong host"
    if isinstance(error, UnicodeDecodeError):
        return f"the reply is not UTF-8{kind}: {error.reason} at byte {error.start}"
    return f"the reply is not JSON{kind}: {error}; it begins {body[:_SNIPPET].decode('utf-8', 'replace')!r}"


def no_answer(beginning: bytes, size: int, content_type: str | None) -> BadResponseError:
    """The error for a long body, of that ``size`` in bytes, that is no answer, JSON or not."""
    why = ValueError(f"{size} bytes without an answer")
    return BadResponseError(_not_json(beginning, content_type, why))


def not_quoted(size: int) -> BadResponseError:
    """The error for a body, of that ``size`` in bytes, that is no answer, says the token and is too long to clean."""
    return BadResponseError(f"the reply is no answer; its {size} bytes repeat the token and are not quoted")


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
