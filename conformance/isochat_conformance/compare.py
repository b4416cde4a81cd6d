"""The same request through every client: are the answers the same, and what did each client do?

Runs the calls and holds what was seen; :mod:`isochat_conformance.compare_report` shows it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from isochat.client import Client
from isochat.comparison import Diff, diff
from isochat.errors import BackendNotInstalledError, BadRequestError, ChatError, UnsupportedParameterError
from isochat.results import ChatResult
from isochat.transport.exchange import Exchange
from isochat.transport.tap import recording
from isochat_conformance.client_proof import prove

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
        differences: Where its result differs from the first one.
        native: The type of the client's own object.
        lost: Fields of the result that this object lacks: what a user of the bare client does not get.
        contradictions: Fields in which the client's own object and the result disagree; there should be none.
        sent: Method, path, JSON body and headers as they stood on the wire.
    """

    backend: str
    state: State
    reason: str = ""
    result: ChatResult | None = None
    differences: Diff = msgspec.field(default_factory=Diff)
    native: str = ""
    lost: list[str] = []
    contradictions: list[str] = []
    sent: Sent | None = None
    timing: Timing | None = None


class Comparison(msgspec.Struct, kw_only=True):
    """All calls of one comparison; the first row that has a result is the one the others are compared to."""

    messages: Any
    params: Mapping[str, Any]
    rows: list[Row]

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
) -> Comparison:
    """Send the request through each backend in turn.

    Args:
        open_client: Makes the client of a backend.
        progress: Told of each backend before (row ``None``) and after its call.
    """
    comparison = Comparison(messages=messages, params=params, rows=[])
    for backend in backends:
        progress(backend, None)
        row = _call(backend, open_client, messages, params)
        reference = comparison.reference
        if row.result is not None and reference is not None and reference.result is not None:
            row.differences = diff(reference.result, row.result)
        if row.result is not None and (row.differences or row.contradictions):
            row.state = "different"
        comparison.rows.append(row)
        progress(backend, row)
    return comparison


def _call(backend: str, open_client: Callable[[str], Client], messages: Any, params: Mapping[str, Any]) -> Row:
    tape: list[Exchange] = []
    try:
        with open_client(backend) as client, recording() as tape:
            begun = time.monotonic()
            result = client.chat(messages, **dict(params))
            ended = time.monotonic()
    except BackendNotInstalledError as error:
        return Row(backend=backend, state="not installed", reason=error.remedy or error.message)
    except UnsupportedParameterError as error:
        return Row(backend=backend, state="not applicable", reason=error.message)
    except BadRequestError as error:
        spoken = "is not supported" in error.message and ("passthrough" in error.message or "API type" in error.message)
        state: State = "not applicable" if spoken else "failed"
        return Row(backend=backend, state=state, reason=_one_line(error), sent=_sent(tape))
    except ChatError as error:
        return Row(backend=backend, state="failed", reason=_one_line(error), sent=_sent(tape))
    row = Row(
        backend=backend,
        state="same",
        result=result,
        sent=_sent(tape),
        timing=_timing(tape[-1], begun, ended) if tape else None,
    )
    _look_at_native(row, result, client)
    return row


def _look_at_native(row: Row, result: ChatResult, client: Client) -> None:
    """Read the client's own object and compare it with the result: the proof, and the list of what it loses."""
    proof = prove(client.backend, result, clients_may_err=True)
    row.lost, row.contradictions = list(proof.lost), [text for _, text in proof.altered]
    try:
        native = result.meta.native
        row.native = f"{type(native).__module__.partition('.')[0]} {type(native).__name__}"
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
