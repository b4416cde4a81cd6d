"""Which fault has which outcome, on each backend and with its bare client? One page, made from a run.

::

    python -m isochat_conformance.fault_page docs/faults.md

puts the whole fault table to the five built-in backends, a process each, and writes the page. It exits with 1, and
writes nothing, where a row does not hold.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from isochat_conformance.fault_bench import FaultBench, FaultOutcome
from isochat_conformance.fault_row import MODES, Asked, Fault, Theme, Verdict
from isochat_conformance.fault_table import load_faults, load_left_out, load_themes, shared

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")


class BareClients(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the bare clients made of the table, as ``bench/bare_faults.py`` measured it.

    Attributes:
        clients: By backend, the distribution and its version.
        outcomes: By row, backend and what was asked, in words.
    """

    clients: Mapping[str, str]
    outcomes: Mapping[str, Mapping[str, Mapping[Asked, str]]]


@functools.cache
def bare_clients() -> BareClients:
    """The measurement that is kept beside the table."""
    return msgspec.json.decode(shared("bare_clients.json"), type=BareClients)


def page(outcomes: Sequence[FaultOutcome]) -> str:
    """The page of a run, as Markdown."""
    by_row: dict[str, dict[str, list[FaultOutcome]]] = {}
    for outcome in outcomes:
        by_row.setdefault(outcome.fault, {}).setdefault(outcome.backend, []).append(outcome)
    notes: dict[str, int] = {}
    lines = list(_beginning())
    for theme in load_themes():
        lines += _section(theme, by_row, notes)
    lines += ["## Not applicable", "", *(f"{number}. {reason}" for reason, number in notes.items()), ""]
    lines += _left_out()
    return "\n".join(lines)


def _beginning() -> Iterator[str]:
    faults, bare = load_faults(), bare_clients()
    versions = ", ".join(dict.fromkeys(bare.clients.values()))
    yield from (
        "# What can go wrong, and what comes of it",
        "",
        f"{len(faults)} faults of network, server and input, each put to every backend over real sockets: in a thread "
        "and on an event loop, whole and as a stream, wherever that applies. A backend passes a row only with the "
        "error's class, its attributes, the retry verdict, the partial answer and the number of requests that stand "
        "in the table; the requests are counted at the server.",
        "",
        "This page is generated: `python -m isochat_conformance.fault_page docs/faults.md` runs the table and writes "
        "it. `isochat conformance BACKEND --faults` puts the same table to any backend, yours included; "
        "`--case ID` puts one row.",
        "",
        "How to read a row:",
        "",
        "- *isochat* is the verdict, the same on all backends: the error, or the answer; then how many requests the "
        "server has read. *again* marks an error with `retryable`, *ran?* one with `may_have_executed`.",
        "- A backend's column says in how many of its modes the row holds, and below it what the bare client makes of "
        "the same fault: its exception or answer, how often it has asked (×), and how long it has slept in between. "
        "*call* and *stream* are told apart where they differ.",
        f"- The bare clients are {versions}, at their defaults but for 1 s of silence between two reads; pauses pass "
        "on a virtual clock. *hangs* means not back after 15 s. They were measured by `bench/bare_faults.py`.",
        "- A number in parentheses behind a row's name is that of the catalogue of 160 faults from which the table "
        "began; *departs* says why a verdict is not the catalogue's.",
        "",
    )


def _section(
    theme: Theme, by_row: Mapping[str, Mapping[str, list[FaultOutcome]]], notes: dict[str, int]
) -> Iterator[str]:
    yield f"## {theme.theme.replace('_', ' ').capitalize()}"
    yield ""
    yield theme.doc
    yield ""
    yield f"| fault | isochat | {' | '.join(BACKENDS)} |"
    yield "|---" * (2 + len(BACKENDS)) + "|"
    for fault in theme.rows:
        cells = [_named(fault), _verdict(fault.expect)]
        for backend in BACKENDS:
            cells.append(_backend_cell(fault, backend, by_row[fault.id][backend], notes))
        yield f"| {' | '.join(cells)} |"
    yield ""


def _named(fault: Fault) -> str:
    number = f" ({fault.number})" if fault.number is not None else ""
    departs = f"<br>*departs:* {_text(fault.departs)}" if fault.departs else ""
    return f"`{fault.id}`{number}<br>{_text(fault.doc)}{departs}"


def _verdict(expect: Verdict) -> str:
    if expect.error is None:
        said = "the answer" if expect.text else "an answer without text"
    else:
        detail = [expect.phase, str(expect.status_code) if expect.status_code else None]
        named = ", ".join(filter(None, detail))
        said = f"`{expect.error}`" + (f" ({named})" if named else "")
        said += ", again" * expect.retryable + ", ran?" * expect.may_have_executed
    partial = f"<br>partial {_code(expect.partial)}" if expect.partial else ""
    return f"{said}<br>×{expect.requests}{partial}"


def _backend_cell(fault: Fault, backend: str, outcomes: Sequence[FaultOutcome], notes: dict[str, int]) -> str:
    asked = [outcome for outcome in outcomes if outcome.not_applicable is None]
    reasons = dict.fromkeys(outcome.not_applicable for outcome in outcomes if outcome.not_applicable is not None)
    marks = [f"n/a {notes.setdefault(reason, len(notes) + 1)}" for reason in reasons]
    if not asked:
        return ", ".join(marks)
    held = sum(outcome.passed for outcome in asked)
    ours = ", ".join([f"{held} of {len(asked)}", *marks])
    return f"{ours}<br>{_bare(bare_clients().outcomes.get(fault.id, {}).get(backend, {}))}"


def _bare(said: Mapping[Asked, str]) -> str:
    if not said:
        return "not measured"
    if len(set(said.values())) == 1:
        return _text(next(iter(said.values())))
    return "; ".join(f"*{asked}* {_text(said[asked])}" for asked in MODES if asked in said)


def _left_out() -> Iterator[str]:
    yield "## Left out of the catalogue"
    yield ""
    yield "| number | fault | why | shown by |"
    yield "|---|---|---|---|"
    for row in load_left_out():
        shown = f"`{row.shown_by}`" if row.shown_by else ""
        yield f"| {row.number} | {_text(row.fault)} | {_text(row.reason)} | {shown} |"
    yield ""


def _text(text: str) -> str:
    """Words that stand in a cell, whatever is in them."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return "".join(c if c.isprintable() else f"\\\\u{ord(c):04x}" for c in escaped)


def _code(text: str) -> str:
    return f"`{''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)}`"


def run(backend: str) -> list[FaultOutcome]:
    """Put the whole table to ``backend``."""
    logging.disable(logging.CRITICAL)  # clients log the errors that the table is about
    with FaultBench() as bench:
        return [outcome for fault in load_faults() for outcome in bench.run(backend, fault)]


def main(arguments: Sequence[str]) -> int:
    """Run the table and write the page to the one file that is named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m isochat_conformance.fault_page FILE\n")
        return 2
    with ProcessPoolExecutor() as pool:
        outcomes = [outcome for of_backend in pool.map(run, BACKENDS) for outcome in of_backend]
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        sys.stderr.write(f"{outcome.backend}, {outcome.fault}, {outcome.mode}: {'; '.join(outcome.findings)}\n")
    if failed:
        return 1
    Path(arguments[0]).write_text(page(outcomes), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
