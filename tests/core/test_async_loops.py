"""Does one client object serve many event loops, and is it quiet when they end? Warnings are errors here."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trustme

from isochat.transport.async_pools import AsyncPools
from isochat.transport.async_wire import AsyncWire
from isochat.transport.deadline import Deadline, SystemClock

JSON = [("Content-Type", "application/json")]


def answer(connection: socket.socket, server: Any) -> str:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    return "keep"


async def ask(pools: AsyncPools, url: str, count: int = 3) -> list[AsyncWire]:
    """``count`` calls at once, and one more."""

    async def one() -> AsyncWire:
        wire = AsyncWire(pools, Deadline(60, SystemClock()))
        assert await wire.exchange("POST", url, JSON, b"{}") == b"{}"
        return wire

    return [*await asyncio.gather(*(one() for _ in range(count))), await one()]


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, serve: Any, tmp_path: Any) -> Any:
    if request.param == "http":
        made = serve(answer)
        made.ca_bundle = None
        return made
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    made = serve(answer, tls=context)
    made.ca_bundle = str(tmp_path / "ca.pem")
    return made


@pytest.fixture
def pools(server: Any) -> Iterator[AsyncPools]:
    made = AsyncPools(ca_bundle=server.ca_bundle)
    yield made
    made.close()
    gc.collect()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], None]]:
    """Nothing is collected with a warning, nothing is logged: `quiet()` looks, and so does the end of the test."""

    def look() -> None:
        gc.collect()
        assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == []

    yield look
    look()


def sockets() -> int:
    """How many connections this process has open to servers of the test."""
    return sum("socket:" in link for link in map(_link, os.listdir("/proc/self/fd")))


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


def test_one_loop_after_another(server: Any, pools: AsyncPools, quiet: Any) -> None:
    for _ in range(3):
        wires = asyncio.run(ask(pools, server.url))
        assert (wires[0].reused, wires[-1].reused) == (False, True)
        del wires
        quiet()


def test_a_loop_that_ends_properly_takes_its_connections_along(server: Any, pools: AsyncPools, quiet: Any) -> None:
    asyncio.run(ask(pools, server.url))  # warms what is made once
    before = sockets()

    async def while_it_runs() -> int:
        await ask(pools, server.url)
        return sockets()

    during = asyncio.run(while_it_runs())

    # Each connection has an end in this process at the server too, which notices a moment later.
    assert during > before
    assert all(session.session.closed for session in pools._sessions.values())


def test_a_loop_that_is_just_closed(server: Any, pools: AsyncPools, quiet: Any) -> None:
    for _ in range(2):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ask(pools, server.url))
        loop.close()
        del loop
        quiet()


def test_a_loop_that_is_just_closed_with_a_stream_open(serve: Any, quiet: Any) -> None:
    server = serve(lambda connection, server: (connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nx"), server.over.wait()))
    pools = AsyncPools()

    async def begin(pools: AsyncPools) -> AsyncWire:
        wire = AsyncWire(pools, Deadline(60, SystemClock()), streaming=True)
        await wire.exchange("POST", server.url, JSON, b"{}")
        return wire

    loop = asyncio.new_event_loop()
    wire = loop.run_until_complete(begin(pools))
    loop.close()
    pools.close()
    del wire, loop, pools
    quiet()


def test_closed_between_two_turns_of_a_loop(server: Any, pools: AsyncPools, quiet: Any) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask(pools, server.url))
    pools.close()
    loop.run_until_complete(ask(pools, server.url))  # closed is what was open; the next call opens anew
    pools.close()
    loop.close()
    quiet()


def test_dropped_without_closing(server: Any, quiet: Any) -> None:
    pools = AsyncPools(ca_bundle=server.ca_bundle)

    async def use_and_drop() -> None:
        nonlocal pools
        await ask(pools, server.url)
        del pools
        gc.collect()

    asyncio.run(use_and_drop())
    quiet()


def test_dropped_after_its_loop_was_just_closed(server: Any, quiet: Any) -> None:
    pools = AsyncPools(ca_bundle=server.ca_bundle)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask(pools, server.url))
    loop.close()
    del pools, loop
    quiet()


def test_aclose(server: Any, pools: AsyncPools, quiet: Any) -> None:
    async def twice() -> tuple[int, int]:
        await ask(pools, server.url)
        await pools.aclose()
        await pools.aclose()
        between = len(pools._sessions)
        await ask(pools, server.url)
        await pools.aclose()
        return between, len(pools._sessions)

    assert asyncio.run(twice()) == (0, 0)


def test_two_loops_in_two_threads(server: Any, pools: AsyncPools, quiet: Any) -> None:
    barrier = threading.Barrier(2)

    async def talk() -> list[int | None]:
        barrier.wait(30)
        wires = [await ask(pools, server.url) for _ in range(5)]
        return [wire.status for some in wires for wire in some]

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: asyncio.run(talk()), range(2)))

    assert done == [[200] * 20, [200] * 20]
    assert len(server.requests) == 40


def test_closed_while_another_thread_runs_its_loop(server: Any, pools: AsyncPools, quiet: Any) -> None:
    ready, closed = threading.Event(), threading.Event()

    async def talk() -> bool:
        await ask(pools, server.url)
        session = next(iter(pools._sessions.values()))
        ready.set()
        await asyncio.to_thread(closed.wait, 30)
        async with asyncio.timeout(30):
            while session._opened:
                await asyncio.sleep(0.01)
        return session.usable

    with ThreadPoolExecutor(1) as threads:
        talking = threads.submit(lambda: asyncio.run(talk()))
        assert ready.wait(30)
        pools.close()
        closed.set()
        assert talking.result(60) is False


def in_a_child(pools: AsyncPools, url: str, results: Any) -> None:
    try:
        results.put([wire.reused for wire in asyncio.run(ask(pools, url, 1))])
    except BaseException as error:  # noqa: BLE001 the parent reports it
        results.put(repr(error))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_a_fork_leaves_the_parents_connections_alone(server: Any, pools: AsyncPools, quiet: Any) -> None:
    context = multiprocessing.get_context("fork")

    async def parent() -> tuple[list[Any], list[bool | None]]:
        await ask(pools, server.url, 2)
        results = context.Queue()
        children = [context.Process(target=in_a_child, args=(pools, server.url, results)) for _ in range(2)]
        for child in children:
            child.start()
        mine = await ask(pools, server.url, 2)
        theirs = [await asyncio.to_thread(results.get, True, 60) for _ in children]
        for child in children:
            await asyncio.to_thread(child.join, 60)
        mine += await ask(pools, server.url, 2)
        results.close()
        return theirs, [wire.reused for wire in mine]

    theirs, mine = asyncio.run(parent())

    assert theirs == [[False, True], [False, True]]
    assert mine == [True] * 6


FORK = """
import asyncio, gc, os, sys
from isochat.transport.async_pools import AsyncPools
from isochat.transport.async_wire import AsyncWire
from isochat.transport.deadline import Deadline, SystemClock
pools = AsyncPools()

async def ask():
    wire = AsyncWire(pools, Deadline(30, SystemClock()))
    await wire.exchange("POST", sys.argv[1], [("Content-Type", "application/json")], b"{}")
    return wire.reused

async def parent():
    global pools
    first = await ask()
    child = os.fork()
    if child == 0:
        del pools
        gc.collect()
        os._exit(0)
    done = await asyncio.to_thread(os.waitpid, child, 0)
    print(first, done[1], await ask())

asyncio.run(parent())
"""


def test_a_forked_child_that_drops_them_says_nothing(serve: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORK, serve(answer).url],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.stdout, done.stderr) == ("False 0 True\n", "")
