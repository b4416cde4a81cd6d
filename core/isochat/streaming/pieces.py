"""How is a text kept that comes in thousands of pieces? As a few long ones, until somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

_SMALL = 4096


class Pieces:
    """A text, growing. A piece of four letters alone takes the memory of sixty."""

    __slots__ = ("_long", "_small")

    def __init__(self, *pieces: str) -> None:
        self._long: list[str] = []
        self._small: list[str] = [*pieces]

    def append(self, piece: str) -> None:
        """Take the next piece."""
        self._small.append(piece)
        if len(self._small) == _SMALL:
            self._long.append("".join(self._small))
            self._small.clear()

    def __bool__(self) -> bool:
        return bool(self._small or self._long)

    def __iter__(self) -> Iterator[str]:
        return chain(self._long, self._small)

    def text(self) -> str:
        """All of it, as one piece from here on: it may be large, and each partial result asks for it."""
        if len(self._long) != 1 or self._small:
            self._long = ["".join([*self._long, *self._small])]
            self._small.clear()
        return self._long[0]
