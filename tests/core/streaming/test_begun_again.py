"""Does an error in place of the first event count as its status: is the call sent again where that would be?"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from stream_server import CHAT, TIMEOUT, events_for, streaming_backends, whole, written

import isochat
from isochat.transport.deadline import SystemClock

REFUSAL = {"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}
UNKNOWN = {"error_code": "BAD_REQUEST", "message": 'json: unknown field "stream_options"'}

every_backend = pytest.mark.parametrize("backend", streaming_backends())
chat_backends = pytest.mark.parametrize("backend", [name for name in streaming_backends() if events_for(name) is CHAT])


class ToldClock(SystemClock):
    """The machine's clock; says when somebody waits for it."""

    def __init__(self) -> None:
        self.waits = asyncio.Event()

    async def asleep(self, seconds: float, woken: Any, /) -> None:
        self.waits.set()
        await super().asleep(seconds, woken)


def refused_first(backend: str, refusal: dict[str, Any], times: int = 1) -> Callable[..., Any]:
    """A script: ``refusal`` in place of the first event, so many times, and then a whole stream."""

    def script(connection: socket.socket, server: Any) -> str:
        events = [refusal] if len(server.requests) <= times else [*events_for(backend), "[DONE]"]
        connection.sendall(whole(written(events)))
        return "keep"

    return script


@every_backend
def test_the_stream_begins_again(backend: str, serve: Any, make_client: Any) -> None:
    server = serve(refused_first(backend, REFUSAL))
    stream = make_client(backend, server).chat("Hi", stream=True)
    assert len(server.requests) == 1, "the call returns when the status is known"

    assert "".join(chunk.text for chunk in stream) == "Hi é!"
    assert stream.meta.attempts == stream.result().meta.attempts == 2
    assert body(server.requests[0]) == body(server.requests[1])


@every_backend
def test_asking_for_the_result_at_once_is_no_different(backend: str, serve: Any, make_client: Any) -> None:
    result = make_client(backend, serve(refused_first(backend, REFUSAL))).chat("Hi", stream=True).result()
    assert (result.text, result.meta.attempts) == ("Hi é!", 2)


@every_backend
def test_the_last_refusal_is_raised_and_raised_again(backend: str, serve: Any, make_client: Any) -> None:
    server = serve(refused_first(backend, REFUSAL, times=3))
    stream = make_client(backend, server, max_retries=1).chat("Hi", stream=True)
    for again in (lambda: next(stream), stream.result, lambda: next(stream)):
        with pytest.raises(isochat.RateLimitError) as caught:
            again()
        assert (caught.value.attempts, caught.value.status_code) == (2, 200)
    assert len(server.requests) == 2


@every_backend
def test_the_stream_begins_again_on_a_loop(backend: str, serve: Any, make_client: Any) -> None:
    server = serve(refused_first(backend, REFUSAL))

    async def read() -> isochat.ChatResult:
        async with make_client(backend, server) as client:
            stream = await client.achat("Hi", stream=True)
            assert "".join([chunk.text async for chunk in stream]) == "Hi é!"
            return await stream.result()  # type: ignore[no-any-return]

    assert asyncio.run(read()).meta.attempts == 2


@every_backend
def test_a_cancellation_while_it_waits_to_begin_again_passes(backend: str, serve: Any, make_client: Any) -> None:
    paced = {"error": {**REFUSAL["error"], "retry_after": 30}}
    server = serve(refused_first(backend, paced))

    async def read() -> None:
        async with make_client(backend, server) as client:
            client._clock = clock = ToldClock()
            stream = await client.achat("Hi", stream=True)
            waiting = asyncio.ensure_future(anext(stream))
            await clock.waits.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with pytest.raises(isochat.StreamTruncatedError):
                await anext(stream)

    asyncio.run(asyncio.wait_for(read(), TIMEOUT))
    assert len(server.requests) == 1


@chat_backends
def test_a_field_refused_in_place_of_the_first_event_is_remembered(backend: str, serve: Any, make_client: Any) -> None:
    server = serve(refused_first(backend, UNKNOWN))
    client = make_client(backend, server)
    for attempts in (2, 1):
        result = client.chat("Hi", stream=True).result()
        assert (result.text, result.meta.attempts) == ("Hi é!", attempts)
    assert ["stream_options" in body(request) for request in server.requests] == [True, False, False]


def body(request: bytes) -> Any:
    return json.loads(request.partition(b"\r\n\r\n")[2])
