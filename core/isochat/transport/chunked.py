"""Which bytes does a body in chunks hold? HTTP/1.1's chunked coding (RFC 9112 7.1), over any split of the bytes.

http.client gives a chunk at a time, which takes longer than to read what is in it. A model's words come in many small
chunks, several of them in a packet.
"""

from __future__ import annotations

import re

_HEX = b"0123456789abcdefABCDEF"
_LONGEST_LINE = 65536
_LONGEST_SIZE = 16
# An extension says nothing to us, but what breaks its grammar is read as the line's end by one reader and passed over
# by the next. aiohttp's parser is as strict.
_SIZE = re.compile(
    rb"([0-9a-f]{1,16})[ \t]*(?:;+[!#$%&'*+\-.^_`|~0-9a-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9a-z]*|\"[^\"\x00-\x1f]*\"))?)*",
    re.IGNORECASE,
)
# A length behind the body contradicts the chunks.
_FIELD = re.compile(rb"(?!content-length:)[!#$%&'*+\-.^_`|~0-9a-z]+:[^\r]*", re.IGNORECASE)
_MOST_FIELDS = 128


def _whole_chunks(data: bytes) -> bytes | None:
    """What is in the chunks that ``data`` consists of, where it begins with one, ends with one, and all are written as
    nearly all servers write them. ``None`` of any other data, and of the last chunk, which is empty.
    """
    lines = data.split(b"\r\n")
    sizes, pieces = lines[:-1:2], lines[1::2]
    if lines[-1] or not pieces or b"" in pieces or sizes != [b"%x" % len(piece) for piece in pieces]:
        return None  # or with a line's end inside a chunk, which is then longer than its piece
    return b"".join(pieces)


class ChunkedBody:
    """Bytes in as they come, the body's own bytes out.

    Attributes:
        ended: Whether the body has come to its end: its last chunk, and the trailer behind it, mostly an empty line.
        rest: What came after that, which nobody has asked for.
        damage: What shows that this is not the chunked coding, or no more. Nothing is read from there on.
    """

    __slots__ = ("_after", "_fields", "_last", "_left", "_line", "damage", "ended", "rest")

    def __init__(self) -> None:
        self._left = 0  # bytes of the chunk under way that have not come
        self._after = False  # whether its data have come, and the end of their line has not
        self._line = b""  # the beginning of a line whose end has not come
        self._last = False  # whether the chunk without data has come
        self._fields = 0  # lines of the trailer
        self.ended = False
        self.rest = b""
        self.damage: str | None = None

    def feed(self, data: bytes) -> bytes:
        """The part of the body that is in ``data``."""
        if not (self._left or self._after or self._line or self._last) and (whole := _whole_chunks(data)) is not None:
            return whole
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size and self.damage is None:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._after = True
                if data.startswith(b"\r\n", at):
                    self._after = False
                    at += 2
                continue
            end = data.find(b"\n", at) + 1
            if not end:
                self._line += data[at:]
                if len(self._line) > _LONGEST_LINE:
                    self.damage = "a line between two chunks has no end"
                break
            line = self._line + data[at:end] if self._line else data[at:end]
            self._line = b""
            at = end
            if line.strip(_HEX) == b"\r\n" and 2 < len(line) <= _LONGEST_SIZE and not (self._after or self._last):
                self._left = int(line, 16)  # as nearly always: a size and nothing else
                self._last = not self._left
                continue
            self._take(line)
            if self.ended:
                self.rest = data[at:]
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take(self, line: bytes) -> None:
        if self._last:  # a header like those of the head, and its line may end as theirs do
            self._take_field(line.removesuffix(b"\n").removesuffix(b"\r"))
            return
        if not line.endswith(b"\r\n"):  # two readers that see different ends see different bodies
            self.damage = f"the line {line[:20]!r} between two chunks does not end in CRLF"
            return
        line = line[:-2]
        if self._after:
            if line:
                self.damage = f"a chunk is longer than its size: {line[:20]!r} follows"
            self._after = False
        elif size := _SIZE.fullmatch(line):
            self._left = int(size[1], 16)
            self._last = not self._left
        else:
            self.damage = f"a chunk has the size {line[:20]!r}"

    def _take_field(self, line: bytes) -> None:
        self._fields += 1
        if not line:
            self.ended = True
        elif self._fields > _MOST_FIELDS:
            self.damage = f"got more than {_MOST_FIELDS} headers behind the last chunk"  # http.client's words
        elif not (_FIELD.fullmatch(line) or (self._fields > 1 and line.startswith((b" ", b"\t")))):
            self.damage = f"the line {line[:20]!r} behind the last chunk is no header"
