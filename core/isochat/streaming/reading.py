"""From bytes to chunks: what has the service told, and how does the stream end?

No input or output here: bytes are fed in, chunks come out, and at the end a verdict. The rooms beside it say which
events the bytes hold (:mod:`~isochat.streaming.events`), what one says (:mod:`~isochat.streaming.event_data`), what all
of them have told (:mod:`~isochat.streaming.telling`) and whether that is the whole
(:mod:`~isochat.streaming.completion`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from isochat.errors import BadResponseError, ChatError, ResponseTooLargeError, StatusError, TransportError
from isochat.redaction import Redactor
from isochat.results import ChatResult, Meta
from isochat.status_errors import reports_error
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.completion import Completion
from isochat.streaming.event_data import is_done, read_event
from isochat.streaming.events import Event, EventDecoder
from isochat.streaming.kept import MOST, Kept, size_of
from isochat.streaming.stream_errors import StreamErrors
from isochat.streaming.telling import Telling
from isochat.streaming.whole_reply import Beginning, WholeBody, read_body
from isochat.transport.limits import DEFAULT_LIMITS, Limits
from isochat.wire_format.json_weight import LIGHT

COMPLETION_UNPROVEN = "completion_unproven"
USAGE_MISSING = "usage_missing"
WHOLE_REPLY = "not_streamed"


class StreamReading:
    """One stream's bytes, read.

    Args:
        api: The API that the request spoke; the events themselves decide where they can.
        usage_asked: Whether the request asked for token counts.
        choices: How many choices the request asked for.
        on_responses: Whether the service's Responses path is asked, where a response tells its end by itself.

    Attributes:
        chunks: What has been read and not been taken yet.
        done: Whether ``[DONE]`` has come: nothing after it counts.
        warnings: Names of what is not as it should be in a stream that ended well.
    """

    def __init__(
        self,
        api: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        usage_asked: bool = False,
        choices: int = 1,
        on_responses: bool = False,
        redactor: Redactor | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._api = api
        self._errors = StreamErrors(status, headers or {}, redactor or Redactor(()))
        self._completion = Completion(choices=choices, usage_asked=usage_asked, on_responses=on_responses)
        self._telling = Telling(api, self._errors)
        self._limits = limits
        self._decoder = EventDecoder(limits.event)
        self._beginning = Beginning()
        self._told_apart = False  # whether the beginning says what the body is
        self._whole: WholeBody | None = None  # a body that is no event stream
        self._events = 0  # of the answer
        self._memory = Kept()
        self.chunks: deque[ChatChunk] = deque()
        self.done = False
        self.warnings: list[str] = []

    # -- bytes in -------------------------------------------------------------------------------------------

    def feed(self, data: bytes | Mapping[str, Any]) -> None:
        """Read a piece of the body: what it completes is put into :attr:`chunks`.

        Args:
            data: Bytes as they came, or one chunk as a mapping.

        Raises:
            StreamFailedError: the service reported an error, or an event cannot be read.
            StatusError: it reported an error in place of the first event.
            ResponseTooLargeError: an event is over its cap.
        """
        try:
            self._feed(data)
        except ChatError as error:
            # A service may echo the token, and whoever prints a traceback with locals would show it.
            data = b""
            raise self._kept(error).with_traceback(None) from error.__cause__

    def _feed(self, data: bytes | Mapping[str, Any]) -> None:
        if self.done:
            return
        if not isinstance(data, bytes):
            self._take(dict(data), None)
            return
        try:
            for event in self._events_in(data):
                self._take_event(event)
                if self.done:
                    return
        except ResponseTooLargeError as error:
            raise self._kept(error) from None

    def end(self, delimited: bool) -> None:
        """The body has ended as HTTP says it ends.

        Args:
            delimited: Whether its framing proves that nothing was cut off.

        Raises:
            StreamTruncatedError: the stream is not complete.
            BadResponseError: it is no event stream and no chat answer either.
        """
        if self._whole is not None:
            self._read_whole(self._whole)
        elif self._settled(self.done or delimited):
            pass
        elif delimited and self._likely():
            self._warn(COMPLETION_UNPROVEN)
        elif self._beginning.is_no_stream and not self._decoder.count:
            raise self._kept(self._errors.no_stream(self._beginning.data))
        else:
            raise self._truncated()

    def broken(self, error: ChatError) -> None:
        """The body broke off by ``error``; returns where the stream was complete all the same.

        Raises:
            StreamTruncatedError: it was not, and the connection was lost.
            ChatError: it was not, and ``error`` is no loss of the connection; with ``partial``.
        """
        if self._whole is not None and self._is_readable(self._whole):
            return
        if self._settled(self.done):
            return
        error.partial = self.partial()
        if not isinstance(error, TransportError):
            raise error
        raise self._kept(self._errors.broke_off(self._events, error)) from error

    @property
    def over(self) -> bool:
        """Whether nothing more is expected: ``[DONE]``, or the last event of a response."""
        fold = self._telling.fold
        return self.done or (fold is not None and self._completion.told_its_last(fold) and not self._decoder.pending)

    @property
    def growing(self) -> int:
        """Bytes of what is under way and has brought no chunk yet. They show that the server is no silent one."""
        return self._decoder.growing if self._whole is None else self._whole.size

    # -- what has come ----------------------------------------------------------------------------------------

    @property
    def extra(self) -> dict[str, Any]:
        """Fields of the events that a result has no place for."""
        return self._telling.extra

    def result(self, meta: Meta) -> ChatResult:
        """The result of a stream that has ended well.

        Raises:
            BadResponseError: what was streamed is no answer, e.g. a tool call without a name.
        """
        result = self._telling.result(meta)
        if result is None:
            raise self._truncated()
        return result

    def reply(self) -> dict[str, Any] | None:
        """What a plain call would have brought, in its wire form; ``None`` where no event of an answer came."""
        return self._telling.reply()

    def partial(self, meta: Meta | None = None) -> ChatResult:
        """What has come so far; never raises."""
        return self._telling.partial(Meta(backend="") if meta is None else meta)

    # -- events -----------------------------------------------------------------------------------------------

    def _events_in(self, data: bytes) -> Iterable[Event]:
        if not self._told_apart:
            before = self._beginning.data
            self._beginning.add(data)
            if self._beginning.is_whole_reply:
                self._whole, data = WholeBody(self._limits.body), before + data
            self._told_apart = self._whole is not None or self._beginning.known
        if self._whole is None:
            return self._decoder.feed(data)
        self._whole.add(data)
        return ()

    def _take_event(self, event: Event) -> None:
        chat = self._telling.chat
        if chat is not None and event.type == "message" and (chunk := chat.add_text(event.data)) is not None:
            self._events += 1
            self.chunks.append(chunk)
            if self._memory.is_due(len(event.data)):
                self._telling.measure(self._memory)
        elif is_done(event):
            self.done = True
        else:
            told = read_event(event, self._decoder.count, self._events, self._errors, self._room_for(event.data))
            if told is not None:
                self._take(told, event.data)

    def _take(self, told: dict[str, Any], data: bytes | None) -> None:
        # Most chunks have choices, and none of what a failure or a ping has.
        if not told.get("choices") or "type" in told or "error" in told or "error_code" in told:
            if reports_error(told):
                raise self._errors.reported(told, data, self._events)
            if told.get("type") == "ping":
                return
        self._events += 1
        self.chunks.extend(self._telling.take(told, data))
        if self._telling.answer is not None:
            self._warn(WHOLE_REPLY)
        if self._memory.is_due(size_of(told)) if data is None else self._memory.is_due_after(data):
            self._telling.measure(self._memory)

    def _room_for(self, data: bytes) -> int:
        """Bytes of memory that reading an event may take: all of it may have to be kept."""
        if len(data) < LIGHT:
            return MOST
        self._telling.measure(self._memory)
        return MOST - self._memory.size + len(data)

    # -- verdicts ---------------------------------------------------------------------------------------------

    def _settled(self, over: bool) -> bool:
        """Whether the answer says by itself that it is complete, where nothing more can come if it is ``over``."""
        fold = self._telling.fold
        if self._telling.answer is not None:
            return True
        if fold is None or not self._completion.proven(fold, done=self.done, over=over):
            return False
        if self._completion.lacks_usage(fold):
            self._warn(USAGE_MISSING)
        return True

    def _likely(self) -> bool:
        fold = self._telling.fold
        return fold is not None and self._completion.likely(fold) and not self._decoder.pending

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _truncated(self) -> ChatError:
        return self._kept(self._errors.truncated(self._events, done=self.done))

    def _kept(self, error: ChatError) -> ChatError:
        """``error`` with what had come by then; a status has nothing before it."""
        self._errors.placed(error)
        if error.partial is None and not isinstance(error, StatusError):
            error.partial = self.partial()
        return error

    # -- a whole reply in place of a stream -------------------------------------------------------------------

    def _read_whole(self, body: WholeBody) -> None:
        try:
            told, answer = read_body(body.join(), self._api, self._errors, self._limits)
        except ChatError as error:
            raise self._kept(error) from None
        self.chunks.extend(self._telling.take_whole(told, answer))
        self._warn(WHOLE_REPLY)

    def _is_readable(self, body: WholeBody) -> bool:
        """Whether a reply that broke off is whole all the same, as JSON says by itself where it ends."""
        try:
            self._read_whole(body)
        except BadResponseError:
            return False
        return True
