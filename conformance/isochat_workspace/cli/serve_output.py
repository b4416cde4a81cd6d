"""What does `isochat serve` show? The ways in, then a line for each request: for people, or as JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from isochat_workspace.cli.client_names import client_name
from isochat_workspace.cli.ways_in import ways_in
from isochat_workspace.serving.routes import find_route

if TYPE_CHECKING:
    from isochat_workspace.http.records import RecordedRequest
    from isochat_workspace.workspace import Workspace

_STATUS_STYLES = {0: "yellow", 2: "green", 4: "yellow", 5: "red"}
_COMMON_PATH = "/serving-endpoints/"
_LONGEST_PATH, _LONGEST_CLIENT = 120, 40
_ONE_LINE_WIDTH = 110
_LEGEND = "ms to the first byte → to the end, tokens in+out"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Its SystemExit would end the server's thread and leave the program waiting for it.
        raise BrokenPipeError


class Lines:
    """For people. A stream has its line when it has ended, or when its client has left."""

    def __init__(self) -> None:
        # What has no line breaks stays so, for copying; the terminal folds it where it must.
        self._console = _Console(soft_wrap=True, highlight=False)

    def note(self, text: str) -> None:
        """Say something in passing."""
        self._print(Text(text, style="dim"))

    def started(self, workspace: Workspace) -> None:
        """Say where it listens, what is served, and how each client gets in."""
        where = Text.assemble(("Databricks workspace at ", "bold"), (workspace.url, "bold cyan"))
        self._print(where.append(f", answered by {workspace.model_name}."))
        self.note("Ctrl-C stops it.")
        if workspace.endpoints:
            self._print(Text("\nEndpoints", style="bold"))
        width = max((len(one.name) for one in workspace.endpoints), default=0)
        for one in workspace.endpoints:
            self._print(Text.assemble("  ", (f"{one.name:<{width}}", "cyan"), f"  {', '.join(one.speaks)}"))
        for way in ways_in(workspace):
            # Headings are comments to a shell and to Python: a whole block can be pasted.
            self._print(Text(f"\n# {way.client}", style="bold"))
            for line in way.lines:
                self._print(Text(line))
        self._print(Text.assemble(("\nRequests", "bold"), (f"  {_LEGEND}", "dim")))

    def request(self, request: RecordedRequest) -> None:
        """A line for one request, its columns under those of the others; two on a narrow terminal."""
        left = Text("  client left early" if request.closed_early else "", "yellow")
        head, details = _head(request), _details(request)
        if not self._console.is_terminal:
            self._print(Text.assemble(head, details, _target(request, sys.maxsize), left))
            return
        width = self._console.width
        if width >= _ONE_LINE_WIDTH:
            target = _target(request, width - len(head) - details.cell_len - len(left))
            self._print(Text.assemble(head, details, target, left))
        else:
            self._print(Text.assemble(head, _target(request, width - len(head))))
            details.rstrip()
            details.truncate(max(width - len(left), 0), overflow="ellipsis")
            indent = min(len(head), max(width - details.cell_len - len(left), 0))
            self._print(Text.assemble(" " * indent, details, left))

    def _print(self, text: Text) -> None:
        encoding = self._console.encoding
        if not encoding.lower().startswith("utf"):  # a pipe on Windows, an old locale
            plain = text.plain.replace("→", "->").replace("…", "...")
            text = Text(plain.encode(encoding, "replace").decode(encoding))
        self._console.print(text)
        sys.stdout.flush()


class JsonLines(Lines):
    """For programs. `ms` is the time until the status was known, `total_ms` until the answer had ended."""

    def note(self, text: str) -> None:
        """Nothing: a line that is no JSON would break a program."""
        return

    def started(self, workspace: Workspace) -> None:
        """One line with everything a client needs."""
        _write_json(
            {
                "url": workspace.url,
                "token": workspace.token,
                "model": workspace.model_name,
                "endpoints": [endpoint.name for endpoint in workspace.endpoints],
            }
        )

    def request(self, request: RecordedRequest) -> None:
        """One line for one request; the status is null where the client left before it."""
        first, total = milliseconds(request)
        prompt, completion = request.tokens or (None, None)
        _write_json(
            {
                "time": time.time(),
                "method": request.method,
                "target": request.target,
                "endpoint": endpoint_of(request),
                "status": request.status or None,
                "ms": round(first, 3),
                "total_ms": round(total, 3),
                "stream": request.streamed,
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "closed_early": request.closed_early,
                "client": client_name(request),
                "user_agent": request.header("user-agent"),
            }
        )


def endpoint_of(request: RecordedRequest) -> str | None:
    """The endpoint that a request names, in its path or as the `model` of its body."""
    route = find_route(request.path)
    if route is None or route.operation in ("list", "host_metadata"):
        return None
    if route.endpoint is not None:
        return route.endpoint
    try:
        body = request.json()
    except (ValueError, RecursionError):
        return None
    model = body.get("model") if isinstance(body, dict) else None
    return model if isinstance(model, str) else None


def milliseconds(request: RecordedRequest) -> tuple[float, float]:
    """From the arrival of a request to its status, and to the end of its answer."""
    # The status that never came counts as the end.
    first = (request.answered_at or request.ended_at) - request.arrived_at
    return first * 1000, (request.ended_at - request.arrived_at) * 1000


def shown(text: str, longest: int) -> str:
    """Text from outside, on one line, without control characters, shortened."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."


def _head(request: RecordedRequest) -> Text:
    """Time, status and duration: of a stream to the first byte and to the end, which is what took the time."""
    first, total = (_short(value) for value in milliseconds(request))
    took = f"{first} → {total}" if request.streamed else total
    return Text.assemble(
        (time.strftime("%H:%M:%S "), "dim"),
        (f"{request.status or '---'} ", _STATUS_STYLES.get(request.status // 100, "")),
        (f"{took:>13}  ", "dim"),
    )


def _details(request: RecordedRequest) -> Text:
    """Kind of answer, tokens and client, in columns."""
    tokens = "" if request.tokens is None else f"{request.tokens[0]}+{request.tokens[1]}"
    client = Text(f"{shown(client_name(request), _LONGEST_CLIENT):<22}  ")
    return Text.assemble((f"{'stream' if request.streamed else 'plain ':6}  {tokens:>7}  ", "dim"), client)


def _target(request: RecordedRequest, room: int) -> Text:
    """Method, path and endpoint, which is picked out of the path or told after it; cut to fit."""
    path, name = shown(request.path, _LONGEST_PATH), shown(endpoint_of(request) or "", _LONGEST_PATH)
    method = shown(request.method, 7)
    target = Text()
    for start in (path, path.replace(_COMMON_PATH, "…/", 1)):
        target = Text(f"{method} {start}")
        if name and name not in start:
            target.append(f" {name}")
        if target.cell_len <= room:
            break
    if name:
        begin = target.plain.rindex(name)
        target.stylize("cyan", begin, begin + len(name))
    target.truncate(max(room, 0), overflow="ellipsis")
    return target


def _short(value: float) -> str:
    """Milliseconds in a few characters: what is long needs no fraction."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _write_json(line: dict[str, Any]) -> None:
    # Straight to the stream: a terminal's width must not break the line. ASCII: any byte may be in a target.
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
