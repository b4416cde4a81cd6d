"""Does the same fault give the same error on both kinds of wire? One table, served byte by byte, read by both."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import trustme

import isochat
from isochat.transport.async_pools import AsyncPools
from isochat.transport.async_wire import AsyncWire
from isochat.transport.deadline import Deadline, SystemClock
from isochat.transport.exchange import Exchange
from isochat.transport.limits import Limits
from isochat.transport.pools import Pools
from isochat.transport.wire import Wire

JSON = [("Content-Type", "application/json")]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = HEAD + b"Content-Length: 500\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\n{}"


class Outcome(NamedTuple):
    """What a caller learns."""

    error: type[isochat.ChatError] | None
    phase: str | None = None
    retryable: bool = False
    may_have_executed: bool = True


class Fault(NamedTuple):
    """What the server does once it has read the request, and what must come of it."""

    script: Callable[..., Any]
    expected: Outcome
    deadline: float = 30.0
    idle: float = 120.0
    limits: Limits = Limits()
    body: bytes = b"{}"


def send(data: bytes, end: str = "close") -> Callable[..., None]:
    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(data)
        if end == "hold":
            server.over.wait()
        elif end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def drip(start: bytes, piece: bytes) -> Callable[..., None]:
    """A byte now and then for ever: every timeout that restarts on a read would never end."""

    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(start)
        while not server.over.wait(0.02):
            connection.sendall(piece)

    return script


def coded(coding: str, body: bytes) -> bytes:
    return HEAD + f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def headers(count: int, size: int) -> bytes:
    return HEAD + b"".join(b"X-%d: %s\r\n" % (i, b"x" * size) for i in range(count)) + b"Content-Length: 2\r\n\r\n{}"


LOST = Outcome(isochat.ConnectionLostError)
NOT_HTTP = Outcome(isochat.ProtocolError)
TOO_LARGE = Outcome(isochat.ResponseTooLargeError)
REDIRECT = Outcome(isochat.RedirectRefusedError, may_have_executed=False)
SMALL = Limits(body=50_000, stream=50_000)


def late(phase: str) -> Outcome:
    return Outcome(isochat.ChatTimeoutError, phase)


FAULTS: dict[str, Fault] = {
    "nothing comes": Fault(send(b"", "hold"), late("first_byte"), deadline=1.0),
    "the head drips": Fault(drip(HEAD + b"X: ", b"x"), late("first_byte"), deadline=1.0),
    "no body comes": Fault(send(SIZED, "hold"), late("body"), deadline=1.0),
    "the body drips": Fault(drip(SIZED, b" "), late("body"), deadline=1.0),
    "the body stalls": Fault(send(SIZED + b"{", "hold"), late("idle"), idle=0.2),
    "closed before the head": Fault(send(b""), LOST),
    "reset before the head": Fault(send(b"", "reset"), LOST),
    "closed inside the status line": Fault(send(b"HTTP/1.1 20"), LOST),
    "closed inside the head": Fault(send(HEAD + b"X-A: 1"), LOST),
    "closed between two lines of the head": Fault(send(HEAD), LOST),
    "reset inside the head": Fault(send(HEAD, "reset"), LOST),
    "not HTTP": Fault(send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), NOT_HTTP),
    "two framings": Fault(
        send(HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), NOT_HTTP
    ),
    "99 headers are not too many": Fault(send(headers(97, 1)), Outcome(None)),
    "too many headers by one": Fault(send(headers(98, 1)), TOO_LARGE),
    "far too many headers": Fault(send(headers(1000, 1)), TOO_LARGE),
    "a long header line": Fault(send(headers(1, 60_000)), Outcome(None)),
    "a header line too long": Fault(send(headers(1, 70_000)), TOO_LARGE),
    "headers too large together": Fault(send(headers(6, 60_000)), TOO_LARGE),
    "a head without an end": Fault(drip(HEAD, b"X: " + b"x" * 30_000 + b"\r\n"), TOO_LARGE),
    "early hints, then the reply": Fault(
        send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + WHOLE), Outcome(None)
    ),
    "interim replies for ever": Fault(drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10), NOT_HTTP),
    "interim replies at once": Fault(send(b"HTTP/1.1 100 Continue\r\n\r\n" * 40, "hold"), NOT_HTTP),
    "a redirect": Fault(send(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"), REDIRECT),
    "a redirect that keeps the method": Fault(
        send(b"HTTP/1.1 307 Temporary\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"), REDIRECT
    ),
    "a body shorter than its length": Fault(send(SIZED + b"{"), LOST),
    "reset inside the body": Fault(send(SIZED + b"{", "reset"), LOST),
    "chunks without an end": Fault(send(CHUNKED + b"2\r\n{}\r\n"), LOST),
    "cut inside a chunk": Fault(send(CHUNKED + b"5\r\n{}"), LOST),
    "a chunk size that is no number": Fault(send(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", "hold"), LOST),
    "a good chunk, then a bad one": Fault(send(CHUNKED + b"2\r\n{}\r\nzz\r\n{}\r\n0\r\n\r\n", "hold"), LOST),
    "damaged compression": Fault(send(coded("gzip", b"no gzip at all")), NOT_HTTP),
    "cut compression": Fault(send(coded("gzip", gzip.compress(os.urandom(2000))[:-20])), LOST),
    "a coding not asked for": Fault(send(coded("br", b"\x0b\x02\x80{}\x03")), NOT_HTTP),
    "a bomb": Fault(send(coded("gzip", gzip.compress(bytes(100_000)))), TOO_LARGE, limits=SMALL),
    "a body larger than the cap": Fault(
        send(HEAD + b"Content-Length: 60000\r\n\r\n" + bytes(60_000)), TOO_LARGE, limits=SMALL
    ),
    "an error without all of its body": Fault(
        send(SIZED.replace(b"200 OK", b"429 Slow down") + b"{"), Outcome(None)
    ),
    "an error with damaged chunks": Fault(
        send(CHUNKED.replace(b"200 OK", b"503 Busy") + b"zz\r\n{}\r\n0\r\n\r\n", "hold"), Outcome(None)
    ),
    "an empty error with a coding": Fault(
        send(b"HTTP/1.1 502 Bad\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n"), Outcome(None)
    ),
}  # fmt: skip

Kind = Callable[..., tuple[Outcome, Exchange]]


def outcome_of(error: isochat.ChatError | None) -> Outcome:
    if error is None:
        return Outcome(None)
    return Outcome(type(error), getattr(error, "phase", None), error.retryable, error.may_have_executed)


def over_the_sync_wire(url: str, body: bytes = b"{}", pools: Any = None, **options: Any) -> tuple[Outcome, Exchange]:
    streaming = options.get("streaming")
    wire = Wire(pools or Pools(), Deadline(options.pop("deadline", 30.0), SystemClock()), **options)
    try:
        wire.exchange("POST", url, JSON, body)
        while streaming and wire.incoming is not None and wire.incoming.read1():
            pass
    except isochat.ChatError as error:
        return outcome_of(error), wire
    return outcome_of(wire.failure), wire


def over_the_async_wire(url: str, body: bytes = b"{}", pools: Any = None, **options: Any) -> tuple[Outcome, Exchange]:
    streaming = options.get("streaming")
    wire = AsyncWire(pools or AsyncPools(), Deadline(options.pop("deadline", 30.0), SystemClock()), **options)

    async def call() -> None:
        await wire.exchange("POST", url, JSON, body)
        while streaming and wire.incoming is not None and await wire.incoming.read1():
            pass

    try:
        asyncio.run(call())
    except isochat.ChatError as error:
        return outcome_of(error), wire
    return outcome_of(wire.failure), wire


@pytest.fixture(params=[over_the_sync_wire, over_the_async_wire], ids=["sync", "async"])
def over_the_wire(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.mark.parametrize("streaming", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", FAULTS)
def test_fault(name: str, streaming: bool, over_the_wire: Kind, serve: Any) -> None:
    fault = FAULTS[name]
    server = serve(fault.script)

    outcome, _ = over_the_wire(
        server.url + "/x", deadline=fault.deadline, idle=fault.idle, limits=fault.limits, streaming=streaming
    )

    assert outcome == fault.expected
    assert len(server.requests) == 1


def test_nobody_listens(over_the_wire: Kind, nobody: Any) -> None:
    outcome, _ = over_the_wire(nobody.url)

    assert outcome == Outcome(isochat.ConnectError, retryable=True, may_have_executed=False)


def test_closed_without_reading(over_the_wire: Kind) -> None:
    def accept() -> None:
        connection, _ = listener.accept()
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        outcome, _ = over_the_wire(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()

    assert outcome == LOST


def test_a_request_that_is_not_read(over_the_wire: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # connects, and nobody accepts
        outcome, _ = over_the_wire(
            f"http://127.0.0.1:{listener.getsockname()[1]}/", body=bytes(20_000_000), deadline=2.0
        )

    assert outcome == late("send")


def test_a_connection_that_is_never_accepted(over_the_wire: Kind) -> None:
    # A full backlog: the SYN of one more is not answered.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(address)
        outcome, _ = over_the_wire(f"http://127.0.0.1:{address[1]}/", limits=Limits(connect=0.3))
        for connection in waiting:
            connection.close()

    assert outcome == Outcome(isochat.ChatTimeoutError, "connect", retryable=True, may_have_executed=False)


# ------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture
def trusting_pools(over_the_wire: Kind, bundle: str) -> Any:
    return (Pools if over_the_wire is over_the_sync_wire else AsyncPools)(ca_bundle=bundle)


NO_TLS = Outcome(isochat.TLSError, may_have_executed=False)


def test_tls(over_the_wire: Kind, serve: Any, server_tls: ssl.SSLContext, trusting_pools: Any) -> None:
    server = serve(send(WHOLE), tls=server_tls)

    assert over_the_wire(server.url, pools=trusting_pools)[0] == Outcome(None)


def test_a_certificate_of_a_stranger(over_the_wire: Kind, serve: Any, server_tls: ssl.SSLContext) -> None:
    server = serve(send(WHOLE), tls=server_tls)

    assert over_the_wire(server.url)[0] == NO_TLS
    assert server.requests == []


def test_a_certificate_for_another_name(
    over_the_wire: Kind, serve: Any, authority: trustme.CA, trusting_pools: Any
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)

    assert over_the_wire(serve(send(WHOLE), tls=context).url, pools=trusting_pools)[0] == NO_TLS


def test_plain_http_where_tls_is_spoken(over_the_wire: Kind) -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        outcome, _ = over_the_wire(f"https://localhost:{listener.getsockname()[1]}/")
        thread.join()

    assert outcome == NO_TLS


def test_a_handshake_that_is_never_answered(over_the_wire: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outcome, _ = over_the_wire(f"https://127.0.0.1:{silent.getsockname()[1]}/", limits=Limits(connect=0.3))

    assert outcome == Outcome(isochat.ChatTimeoutError, "connect", retryable=True, may_have_executed=False)


TLS_FAULTS: dict[str, tuple[Callable[..., Any], Outcome]] = {
    "closed before the head": (send(b""), LOST),
    "a body shorter than its length": (send(SIZED + b"{"), LOST),
    "reset inside the body": (send(SIZED + b"{", "reset"), LOST),
    "a damaged record inside the body": (
        lambda connection, server: [
            connection.sendall(SIZED + b"{"),
            socket.socket.sendall(connection, b"\x17\x03\x03\x00\x20" + bytes(32)),  # past the encryption
        ],
        LOST,
    ),
}


@pytest.mark.parametrize("name", TLS_FAULTS)
def test_fault_under_tls(
    name: str, over_the_wire: Kind, serve: Any, server_tls: ssl.SSLContext, trusting_pools: Any
) -> None:
    script, expected = TLS_FAULTS[name]

    assert over_the_wire(serve(script, tls=server_tls).url, pools=trusting_pools)[0] == expected


# -------------------------------------------------------------------------------------- connections that are kept


def keep(connection: socket.socket, server: Any) -> str:
    connection.sendall(WHOLE)
    return "keep"


def test_a_kept_connection_that_the_server_has_closed(serve: Any) -> None:
    """It fails only once the request has left, and the wire says that it was a used one."""

    def once(connection: socket.socket, server: Any) -> str | None:
        if len(server.requests) % 2:
            connection.sendall(WHOLE)
            return "keep"
        return None

    sync_server, async_server = serve(once), serve(once)
    pools = Pools()
    sync = [over_the_sync_wire(sync_server.url, pools=pools) for _ in range(2)]

    async def calls() -> list[tuple[Outcome, Exchange]]:
        async_pools, done = AsyncPools(), []
        for _ in range(2):
            wire = AsyncWire(async_pools, Deadline(30, SystemClock()))
            try:
                await wire.exchange("POST", async_server.url, JSON, b"{}")
            except isochat.ChatError as error:
                done.append((outcome_of(error), wire))
            else:
                done.append((Outcome(None), wire))
        return done

    for done in (sync, asyncio.run(calls())):
        stale = Outcome(isochat.ConnectionLostError, retryable=True, may_have_executed=True)
        assert [outcome for outcome, _ in done] == [Outcome(None), stale]
        assert [wire.reused for _, wire in done] == [False, True]
        assert (done[1][1].heads.count, done[1][1].phase) == (0, "first_byte")
    assert (sync_server.connections, async_server.connections) == (1, 1)


def test_a_busy_pool(serve: Any) -> None:
    server = serve(send(SIZED, "hold"))
    busy = Outcome(isochat.ChatTimeoutError, "pool", may_have_executed=False)
    pools = Pools(max_connections=1)
    open_wire = Wire(pools, Deadline(30, SystemClock()), streaming=True)
    open_wire.exchange("POST", server.url, JSON, b"{}")

    assert over_the_sync_wire(server.url, pools=pools, deadline=0.3)[0] == busy
    assert open_wire.incoming is not None
    open_wire.incoming.close()

    async def call() -> isochat.ChatError:
        async_pools = AsyncPools(max_connections=1)
        first = AsyncWire(async_pools, Deadline(30, SystemClock()), streaming=True)
        await first.exchange("POST", server.url, JSON, b"{}")
        with pytest.raises(isochat.ChatError, match="busy until the deadline") as raised:
            await AsyncWire(async_pools, Deadline(0.3, SystemClock())).exchange("POST", server.url, JSON, b"{}")
        return raised.value

    assert outcome_of(asyncio.run(call())) == busy
    assert len(server.requests) == 2
