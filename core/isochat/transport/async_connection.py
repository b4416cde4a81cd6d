"""How does an aiohttp connection tell the call what happens on it?

aiohttp does not say how many bytes of a reply's head have come, skips interim replies for ever, and forgets what it
holds of a body when the connection breaks. So isochat's connector makes connections of a class of its own. It is given
the class by ``_factory`` and told of a new connection by ``_create_connection``: a subclass of ours, no patch of
aiohttp, but not promised by it either (both stand in 3.12 to 3.14; a contract test watches them).
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from aiohttp.client_proto import ResponseHandler

from isochat.errors import ChatError, ProtocolError, ResponseTooLargeError
from isochat.transport.deadline import run_beside_loop
from isochat.transport.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from isochat.transport.async_wire import AsyncWire

under_way: ContextVar[AsyncWire] = ContextVar("isochat_async_wire")

_HEAD_END = b"\r\n\r\n"
_INTERIM_REPLIES = 16


class Connection(ResponseHandler):
    """One connection, and the wire it works for.

    Attributes:
        wire: The wire of the request under way, or of the last one.
        rest: What had come of the body when the connection broke.
        reader_waits: Whether somebody waits for the body's next bytes.
    """

    def __init__(self, opened: set[Connection], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._opened = opened
        self._pid = os.getpid()
        self.wire: AsyncWire | None = None
        self.rest = b""
        self.reader_waits = False
        self._head_came = False
        self._interim = 0
        self._content: aiohttp.StreamReader | None = None

    def serve(self, wire: AsyncWire) -> None:
        """Work for ``wire`` from here on."""
        wire.reused = self.wire is not None
        wire.connection = self
        self.wire = wire
        self.rest = b""
        self._head_came = False
        self._interim = 0
        self._content = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._opened.discard(self)
        self._keep_rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        wire = self.wire
        if wire is None or self._head_came or not data:  # a proxy's reply, or a body
            super().data_received(data)
        else:
            end = data.find(_HEAD_END) + len(_HEAD_END)
            if end < len(_HEAD_END):
                end = len(data)
            wire.head_bytes += end
            if wire.head_bytes > wire.limits.head:
                self._refuse(ResponseTooLargeError(f"the reply's head is larger than {wire.limits.head} bytes"))
                return
            # The head by itself: with a body that is damaged in the same packet, aiohttp would lose the status.
            super().data_received(data[:end])
            if end < len(data) and self.transport is not None:
                self.data_received(data[end:])
        failure = self.exception()
        content = self._content
        if failure is not None and content is not None and not content.is_eof() and content.exception() is None:
            self._keep_rest()
            content.set_exception(failure)

    def feed_data(self, data: Any, size: int = 0) -> None:
        message, content = data
        if 100 <= message.code < 200 and message.code != 101:
            self._interim += 1
            if self._interim > _INTERIM_REPLIES:
                self._refuse(ProtocolError(f"the server sent more than {_INTERIM_REPLIES} interim replies"))
        elif not self._head_came:
            self._head_came = True
            self._content = content
        if self.exception() is None:
            super().feed_data(data, size)

    def close(self) -> None:
        """At once: nothing is flushed and no farewell of TLS is waited for."""
        transport = self.transport
        if transport is not None:
            if self._pid == os.getpid():
                try:
                    transport.abort()
                except RuntimeError:
                    pass  # its loop is closed
            else:
                # A forked child's copy. Even the loop's selector is the parent's: nothing of it may be touched.
                self.transport = None
        super().close()

    def take_rest(self) -> bytes:
        """What had come of the body when the connection broke; once."""
        rest, self.rest = self.rest, b""
        return rest

    def _keep_rest(self) -> None:
        content = self._content
        # A reader who waits takes what is there by himself, though he may only run later.
        if content is not None and not self.reader_waits and not content.is_eof() and content.exception() is None:
            self.rest += content.read_nowait()

    def _refuse(self, error: ChatError) -> None:
        if self.exception() is None:
            self.set_exception(error)
            if self.transport is not None:
                self.transport.abort()


class Connector(aiohttp.TCPConnector):
    """Connections that keep their wire informed of phase and reuse.

    Args:
        opened: Is filled with the connections that are open.
        options: As aiohttp's own connector takes them.
    """

    def __init__(self, opened: set[Connection], **options: Any) -> None:
        super().__init__(resolver=_Resolver(), **options)
        self._factory = functools.partial(Connection, opened, loop=asyncio.get_running_loop())  # type: ignore[assignment]

    async def connect(self, req: aiohttp.ClientRequest, *args: Any, **kwargs: Any) -> Any:
        wire = under_way.get()
        wire.phase = "pool" if self.limit else "connect"
        connection = await super().connect(req, *args, **kwargs)
        while connection.protocol is not None and connection.protocol.should_close:
            # A reply that nobody had asked for came behind the last one: aiohttp would take it for the next one.
            connection.close()
            connection = await super().connect(req, *args, **kwargs)
        assert isinstance(connection.protocol, Connection)
        connection.protocol.serve(wire)
        wire.phase = "send"
        wire.sent.append(_head(req))
        return connection

    async def _create_connection(self, *args: Any, **kwargs: Any) -> ResponseHandler:
        wire = under_way.get()
        wire.enter("connect")
        connection = await super()._create_connection(*args, **kwargs)
        wire.enter("send")
        return connection


def _head(request: aiohttp.ClientRequest) -> bytes:
    """The head as aiohttp is about to write it, by itself, into the connection."""
    lines = [f"{request.method} {request.url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode()


class _Resolver(AbstractResolver):
    """Looks names up as the sync wire does. The thread of aiohttp's own would be waited for when the loop ends."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await run_beside_loop(
            lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM), "connect", DEFAULT_LIMITS.connect
        )
        return [
            {
                "hostname": host,
                "host": str(address[0]),
                "port": int(address[1]),
                "family": kind,
                "proto": protocol,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Holds nothing."""


class RequestBody(aiohttp.Payload):
    """The bytes of a request; says when they have left."""

    def __init__(self, wire: AsyncWire) -> None:
        super().__init__(wire.request_body)
        self._wire = wire

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._wire.request_body)

    @property
    def autoclose(self) -> bool:
        """There is nothing to close."""
        return True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._wire.request_body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        wire = self._wire
        wire.sent.append(wire.request_body)
        await writer.write(wire.request_body)
        if wire.phase == "send":
            wire.phase = "first_byte"
