"""How does one attempt go over the wire on an event loop? By aiohttp, one request and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from yarl import URL

from isochat.errors import ChatError, ChatTimeoutError, ConnectionLostError, Phase
from isochat.transport import async_failures, failures
from isochat.transport.async_connection import under_way
from isochat.transport.async_reply import TICK, AsyncIncomingReply
from isochat.transport.body_buffer import BodyBuffer
from isochat.transport.deadline import Deadline
from isochat.transport.exchange import Exchange

if TYPE_CHECKING:
    from isochat.transport.async_connection import Connection
    from isochat.transport.async_pools import AsyncPools


class AsyncWire(Exchange):
    """One attempt over aiohttp. Cancelling it closes its connection at once.

    Args:
        pools: The sessions of the client object.
        options: As :class:`~isochat.transport.exchange.Exchange` takes them.
    """

    incoming: AsyncIncomingReply | None

    def __init__(self, pools: AsyncPools, deadline: Deadline, **options: Any) -> None:
        super().__init__(deadline, **options)
        self._pools = pools
        self._alarm: asyncio.Timeout | None = None  # of the head that is waited for
        self._loop: asyncio.AbstractEventLoop | None = None
        # Kept by the connection while it works for this wire.
        self.connection: Connection | None = None
        self.headers_sent: Mapping[str, str] | None = None

    @property
    def sent(self) -> list[bytes]:
        """The bytes given to the connection: the head as aiohttp writes it, out of sight, and the body."""
        if self.headers_sent is None:
            return []
        lines = [f"{self.method} {URL(self.url, encoded=True).raw_path_qs} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers_sent.items()]
        return ["\r\n".join([*lines, "\r\n"]).encode(), self.request_body]

    async def send(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> AsyncIncomingReply:
        """Send the one request of this attempt and wait for the reply's headers.

        Raises:
            ConfigurationError: this attempt has sent its request already.
            TransportError, ChatTimeoutError, ResponseTooLargeError: no usable reply came.
        """
        self.begin(method, url, headers, body)
        holder: list[AsyncWire] = [self]
        self._loop = asyncio.get_running_loop()
        token = under_way.set(holder)
        alarm: asyncio.Timeout | None = None
        reply: AsyncIncomingReply | None = None
        try:
            seconds = self.deadline.left(self.phase)
            self._alarm = alarm = asyncio.timeout(None if seconds is None else seconds + TICK)
            async with alarm:
                # Not kept in this frame: aiohttp's reply shows its headers.
                reply = AsyncIncomingReply(await self._pools.request(self), self)
            self.take_head(reply.head)
        except BaseException as error:
            if reply is not None:
                reply.close()
            if alarm is not None and alarm.expired() and isinstance(error, TimeoutError):
                error = ConnectionLostError("the call was cancelled") if self.aborted else self.out_of_time()
            raise self.failed(error) from self.cause_of(error)
        finally:
            self._alarm = None
            under_way.reset(token)
            holder.clear()
        return reply

    async def exchange(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
        """Send the request and read the whole reply; the body also stays in :attr:`body`.

        Of a stream nothing is read: :attr:`incoming` is its reply, and ``b""`` is returned.
        """
        reply = await self.send(method, url, headers, body)
        if self.left_open:
            self.incoming = reply
            return b""
        coming = BodyBuffer(self.body_cap(reply.head.status))
        try:
            while coming.write(await reply.read1()):
                pass
        except Exception as error:
            if not self.forgives(error):
                raise
        finally:
            reply.close()
        return self.take_body(coming.take())

    def enter(self, phase: Phase) -> None:
        """Go over to ``phase``, whose own limit of time holds from here on."""
        self.phase = phase
        seconds = self.time_left()
        if self._alarm is not None:
            now = asyncio.get_running_loop().time()
            self._alarm.reschedule(None if seconds is None else now + seconds + TICK)

    def abort(self) -> None:
        """End the wait for the reply's head, from any thread."""
        super().abort()
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        if self._alarm is not None:
            self._alarm.reschedule(asyncio.get_running_loop().time())

    def out_of_time(self) -> ChatTimeoutError:
        return failures.pool_is_busy() if self.phase == "pool" else super().out_of_time()

    def translated(self, error: Exception) -> ChatError:
        return async_failures.transport_error(error, self.phase, begun=bool(self.heads.count))
