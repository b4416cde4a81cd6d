"""From bytes to chunks: which dialect is it, is it complete, did the service fail in the middle?

No input or output here: bytes are fed in, chunks come out, and at the end a verdict. A stream is complete when it says
so in its dialect: on chat completions by a finish reason for every choice that appeared, on Responses by the response's
last event. Agents say neither: for them it is ``[DONE]``, or else an end that HTTP's framing proves. Nothing else is
success.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import msgspec

from isochat.errors import (
    BadResponseError,
    ChatError,
    ResponseTooLargeError,
    StatusError,
    StreamFailedError,
    StreamTruncatedError,
    TransportError,
    cleaned,
)
from isochat.redaction import Redactor
from isochat.results import ChatResult, Meta, Usage
from isochat.status_errors import error_under_200, reported_error, reports_error
from isochat.streaming.agent_fold import AgentFold
from isochat.streaming.chat_fold import ChatFold
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.events import Event, EventDecoder
from isochat.streaming.responses_fold import ResponsesFold
from isochat.streaming.whole_reply import Beginning, WholeBody, chunks_of
from isochat.transport.limits import DEFAULT_LIMITS, Limits
from isochat.wire_format.json_text import decode
from isochat.wire_format.replies import read_reply
from isochat.wire_format.usage import read_usage

COMPLETION_UNPROVEN = "completion_unproven"
USAGE_MISSING = "usage_missing"
WHOLE_REPLY = "not_streamed"

_DONE = b"[DONE]"
_SHOWN = 200
_EARLY = 15
_UNREADABLE = object()


class StreamReading:
    """One stream's bytes, read.

    Args:
        api: The API that the request spoke; the events themselves decide where they can.
        usage_asked: Whether the request asked for token counts.
        choices: How many choices the request asked for.

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
        redactor: Redactor | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._api = api
        self._status = status
        self._headers = headers or {}
        self._usage_asked = usage_asked
        self._choices = choices
        self._redactor = redactor or Redactor(())
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
            raise error.with_traceback(None) from error.__cause__

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
            raise self._placed(error) from None

    def end(self, delimited: bool) -> None:
        """The body has ended as HTTP says it ends.

        Args:
            delimited: Whether its framing proves that nothing was cut off.

        Raises:
            StreamTruncatedError: the stream is not complete.
            BadResponseError: it is no event stream and no chat answer either.
        """
        if self._whole is not None:
            self._read_whole(self._whole.join())
            return
        if self._settled(self.done or delimited):
            return
        if self._fold is not None and self._fold.agentic and delimited and not self._decoder.pending:
            self._warn(COMPLETION_UNPROVEN)
            return
        raise self._truncated()

    def broken(self, error: ChatError) -> None:
        """The body broke off by ``error``; returns where the stream was complete all the same.

        Raises:
            StreamTruncatedError: it was not, and the connection was lost.
            ChatError: it was not, and ``error`` is no loss of the connection; with ``partial``.
        """
        if self._whole is not None and self._is_readable(self._whole.join()):
            return
        if self._settled(self.done):
            return
        error.partial = self.partial()
        if not isinstance(error, TransportError):
            raise error
        raise self._error(
            StreamTruncatedError, f"the stream broke off after {self._count()}: {error.message}", _TRUNCATED_REMEDY
        ) from error

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
            told = _read_json(data)
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
                raise self._unreadable(data)
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
        elif self._is_whole_reply(told):
            self._answer_whole(told, _bytes_of(told) if data is None else data)
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
        """Raise for the error that ``told`` reports: as the first event it counts as a status."""
        data = _bytes_of(told) if data is None else data
        body = self._redactor.clean_bytes(data)
        if body != data:
            told = _read_json(body) or told
        failed = cleaned(reported_error(told, self._status, self._headers, body), self._redactor.clean)
        if not self._events:
            raise self._placed(failed)
        raise self._error(
            StreamFailedError,
            f"the service failed after {self._count()}: {failed.message}",
            failed.remedy,
            code=failed.code,
            retry_after=failed.retry_after,
            body=failed.body,
        )

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

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _truncated(self) -> ChatError:
        if self._beginning.is_no_stream and not self._decoder.count:
            shown = self._redactor.clean(self._beginning.data.decode("utf-8", "replace").rstrip())
            return self._error(BadResponseError, f"the reply is no event stream; it begins {shown!r}", None)
        missing = "[DONE] came" if self.done else "the stream ended"
        return self._error(
            StreamTruncatedError, f"{missing} after {self._count()}, before the answer was complete", _TRUNCATED_REMEDY
        )

    def _unreadable(self, data: bytes) -> ChatError:
        try:
            data.decode()
            what = "is not JSON"
        except UnicodeDecodeError as error:
            what = f"is not UTF-8 ({error.reason} at byte {error.start}, encoding)"
        shown = self._redactor.clean(data.decode("utf-8", "replace"))[:_SHOWN]
        return self._error(
            StreamFailedError, f"event {self._decoder.count} of the stream {what}; it begins {shown!r}", None
        )

    def _error(self, kind: type[ChatError], message: str, remedy: str | None, **facts: Any) -> ChatError:
        return self._placed(kind(message, remedy=remedy, partial=self.partial(), **facts))

    def _placed(self, error: ChatError) -> ChatError:
        error.status_code = self._status
        error.request_id = error.request_id or self._headers.get("x-request-id")
        if error.partial is None and not isinstance(error, StatusError):
            error.partial = self.partial()
        return error

    def _count(self) -> str:
        return "no event" if not self._events else "1 event" if self._events == 1 else f"{self._events} events"

    # -- a whole reply in place of a stream -------------------------------------------------------------------

    def _read_whole(self, body: bytes) -> None:
        clean = self._redactor.clean_bytes if b"error" in body else self._redactor.clean_unless_answer
        body = clean(body)
        try:
            told = decode(body, self._headers.get("content-type"))
        except BadResponseError as error:
            first = _read_json(body.lstrip().partition(b"\n")[0])
            if isinstance(first, dict) and reports_error(first):
                self._fail(first, body)
            error.body = body[:2000].decode("utf-8", "replace")
            raise self._placed(error) from None
        if isinstance(told, dict) and reports_error(told):
            self._fail(told, body)
        self._answer_whole(told, body)

    def _is_readable(self, body: bytes) -> bool:
        """Whether a reply that broke off is whole all the same, as JSON says by itself where it ends."""
        try:
            self._read_whole(body)
        except BadResponseError:
            return False
        return True

    def _is_whole_reply(self, told: dict[str, Any]) -> bool:
        return isinstance(told.get("output"), list) or isinstance(told.get("messages"), list)

    def _answer_whole(self, told: Any, body: bytes) -> None:
        failed = error_under_200(told, self._status, self._headers, body)
        if failed is not None:
            raise self._placed(failed)
        try:
            answer = read_reply(told, self._api)
        except BadResponseError as error:
            error.body = body[:2000].decode("utf-8", "replace")
            raise self._placed(error) from None
        self._answer = answer
        self._warn(WHOLE_REPLY)
        self.chunks.extend(chunks_of(answer, told))


_TRUNCATED_REMEDY = "Use error.partial, or ask again; the model may have run to its end"


def _bytes_of(told: dict[str, Any]) -> bytes:
    return json.dumps(told, default=repr).encode()


def _read_json(data: bytes) -> Any:
    try:
        return decode(data)
    except BadResponseError:
        return None
