"""Can these bytes be kept as JSON and still be given back to the byte?

A reader wants JSON, a replay wants the bytes that came. Both are had where one of a few ways of writing gives the same
bytes again; where none does (a number spelled in a way of its own, a key twice), the text itself has to be kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn

STYLES: Final = ("compact", "spaced", "compact-ascii", "spaced-ascii")
"""Ways of writing: with or without blanks behind `,` and `:`, with or without escapes for what is not ASCII."""

DEEPEST: Final = 100
"""Levels of nesting that are kept as JSON."""


def read_strict(text: str, deepest: int = DEEPEST) -> Any:
    """JSON in which no object has a key twice, no number is NaN or infinite, and nothing is nested too deep.

    Raises ValueError for any other.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if text.count("[") + text.count("{") > deepest:
        check_depth(value, deepest)
    return value


def check_depth(value: Any, deepest: int) -> None:
    """Raises ValueError where `value` has more levels."""
    level = [value]
    for _ in range(deepest + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {deepest} levels")


def write_in(style: str, value: Any) -> bytes:
    """`value` written in one of the STYLES. Raises ValueError where it cannot be (half of a surrogate pair)."""
    separators = (",", ":") if style.startswith("compact") else (", ", ": ")
    return json.dumps(value, ensure_ascii=style.endswith("ascii"), separators=separators, allow_nan=False).encode()


def read_exactly(raw: bytes, styles: Sequence[str] = STYLES) -> tuple[Any, str] | None:
    """The value and the style that give `raw` again; None where there are none."""
    try:
        value = read_strict(raw.decode())
        return next(((value, style) for style in styles if _same(style, value, raw)), None)
    except ValueError:
        return None


def _same(style: str, value: Any, raw: bytes) -> bool:
    try:
        return write_in(style, value) == raw
    except UnicodeEncodeError:
        return False


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise TwiceError(name)
            seen.add(name)
    return read


def strict_decoder() -> json.JSONDecoder:
    """A decoder with the same strictness but for the depth, for documents that stand one behind the other."""
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


class TwiceError(ValueError):
    """An object has the key `name` twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"an object has the key {name[:60]!r} twice")
        self.name = name


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
