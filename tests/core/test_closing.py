"""Does a call that pauses, or a stream that begins again, end at once when its client or itself is closed?"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "streaming"))

from stream_server import TIMEOUT, streaming_backends, whole, written

import isochat
from isochat.plugins import load_backend
from isochat.transport.deadline import SystemClock

PACED = {"error": {"message": "Slow down.", "code": "rate_limit_exceeded", "retry_after": 50}}
AT_ONCE = {"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}

every_backend = pytest.mark.parametrize("backend", streaming_backends())
both_closings = pytest.mark.parametrize("closed", ["client", "stream"])


class ToldClock(SystemClock):
    """The machine's clock; says when somebody pauses."""

    def __init__(self) -> None:
        self.pauses = threading.Event()

    def sleep(self, seconds: float, woken: Any, /) -> None:
        self.pauses.set()
        super().sleep(seconds, woken)

    async def asleep(self, seconds: float, woken: Any, /) -> None:
        self.pauses.set()
        await super().asleep(seconds, woken)


def refusing(refusal: dict[str, Any], second: threading.Event | None = None) -> Callable[..., Any]:
    """A script that refuses: by its status, or of a stream in place of the first event.

    Args:
        second: Is set when a second request has come, which then gets no answer.
    """

    def script(connection: socket.socket, server: Any) -> str:
        if second is not None and len(server.requests) > 1:
            second.set()
            connection.recv(1)  # until the client leaves
            return "left"
        connection.sendall(whole(written([refusal])))
        return "keep"

    return script


def too_many(connection: socket.socket, server: Any) -> str:
    connection.sendall(b"HTTP/1.1 429 Too Many\r\nRetry-After: 50\r\nContent-Length: 2\r\n\r\n{}")
    return "keep"


@every_backend
def test_closing_the_client_ends_a_pause(backend: str, serve: Any, make_client: Any) -> None:
    server = serve(too_many)
    client = make_client(backend, server)
    client._clock = clock = ToldClock()
    with ThreadPoolExecutor() as threads:
        call = threads.submit(client.chat, "Hi")
        assert clock.pauses.wait(TIMEOUT)
        client.close()
        with pytest.raises(isochat.ConfigurationError, match="closed") as caught:
            call.result(TIMEOUT)
    assert isinstance(caught.value.__cause__, isochat.RateLimitError)
    assert (caught.value.attempts, caught.value.backend, len(server.requests)) == (1, backend, 1)


@every_backend
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("closed", ["here", "in another thread"])
def test_closing_the_client_ends_a_pause_on_a_loop(
    backend: str, stream: bool, closed: str, serve: Any, make_client: Any
) -> None:
    server = serve(too_many)

    async def work() -> None:
        client = make_client(backend, server)
        client._clock = clock = ToldClock()
        call = asyncio.create_task(client.achat("Hi", stream=stream))
        assert await asyncio.to_thread(clock.pauses.wait, TIMEOUT)
        await (client.aclose() if closed == "here" else asyncio.to_thread(client.close))
        with pytest.raises(isochat.ConfigurationError, match="closed"):
            await call

    asyncio.run(asyncio.wait_for(work(), TIMEOUT))
    assert len(server.requests) == 1


@every_backend
@both_closings
def test_closing_ends_the_pause_of_a_stream(backend: str, closed: str, serve: Any, make_client: Any) -> None:
    server = serve(refusing(PACED))
    client = make_client(backend, server)
    client._clock = clock = ToldClock()
    stream = client.chat("Hi", stream=True)
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(stream.result)
        assert clock.pauses.wait(TIMEOUT)
        (client if closed == "client" else stream).close()
        with pytest.raises(
            isochat.ConfigurationError if closed == "client" else isochat.StreamTruncatedError
        ) as caught:
            reading.result(TIMEOUT)
    assert "closed" in str(caught.value)
    with pytest.raises(type(caught.value)):
        next(stream)
    assert len(server.requests) == 1


@every_backend
@both_closings
def test_closing_ends_the_pause_of_a_stream_on_a_loop(backend: str, closed: str, serve: Any, make_client: Any) -> None:
    server = serve(refusing(PACED))

    async def work() -> None:
        client = make_client(backend, server)
        client._clock = clock = ToldClock()
        stream = await client.achat("Hi", stream=True)
        reading = asyncio.create_task(stream.result())
        assert await asyncio.to_thread(clock.pauses.wait, TIMEOUT)
        await (client if closed == "client" else stream).aclose()
        error = isochat.ConfigurationError if closed == "client" else isochat.StreamTruncatedError
        with pytest.raises(error, match="closed"):
            await reading

    asyncio.run(asyncio.wait_for(work(), TIMEOUT))
    assert len(server.requests) == 1


@every_backend
def test_a_stream_that_waits_for_its_second_beginning_is_left_at_once(
    backend: str, serve: Any, make_client: Any
) -> None:
    second = threading.Event()
    server = serve(refusing(AT_ONCE, second))
    stream = make_client(backend, server).chat("Hi", stream=True)
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(stream.result)
        assert second.wait(TIMEOUT)
        stream.close()
        with pytest.raises(isochat.StreamTruncatedError, match="closed"):
            reading.result(TIMEOUT)
    assert len(server.requests) == 2


@every_backend
def test_a_stream_that_waits_for_its_second_beginning_on_a_loop_is_left_at_once(
    backend: str, serve: Any, make_client: Any
) -> None:
    second = threading.Event()
    server = serve(refusing(AT_ONCE, second))

    async def work() -> None:
        stream = await make_client(backend, server).achat("Hi", stream=True)
        reading = asyncio.create_task(stream.result())
        assert await asyncio.to_thread(second.wait, TIMEOUT)
        await stream.aclose()
        with pytest.raises(isochat.StreamTruncatedError, match="closed"):
            await reading

    asyncio.run(asyncio.wait_for(work(), TIMEOUT))
    assert len(server.requests) == 2


@pytest.mark.parametrize("backend", ["openai-chat", "openai-responses"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_closed_just_before_the_request_leaves(backend: str, streamed: bool, workspace: Any) -> None:
    """What the SDK says of its own closed client is told as what it is, and not as the backend's mistake."""
    made: list[isochat.Client] = []
    kind: Any = load_backend(backend)

    class ClosedFirst(kind):  # type: ignore[misc]
        def complete(self, request: Any, wire: Any) -> Any:
            made[0].close()
            return super().complete(request, wire)

        def stream(self, request: Any, wire: Any) -> Any:
            made[0].close()
            return super().stream(request, wire)

    made.append(isochat.Client(ClosedFirst, endpoint="e", host=workspace.url, token=workspace.token))
    with pytest.raises(isochat.ConfigurationError, match="closed before the call was sent") as caught:
        made[0].chat("Hi", stream=streamed)

    assert (caught.value.attempts, caught.value.may_have_executed) == (1, False)
    assert not workspace.requests
