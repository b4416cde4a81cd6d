"""What does ``chat(..., stream=True)`` give? An iterator of chunks that holds one connection and gives it back.

Both kinds wrap one :class:`~isochat.streaming.reading.StreamReading`; they differ in how they wait for bytes. The
connection is released at once when the stream ends, fails, is closed, is left by its ``with`` block or is collected.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from isochat.errors import ChatError, StatusError
from isochat.redaction import without_locals
from isochat.results import ChatResult
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.sources import AsyncSource, Source
from isochat.streaming.stream_state import Opening, StreamState

if TYPE_CHECKING:
    from isochat.transport.wire import Wire


class ChatStream(StreamState[Source], Iterator[ChatChunk]):
    """A streamed answer: iterate over it once, or ask for its :meth:`result`.

    Iterating raises what broke the stream, after the chunks that came before: StreamTruncatedError,
    StreamFailedError, ChatTimeoutError, or the StatusError that an error in place of the first event counts as. Each
    keeps what had come as ``partial``. A stream may be read in another thread than the one that opened it; of several
    threads that iterate over it each chunk goes to one.
    """

    _wire: Wire
    _waiting = False
    _left = False

    def __init__(
        self,
        opening: Opening[Source],
        settle: Callable[[ChatError | None], None],
        begin_again: Callable[[ChatError], Opening[Source]],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(opening, settle, leave)
        self._begin_again = begin_again
        self._turn = threading.Lock()  # of the thread that reads

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChatChunk:
        while True:
            try:
                return self._reading.chunks.popleft()
            except IndexError:
                pass
            if self._ended:
                break
            self._pull()
        if self._error is not None:
            raise without_locals(self._error)
        raise StopIteration

    def result(self) -> ChatResult:
        """Read the rest and give the whole answer, the same as a plain call's.

        Raises:
            ChatError: what broke the stream; also of one that was closed before its end.
        """
        while not self._ended:
            self._reading.chunks.clear()
            self._pull()
        self._reading.chunks.clear()
        return self._whole()

    def close(self) -> None:
        """Leave: the connection closes at once, unless the stream has ended. Any thread may, also while another reads:
        that one gets StreamTruncatedError.
        """
        if self._waiting:  # in another thread, or under a signal handler: who waits wakes up, and closes
            self._left = True
            self._leave()
        else:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _pull(self) -> None:
        """Read until there is a chunk, or the end."""
        with self._turn:
            self._wait()
            while not self._ended and not self._reading.chunks:
                if self._refused is not None:
                    self._try_again(self._refused)
                elif self._reading.over:
                    self._linger()
                else:
                    self._go_on()

    def _go_on(self) -> None:
        try:
            piece = self._read()
        except ChatError as error:
            if self._left:
                self._close()
            else:
                self._broke(error)
        except BaseException:
            self._close()
            raise
        else:
            if self._left:
                self._close()
            else:
                self._take(piece)

    def _try_again(self, error: StatusError) -> None:
        self._refused = None
        self._waiting = True
        try:
            self._begun_again(self._begin_again(error))
        except ChatError as failed:
            if not self._left:
                self._fail(failed.with_traceback(None), settled=True)
        except BaseException:
            self._close()
            raise
        finally:
            self._waiting = False
        if self._left:
            self._close()

    def _read(self) -> Any:
        self._waiting = True
        try:
            return self._source.read1()
        finally:
            self._waiting = False

    def _linger(self) -> None:
        if self._lingers():
            with self._lingering():
                self._take_last(self._read())


class AsyncChatStream(StreamState[AsyncSource], AsyncIterator[ChatChunk]):
    """A streamed answer on an event loop: ``async for`` over it once, or await its :meth:`result`.

    Raises as :class:`ChatStream` does. Cancellation passes as it is and closes the connection. Of several tasks that
    iterate over it each chunk goes to one.
    """

    def __init__(
        self,
        opening: Opening[AsyncSource],
        settle: Callable[[ChatError | None], None],
        begin_again: Callable[[ChatError], Awaitable[Opening[AsyncSource]]],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(opening, settle, leave)
        self._begin_again = begin_again
        self._turn = asyncio.Lock()  # of the task that reads

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatChunk:
        while True:
            try:
                return self._reading.chunks.popleft()
            except IndexError:
                pass
            if self._ended:
                break
            await self._pull()
        if self._error is not None:
            raise without_locals(self._error)
        raise StopAsyncIteration

    async def result(self) -> ChatResult:
        """As :meth:`ChatStream.result`."""
        while not self._ended:
            self._reading.chunks.clear()
            await self._pull()
        self._reading.chunks.clear()
        return self._whole()

    async def aclose(self) -> None:
        """Leave: the connection closes at once, unless the stream has ended. A task that reads it meanwhile gets
        StreamTruncatedError.
        """
        if not self._ended:
            self._close()
            self._leave()  # whoever waits to begin it again

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _pull(self) -> None:
        async with self._turn:
            self._wait()
            while not self._ended and not self._reading.chunks:
                if self._refused is not None:
                    await self._try_again(self._refused)
                elif self._reading.over:
                    await self._linger()
                else:
                    await self._go_on()

    async def _go_on(self) -> None:
        try:
            piece = await self._source.read1()
        except ChatError as error:
            self._broke(error)
        except BaseException:
            self._close()
            raise
        else:
            self._take(piece)

    async def _try_again(self, error: StatusError) -> None:
        self._refused = None
        try:
            self._begun_again(await self._begin_again(error))
        except ChatError as failed:
            self._fail(failed.with_traceback(None), settled=True)
        except BaseException:
            self._close()
            raise

    async def _linger(self) -> None:
        if self._lingers():
            with self._lingering():
                self._take_last(await self._source.read1())
