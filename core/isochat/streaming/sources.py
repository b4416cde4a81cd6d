"""Where do a stream's bytes come from, when not straight from a reply on the wire?

A stream asks its source for ``read1()``, which gives the next piece and ``b""`` at the clean end, and for ``close()``.
:class:`~isochat.transport.reply.IncomingReply` and its asynchronous twin are sources as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from isochat.errors import ChatError

if TYPE_CHECKING:
    from isochat.transport.reply import IncomingReply
    from isochat.transport.wire import Wire
    from isochat.workers import Workers

Translate = Callable[[Exception], ChatError]
Piece = bytes | Mapping[str, Any]


class Source(Protocol):
    """What a :class:`~isochat.streaming.streams.ChatStream` reads from."""

    @property
    def delimited(self) -> bool:
        """Whether the clean end proves that nothing was cut off."""
        ...

    def read1(self) -> Piece:
        """The next piece; ``b""`` at the clean end."""
        ...

    def close(self) -> None:
        """Leave early; after the end, nothing."""
        ...


class AsyncSource(Protocol):
    """What an :class:`~isochat.streaming.streams.AsyncChatStream` reads from."""

    @property
    def delimited(self) -> bool:
        """Whether the clean end proves that nothing was cut off."""
        ...

    async def read1(self) -> Piece:
        """The next piece; ``b""`` at the clean end."""
        ...

    def close(self) -> None:
        """Leave early; after the end, nothing."""
        ...


class ReadInThreads:
    """A reply of the waiting wire, read from a loop: each read waits in a worker, and a cancelled one ends the
    connection.
    """

    def __init__(self, reply: IncomingReply, wire: Wire, workers: Workers) -> None:
        self._reply = reply
        self._wire = wire
        self._workers = workers
        self._reading = False
        self.delimited = reply.delimited

    async def read1(self) -> bytes:
        self._reading = True
        piece = await self._workers.run(self._reply.read1, self._wire.abort, lambda piece: self._reply.close())
        self._reading = False
        return piece

    def close(self) -> None:
        if self._reading:
            self._wire.abort()  # the worker closes the reply, as what it reads breaks off
        else:
            self._reply.close()


class Pieces:
    """A source of what a backend with a transport of its own hands out; its exceptions are translated."""

    def __init__(self, pieces: Iterable[Piece], delimited: bool, translate: Translate) -> None:
        self._pieces = pieces
        self._iterator: Iterator[Piece] = iter(pieces)
        self._translate = translate
        self.delimited = delimited

    def read1(self) -> Piece:
        try:
            for piece in self._iterator:
                if piece != b"":
                    return piece
        except ChatError:
            raise
        except Exception as error:
            raise self._translate(error) from error
        return b""

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


class PiecesInThreads:
    """The same, read from a loop. A read that is cancelled goes on in its worker: nothing here can end it."""

    def __init__(self, pieces: Pieces, workers: Workers) -> None:
        self._pieces = pieces
        self._workers = workers
        self.delimited = pieces.delimited

    async def read1(self) -> Piece:
        return await self._workers.run(self._pieces.read1, lambda: None)

    def close(self) -> None:
        self._pieces.close()


class AsyncPieces:
    """The same of an asynchronous one. The loop closes an asynchronous generator that nobody holds any more."""

    def __init__(self, pieces: AsyncIterable[Piece], delimited: bool, translate: Translate) -> None:
        self._iterator: AsyncIterator[Piece] | None = aiter(pieces)
        self._translate = translate
        self.delimited = delimited

    async def read1(self) -> Piece:
        try:
            if self._iterator is not None:
                async for piece in self._iterator:
                    if piece != b"":
                        return piece
        except ChatError:
            raise
        except Exception as error:
            raise self._translate(error) from error
        return b""

    def close(self) -> None:
        self._iterator = None
