"""What does one event say: a part of the answer, that the stream is done, nothing, or that the service failed?"""

from __future__ import annotations

from typing import Any

from isochat.errors import BadResponseError, ResponseTooLargeError
from isochat.status_errors import reports_error
from isochat.streaming.events import Event
from isochat.streaming.stream_errors import StreamErrors, read_json
from isochat.wire_format.json_text import decode

_DONE = b"[DONE]"
_UNREADABLE = object()


def is_done(event: Event) -> bool:
    """Whether it is ``[DONE]``: nothing after it counts."""
    return event.data.strip() == _DONE and not event.stray


def read_event(event: Event, number: int, before: int, errors: StreamErrors, room: int) -> dict[str, Any] | None:
    """The object that an event other than ``[DONE]`` spells; ``None`` where it is no part of an answer.

    Args:
        number: Which event of the stream it is.
        before: How many events of the answer came before it.
        room: Bytes of memory that reading it may take.

    Raises:
        StatusError, StreamFailedError: the service tells of a failure, or the event cannot be read.
        ResponseTooLargeError: it is nested too deep, or would take more memory.
    """
    data = event.data
    if event.stray:
        # The algorithm ignores such a line; an error object on it is the service failing.
        told = read_json(data, room)
        if isinstance(told, dict) and reports_error(told):
            raise errors.reported(told, data, before)
        return None
    if not (event.type == "message" and data.startswith(b"{")) and _is_no_json(event):
        return None
    try:
        told = decode(data, room=room)
    except ResponseTooLargeError:
        raise ResponseTooLargeError(
            f"event {number} of the stream is nested too deep, or would take too much memory"
        ) from None
    except BadResponseError:
        told = _UNREADABLE
    if told is _UNREADABLE:  # not above: that error quotes the event, and would be the context of this one
        if event.type == "error":
            raise errors.reported({"message": data.decode("utf-8", "replace")}, data, before)
        # Text in an event of a type of its own is no part of the answer; broken JSON may have been one.
        if event.type == "message" or event.type.startswith("response.") or data.lstrip().startswith(b"{"):
            raise errors.unreadable(number, data)
        return None
    if event.type == "error" and (not isinstance(told, dict) or told.get("type") != "error"):
        raise errors.reported(told if isinstance(told, dict) else {"message": str(told)}, data, before)
    return told if isinstance(told, dict) else None


def _is_no_json(event: Event) -> bool:
    return event.type == "ping" or (not event.data.strip() and event.type != "error")
