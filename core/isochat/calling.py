"""How is one call carried? In a thread that waits or on a loop, whole or as a stream: four times the same attempts.

Each attempt gets a wire of its own. What an error means for the next attempt is the :class:`~isochat.call.Call`'s
answer; a stream is handed out with its first attempt that opens one, and is never repeated after that.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from isochat.attempt import Opened, acarry, aopen_stream, carry, open_stream, read_result
from isochat.call import Call
from isochat.connections import Connections
from isochat.errors import ChatError
from isochat.results import ChatResult
from isochat.streaming.sources import PiecesInThreads, ReadInThreads
from isochat.streaming.streams import AsyncChatStream, ChatStream

if TYPE_CHECKING:
    from isochat.transport.exchange import Exchange


def complete(call: Call, connections: Connections) -> ChatResult:
    """The whole answer.

    Raises:
        ChatError: of the last attempt.
    """
    while True:
        wire: Exchange | None = None
        credentials: Mapping[str, str] = {}
        try:
            backend, credentials = connections.ready(call.begin_try())
            wire = call.sending(carrier := connections.wire(call, credentials))
            reply = carry(backend, call.request, carrier)
            return call.settled(wire, read_result(reply, call.request, call.meta(), wire))
        except ChatError as error:
            pause = call.pause_after(error, wire)
            if pause is None:
                if not (call.may_log_in_again(error) and connections.renew_login(credentials, call.deadline)):
                    raise
                continue
        call.clock.sleep(pause)


def stream(call: Call, connections: Connections) -> ChatStream:
    """A stream, as soon as its status is known.

    Raises:
        ChatError: of the last attempt.
    """
    while True:
        wire: Exchange | None = None
        credentials: Mapping[str, str] = {}
        try:
            backend, credentials = connections.ready(call.begin_try())
            wire = call.sending(carrier := connections.wire(call, credentials, streaming=True))
            opened = open_stream(backend, call.request, carrier)
            settle = functools.partial(call.settle, wire)
            return ChatStream(call.reading(opened, wire), opened.source, wire, call.stream_meta(opened), settle)
        except ChatError as error:
            pause = call.pause_after(error, wire)
            if pause is None:
                if not (call.may_log_in_again(error) and connections.renew_login(credentials, call.deadline)):
                    raise
                continue
        call.clock.sleep(pause)


async def acomplete(call: Call, connections: Connections, *, native: bool) -> ChatResult:
    """As :func:`complete`, on the running loop: natively, or in a thread."""
    while True:
        wire: Exchange | None = None
        credentials: Mapping[str, str] = {}
        try:
            backend, credentials = await connections.aready(call.begin_try())
            if native:
                wire = call.sending(on_loop := connections.async_wire(call, credentials))
                reply = await acarry(backend, call.request, on_loop)
            else:
                wire = call.sending(carrier := connections.wire(call, credentials))
                work = functools.partial(carry, backend, call.request, carrier)
                reply = await connections.workers.run(work, carrier.abort)
            return call.settled(wire, read_result(reply, call.request, call.meta(), wire))
        except ChatError as error:
            pause = call.pause_after(error, wire)
            if pause is None:
                if not (call.may_log_in_again(error) and await connections.arenew_login(credentials, call.deadline)):
                    raise
                continue
        await call.clock.asleep(pause)


async def astream(call: Call, connections: Connections, *, native: bool) -> AsyncChatStream:
    """As :func:`stream`, on the running loop: natively, or each read in a thread."""
    while True:
        wire: Exchange | None = None
        credentials: Mapping[str, str] = {}
        try:
            backend, credentials = await connections.aready(call.begin_try())
            if native:
                wire = call.sending(on_loop := connections.async_wire(call, credentials, streaming=True))
                opened = await aopen_stream(backend, call.request, on_loop)
                source = opened.source
            else:
                wire = call.sending(carrier := connections.wire(call, credentials, streaming=True))
                work = functools.partial(open_stream, backend, call.request, carrier)
                opened = await connections.workers.run(work, carrier.abort, _leave)
                if carrier.incoming is not None:
                    source = ReadInThreads(carrier.incoming, carrier, connections.readers)
                else:
                    source = PiecesInThreads(opened.source, connections.readers)
            settle = functools.partial(call.settle, wire)
            return AsyncChatStream(call.reading(opened, wire), source, wire, call.stream_meta(opened), settle)
        except ChatError as error:
            pause = call.pause_after(error, wire)
            if pause is None:
                if not (call.may_log_in_again(error) and await connections.arenew_login(credentials, call.deadline)):
                    raise
                continue
        await call.clock.asleep(pause)


def _leave(opened: Opened | None) -> None:
    if opened is not None:
        opened.source.close()
