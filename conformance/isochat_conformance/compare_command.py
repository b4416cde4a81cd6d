"""``isochat compare``: the same request through every installed backend, side by side."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console

from isochat import plugins
from isochat.cli import exits
from isochat.cli.options import Where, conversation, opened, parameter_options, parameters, read_prompt, where_options
from isochat.errors import ConfigurationError
from isochat.hookspecs import hookimpl
from isochat_conformance.compare import Comparison, Row
from isochat_conformance.compare import compare as run_comparison
from isochat_conformance.compare_document import as_json_document
from isochat_conformance.compare_report import print_report
from isochat_conformance.compare_stream import Streaming

# So that five calls of a sampling model can be the same; `--temperature none` sends none.
_TEMPERATURE = "0"
_MAX_TOKENS = 64
_PIPE_WIDTH = 120
# Models of the local workspace that say the same to the same request.
_DETERMINISTIC = ("scripted",)


@click.command()
@click.argument("prompt")
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--stream", is_flag=True, help="Compare streams: what they fold to, and when their chunks come.")
@where_options
@parameter_options
def compare(
    prompt: str,
    backends: tuple[str, ...],
    stream: bool,
    as_json: bool,
    debug: bool,
    system: str | None,
    max_tokens: int | None,
    temperature: str | None,
    top_p: float | None,
    stop: tuple[str, ...],
    **where: Any,
) -> int:
    """Send PROMPT through every installed backend and compare what comes back.

    Sends max_tokens 64 and temperature 0 unless told otherwise. Exits 1 when results differ and says in which field.

    With --stream every backend streams, and what its stream folds to is compared. With --local each also makes the
    plain call: the folded stream must be the same answer, for a model that says the same twice.
    """
    params = parameters(
        _MAX_TOKENS if max_tokens is None else max_tokens,
        _TEMPERATURE if temperature is None else temperature,
        top_p,
        stop,
    )
    text = read_prompt(prompt)
    names = _chosen(backends)
    console = Console(stderr=True)
    with console.status("") if console.is_terminal and not as_json else _Quiet() as status:
        say = status.update

        def progress(backend: str, row: Row | None) -> None:
            say(f"asking through {backend} ..." if row is None else f"{backend}: {row.state}")

        with opened(**where, on_local=lambda model: say(f"starting a local workspace with {model} ...")) as workspace:
            messages, asked = conversation(system, text), _streaming(workspace) if stream else None
            comparison = run_comparison(names, workspace.open, messages, params, progress, asked)
            place = _place(workspace, comparison)
            logged = _logged(workspace)
    if as_json:
        click.echo(json.dumps(as_json_document(comparison, place, logged), ensure_ascii=False))
    else:
        _print(comparison, place, logged)
    return _exit_code(comparison)


def _streaming(workspace: Where) -> Streaming:
    # A real workspace bills a second call, and its model need not say the same twice.
    if workspace.local is None:
        return Streaming()
    return Streaming(plain=True, deterministic=workspace.local.model_name in _DETERMINISTIC)


def _chosen(backends: Sequence[str]) -> list[str]:
    known = list(plugins.backends())
    if not backends:
        # The raw call first: it is what the others are compared to.
        return sorted(known, key=lambda name: (name != "rest", name))
    for name in backends:
        plugins.load_backend(name)
    return list(backends)


def _place(workspace: Where, comparison: Comparison) -> dict[str, Any]:
    """Who answered, and where: read from the replies, never assumed."""
    answered = [row.result for row in comparison.rows if row.result is not None]
    models = list(dict.fromkeys(result.meta.served_model or result.model for result in answered))
    return {
        "models": models,
        "endpoint": answered[0].meta.endpoint if answered else workspace.client.get("endpoint"),
        "host": workspace.local.url if workspace.local else workspace.client.get("host"),
        "local": workspace.local is not None,
        "settings": workspace.config_file,
    }


def _logged(workspace: Where) -> list[str]:
    """The requests that the local workspace saw, as it saw them."""
    if workspace.local is None:
        return []
    return [f"{request.method} {request.target} {request.status}" for request in workspace.local.requests]


def _exit_code(comparison: Comparison) -> int:
    if comparison.count("different"):
        return exits.DIFFERENT
    if comparison.count("failed"):
        return exits.FAILED
    if comparison.reference is None:
        raise ConfigurationError("no backend could carry the request", remedy="Run: isochat backends")
    return exits.OK


def _print(comparison: Comparison, place: dict[str, Any], logged: list[str]) -> None:
    console = Console(highlight=False)
    if console.is_terminal:
        print_report(console, comparison, place, logged)
        return
    # A pipe: room enough that little is cut, and no blanks at the ends of lines.
    wide = Console(highlight=False, width=int(os.environ.get("COLUMNS") or _PIPE_WIDTH))
    with wide.capture() as captured:
        print_report(wide, comparison, place, logged)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


class _Quiet:
    """In place of a spinner where nobody watches."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def update(self, text: str) -> None:
        pass


@hookimpl
def isochat_commands() -> Sequence[click.Command]:
    """What this module's entry point gives."""
    return [compare]
