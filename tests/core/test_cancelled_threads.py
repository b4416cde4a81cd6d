"""What does a cancel do where a call waits in a thread? It closes the connection and frees the thread, wherever it is.

The backends without an asynchronous client of their own wait in 32 threads of the client object, and read streams in
as many others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

import isochat
from isochat.workers import WORKERS

IN_THREADS = ["mlflow", "databricks-sdk"]
PATIENCE = 30.0


class Stalling:
    """A script for the fault server: what its first event is, and then nothing until the client has gone.

    Once :attr:`answering` is set, it answers.
    """

    def __init__(self, begins: bytes, answer: bytes) -> None:
        self.answering = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.gone = threading.Semaphore(0)
        self._begins, self._answer = begins, answer

    def __call__(self, connection: socket.socket, server: Any) -> str | None:
        if self.answering.is_set():
            connection.sendall(self._answer)
            return "keep"
        connection.sendall(self._begins)
        self.arrived.release()
        with contextlib.suppress(OSError):
            if connection.recv(1) == b"":
                self.gone.release()
        return None


EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


async def all_of(semaphore: threading.Semaphore, count: int) -> None:
    """Wait until it has been released so often; a wait that is too long is a failure."""
    for _ in range(count):
        assert await asyncio.to_thread(semaphore.acquire, timeout=PATIENCE)


@contextlib.asynccontextmanager
async def under_way(tasks: list[asyncio.Task[Any]]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("backend", IN_THREADS)
@pytest.mark.parametrize("kind", ["calls", "streams that open", "streams that are read"])
@pytest.mark.parametrize("bound", [None, WORKERS])
def test_all_workers_are_free_after_a_cancel(
    backend: str, kind: str, bound: int | None, serve: Any, make_client: Any, body_of: Any, reply: Any
) -> None:
    script = Stalling(HEAD + EVENT if kind == "streams that are read" else b"", reply("200 OK", body_of(backend)))
    client = make_client(backend, serve(script), max_retries=0, max_connections=bound)

    async def ask() -> Any:
        if kind == "calls":
            return await client.achat("Hi")
        return [chunk async for chunk in await client.achat("Hi", stream=True)]

    async def talk() -> None:
        tasks = [asyncio.create_task(ask()) for _ in range(WORKERS)]
        async with under_way(tasks):
            await all_of(script.arrived, WORKERS)
        assert all(task.cancelled() for task in tasks)
        await all_of(script.gone, WORKERS)  # the server sees each of them leave, though the client is open
        script.answering.set()
        said = await asyncio.gather(*(client.achat("Hi", deadline=PATIENCE) for _ in range(WORKERS)))
        assert [result.text for result in said] == ["Hello."] * WORKERS

    asyncio.run(talk())


@pytest.mark.parametrize("backend", IN_THREADS)
def test_the_call_after_the_last_worker_waits_and_can_be_cancelled(
    backend: str, serve: Any, make_client: Any, body_of: Any, reply: Any
) -> None:
    script = Stalling(b"", reply("200 OK", body_of(backend)))
    server = serve(script)
    client = make_client(backend, server, max_retries=0)

    async def talk() -> None:
        tasks = [asyncio.create_task(client.achat("Hi")) for _ in range(WORKERS)]
        async with under_way(tasks):
            await all_of(script.arrived, WORKERS)
            late, patient = asyncio.create_task(client.achat("late")), asyncio.create_task(client.achat("patient"))
            await asyncio.sleep(0)  # both are in the queue
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            assert (len(server.requests), patient.done()) == (WORKERS, False)
            script.answering.set()
            tasks[0].cancel()
            assert (await patient).text == "Hello."
        assert len(server.requests) == WORKERS + 1  # of the cancelled one nothing was sent
        assert not any(b'"late"' in request for request in server.requests)

    asyncio.run(talk())


@pytest.mark.parametrize("backend", IN_THREADS)
def test_a_stream_is_read_while_all_workers_wait_for_its_place(
    backend: str, serve: Any, make_client: Any, body_of: Any, reply: Any
) -> None:
    script = Stalling(HEAD + EVENT, reply("200 OK", body_of(backend)))
    client = make_client(backend, serve(script), max_retries=0, max_connections=1)

    async def talk() -> None:
        stream = await client.achat("Hi", stream=True)
        script.answering.set()
        waiting = [asyncio.create_task(client.achat("Hi", deadline=PATIENCE)) for _ in range(WORKERS + 1)]
        async with under_way(waiting):
            assert (await asyncio.wait_for(anext(stream), PATIENCE)).text == "a"
            for call in waiting[: WORKERS // 2]:  # who waits for a place leaves its worker at once too
                call.cancel()
            await stream.aclose()
            said = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one).__name__ for one in said] == ["CancelledError"] * (WORKERS // 2) + ["ChatResult"] * (
            WORKERS // 2 + 1
        )

    asyncio.run(talk())


@pytest.mark.parametrize("backend", IN_THREADS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cancel_ends_a_handshake_that_hangs(backend: str, scheme: str, make_client: Any) -> None:
    # A server that accepts and says nothing: TLS waits for its hello, plain HTTP for its head.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        client = isochat.Client(backend, host=url, token="t", endpoint="any", max_retries=0)

        async def talk() -> None:
            call = asyncio.create_task(client.achat("Hi"))
            accepted, _ = await asyncio.to_thread(listener.accept)
            with accepted:
                accepted.settimeout(PATIENCE)
                assert await asyncio.to_thread(accepted.recv, 1)  # it has begun
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                begun = time.monotonic()
                while await asyncio.to_thread(accepted.recv, 65536):
                    pass
            # Sooner than the connect limit of ten seconds would have ended it.
            assert time.monotonic() - begun < 5

        asyncio.run(talk())
        client.close()


@pytest.mark.parametrize("backend", IN_THREADS)
def test_a_cancel_leaves_a_name_lookup_that_hangs(backend: str, monkeypatch: Any) -> None:
    asked, answer = threading.Semaphore(0), threading.Event()

    def hang(*args: Any, **kwargs: Any) -> Any:
        asked.release()
        answer.wait(PATIENCE)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with isochat.Client(backend, host="https://a.test", token="t", endpoint="any", max_retries=0) as client:

        async def talk() -> None:
            call = asyncio.create_task(client.achat("Hi"))
            assert await asyncio.to_thread(asked.acquire, timeout=PATIENCE)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        asyncio.run(talk())
        begun = time.monotonic()
    try:
        while any(thread.name.startswith("isochat-worker") for thread in threading.enumerate()):
            assert time.monotonic() - begun < 5  # the connect limit is ten seconds
            time.sleep(0.01)
    finally:
        answer.set()
