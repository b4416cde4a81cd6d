"""How much memory does a JSON text take with all that is read from it? Far more than its letters, where it is hostile.

What is said here is never too little, by CPython's own sizes on 64 bits and what msgspec was seen to take. Two looks:
one at the whole text, which is enough for nearly all, and one that tells what stands inside of its strings.
"""

from __future__ import annotations

import re

from isochat.errors import ResponseTooLargeError

ROOM = 126 * 1024 * 1024
"""What one reply may take, in bytes: twice the cap of a body, but for what takes part in every call."""

LIGHT = 64 * 1024
"""No text up to this size is worth a look."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ODD = re.compile(rb"[\\\x80-\xff]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
# What makes CPython keep each letter of a text in four bytes, and in two.
_IN_FOUR = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")
_IN_TWO = re.compile(rb"[\xc4-\xef]|\\u")
# An object of one member, a list, a string, a number and its place in a list.
_OBJECT, _LIST, _STRING_HEAD, _ITEM = 200, 64, 50, 40
# Each value as it is decoded, and as the result holds it; but a result has log probabilities as they were decoded.
_TWICE = 2
PROBABILITIES = b'"logprobs"'


def check_weight(body: bytes, room: int = ROOM) -> None:
    """Refuse a JSON text that would take more memory than there is ``room`` for, in bytes.

    Raises:
        ResponseTooLargeError: it would.
    """
    if len(body) >= LIGHT and weight(body, room) > room:
        raise ResponseTooLargeError(f"to read the reply's JSON would take more than {room} bytes of memory")


def room_beside(body: bytes) -> int:
    """How much of :data:`ROOM` is left when ``body`` has been read."""
    return ROOM - (weight(body) if len(body) >= LIGHT else 0)


def weight(body: bytes, most: int = ROOM) -> int:
    """How many bytes reading ``body`` takes at most, itself included; beyond ``most`` it is not weighed to the end."""
    times = 1 if PROBABILITIES in body else _TWICE
    rough = len(body) + len(body) * _width(body, 0, len(body)) + times * _structure(body, 0, len(body))
    return rough if rough <= most else _exact(body, most, times)


def weight_as_text(body: bytes) -> int:
    """How many bytes the whole of ``body`` takes as one text, itself included."""
    return len(body) * (1 + _width(body, 0, len(body)))


def _exact(body: bytes, most: int, times: int) -> int:
    found, before = len(body), 0
    for string in _STRING.finditer(body):
        start, end = string.span()
        found += times * (_structure(body, before, start) + _STRING_HEAD) + (end - start) * _width(body, start, end)
        if found > most:
            return found
        before = end
    return found + times * _structure(body, before, len(body)) + len(body) - before


def _structure(body: bytes, start: int, end: int) -> int:
    """What objects, lists, numbers and strings take between two places, but for the letters of the strings."""
    if start == end:
        return 0
    return (
        _OBJECT * body.count(b"{", start, end)
        + _LIST * body.count(b"[", start, end)
        + _ITEM * body.count(b",", start, end)
        + _STRING_HEAD // 2 * body.count(b'"', start, end)
    )


def _width(body: bytes, start: int, end: int) -> int:
    """How often a text between two places takes its own size while it is decoded, and afterwards.

    What is escaped is copied before it is decoded, and a wider letter makes CPython begin anew in a larger text.
    """
    if not _ODD.search(body, start, end):
        return 1
    escaped = body.find(b"\\", start, end) >= 0
    if _IN_FOUR.search(body, start, end):
        return 6 + 2 * escaped
    if _IN_TWO.search(body, start, end):
        return 3 + escaped
    return 1 + bool(_NOT_ASCII.search(body, start, end)) + escaped
