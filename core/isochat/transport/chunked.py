"""Which bytes does a body in chunks hold? HTTP/1.1's chunked coding (RFC 9112 7.1), over any split of the bytes.

http.client gives a chunk at a time, which takes longer than to read what is in it. A model's words come in many small
chunks, several of them in a packet.
"""

from __future__ import annotations

_HEX = b"0123456789abcdefABCDEF"
_LONGEST_LINE = 65536
_LONGEST_SIZE = 16


class ChunkedBody:
    """Bytes in as they come, the body's own bytes out.

    Attributes:
        last: Whether the chunk that ends the body has come: nothing of it is missing.
        ended: Whether the trailer behind it, mostly an empty line, has come too.
        rest: What came after that, which nobody has asked for.
        damage: What shows that this is not the chunked coding, or no more. Nothing is read from there on.
    """

    __slots__ = ("_after", "_left", "_line", "damage", "ended", "last", "rest")

    def __init__(self) -> None:
        self._left = 0  # bytes of the chunk under way that have not come
        self._after = False  # whether its data have come, and the end of their line has not
        self._line = b""  # the beginning of a line whose end has not come
        self.last = False
        self.ended = False
        self.rest = b""
        self.damage: str | None = None

    def feed(self, data: bytes) -> bytes:
        """The part of the body that is in ``data``."""
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
            if line.strip(_HEX) == b"\r\n" and 2 < len(line) <= _LONGEST_SIZE and not (self._after or self.last):
                self._left = int(line, 16)  # as nearly always: a size and nothing else
                self.last = not self._left
                continue
            self._take(line)
            if self.ended:
                self.rest = data[at:]
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):  # two readers that see different ends see different bodies
            self.damage = f"the line {line[:20]!r} between two chunks does not end in CRLF"
            return
        line = line[:-2]
        if self.last:  # a field of the trailer
            self.ended = not line
        elif self._after:
            if line:
                self.damage = f"a chunk is longer than its size: {line[:20]!r} follows"
            self._after = False
        else:
            digits = line.partition(b";")[0].rstrip(b" \t")  # behind it stand extensions
            if not digits or digits.strip(_HEX) or len(digits) > _LONGEST_SIZE:
                self.damage = f"a chunk has the size {line[:20]!r}"
                return
            self._left = int(digits, 16)
            self.last = not self._left
