"""The same request through every client: are the answers the same, and what did each client do?

Runs the calls and holds what was seen; :mod:`isochat_conformance.compare_report` shows it.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from isochat.client import Client
from isochat.comparison import Diff, diff
from isochat.errors import (
    BackendNotInstalledError,
    BadRequestError,
    ChatError,
    ChatTimeoutError,
    ConfigurationError,
    InvalidInputError,
    UnsupportedParameterError,
)
from isochat.results import ChatResult
from isochat.transport.exchange import Exchange
from isochat.transport.tap import recording
from isochat_conformance.client_proof import prove
from isochat_conformance.compare_stream import Streamed, Streaming, follow, hold_against_plain

# Here, so that the first of the calls that are timed does not pay for what all of them load.
for _module in ("isochat.transport.wire", "isochat.transport.pools", "encodings.idna"):
    importlib.import_module(_module)

State = Literal["same", "different", "failed", "not applicable", "not installed"]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one call.

    Attributes:
        first_byte: From sending the request to the reply's headers.
        total: The whole call.
        client: What the client library spent beside waiting for the wire.
        isochat: What isochat spent before and after the client.
    """

    first_byte: float
    total: float
    client: float
    isochat: float


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it stood on the wire."""

    method: str
    path: str
    body: Any
    headers: Mapping[str, str]


class Row(msgspec.Struct, kw_only=True):
    """One backend's call.

    Attributes:
        state: How its answer stands to the first one.
        reason: Why it is not applicable, not installed or failed.
        error: What it failed with, or what says that it is not applicable.
        differences: Where its result differs from the first one.
        native: The type of the client's own object.
        lost: Fields of the result that this object lacks: what a user of the bare client does not get.
        contradictions: Fields in which the client's own object and the result disagree; there should be none.
        sent: Method, path, JSON body and headers as they stood on the wire.
        timing: Of a plain call.
        stream: How it came, where a stream was asked for; then the client's own object is not looked at.
    """

    backend: str
    state: State
    reason: str = ""
    error: ChatError | None = None
    result: ChatResult | None = None
    differences: Diff = msgspec.field(default_factory=Diff)
    native: str = ""
    lost: list[str] = []
    contradictions: list[str] = []
    sent: Sent | None = None
    timing: Timing | None = None
    stream: Streamed | None = None


class Comparison(msgspec.Struct, kw_only=True):
    """All calls of one comparison; the first row that has a result is the one the others are compared to.

    Attributes:
        streaming: What was asked of the streams; ``None`` if plain calls were compared.
    """

    messages: Any
    params: Mapping[str, Any]
    rows: list[Row]
    streaming: Streaming | None = None

    @property
    def reference(self) -> Row | None:
        """The row that the others are compared to."""
        return next((row for row in self.rows if row.result is not None), None)

    def count(self, *states: State) -> int:
        """How many rows are in one of ``states``."""
        return sum(row.state in states for row in self.rows)


def compare(
    backends: Iterable[str],
    open_client: Callable[[str], Client],
    messages: Any,
    params: Mapping[str, Any],
    progress: Callable[[str, Row | None], None] = lambda backend, row: None,
    streaming: Streaming | None = None,
) -> Comparison:
    """Send the request through each backend in turn.

    Args:
        open_client: Makes the client of a backend.
        progress: Told of each backend before (row ``None``) and after its call.
        streaming: Ask for streams, and compare what they fold to.

    Raises:
        ChatError: nothing was sent, for a reason that all backends have in common: the configuration, the input or the
            login.
    """
    comparison = Comparison(messages=messages, params=params, rows=[], streaming=streaming)
    for backend in backends:
        progress(backend, None)
        row = _call(backend, open_client, messages, params, streaming)
        if isinstance(row.error, ChatTimeoutError) and row.error.phase == "auth":
            raise row.error  # each of the others would wait as long for the same login
        reference = comparison.reference
        if row.result is not None and reference is not None and reference.result is not None:
            row.differences = diff(reference.result, row.result)
        broken = row.stream is not None and row.stream.law.state == "broken"
        if row.result is not None and (row.differences or row.contradictions or broken):
            row.state = "different"
        comparison.rows.append(row)
        progress(backend, row)
    asked = [row for row in comparison.rows if row.state != "not installed"]
    if asked and asked[0].error is not None and all(_is_the_same(row, asked[0].error) for row in asked):
        raise asked[0].error
    return comparison


def _call(
    backend: str,
    open_client: Callable[[str], Client],
    messages: Any,
    params: Mapping[str, Any],
    streaming: Streaming | None,
) -> Row:
    row = Row(backend=backend, state="same")
    tape: list[Exchange] = []
    try:
        with open_client(backend) as client:
            if streaming is None:
                with recording() as tape:
                    row.result, row.timing = _answered(client, messages, params, tape)
                _look_at_native(row, row.result, client)
            else:
                row.stream = seen = Streamed()
                with recording() as tape:
                    row.result = follow(client, messages, params, tape, seen)
                if seen.law.state != "broken":
                    seen.law = hold_against_plain(client, messages, params, row.result, streaming)
    except BackendNotInstalledError as error:
        # Without a backend it is the login that lacks a package, for all of them.
        row.state, row.reason = "not installed" if error.backend else "failed", error.remedy or error.message
        row.error = None if error.backend else error
    except UnsupportedParameterError as error:
        row.state, row.reason, row.error = "not applicable", error.message, error
    except ChatError as error:
        row.state, row.reason = "not applicable" if _not_spoken(error) else "failed", _one_line(error)
        row.error = error
    row.sent = _sent(tape)
    return row


def _answered(
    client: Client, messages: Any, params: Mapping[str, Any], tape: Sequence[Exchange]
) -> tuple[ChatResult, Timing | None]:
    begun = time.monotonic()
    result = client.chat(messages, **dict(params))
    ended = time.monotonic()
    return result, _timing(tape[-1], begun, ended) if tape else None


def _is_the_same(row: Row, error: ChatError) -> bool:
    unsent = row.state == "failed" and isinstance(row.error, ConfigurationError | InvalidInputError)
    return unsent and row.error is not None and row.error.message == error.message


def _not_spoken(error: ChatError) -> bool:
    """Whether the endpoint does not speak the backend's API, in the service's own words for that."""
    if not isinstance(error, BadRequestError) or "is not supported" not in error.message:
        return False
    return "passthrough" in error.message or "API type" in error.message


def _look_at_native(row: Row, result: ChatResult, client: Client) -> None:
    """Read the client's own object and compare it with the result: the proof, and the list of what it loses."""
    proof = prove(client.backend, result, clients_may_err=True)
    row.lost, row.contradictions = list(proof.lost), [text for _, text in proof.altered]
    try:
        native = result.meta.native
        module = type(native).__module__.partition(".")[0]
        row.native = type(native).__name__ if module == "builtins" else f"{module} {type(native).__name__}"
    except ChatError as error:
        row.native = f"none: {error.message}"


def _sent(tape: Sequence[Exchange]) -> Sent | None:
    if not tape or not tape[-1].method:
        return None
    wire = tape[-1]
    scheme_and_host = "/".join(wire.url.split("/", 3)[:3])
    headers = {
        name: "***" if name in wire.credentials else wire.redactor.clean(value)
        for name, value in wire.request_headers.items()
    }
    return Sent(
        method=wire.method,
        path=wire.url.removeprefix(scheme_and_host),
        body=json.loads(wire.request_body) if wire.request_body else None,
        headers=headers,
    )


def _timing(wire: Exchange, begun: float, ended: float) -> Timing | None:
    times = wire.times
    if not {"client", "sent", "head", "end", "returned"} <= times.keys():
        return None
    return Timing(
        first_byte=1000 * (times["head"] - times["sent"]),
        total=1000 * (ended - begun),
        client=1000 * ((times["returned"] - times["client"]) - (times["end"] - times["sent"])),
        isochat=1000 * ((ended - begun) - (times["returned"] - times["client"])),
    )


def _one_line(error: ChatError) -> str:
    return " ".join(str(error).split())
