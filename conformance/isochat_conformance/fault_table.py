"""Which faults are there? The rows of ``faults/*.json``, a file for each theme, read strictly.

A key that no field of :mod:`isochat_conformance.fault_row` names is an error, and so is a row that contradicts itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import msgspec

from isochat_conformance.fault_row import Fault, Layer, LeftOut, Step, Theme
from isochat_conformance.strict_json import strict_json


class FaultTableError(ValueError):
    """A fault file is not well formed; the message names file, row and place."""


@functools.cache
def load_themes() -> tuple[Theme, ...]:
    """All rows, by theme, in the order of their files' names.

    Raises:
        FaultTableError: a file is not well formed, or two rows have one id.
    """
    folder = files("isochat_conformance") / "faults"
    named = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    themes = tuple(read_theme(file.read_text(encoding="utf-8"), file.name) for file in named)
    seen: set[str] = set()
    for row in (row for theme in themes for row in theme.rows):
        if row.id in seen:
            raise FaultTableError(f"two rows have the id {row.id!r}")
        seen.add(row.id)
    return themes


def load_faults() -> tuple[Fault, ...]:
    """All rows; raises as :func:`load_themes`."""
    return tuple(row for theme in load_themes() for row in theme.rows)


@functools.cache
def layer_of(fault_id: str) -> Layer:
    """The layer of the theme in which the row stands."""
    return next(theme.layer for theme in load_themes() if any(row.id == fault_id for row in theme.rows))


def load_left_out() -> tuple[LeftOut, ...]:
    """The catalogue's numbers that are no rows; raises as :func:`load_themes`."""
    rows: tuple[LeftOut, ...] = _converted(shared("left_out.json"), "left_out.json", tuple[LeftOut, ...])
    return rows


def shared(name: str) -> str:
    """The text of a file that is not a theme of its own."""
    return (files("isochat_conformance") / "faults" / "shared" / name).read_text(encoding="utf-8")


def read_theme(text: str, where: str) -> Theme:
    """The rows that ``text``, the content of a file called ``where``, holds.

    Raises:
        FaultTableError: it is no theme, names an unknown field or a key twice, or a row contradicts itself.
    """
    theme: Theme = _converted(text, where, Theme)
    for row in theme.rows:
        for problem in _problems(row):
            raise FaultTableError(f"{where}: row {row.id!r}: {problem}")
    return theme


def _converted(text: str, where: str, kind: Any) -> Any:
    try:
        return msgspec.convert(strict_json(text), kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise FaultTableError(f"{where}: {error}") from None


def _problems(row: Fault) -> Iterator[str]:
    if not row.id or not row.doc.strip():
        yield "id and doc may not be empty"
    if not row.asked or len(set(row.asked)) < len(row.asked):
        yield "asked names call, stream or both, each once"
    expect = row.expect
    if (expect.error is None) == (expect.text is None):
        yield "expect must have either error or text"
    if expect.error is not None and (expect.warnings or expect.arguments is not None):
        yield "an error has no warnings and no tool calls"
    if expect.error is None and (expect.partial is not None or expect.phase or expect.status_code):
        yield "an answer has no partial, phase or status_code"
    if expect.partial is not None and row.asked != ("stream",):
        yield "only a stream has a partial answer"
    if expect.phase is not None and expect.error != "ChatTimeoutError":
        yield "only ChatTimeoutError has a phase"
    if row.departs is not None and (row.number is None or not row.departs.strip()):
        yield "departs says why the verdict is not that of the row's number"
    for steps in (*row.server, *row.proxy):
        yield from _script_problems(steps)


def _script_problems(steps: Sequence[Step]) -> Iterator[str]:
    for place, step in enumerate(steps):
        given = [name for name in ("do", "send", "reply", "drip", "tls") if getattr(step, name) is not None]
        if len(given) != 1:
            yield f"step {place} must be one of do, send, reply, drip and tls"
        if step.do in ("again", "reset", "end", "tunnel") and place < len(steps) - 1:
            yield f"nothing can follow {step.do!r}"
        if step.tls is not None and place:
            yield "the handshake comes first"
