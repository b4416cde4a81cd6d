"""What is a fault? What the server does, byte by byte, how the client is set, and what must come of it.

One row serves every backend, in a thread and on an event loop; where the two APIs word an answer differently, its texts
say ``${answer}`` and the like (``faults/shared/bodies.json``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from isochat.request import Api
from isochat_conformance.modes import Mode

Asked = Literal["call", "stream"]
MODES: Mapping[Asked, tuple[Mode, ...]] = {"call": ("sync", "async"), "stream": ("stream", "async-stream")}
Layer = Literal["transport", "answer"]
Certificate = Literal["trusted", "stranger", "other name", "expired", "not yet valid"]
Simple = Literal["request", "first byte", "reset", "end", "half-close", "hold", "freeze", "again", "tunnel", "damage"]


class _Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a fault file."""


class Body(_Data, frozen=True, kw_only=True):
    """Bytes, told shortly: ``before``, then ``text`` as often as ``repeat`` says, then ``after``.

    Attributes:
        hex: In place of ``text``.
        by_api: In place of ``text``, where the APIs differ in more than the shared bodies.
        replace: Pairs of what is replaced by what in the text, e.g. line ends.
        encoding: Of the text.
        coding: How all of it is compressed.
        cut: Bytes that are then left out at the end.
    """

    text: str = ""
    hex: str = ""
    by_api: dict[Api, str] = {}
    before: str = ""
    after: str = ""
    repeat: int = 1
    replace: tuple[tuple[str, str], ...] = ()
    encoding: Literal["utf-8", "latin-1", "utf-16"] = "utf-8"
    coding: Literal["", "gzip", "deflate"] = ""
    cut: int = 0


class HttpReply(_Data, frozen=True, kw_only=True):
    """A whole HTTP reply. Left as it is, a good one: the answer, or the stream of it.

    Attributes:
        head: Further header lines.
        kind: The content type; left out, that of the mode; empty for none.
        framing: How the body's end is told. ``close``: by the end of the connection, which is a step of its own.
        chunk: Bytes of each chunk; ``extension`` stands behind its size, ``trailer`` behind the last one.
        length: A Content-Length that is not the body's.
        last_chunk: Whether the chunk that ends the body is sent.
        behind: Bytes that follow the reply in the same packet.
    """

    status: str = "200 OK"
    head: tuple[str, ...] = ()
    kind: str | None = None
    body: str | Body = "${good}"
    framing: Literal["length", "chunked", "close"] = "length"
    chunk: int = 65536
    extension: str = ""
    trailer: tuple[str, ...] = ()
    length: int | None = None
    last_chunk: bool = True
    behind: str = ""


class Step(_Data, frozen=True, kw_only=True):
    """One thing that the server does; exactly one of the fields is given.

    Attributes:
        do: ``request`` reads one request with its body; ``first byte`` waits until one has begun, without reading.
            ``reset`` ends the connection by RST, ``end`` by FIN, ``half-close`` by FIN in one direction and waiting.
            ``hold`` waits until the client has gone: nothing here ever sleeps. ``freeze`` reads no more. ``again``
            begins the script anew on the same connection. ``tunnel`` makes a proxy of it. ``damage`` writes past the
            encryption. A script that is over ends its connection, of TLS without a farewell.
        send: Bytes.
        reply: A whole reply.
        drip: Bytes that are sent again and again, with ``every`` seconds between, until the client has gone.
        tls: The handshake, with which certificate.
    """

    do: Simple | None = None
    send: str | Body | None = None
    reply: HttpReply | None = None
    drip: str | None = None
    every: float = 0.02
    tls: Certificate | None = None


Script = tuple[Step, ...]


class ClientSettings(_Data, frozen=True, kw_only=True):
    """How the client is made and what it is asked.

    Attributes:
        https: Whether it speaks TLS, also to a server that does not.
        trusts: Whether it trusts the authority of the server's certificate, by ``ca_bundle``.
        environ: Environment variables while it is made and asked; it reads them where there are any.
        host, token, endpoint, headers: In place of the server's own and of usual ones.
        before: What the same client did before: it got an ``answer`` in the same way, or it still has a stream
            ``open``.
        ask: The messages, and ``params`` beside them. A text is said ``repeat`` times.
    """

    max_retries: int = 2
    deadline: float = 20.0
    timeout: float | None = None
    max_connections: int | None = None
    retry_after_execution: bool = False
    https: bool = False
    trusts: bool = True
    environ: dict[str, str] = {}
    host: str | None = None
    token: str | None = None
    endpoint: str = "faults"
    headers: dict[str, str] = {}
    before: Literal["answer", "open"] | None = None
    ask: Any = "Hi"
    repeat: int = 1
    params: dict[str, Any] = {}


class Verdict(_Data, frozen=True, kw_only=True):
    """What must come of it: an error, or the answer.

    Attributes:
        error: The error's class; the next fields are attributes of it, ``request_id`` one of the answer too.
        message: A part of its message.
        partial: The text that a stream had brought by then.
        text, finish_reason: Of the answer. ``arguments``: of its first tool call, raw.
        warnings: Names or parts of what ``meta.warnings`` must hold.
        requests: Requests that the server has read in full, also those of ``before``.
        attempts: Those of the call itself that the client tells of; left out, as many as the server has read.
        connections: Those that the server has accepted, where they matter. ``other_connections``: another server.
        sent: A part of the last request that the server has read.
        proxied: Requests that the proxy has read.
        waited: The least and the most that the call waited between its requests, in seconds of its own clock.
    """

    error: str | None = None
    phase: str | None = None
    status_code: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    retryable: bool = False
    may_have_executed: bool = False
    message: str = ""
    partial: str | None = None
    text: str | None = None
    finish_reason: str | None = "stop"
    arguments: str | None = None
    warnings: tuple[str, ...] = ()
    requests: int = 1
    attempts: int | None = None
    connections: int | None = None
    other_connections: int = 0
    sent: str = ""
    proxied: int = 0
    waited: tuple[float, float] | None = None


class Fault(_Data, frozen=True, kw_only=True):
    """One row.

    Attributes:
        number: Its number in the catalogue of faults; ``None`` for one that the catalogue does not have.
        doc: What happens, and what a client must make of it.
        asked: Whether for a whole answer, for a stream, or once for each.
        server: What the server does on its first connection, on the second, and so on; the last script is that of all
            further ones. Without any, nobody listens.
        proxy: The same of a proxy that the environment names.
        not_applicable: By API, why it cannot be put to a backend that speaks it.
        departs: Why the verdict is not the catalogue's.
    """

    id: str
    number: int | None = None
    doc: str
    asked: tuple[Asked, ...] = ("call", "stream")
    server: tuple[Script, ...]
    proxy: tuple[Script, ...] = ()
    client: ClientSettings = ClientSettings()
    expect: Verdict
    not_applicable: dict[Api, str] = {}
    departs: str | None = None

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The ways in which it is asked."""
        return tuple(mode for asked in self.asked for mode in MODES[asked])

    @property
    def speaks_tls(self) -> bool:
        """Whether certificates are needed."""
        return any(step.tls is not None for script in self.server for step in script)


class Theme(_Data, frozen=True, kw_only=True):
    """One file of rows.

    Attributes:
        layer: ``transport`` rows are about how bytes move, and say nothing of a backend that moves them by itself;
            ``answer`` rows are about replies that HTTP brings whole.
    """

    theme: str
    doc: str
    layer: Layer
    rows: tuple[Fault, ...]


class LeftOut(_Data, frozen=True, kw_only=True):
    """A number of the catalogue that is no row here, and why; ``shown_by`` names the test that shows it, if any."""

    number: int
    fault: str
    reason: str
    shown_by: str | None = None
