"""How does a conformance run look, to a person and to a program?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from isochat_conformance.engine import Outcome
from isochat_conformance.fault_bench import FaultOutcome
from isochat_conformance.loss_list import Loss, LossList, Misreading, loss_list
from isochat_conformance.modes import MODES, Mode

# On a terminal, how many of the cases that cannot be asked are named.
_NAMED = 12


class Asked(Protocol):
    """What was asked: a case of the suite, or a fault."""

    @property
    def id(self) -> str: ...

    @property
    def doc(self) -> str: ...

    @property
    def modes(self) -> tuple[Mode, ...]: ...


class Judged(Protocol):
    """What one of them showed in one mode."""

    @property
    def case(self) -> str: ...

    @property
    def mode(self) -> Mode: ...

    @property
    def passed(self) -> bool: ...

    @property
    def carried(self) -> bool: ...

    @property
    def findings(self) -> Sequence[str]: ...

    @property
    def not_applicable(self) -> str | None: ...

    @property
    def seconds(self) -> float: ...


J = TypeVar("J", bound=Judged)


def print_report(console: Console, backend: str, asked: Mapping[str, Asked], outcomes: Sequence[Outcome]) -> None:
    """Print what the cases showed: failures first, then what the client loses, last the verdict."""
    _print_failures(console, asked, outcomes)
    _print_losses(console, loss_list(outcomes))
    _print_rest(console, backend, "cases", outcomes)


def print_fault_report(
    console: Console, backend: str, asked: Mapping[str, Asked], outcomes: Sequence[FaultOutcome]
) -> None:
    """Print what the faults showed: failures first, last the verdict."""
    _print_failures(console, asked, outcomes)
    _print_rest(console, backend, "faults", outcomes)


def _print_failures(console: Console, asked: Mapping[str, Asked], outcomes: Sequence[Judged]) -> None:
    failures: dict[tuple[str, tuple[str, ...]], list[Mode]] = {}
    for outcome in outcomes:
        if not outcome.passed:
            failures.setdefault((outcome.case, tuple(outcome.findings)), []).append(outcome.mode)
    for (case, findings), modes in failures.items():
        _print_failure(console, asked[case], findings, modes)


def _print_rest(console: Console, backend: str, what: str, outcomes: Sequence[Judged]) -> None:
    _print_not_applicable(console, what, outcomes)
    _print_modes(console, outcomes)
    console.print(_verdict(backend, what, outcomes))


def as_json_document(backend: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "backend": backend,
        "api": outcomes[0].api if outcomes else None,
        **_counts_document(outcomes),
        "cases": [
            {
                **_document(outcome),
                "carried": outcome.carried,
                "client_call": outcome.client_call or None,
            }
            for outcome in outcomes
        ],
        "losses": msgspec.to_builtins(loss_list(outcomes)),
    }


def as_fault_document(backend: str, outcomes: Sequence[FaultOutcome]) -> dict[str, Any]:
    """The same of the fault table."""
    return {
        "backend": backend,
        **_counts_document(outcomes),
        "faults": [
            {**_document(outcome), "said": outcome.said or None, "requests": outcome.requests} for outcome in outcomes
        ],
    }


def _counts_document(outcomes: Sequence[Judged]) -> dict[str, Any]:
    modes = {mode: msgspec.to_builtins(_counted(of_mode)) for mode, of_mode in _by_mode(outcomes).items()}
    return {**msgspec.to_builtins(_counted(outcomes)), "modes": modes}


def _document(outcome: Judged) -> dict[str, Any]:
    return {
        "id": outcome.case,
        "mode": outcome.mode,
        "passed": outcome.passed,
        "not_applicable": outcome.not_applicable,
        "findings": list(outcome.findings),
        "seconds": round(outcome.seconds, 4),
    }


class _Counts(msgspec.Struct, frozen=True):
    """How many runs - a case in a mode - ended how. Those refused, as they must be, are among the passed."""

    passed: int
    failed: int
    refused: int
    not_applicable: int


def _counted(outcomes: Sequence[Judged]) -> _Counts:
    asked = [outcome for outcome in outcomes if outcome.not_applicable is None]
    return _Counts(
        passed=sum(outcome.passed for outcome in asked),
        failed=sum(not outcome.passed for outcome in asked),
        refused=sum(not outcome.carried for outcome in asked),
        not_applicable=len(outcomes) - len(asked),
    )


def _by_mode(outcomes: Sequence[J]) -> dict[Mode, list[J]]:
    by_mode: dict[Mode, list[J]] = {mode: [outcome for outcome in outcomes if outcome.mode == mode] for mode in MODES}
    return {mode: of_mode for mode, of_mode in by_mode.items() if of_mode}


def _print_failure(console: Console, case: Asked, findings: Sequence[str], modes: Sequence[Mode]) -> None:
    where = "" if tuple(modes) == case.modes else f"  in {', '.join(modes)}"
    console.print(Text.assemble(("FAIL ", "bold red"), (case.id, "bold"), (where, "red")))
    _print_indented(console, Text(case.doc, style="dim"), 5)
    for finding in findings:
        _print_indented(console, Text.assemble(("- ", "red"), finding), 5)
    console.print()


def _print_not_applicable(console: Console, what: str, outcomes: Sequence[Judged]) -> None:
    reasons = [outcome.not_applicable for outcome in outcomes if outcome.not_applicable is not None]
    for reason in dict.fromkeys(reasons):
        set_aside = [outcome for outcome in outcomes if outcome.not_applicable == reason]
        of_reason = list(dict.fromkeys(outcome.case for outcome in set_aside))
        where = f" as {', '.join(_by_mode(set_aside))}" if _asked(outcomes).intersection(of_reason) else ""
        console.print(Text.assemble((f"Not applicable{where}, {_number(of_reason, what)}", "bold"), f": {reason}"))
        left_out = len(of_reason) - _NAMED if console.is_terminal else 0
        named = ", ".join(of_reason[:_NAMED] if left_out > 0 else of_reason)
        more = f" and {left_out} more (--json names them)" if left_out > 0 else ""
        _print_indented(console, Text(named + more, style="dim"), 2)
    if reasons:
        console.print()


def _print_modes(console: Console, outcomes: Sequence[Judged]) -> None:
    """A line for each mode, its numbers under one another."""
    rows = [("mode", *_Counts.__struct_fields__)]
    for mode, of_mode in _by_mode(outcomes).items():
        rows.append((mode, *(str(count or "-") for count in msgspec.structs.astuple(_counted(of_mode)))))
    shown = [
        column for column in range(len(rows[0])) if column < 2 or any(row[column] not in ("-",) for row in rows[1:])
    ]
    widths = {column: max(len(row[column]) for row in rows) for column in shown}
    for number, row in enumerate(rows):
        line = Text(style="bold" if number == 0 else "")
        for column in shown:
            cell = row[column].replace("_", " ")
            failed = rows[0][column] == "failed" and number > 0 and cell != "-"
            line.append(
                f"{cell:<{widths[column]}}" if column == 0 else f"  {cell:>{widths[column]}}", "red" if failed else ""
            )
        _print_indented(console, line, 2)
    console.print()


def _print_losses(console: Console, losses: LossList) -> None:
    if losses.lost:
        console.print(Text("What the client's own object lacks of the answer", style="bold"))
        for call in dict.fromkeys(loss.client_call for loss in losses.lost):
            of_call = [loss for loss in losses.lost if loss.client_call == call]
            _print_indented(console, Text(call, style="cyan"), 2)
            width = max(len(loss.field) for loss in of_call)
            for loss in of_call:
                _print_indented(console, Text(f"{loss.field:<{width}}  {_how_often(loss)}"), 4)
        console.print()
    if losses.misread:
        console.print(Text("Replies that the client's own parser misreads (isochat reads them)", style="bold"))
        for misreading in losses.misread:
            _print_indented(console, _misreading(misreading), 2)
        console.print()


def _how_often(loss: Loss) -> str:
    counted = f"{loss.lost} of {loss.told} cases"
    return f"always, {counted}" if loss.lost == loss.told else f"in {counted}"


def _misreading(misreading: Misreading) -> Text:
    return Text.assemble((misreading.case, "cyan"), f"  {misreading.what}")


def _verdict(backend: str, noun: str, outcomes: Sequence[Judged]) -> Text:
    asked = _asked(outcomes)
    aside = {outcome.case for outcome in outcomes} - asked
    failed = {outcome.case for outcome in outcomes if not outcome.passed}
    seconds = sum(outcome.seconds for outcome in outcomes)
    modes = len({outcome.mode for outcome in outcomes if outcome.not_applicable is None})
    aim = "its path" if noun == "cases" else "it"
    what = f"{_number(asked, noun)} in {modes} mode{'s' * (modes != 1)}, {seconds:.1f} s"
    if any(not outcome.carried and outcome.case in asked for outcome in outcomes):
        what += "; refused are those that its API or the backend cannot carry, before a byte was sent"
    if aside:
        what += f"; {_number(aside, f'further {noun}')} {'is' if len(aside) == 1 else 'are'} not applicable to {aim}"
    if failed:
        return Text.assemble((f"{backend} fails {len(failed)}", "bold red"), f" of {what}")
    return Text.assemble((f"{backend} conforms", "bold green"), f": {what}")


def _asked(outcomes: Sequence[Judged]) -> set[str]:
    return {outcome.case for outcome in outcomes if outcome.not_applicable is None}


def _number(counted: Collection[str], noun: str) -> str:
    return f"{len(counted)} {noun.removesuffix('s') if len(counted) == 1 else noun}"


def _print_indented(console: Console, text: Text, indent: int) -> None:
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent), expand=False))
    else:  # a finding is one line, whatever its length, so that it can be searched for
        console.print(Text(" " * indent).append_text(text))
