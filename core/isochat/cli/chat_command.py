"""``isochat chat``: one question to one endpoint, through one backend."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console

from isochat.cli.displays import AsJsonLines, Display, InPipe, OnTerminal, as_json_document
from isochat.cli.options import conversation, opened, parameter_options, parameters, read_prompt, where_options
from isochat.client import Client
from isochat.errors import BadRequestError, ChatError
from isochat.results import ChatResult
from isochat.streaming.streams import ChatStream


@click.command()
@click.argument("prompt")
@click.option("--backend", metavar="NAME", help="The client that carries the call; `isochat backends` lists them.")
@click.option(
    "--fallback",
    metavar="NAME",
    multiple=True,
    help="Who carries the call on when the service cannot be had: a backend, or target:NAME. May be repeated.",
)
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Print the answer as it comes, or when it is whole. Without either it streams where the endpoint can; with "
    "--json it is one document, with --json --stream a line of JSON for each chunk and one for the result.",
)
@where_options
@parameter_options
def chat(
    prompt: str,
    backend: str | None,
    fallback: tuple[str, ...],
    stream: bool | None,
    as_json: bool,
    debug: bool,
    system: str | None,
    max_tokens: int | None,
    temperature: str | None,
    top_p: float | None,
    stop: tuple[str, ...],
    **where: Any,
) -> None:
    """Ask PROMPT ('-' reads it from standard input).

    On a terminal the answer appears as it comes, reasoning apart from it. In a pipe stands the text of the answer and
    nothing else, the same bytes whether streamed or not. Ctrl-C leaves what has come.
    """
    params = parameters(max_tokens, temperature, top_p, stop)
    messages = conversation(system, read_prompt(prompt))
    with opened(**where, fallback=fallback or None) as workspace, workspace.open(backend) as client:
        if workspace.config_file:
            click.echo(f"settings: {workspace.config_file}", err=True)
        if as_json and not stream:
            click.echo(json.dumps(as_json_document(client.chat(messages, **params)), ensure_ascii=False))
            return
        display = _display(as_json, at_once=bool(stream))
        if stream is False or not (stream or client.capabilities.streaming):
            display.end(client.chat(messages, **params))
        else:
            display.end(_streamed(client, messages, params, display, asked=bool(stream)))


def _display(as_json: bool, at_once: bool) -> Display:
    if as_json:
        return AsJsonLines()
    return OnTerminal() if sys.stdout.isatty() else InPipe(at_once)


def _streamed(client: Client, messages: Any, params: dict[str, Any], display: Display, asked: bool) -> ChatResult:
    try:
        stream: ChatStream = client.chat(messages, stream=True, **params)
    except BadRequestError as error:
        if asked or "stream" not in error.message.lower():
            raise
        # Refused unread. Nobody asked for a stream: the answer is what is wanted.
        Console(stderr=True).print("this endpoint refuses to stream: asked for the whole answer", style="dim")
        whole: ChatResult = client.chat(messages, **params)
        return whole
    with stream:
        return _followed(stream, display)


def _followed(stream: ChatStream, display: Display) -> ChatResult:
    try:
        for chunk in stream:
            display.add(chunk)
        return stream.result()
    except ChatError:
        display.broken(stream.partial)
        raise
    except KeyboardInterrupt:
        display.left(stream.partial)
        raise
