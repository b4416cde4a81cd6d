"""How is a reply read off an aiohttp connection: as it comes, up to the cap, and given back on leaving?"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from isochat.transport.decompression import BodyCounter

if TYPE_CHECKING:
    import aiohttp

    from isochat.transport.async_wire import AsyncWire


class AsyncIncomingReply:
    """A reply whose status and headers are known and whose body is still on the connection.

    Attributes:
        delimited: Whether the body says where it ends, by its length or its chunks. One that ends with its connection
            may have been cut.
    """

    __slots__ = ("_body", "_connection", "_done", "_loop", "_raw", "delimited", "headers", "reason", "status", "wire")

    def __init__(self, raw: aiohttp.ClientResponse, wire: AsyncWire) -> None:
        self._done = False
        self._raw = raw
        self._loop = asyncio.get_running_loop()
        self.wire = wire
        self._connection = wire.connection
        if self._connection is not None:
            self._connection.reply = raw
        self.status: int = raw.status
        self.reason: str = raw.reason or ""
        # As they stood on the wire; aiohttp writes well-known names its own way.
        self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw.raw_headers]
        named = raw.headers
        self.delimited = "Content-Length" in named or "chunked" in named.get("Transfer-Encoding", "").lower()
        cap = wire.limits.stream if wire.streaming else wire.limits.body
        self._body = BodyCounter(named.get("Content-Encoding"), cap)

    async def read1(self) -> bytes:
        """The next bytes, as soon as there are any; ``b""`` at the clean end.

        Raises:
            ChatTimeoutError, ConnectionLostError, ProtocolError, ResponseTooLargeError
        """
        if self._done:
            return b""
        wire = self.wire
        try:
            while True:
                data = await self._next(wire.time_left())
                if not data:
                    self._body.finish()
                    self._done = True  # aiohttp has given the connection back by itself
                    if self._connection is not None and self._connection.reply is self._raw:
                        self._connection.reply = None
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
                self._raw.close()
            else:
                self._loop.call_soon_threadsafe(self._raw.close)
        except RuntimeError:
            with suppress(Exception):  # without a loop, close() would do nothing and warn later
                self._raw.release()

    def __del__(self) -> None:
        self.close()

    async def _next(self, seconds: float | None) -> bytes:
        content = self._raw.content
        failure = content.exception()
        if failure is not None:  # what had come before it comes first
            rest = self._connection.take_rest() if self._connection is not None else b""
            if rest:
                return rest
            raise failure
        data = content.read_nowait()
        if data or content.at_eof():
            return data
        alarm, connection = self.wire.alarm(seconds), self._connection
        try:
            async with alarm:
                if connection is not None:
                    connection.reader_waits = True
                return await content.readany()
        except TimeoutError:
            if alarm.expired():
                raise self.wire.out_of_time() from None
            raise
        finally:
            if connection is not None:
                connection.reader_waits = False
