"""What is known of a stream under way, and how does it end? What both kinds of stream share: all but the waiting."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from isochat.errors import BadResponseError, ChatError, StatusError, StreamTruncatedError, cleaned
from isochat.redaction import without_locals
from isochat.results import ChatResult, Meta
from isochat.streaming.reading import StreamReading
from isochat.streaming.sources import AsyncSource, Source

if TYPE_CHECKING:
    from isochat.transport.exchange import Exchange

S = TypeVar("S", Source, AsyncSource)

# When nothing more is expected the end of the body is waited for this long, in seconds, so that the connection can be
# used again: the chunk that ends it often comes in a packet of its own.
_LINGER = 0.1


class Opening(NamedTuple, Generic[S]):
    """What an attempt has opened: the stream's bytes, who reads them, and what its head says of the call."""

    reading: StreamReading
    source: S
    wire: Exchange
    meta: Meta


class StreamState(Generic[S]):
    """One stream, from its opening to its end.

    Attributes:
        on_end: Is told once how it has ended.
    """

    on_end: Callable[[ChatResult | ChatError], None] | None = None

    def __init__(
        self, opening: Opening[S], settle: Callable[[ChatError | None], None], leave: Callable[[], None]
    ) -> None:
        self._adopt(opening)
        self._settle = settle
        self._leave = leave
        self._ended = False
        self._lingered = False
        self._refused: StatusError | None = None
        self._error: ChatError | None = None
        self._result: ChatResult | None = None

    def _adopt(self, opening: Opening[S]) -> None:
        self._reading = opening.reading
        self._source: S = opening.source
        self._wire = opening.wire
        self._meta = opening.meta
        # Before __del__: of a stream in a cycle, Python may collect the socket first, with a warning.
        self._if_forgotten: weakref.finalize[..., Any] = weakref.finalize(self, opening.source.close)
        self._if_forgotten.atexit = False  # a thread may be reading

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
            if self.on_end is not None and not sys.is_finalizing():
                self._close()
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
            self._tell()

    def _tell(self) -> None:
        """Say how the stream has ended, where somebody asked for it; once."""
        tell, self.on_end = self.on_end, None
        if tell is None:
            return
        outcome: ChatResult | ChatError | None = self._error
        if outcome is None:
            try:
                outcome = self._whole()
            except ChatError as error:
                outcome = error.with_traceback(None)
        tell(outcome)

    def _finish(self) -> None:
        """Whatever the outcome, the connection goes back now."""
        self._ended = True
        self._meta = msgspec.structs.replace(self._meta, elapsed=self._wire.deadline.elapsed())
        self._give_back()

    def _give_back(self) -> None:
        self._if_forgotten.detach()
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
            self._give_back()
        except ChatError as error:
            self._fail(error.with_traceback(None))  # what its frames hold is the server's, who may echo a token
        except BaseException:
            self._close()
            raise

    def _broke(self, error: ChatError) -> None:
        """Reading broke off: that ends the stream, well or badly."""
        self._guard(self._reading.broken, error)
        self._over()

    def _fail(self, error: ChatError, *, settled: bool = False) -> None:
        # Chunks that came before the failure are handed out first.
        if self._error is None:
            self._finish()
            self._error = cleaned(error, self._wire.redactor.clean)
            if error.partial is not None:
                error.partial = msgspec.structs.replace(error.partial, meta=self.meta)
            if not settled:
                self._settle(error)
            self._tell()

    def _over(self) -> None:
        if not self._ended and self._refused is None:
            self._wire.mark("end")
            self._wire.failure = None  # whatever ended the wait for more
            self._finish()
            self._settle(None)
            self._tell()

    def _lingers(self) -> bool:
        """Judge a stream of which nothing more is expected; says whether the end of its body is worth a moment."""
        self._guard(self._reading.end, self._source.delimited)
        if self._wire.incoming is None:  # not on the wire: nothing here could end the wait
            self._over()
        return not self._ended and self._refused is None

    @contextlib.contextmanager
    def _lingering(self) -> Iterator[None]:
        """Inside, a wait ends soon, and the stream with it: its answer is complete."""
        idle = self._wire.idle
        self._wire.idle = min(idle, _LINGER)
        if not self._lingered:  # pings make it no longer
            self._lingered = True
            self._wait()
        try:
            yield
        except ChatError:
            self._over()
        except BaseException:
            self._over()
            raise
        finally:
            self._wire.idle = idle

    def _take_last(self, piece: Any) -> None:
        """What came in that moment: the end, or more than was expected."""
        if piece == b"" or self._reading.done:
            self._over()
        else:
            self._take(piece)

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
