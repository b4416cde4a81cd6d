"""Are streams of backends with a transport of their own left as gently as those on the wire?"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from stream_bytes import chunk, sse
from stream_server import TIMEOUT

import isochat
from isochat.backend import Backend, Capabilities, Reply, StreamReply


class Server:
    """Where nobody is: these backends send nothing."""

    url, token = "http://127.0.0.1:9", "dapi-of-the-sources"


class Own(Backend):
    """Hands out what ``make`` gives."""

    name = "own"
    capabilities = Capabilities(api="chat-completions", own_transport=True, streaming=True)
    make: Callable[[], Any]

    def complete(self, request: Any, wire: Any) -> Reply:
        raise NotImplementedError

    def stream(self, request: Any, wire: Any) -> StreamReply:
        return StreamReply(status=200, headers=[("X-Request-Id", "rid")], pieces=type(self).make())

    def translate_error(self, error: Exception) -> isochat.ChatError | None:
        return isochat.ConnectionLostError(str(error)) if isinstance(error, OSError) else None


def backend_of(pieces: Callable[[], Any]) -> type[Own]:
    return type("OwnPieces", (Own,), {"make": staticmethod(pieces)})


def test_mappings_and_bytes_are_both_read(make_client):
    for pieces in ([chunk({"content": "A"}), chunk({}, "stop")], [b"", sse(chunk({"content": "A"}, "stop")), b"", b""]):
        stream = make_client(backend_of(lambda given=pieces: given), Server()).chat("Hi", stream=True)
        result = stream.result()

        assert result.text == "A"
        assert result.meta.request_id == "rid"


def test_a_failure_of_theirs_is_translated_and_keeps_what_had_come(make_client):
    def pieces() -> Iterator[Any]:
        yield chunk({"content": "A"})
        raise OSError("gone")

    with pytest.raises(isochat.StreamTruncatedError, match="gone") as caught:
        make_client(backend_of(pieces), Server()).chat("Hi", stream=True).result()
    assert caught.value.partial.text == "A"
    assert isinstance(caught.value.__cause__.__cause__, OSError)


def test_a_stream_that_said_done_is_not_waited_for(make_client):
    closed = threading.Event()

    def pieces() -> Iterator[Any]:
        try:
            yield sse(chunk({"content": "A"}, "stop"), "[DONE]")
            raise AssertionError("nothing after [DONE] is asked for")
        finally:
            closed.set()

    assert make_client(backend_of(pieces), Server()).chat("Hi", stream=True).result().text == "A"
    assert closed.wait(TIMEOUT)


def test_what_closing_says_concerns_nobody(make_client):
    def pieces() -> Iterator[Any]:
        try:
            yield chunk({"content": "A"})
            yield chunk({"content": "B"})
        finally:
            raise OSError("already gone")

    with make_client(backend_of(pieces), Server()).chat("Hi", stream=True) as stream:
        assert next(stream).text == "A"
    assert stream.partial.text == "A"


def test_a_cancelled_read_is_left_and_closed_when_it_returns(make_client):
    waiting, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def pieces() -> Iterator[Any]:
        try:
            yield chunk({"content": "A"})
            waiting.set()
            assert go_on.wait(TIMEOUT)
            yield chunk({"content": "B"}, "stop")
        finally:
            closed.set()

    async def work() -> None:
        stream = await make_client(backend_of(pieces), Server()).achat("Hi", stream=True)
        assert (await anext(stream)).text == "A"
        reading = asyncio.create_task(anext(stream))
        assert await asyncio.to_thread(waiting.wait, TIMEOUT)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not closed.is_set()  # it still runs in its worker
        go_on.set()
        assert await asyncio.to_thread(closed.wait, TIMEOUT)
        assert stream.partial.text == "A"

    asyncio.run(asyncio.wait_for(work(), 3 * TIMEOUT))


def test_an_asynchronous_source_is_closed_when_it_is_left(make_client):
    closed: list[str] = []

    async def pieces() -> AsyncIterator[Any]:
        try:
            yield chunk({"content": "A"})
            yield chunk({"content": "B"}, "stop")
        finally:
            closed.append("closed")

    from isochat.streaming.sources import AsyncPieces

    async def work() -> None:
        source = AsyncPieces(pieces(), True, isochat.ConnectionLostError)
        assert isinstance(await source.read1(), dict)
        source.close()
        assert await source.read1() == b""
        for _ in range(5):  # the loop closes it
            await asyncio.sleep(0)
        assert closed == ["closed"]

    asyncio.run(work())
