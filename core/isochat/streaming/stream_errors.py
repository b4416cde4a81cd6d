"""In which error does a stream end? Each says after how many events, and has the reply's status and request id.

What a service said is quoted without the token that it may have echoed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from isochat.errors import (
    BadResponseError,
    ChatError,
    StreamFailedError,
    StreamTruncatedError,
    cleaned,
)
from isochat.redaction import Redactor
from isochat.status_errors import reported_error
from isochat.wire_format.json_text import decode
from isochat.wire_format.json_weight import ROOM

_SHOWN = 200
_BODY_SHOWN = 2000
# Bytes of an event, or of a body, that are looked at: more explains nothing.
_EXPLAINED = 1024 * 1024
_REMEDY = "Use error.partial, or ask again; the model may have run to its end"


class StreamErrors:
    """The errors of one stream.

    Args:
        status: The reply's own status, a success.
        headers: Its headers, by lower-case name.
    """

    def __init__(self, status: int, headers: Mapping[str, str], redactor: Redactor) -> None:
        self.status = status
        self.headers = headers
        self.redactor = redactor

    def placed(self, error: ChatError) -> ChatError:
        """``error``, saying in which reply it was found."""
        error.status_code = self.status
        error.request_id = error.request_id or self.headers.get("x-request-id")
        return error

    def reported(self, told: Mapping[str, Any], data: bytes | None, events: int) -> ChatError:
        """For the failure that the service tells of in ``told``: as the first event it counts as a status.

        Args:
            data: The bytes of ``told``, where there are any.
            events: How many came before it.
        """
        data = bytes_of(told) if data is None else data
        body = self.redactor.clean_bytes(data[:_EXPLAINED])
        if len(data) <= _EXPLAINED and body != data:
            told = read_json(body) or told
        failed = cleaned(reported_error(told, self.status, self.headers, body), self.redactor.clean)
        if not events:
            return self.placed(failed)
        return self.placed(
            StreamFailedError(
                f"the service failed after {_count(events)}: {failed.message}",
                remedy=failed.remedy,
                code=failed.code,
                retry_after=failed.retry_after,
                body=failed.body,
            )
        )

    def truncated(self, events: int, *, done: bool) -> ChatError:
        """For a stream that ended, with ``[DONE]`` where it is ``done``, before the answer was complete."""
        what = "[DONE] came" if done else "the stream ended"
        return self.placed(
            StreamTruncatedError(f"{what} after {_count(events)}, before the answer was complete", remedy=_REMEDY)
        )

    def broke_off(self, events: int, error: ChatError) -> ChatError:
        """For a stream that was lost by ``error``."""
        return self.placed(
            StreamTruncatedError(f"the stream broke off after {_count(events)}: {error.message}", remedy=_REMEDY)
        )

    def unreadable(self, number: int, data: bytes) -> ChatError:
        """For the event of that number, whose ``data`` is no JSON."""
        what, beginning = "is not JSON", data[:_EXPLAINED]
        try:
            beginning.decode()
        except UnicodeDecodeError as error:
            if error.end < len(beginning) or beginning == data:  # else it may be cut here
                what = f"is not UTF-8 ({error.reason} at byte {error.start}, encoding)"
        shown = self.redactor.clean(beginning.decode("utf-8", "replace"))[:_SHOWN]
        return self.placed(StreamFailedError(f"event {number} of the stream {what}; it begins {shown!r}"))

    def no_stream(self, beginning: bytes) -> ChatError:
        """For a body that begins like nothing in a stream."""
        shown = self.redactor.clean(beginning.decode("utf-8", "replace").rstrip())
        return self.placed(BadResponseError(f"the reply is no event stream; it begins {shown!r}"))

    def no_answer(self, error: BadResponseError, body: bytes) -> ChatError:
        """``error``, which says what is wrong with a whole ``body`` in place of a stream."""
        error.body = self.redactor.clean_bytes(body[:_EXPLAINED])[:_BODY_SHOWN].decode("utf-8", "replace")
        return self.placed(error)


def read_json(data: bytes, room: int = ROOM) -> Any:
    """The value that ``data`` spells; ``None`` where it spells none, or would take more than ``room`` bytes."""
    try:
        return decode(data, room=room)
    except BadResponseError:
        return None


def bytes_of(told: Mapping[str, Any]) -> bytes:
    """An event as JSON, where a backend has handed over an object."""
    return json.dumps(told, default=repr).encode()


def _count(events: int) -> str:
    return "no event" if not events else "1 event" if events == 1 else f"{events} events"
