"""What if the answer comes piece by piece? A streamed HTTP answer, down to how it is framed and how it ends."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Literal

from isochat_workspace.http.http_reply import Headers, pairs_of

Framing = Literal["chunked", "content-length", "close"]
End = Literal["clean", "cut", "reset"]
Pieces = Iterable[bytes] | AsyncIterable[bytes]


class CutHereError(Exception):
    """Raised by a source of pieces that wants the connection closed where it stands, as `end="cut"` does."""


@dataclasses.dataclass(frozen=True)
class StreamReply:
    """An HTTP answer whose body is sent in pieces, each flushed before the next one is asked for.

    Args:
        status: the HTTP status.
        headers: a mapping or pairs, sent as they stand; the server adds the framing and nothing else.
        pieces: the body: an iterable or an async iterable of bytes, or a callable that gives one (asked anew
            for each request; the rest can be sent once if it can be walked once). An iterable that is no list
            or tuple is walked on a thread of its own, so it may block; an async one runs on the server's
            event loop. Under "chunked" a piece is one HTTP chunk; an empty piece sends nothing. A piece
            source that raises is logged (but for `CutHereError`), and the answer is cut there.
        framing: how the end of the body is told: "chunked", "content-length", or "close" (no length, and
            `Connection: close`). A client that speaks HTTP/1.0 gets "close" in place of "chunked".
        end: "clean"; "cut" closes the connection without the terminating chunk or short of the length (under
            "close" that is the same as a clean end); "reset" ends the connection with a TCP RST. A client may
            lose bytes it has not read yet to a reset.
        content_length: the length to declare under "content-length". By default the size of the pieces,
            which then have to be a list or tuple, and one byte more where the end is not clean. What goes
            beyond it is not sent; a clean end short of it is a cut.

    Raises ValueError for pieces that are bytes themselves, and for an unknown length.
    """

    status: int = 200
    headers: Headers = ()
    pieces: Pieces | Callable[[], Pieces] = ()
    framing: Framing = "chunked"
    end: End = "clean"
    content_length: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.pieces, bytes | bytearray | str):
            raise ValueError("pieces of a StreamReply: got one piece, need an iterable of them; write [piece]")
        if self.framing == "content-length":
            self.declared_length()

    def header_pairs(self) -> tuple[tuple[str, str], ...]:
        """The headers as pairs in the order given."""
        return pairs_of(self.headers)

    def declared_length(self) -> int:
        """The length in bytes to declare under "content-length". Raises ValueError if it is not known."""
        if self.content_length is not None:
            return self.content_length
        if not isinstance(self.pieces, list | tuple):
            raise ValueError("the length of a StreamReply is not known: give content_length, or pieces as a list")
        return sum(len(piece) for piece in self.pieces) + (self.end != "clean")
