"""How does an aiohttp connection tell the call what happens on it?

aiohttp does not say how many bytes of a reply's head have come, skips interim replies for ever, and forgets what it
holds of a body when the connection breaks. So isochat's connector makes connections of a class of its own. It is given
the class by ``_factory`` and told of a new connection by ``_create_connection``: a subclass of ours, no patch of
aiohttp, but not promised by it either (both stand in 3.12 to 3.14; a contract test watches them).
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import os
import socket
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from aiohttp.client_proto import ResponseHandler
from urllib3.util.wait import wait_for_read

from isochat.errors import ChatError, ConfigurationError
from isochat.transport import failures
from isochat.transport.chunked import ChunkedBody
from isochat.transport.deadline import run_beside_loop
from isochat.transport.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from isochat.transport.async_wire import AsyncWire
    from isochat.transport.head import HeadReader

# In a list that is emptied afterwards: asyncio keeps a copy of the context in which a connection was made.
under_way: ContextVar[list[AsyncWire]] = ContextVar("isochat_async_wire")

# RFC 9112 6.3
_WITHOUT_BODY = (204, 304)


class Connection(ResponseHandler):
    """One connection, and the wire it works for.

    It holds the wire no longer than until the head has come: a stream that is forgotten must be collected, while its
    connection is still open.

    Attributes:
        reply: aiohttp's reply whose body is on its way.
        used: Whether it has served a request.
        reader_waits: Whether somebody waits for the body's next bytes.
    """

    def __init__(self, opened: set[Connection], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._its_loop = loop
        self._opened = opened
        self._pid = os.getpid()
        self.reply: aiohttp.ClientResponse | None = None
        self.reader_waits = False
        self._wire: AsyncWire | None = None
        self.used = False
        self._held = b""
        self._left: int | None = None  # bytes of the body that have not come, where its length is known
        self._chunks: ChunkedBody | None = None
        self._unasked = False  # whether more has come than the reply
        self._content: aiohttp.StreamReader | None = None
        self._rest = b""
        self._paused_reading = False
        # Until it is really gone; aiohttp forgets its transport when it asks it to close.
        self._carrier: Any = None
        self._plain_carrier: Any = None  # the same, but for TLS

    def serve(self, wire: AsyncWire) -> None:
        """Work for ``wire`` from here on."""
        wire.reused = self.used
        wire.connection = self
        self.used = True
        self._wire = wire
        self._held = b""
        self._left = self._chunks = None
        self._content = None
        self._rest = b""
        self.reader_waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._carrier = transport
        self._plain_carrier = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None) or transport
        self._opened.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._opened.discard(self)
        self._carrier = self._plain_carrier = self._wire = self.reply = None
        self._keep_rest()
        content = self._content
        if isinstance(exc, OSError) and content is not None and not content.is_eof() and content.exception() is None:
            # A reset. Of a body that ends with its connection, aiohttp would take it for the end.
            content.set_exception(exc)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        wire = self._wire
        if wire is not None:
            self._receive_head(data, wire.heads)
        elif self._content is not None:
            self._receive_body(data)
        else:  # a proxy's reply
            super().data_received(data)
        failure = self.exception()
        content = self._content
        if failure is not None and content is not None and not content.is_eof() and content.exception() is None:
            self._keep_rest()
            content.set_exception(failure)

    @property
    def should_close(self) -> bool:
        """Whether it cannot be used again: aiohttp would take what nobody has asked for as the next reply."""
        return self._unasked or super().should_close

    @property
    def has_ended(self) -> bool:
        """Whether something has come while it was idle, mostly its end, of which the loop has not told it yet."""
        sock = None if self._carrier is None else self._carrier.get_extra_info("socket")
        return sock is not None and wait_for_read(sock, timeout=0.0)

    def pause_reading(self) -> None:
        self._paused_reading = True
        super().pause_reading()

    def resume_reading(self, *args: Any, **options: Any) -> None:
        # aiohttp asks for it with every chunk that is read, mostly for nothing, and it takes longer than the chunk.
        if self._paused_reading:
            self._paused_reading = False
            super().resume_reading(*args, **options)

    def feed_data(self, data: Any, size: int = 0) -> None:
        _, content = data
        if self._content is None:
            self._content = content
        super().feed_data(data, size)

    def close(self) -> None:
        """At once: nothing is flushed and no farewell of TLS is waited for."""
        if self._pid != os.getpid():
            # A forked child's copy. Even the loop's selector is the parent's: nothing of it may be touched.
            self.transport = None
        elif self._carrier is not None:
            if self._its_loop.is_closed():
                self._bury()
            else:
                self._carrier.abort()
        super().close()

    def abort(self) -> None:
        """The same; aiohttp aborts TLS when a session is closed."""
        self.close()

    @property
    def closed(self) -> asyncio.Future[None] | None:
        """What is waited for when the session closes; in a forked child nothing comes of it."""
        return super().closed if self._pid == os.getpid() else None

    def take_rest(self) -> bytes:
        """What had come of the body when the connection broke; once."""
        rest, self._rest = self._rest, b""
        return rest

    def leave(self) -> None:
        """Give up the reply under way and close."""
        reply, self.reply = self.reply, None
        if reply is not None:
            with suppress(Exception):  # of a loop that has ended
                reply.release()
        self.close()

    def _bury(self) -> None:
        """Close without the loop.

        asyncio has no way to do it: ``abort()`` asks the loop for the rest, and a transport that is collected unclosed
        warns. The rest is done by its own private method; where that is missing, there is a warning.
        """
        plain = self._plain_carrier
        with suppress(Exception):
            self._carrier.abort()
        with suppress(Exception):
            plain._call_connection_lost(None)

    def _receive_head(self, data: bytes, heads: HeadReader) -> None:
        """Hold back what comes until the head is whole, and interim replies for good: aiohttp has its own grammar."""
        try:
            heads.feed(data)
        except ChatError as error:
            self._refuse(error)
            return
        self._held = data = self._held + data if self._held else data
        if heads.head is None:
            return
        self._wire, self._held = None, b""
        length = heads.head.first("content-length")
        if heads.head.chunked:
            self._chunks = ChunkedBody()
        elif length is not None or heads.head.status in _WITHOUT_BODY:
            self._left = 0 if heads.head.status in _WITHOUT_BODY else int(length or 0)
        super().data_received(data[heads.begun : heads.count])
        if len(data) > heads.count and self.exception() is None:
            self._receive_body(data[heads.count :])

    def _receive_body(self, data: bytes) -> None:
        """Let aiohttp see the body and nothing behind it, its chunks as good as new: its grammar is not ours."""
        chunks = self._chunks
        if chunks is not None:
            data = chunks.feed(data)
            if data:
                super().data_received(b"%x\r\n%b\r\n" % (len(data), data))
            if chunks.damage is not None:
                self._refuse(failures.transport_error(http.client.HTTPException(chunks.damage), "body"))
            elif chunks.ended:
                self._chunks, self._left = None, 0
                self._unasked = bool(chunks.rest)
                super().data_received(b"0\r\n\r\n")
            return
        if self._left is not None:
            self._unasked = len(data) > self._left
            data = data[: self._left]
            self._left -= len(data)
        if data:
            super().data_received(data)

    def _keep_rest(self) -> None:
        content = self._content
        # A reader who waits takes what is there by himself, though he may run only later.
        if content is not None and not self.reader_waits and not content.is_eof() and content.exception() is None:
            self._rest += content.read_nowait()

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
        (wire,) = under_way.get()
        wire.phase = "pool" if self.limit else "connect"
        connection = await super().connect(req, *args, **kwargs)
        while (
            isinstance(used := connection.protocol, Connection) and used.used and (used.should_close or used.has_ended)
        ):
            # It was closed, or more than its reply came, while it was idle.
            connection.close()
            connection = await super().connect(req, *args, **kwargs)
        if not isinstance(connection.protocol, Connection):
            connection.close()
            raise ConfigurationError(
                f"aiohttp {aiohttp.__version__} makes its connections where isochat does not find them",
                remedy="pip install 'isochat[async]' for a version that is known to work",
            )
        connection.protocol.serve(wire)
        wire.phase = "send"
        wire.headers_sent = req.headers
        return connection

    async def _create_connection(self, *args: Any, **kwargs: Any) -> ResponseHandler:
        (wire,) = under_way.get()
        wire.enter("connect")
        connection = await super()._create_connection(*args, **kwargs)
        wire.enter("send")
        return connection


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
        await writer.write(wire.request_body)
        if wire.phase == "send":
            wire.phase = "first_byte"
