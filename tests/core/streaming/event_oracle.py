"""Which events does a whole event stream hold, by the letter of the specification?

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, read slowly and all at
once: the bytes are decoded, cut into lines, and each line is processed as the text there says. It shares nothing with
the decoder that it judges.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class OracleEvent(NamedTuple):
    """One dispatched event, as an EventSource would see it."""

    type: str
    data: str
    last_event_id: str


def events_of(stream: bytes) -> list[OracleEvent]:
    """All events that the whole ``stream`` dispatches."""
    text = stream.decode("utf-8", errors="replace")
    # "One leading U+FEFF BYTE ORDER MARK character must be ignored if any are present."
    if text[:1] == "\ufeff":
        text = text[1:]
    # Lines end in CRLF, LF or CR. What follows the last end is no line: an event is dispatched by its blank line.
    lines = re.split("\r\n|\n|\r", text)[:-1]

    events: list[OracleEvent] = []
    data = event_type = last_event_id = ""
    for line in lines:
        if line == "":
            if data != "":
                events.append(OracleEvent(event_type or "message", data[:-1], last_event_id))
            data = event_type = ""
            continue
        if line[0] == ":":
            continue
        field, _, value = line.partition(":")
        if value[:1] == " ":
            value = value[1:]
        if field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_event_id = value
    return events
