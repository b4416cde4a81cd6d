"""`isochat serve`: a local Databricks workspace in a terminal, with a line for each request."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from isochat_workspace.cli.failure import Failure
from isochat_workspace.cli.serve_output import JsonLines, Lines
from isochat_workspace.cli.serve_sources import chosen_responder, source_options, told_source, warnings_shown
from isochat_workspace.declaration import declared_endpoints

if TYPE_CHECKING:
    from isochat_workspace.http.records import RecordedRequest
    from isochat_workspace.serving.responder import Responder
    from isochat_workspace.workspace import Workspace

_KEEP_REQUESTS, _KEEP_BYTES = 1000, 64 * 1024 * 1024


@click.command()
@click.option(
    "--config", type=click.Path(path_type=Path), help="A workspace.toml that declares endpoints and their models."
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="NAME=MODEL",
    help="One endpoint in place of the default ones, and what answers there; may be given several times.",
)
@click.option("--host", help="Address to listen on [default: 127.0.0.1]; any other lets other machines in.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0, the default, takes a free one.")
@click.option(
    "--model",
    help="What answers on the default endpoints: scripted[:RULES.toml] (deterministic sentences, the default), smollm2"
    " (a real 135M model, see `isochat local install`), or replay:FILE.",
)
@source_options
@click.option("--token", help="The token to accept; a random one if not given.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON with url and token, then one per request.")
def serve(
    config: Path | None,
    endpoints: tuple[str, ...],
    host: str | None,
    port: int | None,
    model: str | None,
    token: str | None,
    as_json: bool,
    **sources: Any,
) -> None:
    """Run a local Databricks workspace until Ctrl-C.

    Any Databricks client can be pointed at it. Exit code 0 when stopped, 3 when it could not start.
    """
    output = JsonLines() if as_json else Lines()
    done = threading.Event()
    with _on_signals(lambda number, frame: done.set()), warnings_shown():

        def access_log(request: RecordedRequest) -> None:
            try:
                output.request(request)
            except OSError:  # nobody reads any more (`isochat serve | head`)
                done.set()

        responder = _responder(sources)
        workspace = _workspace(
            config,
            endpoints,
            model,
            responder,
            {
                "token": token,
                "host": host,
                "port": port,
                "access_log": access_log,
                "keep_requests": _KEEP_REQUESTS,
                "keep_bytes": _KEEP_BYTES,
            },
        )
        if responder is not None:
            for line in told_source(responder):
                output.note(line)
        elif workspace.model_name != "scripted":
            output.note(f"loading {workspace.model_name} ...")
        _start(workspace)
        try:
            output.started(workspace)
            # In slices: an endless wait is deaf to Ctrl-C on Windows.
            while not done.wait(0.5):
                pass
            output.note("stopped")
        except OSError:
            # The interpreter flushes stdout once more on its way out; that must not complain either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            workspace.stop()


def _responder(sources: dict[str, Any]) -> Responder | None:
    from isochat.errors import ConfigurationError

    try:
        return chosen_responder(sources)
    except ConfigurationError as error:
        raise Failure(error.message, error.remedy) from error
    except ModuleNotFoundError as error:
        raise Failure(str(error)) from error


def _workspace(
    config: Path | None,
    endpoints: tuple[str, ...],
    model: str | None,
    responder: Responder | None,
    settings: dict[str, Any],
) -> Workspace:
    """The workspace that a file, endpoints, a model or a recording ask for; only one of the four may."""
    from isochat.errors import ConfigurationError

    try:
        from isochat_workspace import Workspace
        from isochat_workspace.models.model_table import make_model
    except ModuleNotFoundError as error:
        raise Failure(str(error)) from error
    asked = {"--config": config, "--endpoint": endpoints, "--model": model, "a recording": responder}
    given = [name for name, value in asked.items() if value not in (None, ())]
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} both say what is served: give one of them")
    try:
        if config is not None:
            return Workspace.from_file(config, **settings)
        known = {name: value for name, value in settings.items() if value is not None}
        if endpoints:
            return Workspace(declared_endpoints(endpoints), **known)
        answering = responder or make_model("scripted" if model is None else model, Path.cwd())
        return Workspace(model=answering, **known)
    except ConfigurationError as error:
        raise Failure(error.message, error.remedy) from error


def _start(workspace: Workspace) -> None:
    from isochat.errors import ConfigurationError

    try:
        # A login or an engine that loads may take half a minute, and nothing is there yet to be ended in good order.
        with _on_signals(signal.SIG_DFL):
            workspace.start()
    except ConfigurationError as error:
        raise Failure(error.message, error.remedy) from error
    except OSError as error:
        host, port = workspace.address
        # asyncio's own sentence says host and port once more.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or error
        remedy = "Use another --host or --port; port 0 is a free one"
        raise Failure(f"cannot listen on port {port} of {host}: {reason}", remedy) from error


@contextmanager
def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """What Ctrl-C and SIGTERM do meanwhile, in place of a traceback."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)
