"""How much memory does what is kept of a stream take, and may it be more?

A stream is read event by event; what stays is the answer so far: texts, tool calls, whatever stands beside them. How
much that is shows when it is measured. How much it can have grown since then is known from the bytes that have come:
so it is measured seldom, and never found too large too late.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from sys import getrefcount, getsizeof
from typing import Any

from isochat.errors import ResponseTooLargeError
from isochat.streaming.pieces import Pieces
from isochat.wire_format.json_weight import LIGHT, PROBABILITIES, ROOM, weight

MOST = 40 * 1024 * 1024
"""Bytes of memory. Pieces are joined at the end, and a text in which the token is blanked is there once more."""

# Bytes of an event that is looked at more closely.
_LONG = 200
# Until it is measured again, it may be more than that by so much.
_BEYOND = 16 * 1024 * 1024
# Bytes that one byte of an event can leave behind, as they are counted here: "{}," is an object.
_GROWTH = 96
# Python has one object for each.
_SHARED_NUMBERS = range(-5, 257)
# References to what is held in one place: that one, the local variable and the argument.
_HELD_ONCE = 3
# The parts of a result that are made from one object.
_PART = 160


class Kept:
    """What is kept of one stream, measured now and then."""

    __slots__ = ("_next", "_since", "size")

    def __init__(self) -> None:
        self.size = 0
        self._since = 0
        self._next = (MOST + _BEYOND) // _GROWTH

    def is_due(self, event: int) -> bool:
        """Whether it is to be measured after an event of this size, in bytes."""
        self._since += event
        return self._since > self._next

    def is_due_after(self, event: bytes) -> bool:
        """The same of an event that is there: one of log probabilities has many letters and leaves little behind."""
        many = len(event) > _LONG and PROBABILITIES in event
        return self.is_due(min(len(event), 1 + weight(event) // _GROWTH) if many else len(event))

    def measure(self, *kept: Any) -> None:
        """Raises ResponseTooLargeError if it takes too much."""
        self.size = size_of(kept)
        self._since = 0
        self._next = (MOST + _BEYOND - self.size) // _GROWTH
        if self.size > MOST:
            raise ResponseTooLargeError(f"what the stream has said takes more than {MOST} bytes of memory")


def check_result(data: Any, body: bytes) -> None:
    """Look once more at the values of ``body``, which was weighed without what a result makes of them.

    Raises:
        ResponseTooLargeError: the result would take more memory than there is room for.
    """
    if len(body) >= LIGHT and PROBABILITIES in body and weight(body) + size_of(data, probabilities=False) > ROOM:
        raise ResponseTooLargeError(f"the reply's result would take more than {ROOM} bytes of memory")


def size_of(value: Any, *, probabilities: bool = True) -> int:
    """Bytes of memory that ``value`` takes with all that is in it, and that a result made from it would.

    Args:
        probabilities: Whether log probabilities count. A result has them as they came, and they may be most of it.
    """
    size = 0
    waiting: list[Any] = [value]
    names: set[str] = set()
    shared: set[int] = set()
    while waiting:
        one = waiting.pop()
        if getrefcount(one) > _HELD_ONCE:  # an item of a response is found by place, by id and by kind
            if id(one) in shared:
                continue
            shared.add(id(one))
        size += getsizeof(one)
        inside: Iterable[Any]
        if isinstance(one, dict):
            if "logprob" not in one:  # of those a result makes nothing of its own
                size += _PART
            for name in one:  # mostly the same few
                if name not in names:
                    size += getsizeof(name)
                    if len(names) < 1000:
                        names.add(name)
            inside = one.values()
            if not probabilities and "logprobs" in one:
                inside = [item for name, item in one.items() if name != "logprobs"]
        elif isinstance(one, list | tuple | set | Pieces):
            inside = one
        else:
            inside = _attributes(one)
        letters, plain = 0, True
        for item in inside:
            if isinstance(item, str):
                size += getsizeof(item) + 8
                letters += len(item)
                plain = plain and item.isascii()
            elif isinstance(item, int | float):
                size += 0 if type(item) is int and item in _SHARED_NUMBERS else 32
            elif item is not None:
                waiting.append(item)
        if not plain:  # one wide letter is enough to make all of them wide, once they are joined
            size += 3 * letters
    return size


def _attributes(value: Any) -> Iterable[Any]:
    slots = [getattr(value, name, None) for name in getattr(type(value), "__slots__", ())]
    return chain(slots, getattr(value, "__dict__", {}).values())
