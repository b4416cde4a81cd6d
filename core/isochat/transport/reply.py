"""How is a reply read off the connection: as it comes, decompressed up to the cap, and given back on leaving?"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from isochat.errors import ConnectionLostError, ProtocolError, ResponseTooLargeError

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

_READ = 64 * 1024
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class IncomingReply:
    """A reply whose status and headers are known and whose body is still on the connection."""

    __slots__ = ("_coding", "_decompressor", "_done", "_raw", "headers", "reason", "status", "wire")

    def __init__(self, raw: Any, wire: Wire) -> None:
        self.wire = wire
        self._raw = raw
        self._done = False
        self.status: int = raw.status
        self.reason: str = raw.reason or ""
        self.headers: list[tuple[str, str]] = list(raw.headers.items())
        self._coding: str = (raw.headers.get("content-encoding") or "identity").strip().lower()
        self._decompressor: Any = None  # made at the first byte: an empty body may claim any coding

    def read1(self) -> bytes:
        """The next bytes, as soon as there are any; ``b""`` at the clean end.

        Raises:
            ChatTimeoutError, ConnectionLostError, ProtocolError, ResponseTooLargeError
        """
        if self._done:
            return b""
        wire = self.wire
        try:
            while True:
                # With an amount, urllib3 notices a body shorter than its Content-Length; without one it does not.
                data = self._raw.read1(_READ)
                if not data:
                    if self._decompressor is not None and not self._decompressor.eof:
                        raise ConnectionLostError("the compressed body was cut short")
                    self._done = True
                    self._raw.release_conn()
                    return b""
                if self._coding != "identity":
                    data = self._decompress(data, wire.limits.body - wire.body_bytes + 1)
                    if not data:
                        continue
                wire.body_bytes += len(data)
                if wire.body_bytes > wire.limits.body:
                    raise ResponseTooLargeError(f"the reply's body is larger than {wire.limits.body} bytes")
                return bytes(data)
        except BaseException as error:
            self.close()
            raise wire.failed(error) from wire.cause_of(error)

    def _decompress(self, data: bytes, at_most: int) -> bytes:
        if self._decompressor is None:
            if self._coding not in _WINDOW_BITS:
                raise ProtocolError(
                    f"the reply has the content encoding {self._coding[:40]!r}, which was not asked for"
                )
            self._decompressor = zlib.decompressobj(_WINDOW_BITS[self._coding])
        return bytes(self._decompressor.decompress(data, at_most))

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The body in the pieces in which it arrives; leaving early closes the connection."""
        try:
            while data := self.read1():
                yield data
        finally:
            self.close()

    def close(self) -> None:
        """Leave: the connection ends, its place in the pool is free again. After a clean end, nothing."""
        if not self._done:
            self._done = True
            # Both are needed: close() alone leaves a bounded pool one place short.
            self._raw.close()
            self._raw.release_conn()
