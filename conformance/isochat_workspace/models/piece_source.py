"""Where does the next piece come from? One way to walk lists, blocking iterators and async iterators alike."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from typing import Any, cast

from isochat_workspace.http.stream_reply import Pieces


async def each_piece(given: Pieces | Callable[[], Pieces]) -> AsyncGenerator[bytes, None]:
    """Each piece, asked for only when the one before was taken. Close it (`aclosing`) to close the source.

    A piece source that is no list or tuple may block: it runs on a thread.
    """
    pieces = given() if callable(given) else given
    if isinstance(pieces, list | tuple):
        for piece in pieces:
            yield piece
        return
    source: Any = aiter(pieces) if isinstance(pieces, AsyncIterable) else _IteratorThread(pieces)
    try:
        async for piece in source:
            yield piece
    finally:
        if hasattr(source, "aclose"):
            await source.aclose()


class _IteratorThread:
    """An iterator on a thread of its own, one `next()` for each item awaited.

    No pool: a source that blocks for good would keep the loop's pool, and with it the end of the loop, waiting.
    """

    def __init__(self, iterable: Iterable[bytes]) -> None:
        self._iterable = iterable
        self._loop = asyncio.get_running_loop()
        self._wanted: queue.SimpleQueue[asyncio.Future[Any] | None] = queue.SimpleQueue()
        self._busy = False
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="isochat-workspace-pieces", daemon=True)
        self._thread.start()

    def __aiter__(self) -> _IteratorThread:
        return self

    async def __anext__(self) -> bytes:
        wanted: asyncio.Future[Any] = self._loop.create_future()
        self._busy = True
        self._wanted.put(wanted)
        piece = await wanted
        self._busy = False
        if piece is _END:
            raise StopAsyncIteration
        if isinstance(piece, _Failed):
            raise RuntimeError("the source of the pieces failed") from piece.error
        return cast(bytes, piece)

    async def aclose(self) -> None:
        """End the thread and close the iterator on it. Where it blocks, that happens once it goes on."""
        self._wanted.put(None)
        if not self._busy:
            await self._over.wait()
            self._thread.join()

    def _run(self) -> None:
        iterator: Iterator[bytes] | None = None
        try:
            while (wanted := self._wanted.get()) is not None:
                piece: Any
                try:
                    iterator = iter(self._iterable) if iterator is None else iterator
                    piece = next(iterator, _END)
                except BaseException as error:  # noqa: BLE001 - whoever awaits the piece has to hear of any end
                    piece = _Failed(error)
                self._on_loop(_settle, wanted, piece)
            if (close := getattr(iterator, "close", None)) is not None:
                close()
        finally:
            self._on_loop(self._over.set)

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(call, *arguments)


_END = object()


@dataclasses.dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


def _settle(wanted: asyncio.Future[Any], piece: object) -> None:
    if not wanted.done():  # it is, where the client left while the iterator blocked
        wanted.set_result(piece)
