"""What does a server answer, written as data: one body, or a stream of events, framed and ended as the data say?"""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

from isochat_workspace.http.http_reply import HttpReply
from isochat_workspace.http.stream_reply import StreamReply

DONE = "[DONE]"


class ServedData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a file: a key that no field names is an error."""


class ServerReply(ServedData, frozen=True, kw_only=True):
    """The reply of the server: its body as ``json`` (sent as UTF-8, with that content type) or as ``text``.

    ``{{token}}`` in a case of the conformance suite is sent as the client's token.
    """

    status: int = 200
    headers: dict[str, str] = {}
    json: Any = msgspec.UNSET
    text: str | None = None

    def body(self) -> bytes:
        """The bytes that are sent."""
        return _compact(self.json) if self.text is None else self.text.encode()

    def sent_headers(self) -> dict[str, str]:
        """The headers that are sent, but for ``content-length``."""
        return self.headers if self.text is not None else {"content-type": "application/json", **self.headers}

    def http_reply(self) -> HttpReply:
        """The same for the workspace."""
        return HttpReply(self.status, self.sent_headers(), self.body())


class ServerStream(ServedData, frozen=True, kw_only=True):
    """The reply of the server, piece by piece.

    Attributes:
        events: An object is sent as ``data: {json}`` and an empty line. A text is sent as it stands, so that comments,
            ``event:`` lines, other line ends and broken JSON can be written; in it, U+DC80 to U+DCFF stand for the
            bytes 80 to FF, which no UTF-8 has alone.
        split: What goes out at once: an event, or a byte.
        framing: How HTTP tells the end of the body: ``close`` tells it by closing, which proves nothing.
        end: Whether the body ends as its framing says, is cut short, or is cut by a reset.
        headers: Beside the content type of events, which one of them may replace.
        refused_first: What a first request gets, in place of the stream that a second one then gets.
    """

    events: list[dict[str, Any] | str]
    split: Literal["events", "bytes"] = "events"
    framing: Literal["chunked", "content-length", "close"] = "chunked"
    end: Literal["clean", "cut", "reset"] = "clean"
    status: int = 200
    headers: dict[str, str] = {}
    refused_first: ServerReply | None = None

    def pieces(self) -> list[bytes]:
        """The bytes that are sent, as they are sent."""
        pieces = [_written(event) for event in self.events]
        return [bytes([byte]) for piece in pieces for byte in piece] if self.split == "bytes" else pieces

    def body(self) -> bytes:
        """All of them."""
        return b"".join(self.pieces())

    def sent_headers(self) -> dict[str, str]:
        """The headers that are sent, but for the framing."""
        return {"content-type": "text/event-stream", **self.headers}

    def told(self) -> list[dict[str, Any]]:
        """The events that are objects, up to ``[DONE]``: each of them must reach the caller."""
        told = []
        for event in self.events:
            if isinstance(event, str):
                if DONE in event:
                    break
            elif event.get("type") != "ping":
                told.append(event)
        return told

    def stream_reply(self) -> StreamReply:
        """The same for the workspace."""
        return StreamReply(self.status, self.sent_headers(), self.pieces(), framing=self.framing, end=self.end)


def _written(event: dict[str, Any] | str) -> bytes:
    if isinstance(event, str):
        return event.encode("utf-8", "surrogateescape")
    return b"data: " + _compact(event) + b"\n\n"


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
