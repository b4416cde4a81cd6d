"""Where is a reply's body gathered while it comes?"""

from __future__ import annotations

import io
import mmap

# Bytes. A buffer that grows beyond moves about in the heap, which may keep as much memory again for its holes.
_SMALL = 1024 * 1024


class BodyBuffer:
    """The bytes of one body, in the order of their coming.

    A large one is gathered outside of the heap, where what is not written takes no memory and what is given back is
    free at once: gathering takes no more than the body, and taking it out no more than twice of that.

    Args:
        cap: Bytes that there may be at most.
    """

    __slots__ = ("_cap", "_gathered", "size")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._gathered: io.BytesIO | mmap.mmap = io.BytesIO()
        self.size = 0

    def write(self, piece: bytes) -> int:
        """Take the next piece; gives its size, in bytes."""
        before, self.size = self.size, self.size + len(piece)
        if before <= _SMALL < self.size:
            small, self._gathered = self._gathered, mmap.mmap(-1, self._cap)
            small.seek(0)
            self._gathered.write(small.read())
        return self._gathered.write(piece)

    def take(self) -> bytes:
        """All of it. Nothing is left here."""
        gathered, self._gathered = self._gathered, io.BytesIO()
        with gathered:
            gathered.seek(0)
            return gathered.read(self.size)
