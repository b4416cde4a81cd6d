"""How is one call carried? In a thread that waits or on a loop, whole or as a stream: each time by the same attempts.

Each attempt gets a wire of its own. What an error means for the next attempt is the :class:`~isochat.call.Call`'s
answer. A stream is handed out with the first attempt that opens one. An error in place of its first event counts as its
status would, so that another attempt may follow even then; after the first event none does.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from isochat.attempt import Opened, acarry, aopen_stream, carry, open_stream, read_result
from isochat.backend import Backend
from isochat.call import Call
from isochat.connections import Connections
from isochat.errors import ChatError
from isochat.results import ChatResult
from isochat.streaming.sources import AsyncSource, PiecesInThreads, ReadInThreads, Source
from isochat.streaming.stream_state import Opening
from isochat.streaming.streams import AsyncChatStream, ChatStream

T = TypeVar("T")
Credentials = Mapping[str, str]


def complete(call: Call, connections: Connections) -> ChatResult:
    """The whole answer.

    Raises:
        ChatError: of the last attempt.
    """

    def answer(backend: Backend, credentials: Credentials) -> ChatResult:
        wire = call.sending(connections.wire(call, credentials))
        reply = carry(backend, call.request, wire)
        return call.settled(read_result(reply, call.request, call.meta(), wire))

    return _tried(call, connections, answer)


def stream(call: Call, connections: Connections) -> ChatStream:
    """A stream, as soon as its status is known.

    Raises:
        ChatError: of the last attempt.
    """

    def begin(backend: Backend, credentials: Credentials) -> Opening[Source]:
        wire = call.sending(connections.wire(call, credentials, streaming=True))
        opened = open_stream(backend, call.request, wire)
        return Opening(call.reading(opened, wire), opened.source, wire, call.stream_meta(opened))

    def begin_again(error: ChatError) -> Opening[Source]:
        _make_ready(call, connections, error)
        return _tried(call, connections, begin)

    return ChatStream(_tried(call, connections, begin), call.settle, begin_again)


async def acomplete(call: Call, connections: Connections, *, native: bool) -> ChatResult:
    """As :func:`complete`, on the running loop: natively, or in a thread."""

    async def answer(backend: Backend, credentials: Credentials) -> ChatResult:
        if native:
            on_loop = call.sending(connections.async_wire(call, credentials))
            return call.settled(
                read_result(await acarry(backend, call.request, on_loop), call.request, call.meta(), on_loop)
            )
        wire = call.sending(connections.wire(call, credentials))
        work = functools.partial(carry, backend, call.request, wire)
        reply = await connections.workers.run(work, wire.abort)
        return call.settled(read_result(reply, call.request, call.meta(), wire))

    return await _atried(call, connections, answer)


async def astream(call: Call, connections: Connections, *, native: bool) -> AsyncChatStream:
    """As :func:`stream`, on the running loop: natively, or each read in a thread."""

    async def begin(backend: Backend, credentials: Credentials) -> Opening[AsyncSource]:
        if native:
            on_loop = call.sending(connections.async_wire(call, credentials, streaming=True))
            opened = await aopen_stream(backend, call.request, on_loop)
            return Opening(call.reading(opened, on_loop), opened.source, on_loop, call.stream_meta(opened))
        wire = call.sending(connections.wire(call, credentials, streaming=True))
        work = functools.partial(open_stream, backend, call.request, wire)
        opened = await connections.workers.run(work, wire.abort, _leave)
        source: Any
        if wire.incoming is not None:
            source = ReadInThreads(wire.incoming, wire, connections.readers)
        else:
            source = PiecesInThreads(opened.source, connections.readers)
        return Opening(call.reading(opened, wire), source, wire, call.stream_meta(opened))

    async def begin_again(error: ChatError) -> Opening[AsyncSource]:
        await _amake_ready(call, connections, error)
        return await _atried(call, connections, begin)

    return AsyncChatStream(await _atried(call, connections, begin), call.settle, begin_again)


def _tried(call: Call, connections: Connections, attempt: Callable[[Backend, Credentials], T]) -> T:
    """What the first ``attempt`` gives that does not fail, as often as the call may be tried."""
    while True:
        try:
            backend, credentials = connections.ready(call.begin_try())
            return attempt(backend, credentials)
        except ChatError as error:
            _make_ready(call, connections, error)


async def _atried(call: Call, connections: Connections, attempt: Callable[[Backend, Credentials], Awaitable[T]]) -> T:
    while True:
        try:
            backend, credentials = await connections.aready(call.begin_try())
            return await attempt(backend, credentials)
        except ChatError as error:
            await _amake_ready(call, connections, error)


def _make_ready(call: Call, connections: Connections, error: ChatError) -> None:
    """Let pass, or do, what must be before the next attempt; raises ``error`` where there is to be none."""
    pause = call.pause_after(error)
    if pause is not None:
        call.clock.sleep(pause)
    elif not (call.may_log_in_again(error) and connections.renew_login(call.credentials, call.deadline)):
        raise error


async def _amake_ready(call: Call, connections: Connections, error: ChatError) -> None:
    pause = call.pause_after(error)
    if pause is not None:
        await call.clock.asleep(pause)
    elif not (call.may_log_in_again(error) and await connections.arenew_login(call.credentials, call.deadline)):
        raise error


def _leave(opened: Opened | None) -> None:
    if opened is not None:
        opened.source.close()
