"""`isochat serve`: a local Databricks workspace in a terminal, with a line for each request."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from .declaration import declared_endpoints
from .failure import Failure

if TYPE_CHECKING:
    from .records import RecordedRequest
    from .workspace import Workspace

_KEEP_REQUESTS = 1000
_STATUS_STYLES = {2: "green", 4: "yellow", 5: "red"}


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
    help="What answers on the default endpoints: scripted (deterministic sentences, the default), or smollm2 (a real"
    " 135M model, see `isochat local install`).",
)
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
) -> None:
    """Run a local Databricks workspace until Ctrl-C.

    Any Databricks client can be pointed at it. Exit code 0 when stopped, 1 when it could not start.
    """
    output = _JsonLines() if as_json else _Lines()
    with _stopped_by_signals() as done:

        def access_log(request: RecordedRequest) -> None:
            try:
                output.request(request)
            except OSError:  # nobody reads any more (`isochat serve | head`)
                done.set()

        workspace = _workspace(
            config,
            endpoints,
            model,
            {"token": token, "host": host, "port": port, "access_log": access_log, "keep_requests": _KEEP_REQUESTS},
        )
        if workspace.model_name != "scripted":
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


class _Lines:
    """For people: how to point clients here, then a line per request. A stream has its line when it has ended."""

    def __init__(self) -> None:
        # What has no line breaks stays so, for copying; the terminal folds it where it must.
        self._console = Console(soft_wrap=True, highlight=False)

    def note(self, text: str) -> None:
        self._print(Text(text, style="dim"))

    def started(self, workspace: Workspace) -> None:
        endpoint, width = workspace.default_endpoint, max(len(e.name) for e in workspace.endpoints)
        self._print(
            Text.assemble(
                ("Databricks workspace at ", "bold"),
                (workspace.url, "bold cyan"),
                f", answered by {workspace.model_name}. Ctrl-C stops it.",
            )
        )
        self._print(Text("\nEndpoints", style="bold"))
        for one in workspace.endpoints:
            self._print(Text(f"  {one.name:<{width}}  {', '.join(one.speaks)}"))
        for title, lines in _ways_in(workspace, endpoint).items():
            self._print(Text(f"\n{title}", style="bold"))
            for line in lines:
                self._print(Text(f"  {line}"))
        self._print(Text("\nRequests", style="bold"))

    def request(self, request: RecordedRequest) -> None:
        # To the end of the answer: of a stream, that is what took the time.
        milliseconds = (request.ended_at - request.arrived_at) * 1000
        self._print(
            Text.assemble(
                (time.strftime("  %H:%M:%S  "), "dim"),
                (f"{request.status}", _STATUS_STYLES.get(request.status // 100, "")),
                (f"  {milliseconds:7.1f} ms  ", "dim"),
                f"{_shown(request.method, 7):<4} {_shown(request.path, 90)}  ",
                (_shown(request.header("user-agent") or "", 40), "dim"),
                ("  client left early" if request.closed_early else "", "yellow"),
            )
        )

    def _print(self, text: Text) -> None:
        self._console.print(text)
        sys.stdout.flush()


class _JsonLines(_Lines):
    """For programs. `ms` is the time until the status was known, `total_ms` until the answer had ended."""

    def note(self, text: str) -> None:
        return

    def started(self, workspace: Workspace) -> None:
        _write_json(
            {
                "url": workspace.url,
                "token": workspace.token,
                "model": workspace.model_name,
                "endpoints": [endpoint.name for endpoint in workspace.endpoints],
            }
        )

    def request(self, request: RecordedRequest) -> None:
        _write_json(
            {
                "time": time.time(),
                "method": request.method,
                "target": request.target,
                "status": request.status,
                "ms": round((request.answered_at - request.arrived_at) * 1000, 3),
                "total_ms": round((request.ended_at - request.arrived_at) * 1000, 3),
                "closed_early": request.closed_early,
                "user_agent": request.header("user-agent"),
            }
        )


def _ways_in(workspace: Workspace, endpoint: str) -> dict[str, tuple[str, ...]]:
    """Lines to copy, by client."""
    url, token = workspace.url, workspace.token
    question = '{"messages": [{"role": "user", "content": "Hello"}]}'
    invocations = f"{url}/serving-endpoints/{endpoint}/invocations"
    curl = f"curl -u token:{token} -H 'content-type: application/json' -d '{question}' {invocations}"
    return {
        "Environment, for every Databricks client": (
            f"export DATABRICKS_HOST={url}",
            f"export DATABRICKS_TOKEN={token}",
        ),
        "isochat": (f'isochat chat --endpoint {endpoint} "Hello"',),
        "curl": (curl,),
        "OpenAI client (Python)": (f'OpenAI(base_url="{url}/serving-endpoints", api_key="{token}")',),
    }


def _write_json(line: dict[str, Any]) -> None:
    # Straight to the stream: a terminal's width must not break the line. ASCII: any byte may be in a target.
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _shown(text: str, longest: int) -> str:
    """Text from outside, on one line, without control characters, shortened."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."


def _workspace(
    config: Path | None, endpoints: tuple[str, ...], model: str | None, settings: dict[str, Any]
) -> Workspace:
    """The workspace that a file, endpoints or a model ask for; only one of the three may."""
    from isochat.errors import ConfigurationError

    try:
        from isochat_workspace import Workspace
    except ModuleNotFoundError as error:
        raise Failure(str(error)) from error
    asked = {"--config": config, "--endpoint": endpoints, "--model": model}
    given = [name for name, value in asked.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} both say what is served: give one of them")
    try:
        if config is not None:
            return Workspace.from_file(config, **settings)
        known = {name: value for name, value in settings.items() if value is not None}
        if endpoints:
            return Workspace(declared_endpoints(endpoints), **known)
        return Workspace(model=model or "scripted", **known)
    except ConfigurationError as error:
        raise Failure(error.message, error.remedy) from error


def _start(workspace: Workspace) -> None:
    from isochat.errors import ConfigurationError

    try:
        workspace.start()
    except ConfigurationError as error:
        raise Failure(error.message, error.remedy) from error
    except OSError as error:
        host, port = workspace.address
        remedy = "use another --host or --port; port 0 is a free one"
        raise Failure(f"cannot listen on port {port} of {host}: {error.strerror or error}", remedy) from error


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, in place of a traceback."""
    done = threading.Event()

    def stop(number: int, frame: object) -> None:
        done.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield done
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
