"""``isochat conformance BACKEND``: does this backend give the same answers as every other one?"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import click
from rich.console import Console
from rich.progress import Progress

from isochat import plugins
from isochat.cli import exits
from isochat.hookspecs import hookimpl
from isochat_conformance.case import Case, load_cases
from isochat_conformance.conformance_report import as_json_document, print_report
from isochat_conformance.engine import Bench, Outcome
from isochat_conformance.modes import MODES, Mode


@click.command()
@click.argument("backend")
@click.option("--case", "ids", multiple=True, metavar="ID", help="Only this case; may be repeated.")
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="Only this mode; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def conformance(backend: str, ids: tuple[str, ...], modes: tuple[Mode, ...], as_json: bool) -> int:
    """Run the conformance suite against BACKEND, over real HTTP on this machine.

    Each case is asked in each mode that it has: in a thread and on an event loop, whole and as a stream. Nothing leaves
    the machine and no credentials are needed. Says in words what fails, and lists what the client's own object lacks of
    each answer. Exits 0 if all cases pass, 1 if one fails, 2 if the suite cannot run.
    """
    plugins.load_backend(backend)
    cases = _chosen(ids)
    runs = [(case, mode) for case in cases for mode in case.modes if mode in (modes or MODES)]
    if not runs:
        raise click.BadParameter(f"none of these cases is asked in {' or '.join(modes)}", param_hint="--mode")
    with _quiet_clients():
        outcomes = _run(backend, runs, show_progress=not as_json)
    if as_json:
        click.echo(json.dumps(as_json_document(backend, outcomes)))
    else:
        print_report(_console(), backend, {case.id: case for case in cases}, outcomes)
    return exits.OK if all(outcome.passed for outcome in outcomes) else exits.DIFFERENT


def _chosen(ids: Sequence[str]) -> list[Case]:
    cases = {case.id: case for case in load_cases()}
    for name in ids:
        if name not in cases:
            close = _nearest(name, cases)
            raise click.BadParameter(f"there is no case {name!r}{close}", param_hint="--case")
    return [cases[name] for name in ids] if ids else list(cases.values())


def _nearest(name: str, cases: dict[str, Case]) -> str:
    close = difflib.get_close_matches(name, cases, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _run(backend: str, runs: Sequence[tuple[Case, Mode]], *, show_progress: bool) -> list[Outcome]:
    try:
        bench = Bench()
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error
    console = Console(stderr=True)
    outcomes = []
    shown = show_progress and console.is_terminal
    # Not Progress(disable=True): rich 13 ends even that with an empty line in a pipe.
    with bench, Progress(console=console, transient=True) if shown else nullcontext() as progress:
        task = progress.add_task(backend, total=len(runs)) if progress else None
        for case, mode in runs:
            outcomes.append(bench.run(backend, case, mode))
            if progress is not None and task is not None:
                progress.advance(task)
    return outcomes


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
