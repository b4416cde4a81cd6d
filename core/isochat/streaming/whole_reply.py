"""What if an endpoint answers a request for a stream with something else: a whole reply, a web page, plain text?"""

from __future__ import annotations

import re
from typing import Any

from isochat.errors import BadResponseError, ChatError, ResponseTooLargeError
from isochat.results import ChatResult
from isochat.status_errors import error_under_200, reports_error
from isochat.streaming.chunks import ChatChunk, ToolCallChunk
from isochat.streaming.kept import check_result
from isochat.streaming.stream_errors import StreamErrors, read_json
from isochat.transport.body_buffer import BodyBuffer
from isochat.transport.limits import Limits
from isochat.transport.reply_body import success
from isochat.wire_format.content import room_for_joining
from isochat.wire_format.json_text import decode, not_quoted
from isochat.wire_format.json_weight import room_beside
from isochat.wire_format.replies import read_reply

_BOM = b"\xef\xbb\xbf"
# Of several lines of JSON, the first may be an error.
_LINE = re.compile(rb"\S[^\n]*")
_LONGEST_LINE = 1024 * 1024
_NO_FIELD = (b"{", b"[", b"<")  # no line of an event stream begins so
_FIELDS = (b"", b"data", b"event", b"id", b"retry")  # b"" is a comment's


class Beginning:
    """The first bytes of a body, by which its kind is told."""

    __slots__ = ("data",)

    SHOWN = 200

    def __init__(self) -> None:
        self.data = b""

    @property
    def known(self) -> bool:
        """Whether enough has come."""
        return len(self.data) >= self.SHOWN

    def add(self, piece: bytes) -> None:
        """Take the next piece; a byte order mark and blank space before the first word do not count."""
        self.data = (self.data + piece).lstrip().removeprefix(_BOM).lstrip()[: self.SHOWN]

    @property
    def is_whole_reply(self) -> bool:
        """Whether it is JSON or markup."""
        return self.data.startswith(_NO_FIELD)

    @property
    def is_no_stream(self) -> bool:
        """Whether its first line is no field of an event stream, nor a comment, nor the beginning of one."""
        line, _, rest = self.data.partition(b"\n")
        if rest or b":" in line:
            return line.rstrip(b"\r").partition(b":")[0] not in _FIELDS
        return not any(field.startswith(line) for field in _FIELDS)


class WholeBody:
    """A body that is no stream, gathered up to its cap in bytes."""

    __slots__ = ("_cap", "_gathered", "size")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._gathered = BodyBuffer(cap)
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            ResponseTooLargeError: the body is over its cap.
        """
        self.size += len(piece)
        if self.size > self._cap:
            raise ResponseTooLargeError(f"the reply's body is larger than {self._cap} bytes")
        self._gathered.write(piece)

    def join(self) -> bytes:
        """All of it. Nothing is left here."""
        return self._gathered.take()


def read_body(body: bytes, api: str, errors: StreamErrors, limits: Limits) -> tuple[Any, ChatResult]:
    """What a whole ``body`` tells, and the answer that it is.

    Raises:
        StatusError: it is an error.
        BadResponseError: it is neither.
    """
    kind = errors.headers.get("content-type")
    body = success(body, kind, limits, errors.redactor)
    if len(body) > limits.error:
        try:
            return _read(body, kind, api, errors)
        except ChatError:
            if not errors.redactor.finds(body):
                raise
        raise not_quoted(len(body))
    if b"error" in body:
        body = errors.redactor.clean_bytes(body)
    return _read(body, kind, api, errors)


def _read(body: bytes, kind: str | None, api: str, errors: StreamErrors) -> tuple[Any, ChatResult]:
    try:
        told = decode(body, kind)
    except BadResponseError as error:
        line = _LINE.search(body, 0, _LONGEST_LINE)
        first = None if line is None else read_json(line[0])
        if isinstance(first, dict) and reports_error(first):
            raise errors.reported(first, body, 0) from None
        raise errors.no_answer(error, body) from None
    if isinstance(told, dict) and reports_error(told):
        raise errors.reported(told, body, 0)
    return told, read_answer(told, body, api, errors)


def is_whole_reply(told: dict[str, Any]) -> bool:
    """Whether an event holds a whole reply, as some agents send it."""
    return isinstance(told.get("output"), list) or isinstance(told.get("messages"), list)


def read_answer(told: Any, body: bytes, api: str, errors: StreamErrors) -> ChatResult:
    """The answer that ``told`` is; raises as :func:`read_body`."""
    failed = error_under_200(told, errors.status, errors.headers, body)
    if failed is not None:
        raise errors.placed(failed)
    try:
        check_result(told, body)
        with room_for_joining(room_beside(body)):
            return read_reply(told, api)
    except BadResponseError as error:
        raise errors.no_answer(error, body) from None


def chunks_of(answer: ChatResult, raw: Any) -> list[ChatChunk]:
    """A whole answer as a stream would have told it: a chunk for each choice."""
    return [
        ChatChunk(
            index=choice.index,
            text=choice.message.content or "",
            reasoning=choice.message.reasoning,
            tool_calls=tuple(
                ToolCallChunk(index=i, id=call.id, function=call.function)
                for i, call in enumerate(choice.message.tool_calls)
            ),
            finish_reason=choice.finish_reason,
            usage=answer.usage if choice is answer.choices[-1] else None,
            _raw=raw,
        )
        for choice in answer.choices
    ]
