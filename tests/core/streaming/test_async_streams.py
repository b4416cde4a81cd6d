"""Does a stream on an event loop give its connection and its worker back, whichever way it is left?"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from stream_server import (
    HEAD,
    TIMEOUT,
    WORDS,
    Departures,
    events_for,
    first_event,
    http_chunk,
    in_pieces,
    many_words,
    streaming_backends,
    to_the_end,
    whole,
    written,
)

import isochat

pytestmark = pytest.mark.parametrize("backend", streaming_backends())


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, TIMEOUT))


async def left(departures: Departures) -> None:
    await asyncio.to_thread(departures.wait)


async def first_text(stream: isochat.AsyncChatStream) -> str:
    async for chunk in stream:
        if chunk.text:
            return chunk.text
    return ""


def good(backend: str) -> Callable[..., Any]:
    body = whole(written([*events_for(backend), "[DONE]"]))
    return lambda connection, server: connection.sendall(body) or "keep"


def test_a_stream_is_the_same_on_a_loop(backend, serve, make_client):
    server = serve(good(backend))
    client = make_client(backend, server)

    async def work() -> None:
        stream = await client.achat("Hi", stream=True)
        assert "".join([chunk.text async for chunk in stream]) == "Hi é!"
        assert (await stream.result()).text == "Hi é!"
        async with await client.achat("Hi", stream=True) as again:
            assert await first_text(again) == "Hi é"
            result = await again.result()
        assert result == client.chat("Hi", stream=True).result()
        assert result.meta.status_code == 200

    run(work())
    # Threads and loops have connections of their own.
    assert server.connections == (2 if client.capabilities.asynchronous == "native" else 1)


async def leave_by_aclose(stream: isochat.AsyncChatStream) -> None:
    assert await first_text(stream) == "Hi é"
    await stream.aclose()


async def leave_by_with(stream: isochat.AsyncChatStream) -> None:
    async with stream:
        assert await first_text(stream) == "Hi é"


async def leave_unread(stream: isochat.AsyncChatStream) -> None:
    await stream.aclose()


@pytest.mark.parametrize("leave", [leave_by_aclose, leave_by_with, leave_unread])
def test_leaving_early_ends_the_connection_at_once(backend, leave, departures, held):
    client = held()

    async def work() -> None:
        for _ in range(2):
            stream = await client.achat("Hi", stream=True)
            await leave(stream)
            await left(departures)
            with pytest.raises(isochat.StreamTruncatedError):
                await stream.result()

    run(work())


def test_a_stream_that_is_collected_ends_its_connection(backend, departures, held):
    client = held()

    async def work() -> None:
        for _ in range(2):
            async for chunk in await client.achat("Hi", stream=True):
                if chunk.text:
                    break
            gc.collect()
            await left(departures)

    run(work())


def test_a_stream_in_a_cycle_ends_its_connection_when_it_is_collected(backend, departures, held):
    client = held()

    async def work() -> None:
        for _ in range(2):
            holder: list[Any] = [await client.achat("Hi", stream=True)]
            assert await first_text(holder[0]) == "Hi é"
            holder.append(holder)
            del holder
            gc.collect()
            await left(departures)

    run(work())


def test_a_cancelled_wait_closes_the_connection_and_frees_the_worker(backend, departures, serve, make_client):
    server = serve(departures.streaming(first_event(backend)))
    client = make_client(backend, server, max_connections=1)

    async def work() -> None:
        for _ in range(40):  # more than there are workers
            departures.open.clear()
            stream = await client.achat("Hi", stream=True)
            assert await first_text(stream) == "Hi é"
            waiting = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)  # it waits for the next chunk, which never comes
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await left(departures)
            assert stream.partial.text == "Hi é"
            with pytest.raises(isochat.StreamTruncatedError):
                await anext(stream)

    asyncio.run(asyncio.wait_for(work(), 3 * TIMEOUT))
    assert len(server.requests) == 40


@pytest.mark.parametrize("turns", range(0, 12, 2))
def test_a_cancellation_at_any_moment_leaves_nothing_open(backend, turns, departures, held):
    # Also when the chunk has come and the task has not been told of it: each moment of the loop in turn.
    event = first_event(backend)[-1]
    client = held(every=event)

    async def work() -> None:
        for _ in range(3):
            stream = await client.achat("Hi", stream=True)
            reading = asyncio.create_task(stream.result())
            assert await asyncio.to_thread(departures.open.wait, TIMEOUT)
            for _ in range(turns):
                await asyncio.sleep(0.002)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await left(departures)
            departures.open.clear()

    run(work())


def test_silence_ends_a_stream_on_a_loop(backend, departures, held):
    client = held(every=b": ping\n\n")

    async def work() -> None:
        for _ in range(2):
            stream = await client.achat("Hi", stream=True, timeout=0.3)
            with pytest.raises(isochat.ChatTimeoutError) as caught:
                await stream.result()
            assert caught.value.phase == "idle"
            assert caught.value.partial.text == "Hi é"
            await left(departures)

    run(work())


@pytest.mark.parametrize("every", [b"", b": ping\n\n"], ids=["silence", "pings"])
def test_a_server_that_keeps_the_connection_after_the_end_is_not_waited_for(backend, every, departures, held):
    client = held(to_the_end(backend), every)

    async def work() -> None:
        for _ in range(2):
            assert (await (await client.achat("Hi", stream=True)).result()).text == "Hi é!"
            await left(departures)

    run(work())


def test_a_connection_whose_reply_has_ended_is_used_again(backend, serve, make_client):
    reply = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    reply += b"".join(map(http_chunk, to_the_end(backend))) + b"0\r\n\r\n"
    server = serve(lambda connection, server: connection.sendall(reply) or "keep")
    client = make_client(backend, server)

    async def work() -> None:
        for _ in range(3):
            assert "".join([chunk.text async for chunk in await client.achat("Hi", stream=True)]) == "Hi é!"

    run(work())
    assert server.connections == 1


def test_many_streams_at_once_keep_apart(backend, serve, make_client):
    client = make_client(backend, serve(good(backend)))

    async def one() -> str:
        return (await (await client.achat("Hi", stream=True)).result()).text

    async def work() -> None:
        assert await asyncio.gather(*(one() for _ in range(40))) == ["Hi é!"] * 40

    run(work())


def test_two_tasks_that_read_one_stream_share_its_chunks(backend, serve, make_client):
    client = make_client(backend, serve(in_pieces(many_words(backend))))

    async def take(stream: isochat.AsyncChatStream) -> list[str]:
        return [chunk.text async for chunk in stream if chunk.text]

    async def work() -> None:
        stream = await client.achat("Hi", stream=True)
        taken = await asyncio.gather(take(stream), take(stream))
        assert sorted(taken[0] + taken[1]) == sorted(WORDS)
        assert (await stream.result()).text == "".join(WORDS)

    run(work())
