"""How does a conformance run look, to a person and to a program?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from isochat_conformance.case import Case
from isochat_conformance.engine import Outcome
from isochat_conformance.loss_list import Loss, LossList, Misreading, loss_list


def print_report(console: Console, backend: str, cases: Mapping[str, Case], outcomes: Sequence[Outcome]) -> None:
    """Print what the cases showed: failures first, then what the client loses, last the verdict."""
    for outcome in outcomes:
        if not outcome.passed:
            _print_failure(console, cases[outcome.case], outcome)
    _print_losses(console, loss_list(outcomes))
    _print_not_applicable(console, outcomes)
    console.print(_verdict(backend, outcomes))


def as_json_document(backend: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "backend": backend,
        "api": outcomes[0].api if outcomes else None,
        "passed": sum(outcome.passed and outcome.not_applicable is None for outcome in outcomes),
        "failed": sum(not outcome.passed for outcome in outcomes),
        "not_applicable": sum(outcome.not_applicable is not None for outcome in outcomes),
        "cases": [
            {
                "id": outcome.case,
                "passed": outcome.passed,
                "carried": outcome.carried,
                "not_applicable": outcome.not_applicable,
                "client_call": outcome.client_call or None,
                "findings": list(outcome.findings),
                "seconds": round(outcome.seconds, 4),
            }
            for outcome in outcomes
        ],
        "losses": msgspec.to_builtins(loss_list(outcomes)),
    }


def _print_failure(console: Console, case: Case, outcome: Outcome) -> None:
    console.print(Text.assemble(("FAIL ", "bold red"), (case.id, "bold")))
    _print_indented(console, Text(case.doc, style="dim"), 5)
    for finding in outcome.findings:
        _print_indented(console, Text.assemble(("- ", "red"), finding), 5)
    console.print()


def _print_not_applicable(console: Console, outcomes: Sequence[Outcome]) -> None:
    reasons = [outcome.not_applicable for outcome in outcomes if outcome.not_applicable is not None]
    for reason in dict.fromkeys(reasons):
        of_reason = [outcome.case for outcome in outcomes if outcome.not_applicable == reason]
        console.print(Text.assemble((f"Not applicable, {len(of_reason)} cases", "bold"), f": {reason}"))
        _print_indented(console, Text(", ".join(of_reason), style="dim"), 2)
    if reasons:
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


def _verdict(backend: str, outcomes: Sequence[Outcome]) -> Text:
    failed = sum(not outcome.passed for outcome in outcomes)
    aside = sum(outcome.not_applicable is not None for outcome in outcomes)
    refused = sum(not outcome.carried for outcome in outcomes) - aside
    seconds = sum(outcome.seconds for outcome in outcomes)
    what = f"{len(outcomes) - aside} cases in {seconds:.1f} s"
    if refused:
        what += f", {refused} of them refused before a byte was sent, as they must be by its API"
    if aside:
        what += f"; {aside} further cases are not applicable to its path"
    if failed:
        return Text.assemble((f"{backend} fails {failed}", "bold red"), f" of {what}")
    return Text.assemble((f"{backend} conforms", "bold green"), f": {what}")


def _print_indented(console: Console, text: Text, indent: int) -> None:
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent), expand=False))
    else:  # a finding is one line, whatever its length, so that it can be searched for
        console.print(Text(" " * indent).append_text(text))
