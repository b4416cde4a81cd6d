"""What must not stand in a cassette? Every spelling of the tokens goes, in the request, the head and the body."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

from isochat.errors import ChatError
from isochat.redaction import Redactor
from isochat.transport.decompression import BodyCounter
from isochat_workspace.http.stream_reply import StreamReply
from isochat_workspace.recording.exchange import Exchange, is_event_stream, question_of

_LARGEST_DECOMPRESSED = 64 * 1024 * 1024


class UncleanError(Exception):
    """A reply cannot be looked into; the message says why."""


class Cleaner:
    """Blanks the secrets that its redactors know."""

    def __init__(self, redactors: Sequence[Redactor]) -> None:
        self._redactors = redactors

    def clean_text(self, text: str) -> str:
        """`text` without them."""
        for redactor in self._redactors:
            text = redactor.clean(text)
        return text

    def clean(self, data: bytes) -> bytes:
        """`data` without them."""
        for redactor in self._redactors:
            data = redactor.clean_bytes(data)
        return data

    def exchange(self, method: str, target: str, client: str, body: bytes, reply: StreamReply) -> Exchange:
        """An exchange without them. Raises UncleanError."""
        question = question_of(method, self.clean_text(target), self.clean(body), self.clean_text(client))
        return Exchange(question, self.reply(reply))

    def reply(self, reply: StreamReply) -> StreamReply:
        """A reply, its pieces a tuple, without them; the same pieces where they hold none.

        Raises UncleanError for a body in a coding that cannot be opened.
        """
        headers = tuple((name, self.clean_text(value)) for name, value in reply.header_pairs())
        pieces = reply.pieces
        assert isinstance(pieces, tuple)
        coding = next((value for name, value in headers if name.lower() == "content-encoding"), "identity")
        if coding.strip().lower() != "identity" and pieces:
            plain = opened_body(coding, b"".join(pieces))
            if (clean := self.clean(plain)) != plain:
                headers = tuple(pair for pair in headers if pair[0].lower() != "content-encoding")
                pieces = (clean,)
        else:
            pieces = self._pieces(pieces, is_event_stream(headers))
        return dataclasses.replace(reply, headers=headers, pieces=pieces)

    def _pieces(self, pieces: tuple[bytes, ...], events: bool) -> tuple[bytes, ...]:
        each = tuple(self.clean(piece) for piece in pieces)
        whole = b"".join(each)
        clean = self.clean(whole)
        if clean == whole:
            return each
        # It stands across the end of a piece: the pieces are cut anew.
        return tuple(cut_behind_events(clean)) if events else (clean,)


def cut_behind_events(body: bytes) -> list[bytes]:
    """A stream of events cut behind each one's empty line."""
    pieces = [piece + b"\n\n" for piece in body.split(b"\n\n")]
    pieces[-1] = pieces[-1].removesuffix(b"\n\n")
    return [piece for piece in pieces if piece]


def opened_body(coding: str, body: bytes) -> bytes:
    """A body without its content encoding. Raises UncleanError for one that cannot be opened."""
    try:
        return BodyCounter(coding, _LARGEST_DECOMPRESSED).take(body)
    except (ChatError, zlib.error) as error:
        raise UncleanError(f"its content encoding {coding[:40]!r} cannot be opened: {error}") from None
