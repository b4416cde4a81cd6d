"""``isochat conformance BACKEND``: does this backend give the same answers, and errors, as every other one?"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import Progress

from isochat import plugins
from isochat.cli import exits
from isochat.cli.options import missing_extra
from isochat.hookspecs import hookimpl
from isochat_conformance.case import Case, load_cases
from isochat_conformance.conformance_report import (
    Judged,
    as_fault_document,
    as_json_document,
    print_fault_report,
    print_report,
)
from isochat_conformance.engine import Bench
from isochat_conformance.fault_bench import FaultBench, FaultOutcome
from isochat_conformance.fault_table import load_faults
from isochat_conformance.modes import MODES, Mode

T = TypeVar("T")


@click.command()
@click.argument("backend")
@click.option("--faults", is_flag=True, help="Put the fault table to it: what a network and a server can do wrong.")
@click.option("--case", "ids", multiple=True, metavar="ID", help="Only this case, or fault; may be repeated.")
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="Only this mode; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def conformance(backend: str, faults: bool, ids: tuple[str, ...], modes: tuple[Mode, ...], as_json: bool) -> int:
    """Run the conformance suite against BACKEND, over real HTTP on this machine.

    Each case is asked in each mode that it has: in a thread and on an event loop, whole and as a stream. Nothing leaves
    the machine and no credentials are needed. Says in words what fails, and lists what the client's own object lacks of
    each answer; with --faults, what is wrong after each fault. Exits 0 if all pass, 1 if one fails, 2 if the suite
    cannot run.
    """
    plugins.load_backend(backend)
    with _quiet_clients(), _refusing_what_is_missing():
        return (_judge_faults if faults else _judge_cases)(backend, ids, modes or MODES, as_json)


def _judge_cases(backend: str, ids: Sequence[str], modes: Sequence[Mode], as_json: bool) -> int:
    cases = _chosen("case", ids, {case.id: case for case in load_cases()})
    runs: list[tuple[Case, Mode]] = [(case, mode) for case in cases.values() for mode in case.modes if mode in modes]
    _refuse_nothing("cases", runs, modes)
    outcomes = []
    with Bench() as bench, _progress(backend, len(runs), as_json) as advance:
        for case, mode in runs:
            outcomes.append(bench.run(backend, case, mode))
            advance()
    if as_json:
        click.echo(json.dumps(as_json_document(backend, outcomes)))
    else:
        print_report(_console(), backend, cases, outcomes)
    return _exit_code(outcomes)


def _judge_faults(backend: str, ids: Sequence[str], modes: Sequence[Mode], as_json: bool) -> int:
    faults = _chosen("fault", ids, {fault.id: fault for fault in load_faults()})
    asked = [fault for fault in faults.values() if set(fault.modes) & set(modes)]
    _refuse_nothing("faults", asked, modes)
    outcomes: list[FaultOutcome] = []
    with FaultBench() as bench, _progress(backend, len(asked), as_json) as advance:
        for fault in asked:
            outcomes += bench.run(backend, fault, modes)
            advance()
    if as_json:
        click.echo(json.dumps(as_fault_document(backend, outcomes)))
    else:
        print_fault_report(_console(), backend, faults, outcomes)
    return _exit_code(outcomes)


def _exit_code(outcomes: Sequence[Judged]) -> int:
    return exits.OK if all(outcome.passed for outcome in outcomes) else exits.DIFFERENT


def _chosen(what: str, ids: Sequence[str], known: dict[str, T]) -> dict[str, T]:
    for name in ids:
        if name not in known:
            close = _nearest(name, known)
            raise click.BadParameter(f"there is no {what} {name!r}{close}", param_hint="--case")
    return {name: known[name] for name in ids} if ids else known


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _refuse_nothing(what: str, runs: Sequence[object], modes: Sequence[Mode]) -> None:
    if not runs:
        raise click.BadParameter(f"none of these {what} is asked in {' or '.join(modes)}", param_hint="--mode")


@contextmanager
def _refusing_what_is_missing() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error


@contextmanager
def _progress(what: str, total: int, as_json: bool) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        # Not Progress(disable=True): rich 13 ends even that with an empty line in a pipe.
        yield lambda: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def _quiet_clients() -> Iterator[None]:
    """Clients log the errors that half of the cases are about; here only the findings matter."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _console() -> Console:
    console = Console(highlight=False)
    # A pipe has no width; rich's 80 would break lines that programs read.
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True)


@hookimpl
def isochat_commands() -> Sequence[click.Command]:
    """The command of this module."""
    return [conformance]
