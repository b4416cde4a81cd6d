"""How is a compressed body opened piece by piece, no further than the cap?"""

from __future__ import annotations

import zlib
from typing import Any

from isochat.errors import ConnectionLostError, ProtocolError, ResponseTooLargeError

_GZIP = 31
_WINDOW_BITS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": 15}
_MEMBER = b"\x1f\x8b"
# What is decompressed at once: 64 KB off the connection may stand for 64 MB.
_PIECE = 256 * 1024


class BodyCounter:
    """Takes a body's pieces as they come off the connection, and counts what they are decompressed.

    Args:
        coding: The reply's ``Content-Encoding``.
        cap: Bytes of the decompressed body.

    Attributes:
        holds: Whether more can be had by ``take(b"")``, before the next piece comes off the connection.
    """

    __slots__ = ("_cap", "_coding", "_decompressor", "_rest", "count", "holds")

    def __init__(self, coding: str | None, cap: int) -> None:
        self._coding = (coding or "identity").strip().lower()
        self._cap = cap
        self._decompressor: Any = None  # made at the first byte: an empty body may claim any coding
        self.count = 0
        self.holds = False
        self._rest = b""

    def take(self, data: bytes) -> bytes:
        """The piece ``data``, decompressed; empty where more is needed before anything can be said.

        Raises:
            ProtocolError: the coding was not asked for.
            ResponseTooLargeError: the body is larger than the cap.
            zlib.error: the data is damaged.
        """
        if self._coding != "identity":
            data = self._decompress(data)
        else:
            self.count += len(data)
        if self.count > self._cap:
            raise ResponseTooLargeError(f"the reply's body is larger than {self._cap} bytes")
        return data

    def finish(self) -> None:
        """Raises ConnectionLostError if the compressed body has not come to its own end."""
        if self._decompressor is not None and not self._decompressor.eof:
            raise ConnectionLostError("the compressed body was cut short")

    def _decompress(self, data: bytes) -> bytes:
        data, self._rest = self._rest + data, b""
        opened: list[bytes] = []
        room = _PIECE
        while True:
            if self._decompressor is None or self._decompressor.eof:
                if self._decompressor is not None and not (data and self._goes_on(data)):
                    data = b""  # like every client, take no notice of what is behind the end
                    break
                if self._coding not in _WINDOW_BITS:
                    raise ProtocolError(
                        f"the reply has the content encoding {self._coding[:40]!r}, which was not asked for"
                    )
                self._decompressor = zlib.decompressobj(_WINDOW_BITS[self._coding])
            piece = self._decompressor.decompress(data, room)
            opened.append(piece)
            self.count += len(piece)
            room -= len(piece)
            data = self._decompressor.unused_data if self._decompressor.eof else self._decompressor.unconsumed_tail
            if not data or not room:
                break
        self._rest = data
        self.holds = bool(data) or not room
        return b"".join(opened)

    def _goes_on(self, data: bytes) -> bool:
        """Whether another gzip member follows (RFC 1952 2.2): some proxies compress what they flush each by itself."""
        return _WINDOW_BITS[self._coding] == _GZIP and _MEMBER.startswith(data[: len(_MEMBER)])
