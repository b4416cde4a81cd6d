"""From bytes to chunks: which dialect is it, is it complete, did the service fail in the middle?

No input or output here: bytes are fed in, chunks come out, and at the end a verdict. A stream is complete when it says
so in its dialect: on chat completions by a finish reason for every choice that appeared, on Responses by the response's
last event. Agents say neither: for them it is ``[DONE]``, or else an end that HTTP's framing proves. Nothing else is
success.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import msgspec

from isochat.errors import BadResponseError, ChatError, ResponseTooLargeError, StatusError, TransportError
from isochat.redaction import Redactor
from isochat.results import ChatResult, Meta, Usage
from isochat.status_errors import reports_error
from isochat.streaming.agent_fold import AgentFold
from isochat.streaming.chat_fold import ChatFold
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.events import Event, EventDecoder
from isochat.streaming.responses_fold import ResponsesFold
from isochat.streaming.stream_errors import StreamErrors, bytes_of, read_json
from isochat.streaming.whole_reply import Beginning, WholeBody, chunks_of, is_whole_reply, read_answer, read_body
from isochat.transport.limits import DEFAULT_LIMITS, Limits
from isochat.wire_format.json_text import decode
from isochat.wire_format.usage import read_usage

COMPLETION_UNPROVEN = "completion_unproven"
USAGE_MISSING = "usage_missing"
WHOLE_REPLY = "not_streamed"

_DONE = b"[DONE]"
_EARLY = 15
_UNREADABLE = object()


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
        self._usage_asked = usage_asked
        self._choices = choices
        self._on_responses = on_responses
        self._limits = limits
        self._decoder = EventDecoder(limits.event)
        self._early: list[dict[str, Any]] = []  # what came before an event that tells the dialect
        self._fold: ChatFold | ResponsesFold | AgentFold | None = None
        self._beginning = Beginning()
        self._told_apart = False  # whether the beginning says what the body is
        self._whole: WholeBody | None = None  # a body that is no event stream
        self._answer: ChatResult | None = None  # a whole reply in place of a stream
        self._events = 0
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
        elif delimited and self._may_be_all():
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
        """Whether nothing more is expected: ``[DONE]``, or the last event of a response.

        An agent may go on after that, with what its tools answer; so a response that has called tools is not over, nor
        one from a path where agents answer.
        """
        fold = self._fold
        return self.done or (
            self._on_responses
            and isinstance(fold, ResponsesFold)
            and fold.complete
            and not (fold.agentic or fold.calls_tools or self._decoder.pending)
        )

    @property
    def growing(self) -> int:
        """Bytes of what is under way and has brought no chunk yet. They show that the server is no silent one."""
        return self._decoder.growing if self._whole is None else self._whole.size

    # -- what has come ----------------------------------------------------------------------------------------

    @property
    def extra(self) -> dict[str, Any]:
        """Fields of the events that a result has no place for."""
        return self._fold.extra if self._fold is not None else {}

    def result(self, meta: Meta) -> ChatResult:
        """The result of a stream that has ended well.

        Raises:
            BadResponseError: what was streamed is no answer, e.g. a tool call without a name.
        """
        if self._answer is not None:
            return msgspec.structs.replace(self._answer, meta=meta)
        if self._fold is None:
            raise self._truncated()
        return self._fold.result(meta)

    def reply(self) -> dict[str, Any] | None:
        """What a plain call would have brought, in its wire form; ``None`` where no event of an answer came."""
        return None if self._fold is None else {**self.extra, **self._fold.reply()}

    def partial(self, meta: Meta | None = None) -> ChatResult:
        """What has come so far; never raises."""
        meta = Meta(backend="") if meta is None else meta
        if self._answer is not None:
            return msgspec.structs.replace(self._answer, meta=meta)
        try:
            return ChatResult(meta=meta) if self._fold is None else self._fold.result(meta, whole=False)
        except BadResponseError:  # a field of the wrong type; the error under way says more
            return ChatResult(meta=meta)

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
        data = event.data
        if event.stray:
            # The algorithm ignores such a line; an error object on it is the service failing.
            told = read_json(data)
            if isinstance(told, dict) and reports_error(told):
                self._fail(told, data)
            return
        if not (event.type == "message" and data.startswith(b"{")) and self._is_no_json(event):
            return
        try:
            told = decode(data)
        except ResponseTooLargeError:
            raise ResponseTooLargeError(f"event {self._decoder.count} of the stream is nested too deep") from None
        except BadResponseError:
            told = _UNREADABLE
        if told is _UNREADABLE:  # not above: that error quotes the event, and would be the context of this one
            if event.type == "error":
                self._fail({"message": data.decode("utf-8", "replace")}, data)
            # Text in an event of a type of its own is no part of the answer; broken JSON may have been one.
            if event.type == "message" or event.type.startswith("response.") or data.lstrip().startswith(b"{"):
                raise self._kept(self._errors.unreadable(self._decoder.count, data))
            return
        if event.type == "error" and (not isinstance(told, dict) or told.get("type") != "error"):
            self._fail(told if isinstance(told, dict) else {"message": str(told)}, data)
        if isinstance(told, dict):
            self._take(told, data)

    def _is_no_json(self, event: Event) -> bool:
        bare = event.data.strip()
        self.done = bare == _DONE
        return self.done or event.type == "ping" or (not bare and event.type != "error")

    def _take(self, told: dict[str, Any], data: bytes | None) -> None:
        if "type" in told or not told.get("choices"):  # a chunk with choices reports no failure, and is no ping
            if reports_error(told):
                self._fail(told, data)
            if told.get("type") == "ping":
                return
        self._events += 1
        fold = self._fold
        if fold is not None:
            self.chunks.extend(fold.add(told))
        elif self._answer is not None:
            self.chunks.append(ChatChunk(raw=told))
        elif (fold := self._fold_for(told)) is not None:
            for early in self._early:
                fold.add(early)
            self._fold, self._early = fold, []
            self.chunks.extend(fold.add(told))
        elif is_whole_reply(told):
            body = bytes_of(told) if data is None else data
            self._answer_whole(told, read_answer(told, body, self._api, self._errors))
        else:
            self._early = [*self._early[-_EARLY:], told]
            self.chunks.append(ChatChunk(raw=told))

    def _fold_for(self, told: dict[str, Any]) -> ChatFold | ResponsesFold | AgentFold | None:
        if "choices" in told or told.get("object") == "chat.completion.chunk":
            return ChatFold()
        if isinstance(told.get("type"), str):
            return ResponsesFold()
        if isinstance(told.get("delta"), dict):
            return AgentFold()
        return None

    def _fail(self, told: dict[str, Any], data: bytes | None) -> NoReturn:
        raise self._kept(self._errors.reported(told, data, self._events))

    # -- verdicts ---------------------------------------------------------------------------------------------

    def _settled(self, over: bool) -> bool:
        """Whether the answer says by itself that it is complete.

        Args:
            over: Whether nothing more can have been meant to come, e.g. another of the choices that were asked for.
        """
        if self._answer is not None:
            return True
        fold = self._fold
        if fold is None:
            return False
        if fold.agentic and self.done:
            return True
        if not fold.complete:
            return False
        if not over and isinstance(fold, ChatFold) and fold.appeared < self._choices:
            return False
        if self._usage_asked and not fold.agentic and read_usage(fold.usage) in (None, Usage()):
            self._warn(USAGE_MISSING)
        return True

    def _may_be_all(self) -> bool:
        """Whether an end that nothing in the stream tells may be its end: an agent's, who is in no event any more."""
        fold = self._fold
        if fold is None or not fold.agentic or self._decoder.pending:
            return False
        # On the Responses path an agent ends its items at least, as that API demands: deltas alone have been cut.
        return not (self._on_responses and isinstance(fold, ResponsesFold) and fold.unended)

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
            told, answer = read_body(body.join(), self._api, self._errors)
        except ChatError as error:
            raise self._kept(error) from None
        self._answer_whole(told, answer)

    def _is_readable(self, body: WholeBody) -> bool:
        """Whether a reply that broke off is whole all the same, as JSON says by itself where it ends."""
        try:
            self._read_whole(body)
        except BadResponseError:
            return False
        return True

    def _answer_whole(self, told: Any, answer: ChatResult) -> None:
        self._answer = answer
        self._warn(WHOLE_REPLY)
        self.chunks.extend(chunks_of(answer, told))
