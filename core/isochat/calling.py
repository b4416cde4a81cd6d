"""How is one call carried? In a thread that waits or on a loop, whole or as a stream: each time by the same attempts.

Each attempt gets a wire of its own. What an error means for the next attempt is the :class:`~isochat.call.Call`'s
answer; where there is to be none, its :class:`~isochat.fallback.Succession` may have another carry the call on. A
stream is handed out with the first attempt that opens one. An error in place of its first event counts as its status
would, so that another attempt may follow even then; after the first event none does.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from isochat.attempt import Opened, acarry, aopen_stream, carry, open_stream, read_result
from isochat.backend import Backend
from isochat.call import Call
from isochat.errors import ChatError
from isochat.results import ChatResult
from isochat.streaming.sources import AsyncSource, PiecesInThreads, ReadInThreads, Source
from isochat.streaming.stream_state import Opening
from isochat.streaming.streams import AsyncChatStream, ChatStream

T = TypeVar("T")
Credentials = Mapping[str, str]


def complete(call: Call) -> ChatResult:
    """The whole answer.

    Raises:
        ChatError: of the last attempt.
    """

    def answer(backend: Backend, credentials: Credentials) -> ChatResult:
        wire = call.sending(call.connections.wire(call, credentials))
        reply = carry(backend, call.request, wire)
        return call.settled(read_result(reply, call.request, call.meta(), wire))

    return _tried(call, answer)


def stream(call: Call) -> ChatStream:
    """A stream, as soon as its status is known.

    Raises:
        ChatError: of the last attempt.
    """

    def begin(backend: Backend, credentials: Credentials) -> Opening[Source]:
        wire = call.sending(call.connections.wire(call, credentials, streaming=True))
        opened = open_stream(backend, call.request, wire)
        return Opening(call.reading(opened, wire), opened.source, wire, call.stream_meta(opened))

    def begin_again(error: ChatError) -> Opening[Source]:
        _make_ready(call, error)
        return _tried(call, begin)

    return ChatStream(_tried(call, begin), call.settle, begin_again, call.leave)


async def acomplete(call: Call) -> ChatResult:
    """As :func:`complete`, on the running loop: natively, or in a thread."""

    async def answer(backend: Backend, credentials: Credentials) -> ChatResult:
        if call.carrier.native:
            on_loop = call.sending(call.connections.async_wire(call, credentials))
            return call.settled(
                read_result(await acarry(backend, call.request, on_loop), call.request, call.meta(), on_loop)
            )
        wire = call.sending(call.connections.wire(call, credentials))
        work = functools.partial(carry, backend, call.request, wire)
        reply = await call.connections.workers.run(work, wire.abort, deadline=call.deadline)
        return call.settled(read_result(reply, call.request, call.meta(), wire))

    return await _atried(call, answer)


async def astream(call: Call) -> AsyncChatStream:
    """As :func:`stream`, on the running loop: natively, or each read in a thread."""

    async def begin(backend: Backend, credentials: Credentials) -> Opening[AsyncSource]:
        if call.carrier.native:
            on_loop = call.sending(call.connections.async_wire(call, credentials, streaming=True))
            opened = await aopen_stream(backend, call.request, on_loop)
            return Opening(call.reading(opened, on_loop), opened.source, on_loop, call.stream_meta(opened))
        wire = call.sending(call.connections.wire(call, credentials, streaming=True))
        work = functools.partial(open_stream, backend, call.request, wire)
        opened = await call.connections.workers.run(work, wire.abort, _leave, call.deadline)
        source: Any
        if wire.incoming is not None:
            source = ReadInThreads(wire.incoming, wire, call.connections.readers)
        else:
            source = PiecesInThreads(opened.source, call.connections.readers)
        return Opening(call.reading(opened, wire), source, wire, call.stream_meta(opened))

    async def begin_again(error: ChatError) -> Opening[AsyncSource]:
        await _amake_ready(call, error)
        return await _atried(call, begin)

    return AsyncChatStream(await _atried(call, begin), call.settle, begin_again, call.leave)


def _tried(call: Call, attempt: Callable[[Backend, Credentials], T]) -> T:
    """What the first ``attempt`` gives that does not fail, as often as the call may be tried."""
    while True:
        try:
            backend, credentials = call.connections.ready(call.begin_try())
            return attempt(backend, credentials)
        except ChatError as error:
            _make_ready(call, error)


async def _atried(call: Call, attempt: Callable[[Backend, Credentials], Awaitable[T]]) -> T:
    while True:
        try:
            backend, credentials = await call.connections.aready(call.begin_try())
            return await attempt(backend, credentials)
        except ChatError as error:
            await _amake_ready(call, error)


def _make_ready(call: Call, error: ChatError) -> None:
    """Let pass, or do, what must be before the next attempt; raises the call's error where there is to be none."""
    pause = call.pause_after(error)
    if pause is not None:
        call.pause(pause, error)
    elif call.may_log_in_again(error) and call.connections.renew_login(call.credentials, call.deadline):
        pass
    elif call.succession is not None:
        for over in call.succession.hand_over(call, error):
            call.wait_until(over)
    else:
        raise error


async def _amake_ready(call: Call, error: ChatError) -> None:
    pause = call.pause_after(error)
    if pause is not None:
        await call.apause(pause, error)
    elif call.may_log_in_again(error) and await call.connections.arenew_login(call.credentials, call.deadline):
        pass
    elif call.succession is not None:
        for over in call.succession.hand_over(call, error):
            await call.await_until(over)
    else:
        raise error


def _leave(opened: Opened | None) -> None:
    if opened is not None:
        opened.source.close()
