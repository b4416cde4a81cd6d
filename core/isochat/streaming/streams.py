"""What does ``chat(..., stream=True)`` give? An iterator of chunks that holds one connection and gives it back.

Both kinds wrap one :class:`~isochat.streaming.reading.StreamReading`; they differ in how they wait for bytes. The
connection is released at once when the stream ends, fails, is closed, is left by its ``with`` block or is collected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

import msgspec

from isochat.errors import BadResponseError, ChatError, StatusError, StreamTruncatedError, cleaned
from isochat.redaction import without_locals
from isochat.results import ChatResult, Meta
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.reading import StreamReading
from isochat.streaming.sources import AsyncSource, Source

if TYPE_CHECKING:
    from isochat.transport.exchange import Exchange
    from isochat.transport.wire import Wire

S = TypeVar("S", Source, AsyncSource)

# After [DONE] the end of the body is waited for this long, in seconds, so that the connection can be used again.
_LINGER = 0.25


class Opening(NamedTuple, Generic[S]):
    """What an attempt has opened: the stream's bytes, who reads them, and what its head says of the call."""

    reading: StreamReading
    source: S
    wire: Exchange
    meta: Meta


class _Stream(Generic[S]):
    """What both kinds share: all but the waiting."""

    def __init__(self, opening: Opening[S], settle: Callable[[ChatError | None], None]) -> None:
        self._adopt(opening)
        self._settle = settle
        self._ended = False
        self._refused: StatusError | None = None
        self._error: ChatError | None = None
        self._result: ChatResult | None = None

    def _adopt(self, opening: Opening[S]) -> None:
        self._reading = opening.reading
        self._source: S = opening.source
        self._wire = opening.wire
        self._meta = opening.meta

    @property
    def meta(self) -> Meta:
        """How the call went, as far as it has gone."""
        return msgspec.structs.replace(
            self._meta,
            elapsed=self._wire.deadline.elapsed() if not self._ended else self._meta.elapsed,
            warnings=(*self._meta.warnings, *self._reading.warnings),
            _extra=self._reading.extra,
        )

    @property
    def partial(self) -> ChatResult:
        """What has come so far, as a result: always a beginning of the whole."""
        return self._reading.partial(self.meta)

    def __repr__(self) -> str:
        state = "failed" if self._error is not None else "ended" if self._ended else "open"
        return f"<{type(self).__name__} of {self._meta.endpoint!r} by {self._meta.backend!r}, {state}>"

    def __del__(self) -> None:
        if not getattr(self, "_ended", True):
            self._ended = True
            self._source.close()

    def _close(self) -> None:
        if not self._ended:
            self._finish()
            self._error = StreamTruncatedError(
                "the stream was closed before its end", remedy="Read it to its end, or use stream.partial"
            )
            self._error.partial = self.partial
            self._reading.chunks.clear()
            self._settle(self._error)

    def _finish(self) -> None:
        """Whatever the outcome, the connection goes back now."""
        self._ended = True
        self._meta = msgspec.structs.replace(self._meta, elapsed=self._wire.deadline.elapsed())
        self._source.close()

    def _wait(self) -> None:
        """The caller waits from now on: silence counts from here, whatever came that was no data."""
        self._wire.quiet_since = self._wire.deadline.clock.monotonic()

    def _take(self, piece: Any) -> None:
        """Read one piece of the body, or its end."""
        if piece == b"":
            self._guard(self._reading.end, self._source.delimited)
            self._over()
            return
        before = self._reading.growing
        self._guard(self._reading.feed, piece)
        if self._reading.growing > before:
            self._wait()  # a large event is under way: the server is not silent
        if "first" not in self._wire.times and self._reading.chunks:
            self._wire.mark("first")

    def _guard(self, work: Callable[[Any], None], argument: Any) -> None:
        try:
            work(argument)
        except StatusError as error:  # in place of the first event: perhaps another attempt does better
            self._refused = error.with_traceback(None)
            self._source.close()
        except ChatError as error:
            self._fail(error.with_traceback(None))  # what its frames hold is the server's, who may echo a token
        except BaseException:
            self._close()
            raise

    def _broke(self, error: ChatError) -> None:
        """Reading broke off: that ends the stream, well or badly."""
        self._guard(self._reading.broken, error)
        if not self._ended and self._refused is None:
            self._wire.failure = None  # the answer is complete
            self._over()

    def _fail(self, error: ChatError, *, settled: bool = False) -> None:
        # Chunks that came before the failure are handed out first.
        if self._error is None:
            self._finish()
            if error.partial is not None:
                error.partial = self.partial  # which knows of the call
            self._error = cleaned(error, self._wire.redactor.clean)
            if error.partial is not None:
                error.partial = msgspec.structs.replace(error.partial, meta=self.meta)
            if not settled:
                self._settle(error)

    def _over(self) -> None:
        if not self._ended and self._refused is None:
            self._wire.mark("end")
            self._finish()
            self._settle(None)

    def _end_after_done(self) -> bool:
        """Judge a stream that has said [DONE]; says whether the end of its body is worth a moment."""
        self._guard(self._reading.end, self._source.delimited)
        if self._wire.incoming is None:  # not on the wire: nothing here could end the wait
            self._over()
        self._wire.idle = min(self._wire.idle, _LINGER)
        self._wait()
        return not self._ended and self._refused is None

    def _begun_again(self, opening: Opening[S]) -> None:
        """Another attempt has opened a stream."""
        if self._ended:  # closed meanwhile
            opening.source.close()
        else:
            self._adopt(opening)
            self._wait()

    def _whole(self) -> ChatResult:
        if self._error is not None:
            raise without_locals(self._error)
        if self._result is None:
            try:
                self._result = self._reading.result(self.meta)
            except BadResponseError as error:
                error.status_code, error.request_id = self._meta.status_code, self._meta.request_id
                error.partial = self.partial
                self._settle(error)
                raise
        return self._result


class ChatStream(_Stream[Source], Iterator[ChatChunk]):
    """A streamed answer: iterate over it once, or ask for its :meth:`result`.

    Iterating raises what broke the stream, after the chunks that came before: StreamTruncatedError,
    StreamFailedError, ChatTimeoutError, or the StatusError that an error in place of the first event counts as. Each
    keeps what had come as ``partial``. A stream may be read in another thread than the one that opened it, by one
    thread at a time.
    """

    _wire: Wire
    _waiting = False
    _left = False

    def __init__(
        self,
        opening: Opening[Source],
        settle: Callable[[ChatError | None], None],
        begin_again: Callable[[ChatError], Opening[Source]],
    ) -> None:
        super().__init__(opening, settle)
        self._begin_again = begin_again

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChatChunk:
        if not self._reading.chunks:
            if not self._ended:
                self._pull()
            if not self._reading.chunks:
                if self._error is not None:
                    raise without_locals(self._error)
                raise StopIteration
        return self._reading.chunks.popleft()

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
            self._wire.abort()
        else:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _pull(self) -> None:
        """Read until there is a chunk, or the end."""
        self._wait()
        while not self._ended and not self._reading.chunks:
            if self._refused is not None:
                self._try_again(self._refused)
                continue
            if self._reading.done:
                self._leave_after_done()
                continue
            try:
                piece = self._read()
            except ChatError as error:
                if self._left:
                    self._close()
                else:
                    self._broke(error)
                continue
            except BaseException:
                self._close()
                raise
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

    def _leave_after_done(self) -> None:
        if not self._end_after_done():
            return
        try:
            self._read()
        except ChatError:
            self._wire.failure = None  # the answer is complete
        finally:
            self._over()


class AsyncChatStream(_Stream[AsyncSource], AsyncIterator[ChatChunk]):
    """A streamed answer on an event loop: ``async for`` over it once, or await its :meth:`result`.

    Raises as :class:`ChatStream` does. Cancellation passes as it is and closes the connection.
    """

    def __init__(
        self,
        opening: Opening[AsyncSource],
        settle: Callable[[ChatError | None], None],
        begin_again: Callable[[ChatError], Awaitable[Opening[AsyncSource]]],
    ) -> None:
        super().__init__(opening, settle)
        self._begin_again = begin_again

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatChunk:
        if not self._reading.chunks:
            if not self._ended:
                await self._pull()
            if not self._reading.chunks:
                if self._error is not None:
                    raise without_locals(self._error)
                raise StopAsyncIteration
        return self._reading.chunks.popleft()

    async def result(self) -> ChatResult:
        """As :meth:`ChatStream.result`."""
        while not self._ended:
            self._reading.chunks.clear()
            await self._pull()
        self._reading.chunks.clear()
        return self._whole()

    async def aclose(self) -> None:
        """Leave: the connection closes at once, unless the stream has ended."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _pull(self) -> None:
        self._wait()
        while not self._ended and not self._reading.chunks:
            if self._refused is not None:
                await self._try_again(self._refused)
                continue
            if self._reading.done:
                await self._leave_after_done()
                continue
            try:
                piece = await self._source.read1()
            except ChatError as error:
                self._broke(error)
                continue
            except BaseException:
                self._close()
                raise
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

    async def _leave_after_done(self) -> None:
        if not self._end_after_done():
            return
        try:
            await self._source.read1()
        except ChatError:
            self._wire.failure = None
        finally:
            self._over()
