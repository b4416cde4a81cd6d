"""From bytes to chunks: which dialect is it, is it complete, did the service fail in the middle?

No input or output here: bytes are fed in, chunks come out, and at the end a verdict. A stream is complete when it says
so in its dialect: on chat completions by a finish reason for every choice that appeared, on Responses by the response's
last event. Agents say neither: for them it is ``[DONE]``, or else an end that HTTP's framing proves. Nothing else is
success.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from isochat.errors import (
    BadResponseError,
    ChatError,
    ResponseTooLargeError,
    StatusError,
    StreamFailedError,
    StreamTruncatedError,
    TransportError,
)
from isochat.redaction import Redactor
from isochat.results import ChatResult, Meta
from isochat.status_errors import error_under_200, reported_error, reports_error
from isochat.streaming.agent_fold import AgentFold
from isochat.streaming.chat_fold import ChatFold
from isochat.streaming.chunks import ChatChunk, ToolCallChunk
from isochat.streaming.events import Event, EventDecoder
from isochat.streaming.responses_fold import ResponsesFold
from isochat.transport.limits import DEFAULT_LIMITS, Limits
from isochat.wire_format.json_text import decode
from isochat.wire_format.replies import read_reply

COMPLETION_UNPROVEN = "completion_unproven"
USAGE_MISSING = "usage_missing"
WHOLE_REPLY = "not_streamed"

_DONE = b"[DONE]"
_SHOWN = 200
_NO_FIELD = b"{[<"  # no line of an event stream begins so: the body is something else
_FIELDS = (b"data", b"event", b"id", b"retry", b":")
_PARSED_TYPES = ("message", "error")


class StreamReading:
    """One stream's bytes, read.

    Args:
        api: The API that the request spoke; the events themselves decide where they can.
        usage_asked: Whether the request asked for token counts.

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
        redactor: Redactor | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._api = api
        self._status = status
        self._headers = headers or {}
        self._usage_asked = usage_asked
        self._redactor = redactor or Redactor(())
        self._limits = limits
        self._decoder = EventDecoder(limits.event)
        self._fold: ChatFold | ResponsesFold | AgentFold | None = None
        self._beginning = b""
        self._whole: list[bytes] | None = None  # the pieces of a body that is no event stream
        self._whole_size = 0
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
        if self.done:
            return
        if not isinstance(data, bytes):
            self._take(dict(data), "message")
            return
        if self._whole is not None:
            self._keep_whole(data)
            return
        if len(self._beginning) < _SHOWN:
            before = self._beginning
            self._beginning += data[: _SHOWN - len(self._beginning)]
            if not self._events and self._is_no_stream():
                self._whole = []
                self._keep_whole(before + data)
                return
        try:
            for event in self._decoder.feed(data):
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
            self._read_whole(b"".join(self._whole))
            return
        if self._settled():
            return
        if self._fold is not None and self._fold.agentic and (self.done or (delimited and not self._decoder.pending)):
            if not self.done:
                self.warnings.append(COMPLETION_UNPROVEN)
            self._note_usage()
            return
        raise self._truncated()

    def broken(self, error: ChatError) -> None:
        """The body broke off by ``error``; returns where the stream was complete all the same.

        Raises:
            StreamTruncatedError: it was not, and the connection was lost.
            ChatError: it was not, and ``error`` is no loss of the connection; with ``partial``.
        """
        if self._settled():
            return
        error.partial = self.partial()
        if not isinstance(error, TransportError):
            raise error
        raise self._error(
            StreamTruncatedError, f"the stream broke off after {self._count()}: {error.message}", _TRUNCATED_REMEDY
        ) from error

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

    def _take_event(self, event: Event) -> None:
        data = event.data
        if event.stray:
            # The algorithm ignores such a line; an error object on it is the service failing.
            told = _read_json(data)
            if isinstance(told, dict) and reports_error(told):
                self._fail(told, data)
            return
        if data == _DONE:
            self.done = True
            return
        if not data.strip() or event.type == "ping":
            return
        try:
            told = decode(data)
        except ResponseTooLargeError:
            raise self._placed(ResponseTooLargeError(f"event {self._decoder.count} is nested too deep")) from None
        except BadResponseError:
            if event.type in _PARSED_TYPES or event.type.startswith("response."):
                if event.type == "error":
                    self._fail({"message": data.decode("utf-8", "replace")}, data)
                raise self._unreadable(data) from None
            return
        if event.type == "error" and (not isinstance(told, dict) or told.get("type") != "error"):
            self._fail(told if isinstance(told, dict) else {"message": str(told)}, data)
        if isinstance(told, dict):
            self._take(told, event.type)

    def _take(self, told: dict[str, Any], kind: str) -> None:
        if reports_error(told):
            self._fail(told, msgspec.json.encode(told))
        if told.get("type") == "ping":
            return
        self._events += 1
        fold = self._fold
        if fold is None:
            fold = self._fold = self._fold_for(told)
            if fold is None:
                if self._is_whole_reply(told):
                    self._answer_whole(told)
                else:
                    self.chunks.append(ChatChunk(raw=told))
                return
        self.chunks.extend(fold.add(told))

    def _fold_for(self, told: dict[str, Any]) -> ChatFold | ResponsesFold | AgentFold | None:
        if "choices" in told or told.get("object") == "chat.completion.chunk":
            return ChatFold()
        if isinstance(told.get("type"), str):
            return ResponsesFold()
        if isinstance(told.get("delta"), dict):
            return AgentFold()
        return None

    def _fail(self, told: dict[str, Any], data: bytes) -> None:
        """Raise for the error that ``told`` reports: as the first event it counts as a status."""
        body = self._redactor.clean_bytes(data)
        if body != data:
            told = _read_json(body) or told
        failed = reported_error(told, self._status, self._headers, body)
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

    def _settled(self) -> bool:
        if self._answer is not None:
            return True
        fold = self._fold
        if fold is None or not fold.complete:
            return False
        self._note_usage()
        return True

    def _note_usage(self) -> None:
        fold = self._fold
        if self._usage_asked and fold is not None and not fold.usage_known and not fold.agentic:
            self.warnings.append(USAGE_MISSING)

    def _truncated(self) -> ChatError:
        start = self._beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start and not any(start.startswith(field[: len(start)]) for field in _FIELDS):
            shown = self._redactor.clean(start.decode("utf-8", "replace"))
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
        shown = self._redactor.clean(data[:_SHOWN].decode("utf-8", "replace"))
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

    def _is_no_stream(self) -> bool:
        start = self._beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
        return bool(start) and start[0] in _NO_FIELD

    def _keep_whole(self, data: bytes) -> None:
        assert self._whole is not None
        self._whole.append(data)
        self._whole_size += len(data)
        if self._whole_size > self._limits.body:
            raise self._placed(
                ResponseTooLargeError(f"the reply's body is larger than {self._limits.body} bytes")
            )  # fmt: skip

    def _read_whole(self, body: bytes) -> None:
        body = self._redactor.clean_bytes(body) if b"error" in body else body
        try:
            told = decode(body, self._headers.get("content-type"))
        except BadResponseError as error:
            first = _read_json(body.lstrip().partition(b"\n")[0])
            if isinstance(first, dict) and reports_error(first):
                self._fail(first, body)
            error.body = body[:2000].decode("utf-8", "replace")
            raise self._placed(error) from None
        failed = error_under_200(told, self._status, self._headers, body)
        if failed is not None:
            raise self._placed(failed)
        try:
            self._answer_whole(told)
        except BadResponseError as error:
            error.body = body[:2000].decode("utf-8", "replace")
            raise self._placed(error) from None

    def _is_whole_reply(self, told: dict[str, Any]) -> bool:
        return isinstance(told.get("output"), list) or isinstance(told.get("messages"), list)

    def _answer_whole(self, told: Any) -> None:
        answer = read_reply(told, self._api)
        self._answer = answer
        self.warnings.append(WHOLE_REPLY)
        for choice in answer.choices:
            message = choice.message
            self.chunks.append(
                ChatChunk(
                    index=choice.index,
                    text=message.content or "",
                    reasoning=message.reasoning,
                    tool_calls=tuple(
                        ToolCallChunk(index=i, id=call.id, function=call.function)
                        for i, call in enumerate(message.tool_calls)
                    ),
                    finish_reason=choice.finish_reason,
                    usage=answer.usage if choice is answer.choices[-1] else None,
                    raw=told,
                )
            )


_TRUNCATED_REMEDY = "Use error.partial, or ask again; the model may have run to its end"


def _read_json(data: bytes) -> Any:
    try:
        return decode(data)
    except BadResponseError:
        return None
