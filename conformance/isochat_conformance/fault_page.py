"""Which fault has which outcome, on each backend and with its bare client? One page, made from a run.

::

    python -m isochat_conformance.fault_page docs/faults.md

puts the whole fault table to the five built-in backends, a process each, and writes the page. It exits with 1, and
writes nothing, where a row does not hold.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    lines = [*_beginning(sum(outcome.not_applicable is None for outcome in outcomes))]
    lines += [*_contents(), *_by_outcome(), *_of_bare_clients(), *_how_to_read()]
    for theme in load_themes():
        lines += _section(theme, by_row)
    lines += _left_out()
    return "\n".join(lines)


def _beginning(asked: int) -> Iterator[str]:
    yield from (
        "# What can go wrong, and what comes of it",
        "",
        f"{len(load_faults())} faults of network, server and input, each put to all five backends over real sockets: "
        "in a thread and on an event loop, whole and as a stream, wherever that applies. That was asked "
        f"{asked:,} times, and each time the error's class and attributes, the retry verdict, the partial answer and "
        "the number of requests, counted at the server, were those that stand here.",
        "",
        "`isochat conformance BACKEND --faults` puts the same table to any backend, yours included; `--case ID` puts "
        "one row. This page is what `python -m isochat_conformance.fault_page docs/faults.md` writes after a run in "
        "which every row held.",
        "",
    )


def _contents() -> Iterator[str]:
    yield from ("## Where to look", "", "| chapter | rows | about |", "|---|---|---|")
    for theme in load_themes():
        yield f"| {_link(theme)} | {len(theme.rows)} | {_text(theme.doc)} |"
    yield ""


def _by_outcome() -> Iterator[str]:
    yield from ("Or from an error to what brings it about:", "", "| outcome | rows in |", "|---|---|")
    places: dict[str, dict[str, int]] = {}
    for theme in load_themes():
        for fault in theme.rows:
            chapters = places.setdefault(_outcome(fault.expect), {})
            chapters[_link(theme)] = chapters.get(_link(theme), 0) + 1
    for outcome in sorted(places):
        yield f"| {outcome} | {', '.join(f'{link} {count}' for link, count in places[outcome].items())} |"
    yield ""


def _of_bare_clients() -> Iterator[str]:
    bare = bare_clients()
    yield from (
        "## What the bare clients do",
        "",
        "The same faults, each put to the client alone, by a call and by a stream. The Databricks SDK's `query` knows "
        "no streams: what it makes of one is mostly an error of its parser.",
        "",
        f"| | {' | '.join(_client(backend, bare) for backend in BACKENDS)} |",
        "|---" * (1 + len(BACKENDS)) + "|",
    )
    said = {
        backend: [
            (fault.expect, words)
            for fault in load_faults()
            for words in bare.outcomes.get(fault.id, {}).get(backend, {}).values()
        ]
        for backend in BACKENDS
    }
    for label, counts in _COUNTED:
        yield f"| {label} | {' | '.join(f'{sum(counts(*one) for one in said[b]):,}' for b in BACKENDS)} |"
    yield ""


def _how_to_read() -> Iterator[str]:
    yield from (
        "## How to read the tables",
        "",
        "- *isochat* is the verdict, the same on all backends: the error, or the answer; then how many requests the "
        "server has read (×). *again* marks an error with `retryable`, *ran?* one with `may_have_executed`. Where a "
        "fault concerns calls or streams alone, that stands behind its name.",
        "- The other columns are what the *bare* client makes of it: its exception or answer, how often it has asked "
        "where that is not once (×), and how long it has slept in between. *call* and *stream* are told apart where "
        "they differ.",
        "- The bare clients stand at their defaults but for 1 s of silence between two reads; pauses pass on a virtual "
        "clock. *hangs* means not back after 15 s. `bench/bare_faults.py` has measured them.",
        "- A number in parentheses is that of the catalogue of 160 faults from which the table began; *why* gives the "
        "reason for a verdict that is not the catalogue's.",
        "",
    )


def _section(theme: Theme, by_row: Mapping[str, Mapping[str, list[FaultOutcome]]]) -> Iterator[str]:
    yield from (f"## {_title(theme)}", "", theme.doc, "")
    yield f"| fault | isochat | {' | '.join(BACKENDS)} |"
    yield "|---" * (2 + len(BACKENDS)) + "|"
    for fault in theme.rows:
        cells = [_named(fault), _verdict(fault.expect)]
        cells += [_backend_cell(fault, backend, by_row[fault.id][backend]) for backend in BACKENDS]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _title(theme: Theme) -> str:
    words = theme.theme.replace("_", " ")
    return words.upper() if words in _ABBREVIATIONS else words[:1].upper() + words[1:]


def _link(theme: Theme) -> str:
    return f"[{_title(theme)}](#{_title(theme).lower().replace(' ', '-')})"


def _client(backend: str, bare: BareClients) -> str:
    return f"{bare.clients[backend]}" + (f" ({backend})" if backend.startswith("openai") else "")


def _named(fault: Fault) -> str:
    number = f" ({fault.number})" if fault.number is not None else ""
    alone = f" *{fault.asked[0]}s*" if len(fault.asked) == 1 else ""
    departs = f"<br>*why:* {_text(fault.departs)}" if fault.departs else ""
    return f"`{fault.id}`{number}{alone}<br>{_text(fault.doc)}{departs}"


def _outcome(expect: Verdict) -> str:
    if expect.error is None:
        return "the answer" if expect.text else "an answer without text"
    return f"`{expect.error}`"


def _verdict(expect: Verdict) -> str:
    detail = [expect.phase, str(expect.status_code) if expect.status_code else None]
    named = ", ".join(filter(None, detail))
    said = _outcome(expect) + (f" ({named})" if named else "")
    said += ", again" * expect.retryable + ", ran?" * expect.may_have_executed
    partial = f"<br>partial {_code(expect.partial)}" if expect.partial else ""
    return f"{said}<br>×{expect.requests}{partial}"


def _backend_cell(fault: Fault, backend: str, outcomes: Sequence[FaultOutcome]) -> str:
    asked = [outcome for outcome in outcomes if outcome.not_applicable is None]
    reasons = dict.fromkeys(outcome.not_applicable for outcome in outcomes if outcome.not_applicable is not None)
    lines = [f"*not applicable:* {_text(reason)}" for reason in reasons]
    if asked:
        held = sum(outcome.passed for outcome in asked)
        lines += [f"**held in {held} of {len(asked)} modes**"] if held < len(asked) else []
        lines.append(_bare(bare_clients().outcomes.get(fault.id, {}).get(backend, {})))
    return "<br>".join(lines)


# How often it has asked and how long it has slept, which jitter makes others each time.
_FIGURES = re.compile(r"((?<= ×)\d+|(?<=, )\d+(?= s$))")


def _bare(said: Mapping[Asked, str]) -> str:
    if not said:
        return "not measured"
    told = [_FIGURES.split(said[asked]) for asked in MODES if asked in said]
    if all(words[::2] == told[0][::2] for words in told):  # the same but for figures
        return _text("".join("-".join(_in_order(parts)) for parts in zip(*told, strict=True)))
    return "<br>".join(f"*{asked}* {_text(said[asked])}" for asked in MODES if asked in said)


def _in_order(parts: Iterable[str]) -> list[str]:
    distinct = set(parts)
    return sorted(distinct, key=int) if len(distinct) > 1 else list(distinct)


def _left_out() -> Iterator[str]:
    yield from (
        "## Not in the table",
        "",
        "What the catalogue has and a row cannot show, with the test that shows it.",
        "",
        "| number | fault | why it is no row | shown by |",
        "|---|---|---|---|",
    )
    for row in load_left_out():
        shown = f"`{row.shown_by}`" if row.shown_by else ""
        yield f"| {row.number} | {_text(row.fault)} | {_text(row.reason)} | {shown} |"
    yield ""


def _pause(words: str) -> int:
    """Seconds that a bare client has slept, by its outcome in words."""
    found = re.search(r", (\d+) s$", words)
    return int(found[1]) if found else 0


_OF_CODE = frozenset(
    {
        *("AttributeError", "IndexError", "JSONDecodeError", "KeyError"),
        *("OverflowError", "RecursionError", "TypeError", "UnicodeDecodeError"),
    }
)
# What is counted of the bare clients' outcomes, each by the row's verdict and what the client did.
_COUNTED: tuple[tuple[str, Callable[[Verdict, str], bool]], ...] = (
    ("asked", lambda expect, words: True),
    ("gives an answer where isochat raises an error", lambda e, words: bool(e.error) and words.startswith("answers")),
    (
        "gives none, or another, where isochat has the answer",
        lambda e, words: e.error is None and not re.match(r"answers( ×|,|$)|no bound", words),
    ),
    (
        "fails with an exception of its inside (`KeyError`, `TypeError`, `JSONDecodeError`...)",
        lambda e, words: re.split(r"\W", words)[0] in _OF_CODE,
    ),
    ("is not back after 15 s", lambda e, words: words.startswith("hangs")),
    ("sleeps a minute or longer before it gives up", lambda e, words: _pause(words) >= 60),
)
_ABBREVIATIONS = ("tls", "json")


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
