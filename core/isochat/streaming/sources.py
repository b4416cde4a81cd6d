"""Where do a stream's bytes come from, when not straight from a reply on the wire?

A stream asks its source for ``read1()``, which gives the next piece and ``b""`` at the clean end, and for ``close()``.
:class:`~isochat.transport.reply.IncomingReply` and its asynchronous twin are sources as they are.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from isochat.errors import ChatError, PluginError

if TYPE_CHECKING:
    from isochat.transport.reply import IncomingReply
    from isochat.transport.wire import Wire
    from isochat.workers import Workers

Translate = Callable[[BaseException], ChatError]
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


class _InThreads:
    """A source that waits, read from a loop: each read waits in a worker.

    It is closed by whoever touches it last: by the worker, where one is reading when the stream is left.
    """

    def __init__(self, source: Source, workers: Workers, interrupt: Callable[[], None]) -> None:
        self._source = source
        self._workers = workers
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self._reading = False
        self._left = False
        self.delimited = source.delimited

    async def read1(self) -> Piece:
        return await self._workers.run(self._read, self.close)

    def close(self) -> None:
        with self._lock:
            first, self._left = not self._left, True
            reading = self._reading
        if reading:
            self._interrupt()
        elif first:
            self._source.close()

    def _read(self) -> Piece:
        with self._lock:
            if self._left:  # while this read waited for a worker
                return b""
            self._reading = True
        try:
            return self._source.read1()
        finally:
            with self._lock:
                self._reading = False
            if self._left:
                self._source.close()


class ReadInThreads(_InThreads):
    """A reply of the waiting wire. Leaving it ends the connection, which wakes the worker that reads."""

    def __init__(self, reply: IncomingReply, wire: Wire, workers: Workers) -> None:
        super().__init__(reply, workers, wire.abort)


class Pieces:
    """A source of what a backend with a transport of its own hands out; its exceptions are translated.

    Args:
        in_time: Raises ChatTimeoutError once the call's deadline has passed; asked before each piece.
    """

    def __init__(
        self,
        pieces: Iterable[Piece],
        delimited: bool,
        translate: Translate,
        in_time: Callable[[], object] = lambda: None,
    ) -> None:
        self._in_time = in_time
        self._pieces = pieces
        self._iterator: Iterator[Piece] | None = None
        self._translate = translate
        self.delimited = delimited

    def read1(self) -> Piece:
        try:
            if self._iterator is None:
                self._iterator = iter(self._pieces)
            for piece in self._iterator:
                self._in_time()
                if _is_piece(piece):
                    return piece
        except ChatError:
            raise
        except BaseException as error:
            raise self._translate(error) from error
        return b""

    def close(self) -> None:
        with contextlib.suppress(Exception, SystemExit):  # it is left: what it says to that concerns nobody
            if (close := getattr(self._pieces, "close", None)) is not None:
                close()


class PiecesInThreads(_InThreads):
    """What a backend with a transport of its own hands out. A read that is left goes on in its worker: nothing here can
    end it.
    """

    def __init__(self, pieces: Pieces, workers: Workers) -> None:
        super().__init__(pieces, workers, lambda: None)


class AsyncPieces:
    """The same of an asynchronous one. The loop closes an asynchronous generator that nobody holds any more."""

    def __init__(
        self,
        pieces: AsyncIterable[Piece],
        delimited: bool,
        translate: Translate,
        in_time: Callable[[], object] = lambda: None,
    ) -> None:
        self._in_time = in_time
        self._pieces: AsyncIterable[Piece] | None = pieces
        self._iterator: AsyncIterator[Piece] | None = None
        self._translate = translate
        self.delimited = delimited

    async def read1(self) -> Piece:
        try:
            if self._iterator is None and self._pieces is not None:
                self._iterator = aiter(self._pieces)
            if self._iterator is not None:
                async for piece in self._iterator:
                    self._in_time()
                    if _is_piece(piece):
                        return piece
        except ChatError:
            raise
        except BaseException as error:
            raise self._translate(error) from error
        return b""

    def close(self) -> None:
        self._pieces = self._iterator = None


def _is_piece(piece: Any) -> bool:
    """Whether there is something in ``piece``; raises PluginError where it is none."""
    if not isinstance(piece, bytes | Mapping):
        raise PluginError(
            f"the backend's stream has a piece of {type(piece).__name__}; expected bytes or mappings",
            remedy="Report this to the backend's author",
        )
    return piece != b""
