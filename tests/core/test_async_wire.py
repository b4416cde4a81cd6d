"""Does the wire on an event loop keep its promises: many calls at once, cancellation, streams left early?"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import isochat
from isochat import plugins
from isochat.backend import Backend, Setup
from isochat.request import Request
from isochat.transport.async_connection import Connection
from isochat.transport.async_pools import AsyncPools
from isochat.transport.async_reply import AsyncIncomingReply
from isochat.transport.async_wire import AsyncWire
from isochat.transport.deadline import Deadline, SystemClock, run_beside_loop
from isochat.transport.pools import Pools
from isochat.transport.wire import Wire

JSON = [("Content-Type", "application/json")]
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
NATIVE = ("rest", "openai-chat", "openai-responses")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def keep(connection: socket.socket, server: Any) -> str:
    connection.sendall(WHOLE)
    return "keep"


def hold(connection: socket.socket, server: Any) -> None:
    """One event of a stream, and silence until the client has gone."""
    connection.sendall(OPEN + chunk(b"data: 1\n\n"))
    connection.recv(1)


def new_wire(pools: AsyncPools, seconds: float = 30.0, **options: Any) -> AsyncWire:
    return AsyncWire(pools, Deadline(seconds, SystemClock()), **options)


async def ask(pools: AsyncPools, server: Any, **options: Any) -> AsyncWire:
    wire = new_wire(pools, **options)
    await wire.exchange("POST", server.url + "/x?y=%2F", JSON, b'{"messages": []}')
    return wire


async def stream_from(pools: AsyncPools, server: Any, **options: Any) -> AsyncIncomingReply:
    wire = await ask(pools, server, streaming=True, **options)
    assert wire.incoming is not None
    return wire.incoming


@pytest.fixture
def pools() -> Iterator[AsyncPools]:
    made = AsyncPools()
    yield made
    made.close()


async def all_of(reply: AsyncIncomingReply) -> tuple[bytes, isochat.ChatError | None]:
    """What could be read, and what ended it before its time."""
    said = b""
    try:
        while piece := await reply.read1():
            said += piece
    except isochat.ChatError as error:
        return said, error
    return said, None


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


# ------------------------------------------------------------------------------------------------ what it says


def test_the_tap_is_what_the_server_saw(pools: AsyncPools, serve: Any) -> None:
    server = serve(keep)

    wire = asyncio.run(ask(pools, server, credentials={"Authorization": "Bearer t"}))

    assert b"".join(wire.sent) == server.requests[0]
    assert server.requests[0].startswith(b"POST /x?y=%2F HTTP/1.1\r\n")
    assert (wire.status, wire.reason, wire.body) == (200, "OK", b"{}")
    assert wire.headers == [("Content-Type", "application/json"), ("Content-Length", "2")]
    assert wire.heads.count == len(WHOLE) - 2
    assert list(wire.times) == ["begun", "sent", "head", "end"]


def test_headers_are_as_they_stood(pools: AsyncPools, serve: Any) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-TYPE: a\r\nX-Twice: 1\r\nx-twice: 2\r\nX-Latin: \xe9\r\nContent-Length: 0\r\n\r\n"
    )

    wire = asyncio.run(ask(pools, serve(lambda connection, server: connection.sendall(head))))

    expected = [("content-TYPE", "a"), ("X-Twice", "1"), ("x-twice", "2"), ("X-Latin", "é"), ("Content-Length", "0")]
    assert wire.headers == expected


def test_a_large_request_warns_of_nothing(pools: AsyncPools, serve: Any) -> None:
    server = serve(keep)
    body = bytes(3_000_000)

    async def call() -> AsyncWire:
        wire = new_wire(pools)
        await wire.exchange("POST", server.url, JSON, body)
        return wire

    asyncio.run(call())

    assert server.requests[0].endswith(b"\r\n\r\n" + body)


def test_a_second_request_of_one_attempt_is_refused(pools: AsyncPools, serve: Any) -> None:
    server = serve(keep)

    async def twice() -> None:
        wire = await ask(pools, server)
        with pytest.raises(isochat.ConfigurationError, match="second request"):
            await wire.send("POST", server.url, JSON, b"{}")

    asyncio.run(twice())

    assert len(server.requests) == 1


def test_cookies_are_not_kept(pools: AsyncPools, serve: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        connection.sendall(WHOLE.replace(b"Content-Length", b"Set-Cookie: a=b\r\nContent-Length"))
        return "keep"

    server = serve(script)

    async def twice() -> None:
        await ask(pools, server)
        await ask(pools, server)

    asyncio.run(twice())

    assert b"cookie" not in server.requests[1].lower()


# ---------------------------------------------------------------------------------------- many, and cancelled


def backend_on(name: str, url: str) -> Backend:
    return plugins.load_backend(name)(Setup(host=url, route="serving-endpoints", api_base=f"{url}/serving-endpoints"))


def request_for(name: str, text: str) -> Request:
    message = {"role": "user", "content": text}
    body = {"input": [message]} if name == "openai-responses" else {"messages": [message]}
    api: Any = "responses" if name == "openai-responses" else "chat-completions"
    return Request("e", api, body, (message,), "e")


@pytest.mark.parametrize("name", NATIVE)
def test_a_hundred_calls_start_no_thread(name: str, pools: AsyncPools, workspace: Any) -> None:
    backend = backend_on(name, workspace.url)
    credentials = {"Authorization": f"Bearer {workspace.token}"}
    started: set[str] = set()

    async def call(number: int) -> str:
        wire = new_wire(pools, 120.0, credentials=credentials)
        request = request_for(name, f"number {number}")
        request = Request(workspace.default_endpoint, request.api, request.body, request.messages,
                          workspace.default_endpoint)  # fmt: skip
        reply: Any = await backend.acomplete(request, wire)
        started.update(thread.name for thread in threading.enumerate())
        return json.dumps(json.loads(reply.body))

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(call(number) for number in range(100)))

    before = {thread.name for thread in threading.enumerate()}
    answers = asyncio.run(all_of_them())

    assert started <= before
    assert all(f"number {number}" in answer for number, answer in enumerate(answers))
    assert [request.method for request in workspace.requests] == ["POST"] * 100


def test_cancelled_anywhere_leaves_nothing(pools: AsyncPools, serve: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        for piece in (OPEN, chunk(b"data: 1\n\n"), chunk(b"data: 2\n\n"), b"0\r\n\r\n"):
            server.over.wait(0.003)
            connection.sendall(piece)
        return "keep"

    server = serve(script)
    chance = random.Random(7)

    async def call() -> bytes:
        wire = await ask(pools, server)
        assert wire.body is not None
        return wire.body

    async def cancel_thirty() -> tuple[int, int, int, bytes]:
        await call()
        before, cancelled = descriptors(), 0
        for _ in range(30):
            task = asyncio.create_task(call())
            await asyncio.sleep(chance.random() * 0.016)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1
        whole = await call()
        return cancelled, before, descriptors(), whole

    cancelled, before, after, whole = asyncio.run(cancel_thirty())
    server.close()

    assert cancelled > 10
    assert after <= before + 1  # the one of the pool may be a new one that has not replaced the old yet
    assert whole == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("where", ["before the head", "inside the body"])
def test_cancelling_closes_the_connection_at_once(where: str, pools: AsyncPools, serve: Any) -> None:
    gone = threading.Event()

    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(OPEN if where == "inside the body" else b"")
        try:
            assert connection.recv(1) == b""
        finally:
            gone.set()

    server = serve(script)

    async def cancel() -> BaseException | None:
        task = asyncio.create_task(ask(pools, server))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel("by the test")
        try:
            await task
        except asyncio.CancelledError as error:
            assert await asyncio.to_thread(gone.wait, 30)
            return error
        return None

    error = asyncio.run(cancel())

    assert isinstance(error, asyncio.CancelledError)
    assert (error.args, error.__cause__) == (("by the test",), None)


def test_an_outer_timeout_is_the_callers_own(pools: AsyncPools, serve: Any) -> None:
    server = serve(hold)

    async def call() -> None:
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.1):
                await ask(pools, server)
        assert type(raised.value) is TimeoutError

    asyncio.run(call())


# ------------------------------------------------------------------------------------------------------ streams


def test_left_early_the_connection_closes_and_its_place_is_free(serve: Any) -> None:
    server = serve(hold)

    async def twice() -> None:
        pools = AsyncPools(max_connections=1)
        for _ in range(2):
            reply = await stream_from(pools, server, seconds=10)
            assert await reply.read1() == b"data: 1\n\n"
            reply.close()
            reply.close()
            assert await reply.read1() == b""
        await pools.aclose()

    asyncio.run(twice())

    assert server.connections == 2


def test_read_to_its_end_the_connection_serves_again(pools: AsyncPools, serve: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        connection.sendall(OPEN + chunk(b"data: 1\n\n") + b"0\r\n\r\n")
        return "keep"

    server = serve(script)

    async def three() -> list[bool | None]:
        reused = []
        for _ in range(3):
            reply = await stream_from(pools, server)
            assert reply.delimited
            while await reply.read1():
                pass
            reply.close()
            reused.append(reply.wire.reused)
        return reused

    assert asyncio.run(three()) == [False, True, True]
    assert server.connections == 1


def test_closed_from_another_thread(serve: Any) -> None:
    server = serve(hold)

    async def call() -> None:
        pools = AsyncPools(max_connections=1)
        reply = await stream_from(pools, server)
        await asyncio.to_thread(reply.close)
        reply = await stream_from(pools, server, seconds=10)  # else it would wait for the only place
        reply.close()
        await pools.aclose()

    asyncio.run(call())


def test_forgotten_it_is_collected_and_its_place_is_free(serve: Any) -> None:
    server = serve(hold)

    async def call() -> None:
        pools = AsyncPools(max_connections=1)
        reply = await stream_from(pools, server)
        del reply
        gc.collect()
        (await stream_from(pools, server, seconds=10)).close()
        await pools.aclose()

    asyncio.run(call())


def test_closed_after_its_loop_has_ended(pools: AsyncPools, serve: Any) -> None:
    server = serve(hold)

    reply = asyncio.run(stream_from(pools, server))
    loop = asyncio.new_event_loop()
    other = loop.run_until_complete(stream_from(pools, server))
    loop.close()

    for one in (reply, other):
        one.close()
        one.close()


def test_what_came_before_a_break_is_handed_on_first(pools: AsyncPools, serve: Any) -> None:
    """aiohttp forgets it; urllib3 does not, and a broken stream must keep the same part of the answer on both."""

    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(OPEN + chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n"))

    server = serve(script)
    sync = Wire(Pools(), Deadline(30, SystemClock()), streaming=True)
    sync.exchange("POST", server.url, JSON, b"{}")
    assert sync.incoming is not None
    pieces: list[bytes] = []
    with pytest.raises(isochat.ConnectionLostError):
        pieces.extend(iter(sync.incoming.read1, b""))

    async def read_late() -> tuple[bytes, isochat.ChatError | None]:
        reply = await stream_from(pools, server)
        connection = reply.wire.connection
        assert connection is not None
        while connection.connected:  # the break is there before anybody reads
            await asyncio.sleep(0.01)
        return await all_of(reply)

    heard, error = asyncio.run(read_late())
    assert heard == b"".join(pieces) == b"data: 1\n\ndata: 2\n\n"
    assert isinstance(error, isochat.ConnectionLostError)


def test_silence_is_measured_from_the_last_data(pools: AsyncPools, serve: Any) -> None:
    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(OPEN)
        while not server.over.wait(0.02):
            connection.sendall(chunk(b": still here\n\n"))

    server = serve(script)

    async def listen() -> isochat.ChatError | None:
        reply = await stream_from(pools, server, idle=0.3)
        wire = reply.wire
        wire.quiet_since = wire.deadline.clock.monotonic()
        return (await all_of(reply))[1]  # comments come all the time, which are no data

    error = asyncio.run(listen())

    assert isinstance(error, isochat.ChatTimeoutError)
    assert error.phase == "idle"


# --------------------------------------------------------------------------------------------------- surroundings


def test_names_are_looked_up_beside_the_loop(pools: AsyncPools, serve: Any) -> None:
    server = serve(keep)
    server.url = server.url.replace("127.0.0.1", "localhost")

    assert asyncio.run(ask(pools, server)).status == 200


def test_a_lookup_that_hangs_is_left_behind() -> None:
    release = threading.Event()

    async def wait() -> None:
        with pytest.raises(isochat.ChatTimeoutError, match="no answer within") as raised:
            await run_beside_loop(release.wait, "connect", 0.1)
        assert (raised.value.phase, raised.value.retryable) == ("connect", True)

    asyncio.run(wait())
    release.set()


def test_a_lookup_that_fails_says_so() -> None:
    def fail() -> None:
        raise OSError("no such name")

    with pytest.raises(OSError, match="no such name"):
        asyncio.run(run_beside_loop(fail, "connect", 10))


def test_aiohttp_uses_isochats_connections(pools: AsyncPools, serve: Any) -> None:
    """The contract with aiohttp: when one of these fails, a door of async_connection.py has moved."""
    server = serve(hold)
    entered: list[str] = []

    class Watched(AsyncWire):
        def enter(self, phase: Any) -> None:
            entered.append(phase)
            super().enter(phase)

    async def call() -> Connection | None:
        wire = Watched(pools, Deadline(30, SystemClock()), streaming=True)
        await wire.exchange("POST", server.url, JSON, b"{}")
        assert wire.incoming is not None
        wire.incoming.close()
        return wire.connection

    connection = asyncio.run(call())

    assert (type(connection), entered) == (Connection, ["connect", "send"])


def test_asyncio_lets_a_dead_loops_transport_be_closed() -> None:
    """The contract with asyncio: the private method that loop_session.py needs for a loop closed without warning."""
    from asyncio import selector_events, sslproto

    assert callable(selector_events._SelectorSocketTransport._call_connection_lost)  # type: ignore[attr-defined]
    assert "_ssl_protocol" in sslproto._SSLProtocolTransport.__init__.__code__.co_names  # type: ignore[attr-defined]


def test_isochat_imports_no_aiohttp() -> None:
    code = "import sys, isochat, isochat_adapters.rest; assert 'aiohttp' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
