"""``isochat chat``: one question to one endpoint, through one backend."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console

from isochat.cli.options import conversation, opened, parameter_options, parameters, read_prompt, where_options
from isochat.results import ChatResult


@click.command()
@click.argument("prompt")
@click.option("--backend", metavar="NAME", help="The client that carries the call; `isochat backends` lists them.")
@where_options
@parameter_options
def chat(
    prompt: str,
    backend: str | None,
    as_json: bool,
    debug: bool,
    system: str | None,
    max_tokens: int | None,
    temperature: str | None,
    top_p: float | None,
    stop: tuple[str, ...],
    **where: Any,
) -> None:
    """Ask PROMPT ('-' reads it from standard input)."""
    params = parameters(max_tokens, temperature, top_p, stop)
    text = read_prompt(prompt)
    with opened(**where) as workspace, workspace.open(backend) as client:
        if workspace.config_file:
            click.echo(f"settings: {workspace.config_file}", err=True)
        result = client.chat(conversation(system, text), **params)
    if as_json:
        click.echo(json.dumps({**result.to_dict(), "meta": _meta(result)}, ensure_ascii=False))
        return
    if result.reasoning and sys.stdout.isatty():
        Console().print(result.reasoning, style="dim italic", markup=False, highlight=False)
    click.echo(printable(result.text) if sys.stdout.isatty() else result.text)
    if sys.stdout.isatty():
        Console(stderr=True).print(_footer(result), style="dim", markup=False, highlight=False)


def printable(text: str) -> str:
    """``text`` without control characters: an answer must not give orders to the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def _footer(result: ChatResult) -> str:
    meta, usage = result.meta, result.usage
    facts = [meta.client_call, meta.served_model or result.model, result.finish_reason]
    if usage is not None and usage.total_tokens is not None:
        facts.append(f"{usage.total_tokens} tokens")
    facts.append(f"{meta.elapsed:.2f} s")
    return " · ".join(fact for fact in facts if fact)


def _meta(result: ChatResult) -> dict[str, Any]:
    meta = result.meta
    return {
        "backend": meta.backend,
        "endpoint": meta.endpoint,
        "client_call": meta.client_call,
        "request_id": meta.request_id,
        "served_model": meta.served_model,
        "status_code": meta.status_code,
        "elapsed": round(meta.elapsed, 6),
        "attempts": meta.attempts,
        "warnings": list(meta.warnings),
    }
