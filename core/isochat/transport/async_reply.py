"""How is a reply read off an aiohttp connection: as it comes, up to the cap, and given back on leaving?"""

from __future__ import annotations

import asyncio
import math
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from isochat.transport.decompression import BodyCounter

if TYPE_CHECKING:
    import aiohttp

    from isochat.transport.async_wire import AsyncWire

# A loop's timer may ring a clock tick early, when the deadline has not quite passed.
TICK = 0.001


class AsyncIncomingReply:
    """A reply whose status and headers are known and whose body is still on the connection.

    Attributes:
        delimited: Whether the body says where it ends, by its length or its chunks. One that ends with its connection
            may have been cut.
    """

    __slots__ = (
        "__weakref__", "_alarm", "_body", "_connection", "_done", "_loop", "_raw", "_until", "_waits", "delimited",
        "head", "wire",
    )  # fmt: skip

    def __init__(self, raw: aiohttp.ClientResponse, wire: AsyncWire) -> None:
        self._done = False
        self._raw = raw
        self._alarm: asyncio.TimerHandle | None = None
        self._until = math.inf  # on the loop's clock: when the wait under way, or the last one, is too long
        self._waits = False
        self._loop = asyncio.get_running_loop()
        self.wire = wire
        self._connection = wire.connection
        if self._connection is not None:
            self._connection.reply = raw
        assert wire.heads.head is not None
        self.head = wire.heads.head
        self.delimited = self.head.delimited
        self._body = BodyCounter(self.head.coding, wire.body_cap(self.head.status))

    async def read1(self) -> bytes:
        """The next bytes, as soon as there are any; ``b""`` at the clean end.

        Raises:
            ChatTimeoutError, ConnectionLostError, ProtocolError, ResponseTooLargeError
        """
        if self._done:
            return b""
        wire, content, connection = self.wire, self._raw.content, self._connection
        try:
            while True:
                failure = content.exception()
                if self._body.holds:
                    data = b""
                elif failure is not None:  # what had come before it comes first
                    data = b"" if connection is None else connection.take_rest()
                    if not data:
                        raise failure
                else:
                    self._limit(wire.time_left())
                    self._waiting(True)
                    try:
                        data = await content.readany()
                    finally:
                        self._waiting(False)
                if not data and not self._body.holds:
                    self._body.finish()
                    self._end()  # aiohttp has given the connection back by itself
                    if connection is not None and connection.reply is self._raw:
                        connection.reply = None
                    return b""
                data = self._body.take(data)
                if data:
                    return data
        except BaseException as error:
            self.close()
            raise wire.failed(error) from wire.cause_of(error)

    def close(self) -> None:
        """Leave: the connection ends, its place in the pool is free again. After a clean end, nothing.

        From any thread, also when the loop has ended; then the connection has ended with it.
        """
        if self._done:
            return
        self._done = True
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        try:
            if here:
                self._end()
                self._raw.close()
            else:
                self._loop.call_soon_threadsafe(self._raw.close)
        except RuntimeError:
            with suppress(Exception):  # without a loop, close() would do nothing and warn later
                self._raw.release()

    def __del__(self) -> None:
        self.close()

    def _waiting(self, waits: bool) -> None:
        self._waits = waits
        if self._connection is not None:
            self._connection.reader_waits = waits

    def _end(self) -> None:
        self._done = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _limit(self, seconds: float | None) -> None:
        """Have the next wait end after ``seconds``.

        One timer serves all waits of a reply: to set one for each takes as long as the reading. It rings when the first
        of them would have been too long, and is set again for the one that is under way by then.
        """
        self._until = math.inf if seconds is None else self._loop.time() + seconds + TICK
        if seconds is not None and (self._alarm is None or self._until < self._alarm.when()):
            self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._until, _ring, weakref.ref(self))

    def _rung(self) -> None:
        self._alarm = None
        if self._waits and self._until < math.inf:
            if self._loop.time() < self._until:
                self._set_alarm()
            else:
                self._raw.content.set_exception(self.wire.out_of_time())


def _ring(reply: weakref.ref[Any]) -> None:
    """Not the reply itself: one that is forgotten has to be collected."""
    held = reply()
    if held is not None:
        held._rung()
