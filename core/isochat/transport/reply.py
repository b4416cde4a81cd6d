"""How is a reply read off a urllib3 connection: as it comes, up to the cap, and given back on leaving?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from isochat.transport.decompression import BodyCounter

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

_READ = 64 * 1024


class IncomingReply:
    """A reply whose status and headers are known and whose body is still on the connection.

    Attributes:
        delimited: Whether the body says where it ends, by its length or its chunks. One that ends with its connection
            may have been cut.
    """

    __slots__ = ("_body", "_done", "_raw", "_read", "delimited", "head", "wire")

    def __init__(self, raw: Any, wire: Wire) -> None:
        self._done = False
        self._raw = raw
        assert wire.read_body is not None
        self._read = wire.read_body  # not urllib3's, which gives the connection back: it takes longer than the reading
        self.wire = wire
        assert wire.heads.head is not None
        self.head = wire.heads.head
        self.delimited = self.head.delimited
        self._body = BodyCounter(self.head.coding, wire.body_cap(self.head.status))

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
                data = b"" if self._body.holds else self._read(_READ)
                if not data and not self._body.holds:
                    self._body.finish()
                    self._done = True
                    self._raw.release_conn()
                    return b""
                data = self._body.take(data)
                if data:
                    return data
        except BaseException as error:
            self.close()
            raise wire.failed(error) from wire.cause_of(error)

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

    def __del__(self) -> None:
        self.close()  # of a reply that an interrupt kept from whoever was to read it
