"""``isochat backends``: which clients can carry a call, and what is missing for the others?"""

from __future__ import annotations

import contextlib
import json
import sys

import click
import msgspec
from rich.console import Console
from rich.table import Table

from isochat import plugins


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def backends(as_json: bool) -> None:
    """List the installed backends."""
    with contextlib.redirect_stdout(sys.stderr):  # what modules print while they load is no part of the list
        found = plugins.backends(load=True)
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(info) for info in found.values()]))
        return
    if not sys.stdout.isatty():
        for info in found.values():
            click.echo(f"{info.name}\t{_state(info)}\t{info.distribution}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("backend", "API", "distribution", "state"):
        table.add_column(column)
    for info in found.values():
        style = "green" if _ready(info) else "yellow"
        api = info.capabilities.api if info.capabilities else "?"
        table.add_row(info.name, api, info.distribution, f"[{style}]{_state(info)}[/]")
    Console().print(table)


def _ready(info: plugins.BackendInfo) -> bool:
    return info.installed and info.problem is None


def _state(info: plugins.BackendInfo) -> str:
    if info.problem is not None:
        return info.problem
    return "ready" if info.installed else info.install
