"""How does a urllib3 connection keep the call's time?

urllib3's timeouts restart on every read, so a server that sends a byte now and then holds a caller for ever.
Here every read and write of the socket asks the :class:`Wire` under way how long it may take. The connection
finds that wire through a context variable set around ``urlopen``; the socket wrapper keeps it afterwards, so
that a body may be read in another thread.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import math
import socket
import threading
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError

from isochat.errors import ConnectError, ConnectionLostError
from isochat.transport.chunked import ChunkedBody
from isochat.transport.failures import CUT_IN_HEAD
from isochat.transport.places import Places, under_way

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

# Heads and bodies up to this size leave in one packet: one system call less than bare urllib3.
_JOINED = 128 * 1024
# Seconds by which a wait may differ from what is left.
_TICK = 0.001


class _Reader(io.RawIOBase):
    """The read side of a socket: status line, headers, body and chunk sizes all pass here."""

    def __init__(self, owner: ClockedSocket) -> None:
        self.owner = owner
        self._raw = owner.socket.makefile("rb", buffering=0)
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        owner, wire = self.owner, self.owner.wire
        owner.allow(wire.time_left())
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            raise wire.out_of_time() from None
        if wire.phase == "first_byte":
            if not count and wire.heads.count:
                raise ConnectionLostError(CUT_IN_HEAD)
            if count and wire.heads.head is None:
                wire.heads.feed(bytes(buffer[:count]))
        self.count += count or 0
        return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._raw.close()


class ClockedSocket:
    """What http.client asks of a socket, on the call's clock.

    Attributes:
        unasked: Whether more has come than the reply: who used the connection again would take it for the next one.
    """

    __slots__ = ("_allowed", "socket", "unasked", "wire")

    def __init__(self, sock: socket.socket, wire: Wire) -> None:
        self.socket = sock
        self.wire = wire
        self.unasked = False
        self._allowed: float | None = math.nan

    def allow(self, seconds: float | None) -> None:
        """Let a read or write take so long. Python tells the system each time, so it is only told of what differs."""
        allowed = self._allowed
        if allowed != seconds and (allowed is None or seconds is None or not abs(allowed - seconds) < _TICK):
            self.socket.settimeout(seconds)
            self._allowed = seconds

    def makefile(self, mode: str, *args: Any, **kwargs: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self), 65536)

    def sendall(self, data: Any) -> None:
        wire = self.wire
        wire.sent.append(bytes(data))
        if wire.held is not None:
            if not wire.held:  # the head waits for its body
                wire.held = bytes(data)
                return
            data, wire.held = wire.held + data, None
        view = memoryview(data)
        del data  # the head with its token, which this frame would show if the sending fails
        try:
            while view:
                self.allow(wire.time_left())
                view = view[self.socket.send(view) :]
        except TimeoutError:
            raise wire.out_of_time() from None

    def settimeout(self, timeout: float | None) -> None:
        """Ignored: the wire's clock decides, not urllib3's per-read timeout."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)


class _Response(http.client.HTTPResponse):
    """http.client skips 100 only and takes 103 Early Hints for the final reply; all 1xx are interim."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, 100 if status < 200 else status, reason

    _chunks: ChunkedBody | None = None
    _size = 0

    def begin(self) -> None:
        super().begin()
        self._size = self.length or 0
        if self.chunked:
            self._chunks = ChunkedBody()
        under_way.get().read_body = self.read1

    def read1(self, n: int = -1) -> bytes:
        """The bytes of all chunks that have come, http.client gives one at a time; of other bodies, what has come.

        Raises:
            http.client.HTTPException: the body is cut short or damaged.
        """
        if self._chunks is not None:
            return self._read_chunks(self._chunks, n)
        reader = self.fp
        data = super().read1(n)
        if not data and self.length:
            raise http.client.IncompleteRead(b"", self.length)
        if self.length == 0 and reader is not None:  # in Python 3.13 it is closed by now, and still knows what it read
            raw: Any = reader.raw
            raw.owner.unasked = raw.count > raw.owner.wire.heads.count + self._size
        if self.length == 0 and self.fp is not None:
            self._close_conn()  # type: ignore[attr-defined]  # http.client does so in read(), and from 3.13 on here
        return data

    def _read_chunks(self, chunks: ChunkedBody, n: int) -> bytes:
        data = b""
        if self.fp is None:
            return data
        while not (data or chunks.ended or chunks.damage) and (came := self.fp.read1(n)):
            data = chunks.feed(came)
        if not data or chunks.ended:
            if chunks.rest:
                self.fp.raw.owner.unasked = True  # type: ignore[attr-defined]
            self._close_conn()  # type: ignore[attr-defined]
            if chunks.damage:
                raise http.client.HTTPException(chunks.damage)
            if not chunks.ended:
                raise http.client.IncompleteRead(b"")
        return data


class _OnTheClock:
    """Mixed into urllib3's connections."""

    response_class = _Response
    sock: Any
    host: str
    port: int | None
    _dns_host: str
    socket_options: Any

    def _new_conn(self) -> socket.socket:
        wire = under_way.get()
        wire.phase = "connect"
        last: OSError | None = None
        for family, kind, protocol, _, address in self._addresses(wire):
            sock: socket.socket | None = None
            try:
                sock = socket.socket(family, kind, protocol)
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                wire.socket = sock
                sock.settimeout(wire.time_left())
                sock.connect(address)
                sock.settimeout(wire.time_left())
                return sock
            except BaseException as error:
                if sock is not None:
                    sock.close()
                if not isinstance(error, OSError):
                    raise
                last = error
        if isinstance(last, TimeoutError):
            raise wire.out_of_time()
        raise ConnectError(
            f"no connection to {self.host}:{self.port}: {last}",
            remedy="Check the host, the network and the proxy settings",
        ) from last

    def _addresses(self, wire: Wire) -> list[Any]:
        host = self._dns_host.strip("[]")  # urllib3 leaves them around a proxy's address

        def look_up() -> list[Any]:
            return socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)

        try:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                # getaddrinfo knows no timeout and cannot be interrupted.
                wire.lookup = threading.Event()
                wire.time_left()
                return wire.deadline.run(look_up, "connect", wire.limits.connect, wire.lookup)
            return look_up()
        except OSError as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]

    def connect(self) -> None:
        wire = under_way.get()
        try:
            super().connect()  # type: ignore[misc]
        except TimeoutError:  # in the TLS handshake, or in a proxy's answer
            raise wire.out_of_time() from None
        if not isinstance(self.sock, ClockedSocket):
            self.sock = ClockedSocket(self.sock, wire)
        wire.socket = self.sock.socket
        wire.reused = False
        if wire.requested:  # http connects inside request(), https before it
            wire.phase = "send"

    def _tunnel(self) -> None:
        # The proxy's answer too is read on the clock: http.client's own timeout restarts with every byte of it.
        wire, plain = under_way.get(), self.sock
        self.sock = ClockedSocket(plain, wire)
        try:
            super()._tunnel()  # type: ignore[misc]
        finally:
            wire.sent.clear()  # the proxy's request, and no part of the attempt's own
            if isinstance(self.sock, ClockedSocket):
                self.sock = plain

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again; urllib3 asks as it takes a connection out of the pool."""
        if isinstance(self.sock, ClockedSocket) and (not self.sock.wire.let_go() or self.sock.unasked):
            return False
        connected: bool = super().is_connected  # type: ignore[misc]
        return connected

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
        wire = under_way.get()
        wire.requested = True
        wire.phase = "send"
        if isinstance(self.sock, ClockedSocket):
            self.sock.wire = wire
            wire.socket = self.sock.socket
            if wire.reused is None:
                wire.reused = True
        if body and len(body) < _JOINED:
            wire.held = b""
        super().request(method, url, body, *args, **kwargs)  # type: ignore[misc]

    def getresponse(self) -> Any:
        under_way.get().phase = "first_byte"
        return super().getresponse()  # type: ignore[misc]


class _Http(_OnTheClock, HTTPConnection):  # type: ignore[misc]
    pass


class _Https(_OnTheClock, HTTPSConnection):  # type: ignore[misc]
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # TLS takes the socket out of its object before the handshake, in which a cancelled call must not hang.
        under_way.get().socket = self._handle = sock.dup()
        return sock

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


class HttpPool(urllib3.HTTPConnectionPool):
    """A pool of plain connections; ``ConnectionCls`` is urllib3's documented hook."""

    ConnectionCls = _Http  # type: ignore[assignment]
    QueueCls = Places  # type: ignore[assignment]


class HttpsPool(urllib3.HTTPSConnectionPool):
    """A pool of TLS connections."""

    ConnectionCls = _Https  # type: ignore[assignment]
    QueueCls = Places  # type: ignore[assignment]
