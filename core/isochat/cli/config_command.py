"""``isochat config show``: which settings are in force, and where does each come from?"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from isochat.cli.options import config_file_here
from isochat.config.settings import BY_NAME, resolve
from isochat.redaction import names_a_secret


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.option("--target", metavar="NAME", help="A target of isochat.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def show(target: str | None, as_json: bool) -> None:
    """Print the settings in force and where each comes from; secrets are masked."""
    settings = resolve({}, target=target, config_file=config_file_here(target))
    rows: list[tuple[str, Any, str]] = [
        (name, _shown(name, settings[name]), settings.sources[name].name) for name in BY_NAME
    ]
    rows += [(f"params.{name}", _masked(name, value), str(settings.file)) for name, value in settings.params.items()]
    if as_json:
        click.echo(json.dumps({name: {"value": value, "source": source} for name, value, source in rows}))
        return
    if not sys.stdout.isatty():
        for name, value, source in rows:
            click.echo(f"{name}\t{value}\t{source}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("setting", "value", "source"):
        table.add_column(column)
    for name, value, source in rows:
        style = "dim" if source == "default" else ""
        table.add_row(name, "" if value is None else str(value), source, style=style)
    Console().print(table)


def _shown(name: str, value: Any) -> Any:
    if name == "headers":
        return dict.fromkeys(value, "***")  # what stands in a header of one's own may be a key
    if BY_NAME[name].kind in ("names", "plugins"):
        return ", ".join(value) or None
    return _masked(name, value)


def _masked(name: str, value: Any) -> Any:
    """``value`` for people: no token, no header's value, no password in a host's URL, none of a body's secrets."""
    if value is None:
        return None
    if name == "token":
        return _MASK
    if name == "host":
        return re.sub(r".*@", f"{_MASK}@", str(value))
    if name in ("headers", "extra_headers"):
        return dict.fromkeys(value, _MASK)
    return _without_secrets(value)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _MASK if names_a_secret(key) else _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


_MASK = "***"
