"""Which events does a stream of bytes hold? Server-sent events by the WHATWG algorithm, over any split of the bytes.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. Lines end in LF, CR or CRLF
and in nothing else: U+2028 inside JSON is text. ``id`` and ``retry`` are for clients that reconnect, which a POST must
not; they are ignored like every unknown field.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import msgspec

from isochat.errors import ResponseTooLargeError

_BOM = b"\xef\xbb\xbf"
_LINE, _BLANK = b"data: ", b"\n\n"
_STRAY = (b"{", b"[", b"<")


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its type (``message`` where none is named) and its data, not decoded yet.

    ``stray`` marks a line that is no field at all but looks like JSON or markup. The algorithm ignores such a line;
    a service that fails in the middle of a stream writes its error there.
    """

    type: str
    data: bytes
    stray: bool = False


class EventDecoder:
    """Bytes in as they come, events out as soon as their blank line is there.

    Args:
        cap: Bytes of one event, after which ResponseTooLargeError is raised.
    """

    __slots__ = ("_begun", "_cap", "_data", "_size", "_skip_lf", "_tail", "_tail_size", "_type", "count")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._begun = False
        self._tail = io.BytesIO()  # of a line that has no end yet: many pieces in one place, which is not copied
        self._tail_size = 0
        self._skip_lf = False
        self._type = b""
        self._data: bytes | io.BytesIO | None = None  # of the event under way; one line is left as it is
        self._size = 0
        self.count = 0

    @property
    def pending(self) -> bool:
        """Whether an event has begun whose blank line has not come."""
        return self._data is not None or self._tail_size > 0

    @property
    def growing(self) -> int:
        """Bytes of data that the event under way has so far: comments, which keep a connection alive, add none."""
        return self._size + (0 if self._tail.getvalue()[:1] == b":" else self._tail_size)

    def feed(self, data: bytes) -> Iterable[Event]:
        """The events that ``data`` completes; to be taken all, or no more is fed.

        Raises:
            ResponseTooLargeError: one event is larger than the cap; those before it have been given.
        """
        if (  # nearly all pieces are whole events of one line each, and come when nothing is under way
            data.startswith(_LINE)
            and data.endswith(_BLANK)
            and b"\r" not in data
            and not (self._tail_size or self._data is not None or self._type or self._skip_lf)
            and self._begun
            and len(data) <= self._cap
        ):
            lines = data.split(b"\n")
            told = [line[len(_LINE) :] for line in lines[:-1:2] if line.startswith(_LINE)]
            if len(told) == len(lines) // 2 and not any(lines[1::2]):
                self.count += len(told)
                return [Event("message", line) for line in told]
        return self._feed(data)

    def _feed(self, data: bytes) -> Iterator[Event]:
        if self._skip_lf:
            if not data:
                return
            # The CR before has ended its line already: an event must not wait for what may follow.
            self._skip_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        if not self._begun:
            joined = self._tail.getvalue() + data
            if len(joined) < len(_BOM) and _BOM.startswith(joined):
                self._set_tail(joined)
                return
            self._begun = True
            self._set_tail(b"")
            data = joined.removeprefix(_BOM)
        lines = data.splitlines(keepends=True)
        if not lines:
            return
        last = lines[-1]
        if last[-1] not in b"\r\n":
            lines.pop()
        else:
            last = b""
            self._skip_lf = data.endswith(b"\r")
        if lines and self._tail_size:
            self._tail.write(lines[0].rstrip(b"\r\n"))
            lines[0] = self._tail.getvalue()
            self._set_tail(b"")
        yield from self._read(lines)
        if last:
            self._tail.write(last)
            self._tail_size += len(last)
            self._check_size()

    def _set_tail(self, line: bytes) -> None:
        self._tail = io.BytesIO()
        self._tail_size = self._tail.write(line)

    def _read(self, lines: list[bytes]) -> Iterator[Event]:
        lines.reverse()
        while lines:  # none is held longer than it is read: it may be as large as an event
            line = lines.pop().rstrip(b"\r\n")
            if line.startswith(b"data:"):
                line = line[6:] if line[5:6] == b" " else line[5:]
                self._add(line)
            elif not line:
                if self._data is not None:
                    kind = self._type.decode("utf-8", "replace") if self._type else "message"
                    event = Event(kind, self._data if isinstance(self._data, bytes) else self._data.getvalue())
                    self.count += 1
                    self._data, self._size = None, 0
                    yield event
                    del event
                self._type = b""
            elif line.startswith(b"event:"):
                self._type = line[7:] if line[6:7] == b" " else line[6:]
            elif line == b"data":
                self._add(b"")
            elif line == b"event":
                self._type = b""
            elif line.startswith(_STRAY):
                yield Event("", line, stray=True)

    def _add(self, data: bytes) -> None:
        # With the line feed between two lines, so that a million empty ones count too.
        self._size += len(data) + (self._data is not None)
        if self._data is None:
            self._data = data
        else:
            if isinstance(self._data, bytes):
                first, self._data = self._data, io.BytesIO()
                self._data.write(first)
            self._data.write(b"\n")
            self._data.write(data)
        if self._size > self._cap:
            self._check_size()

    def _check_size(self) -> None:
        if self._size + self._tail_size > self._cap:
            raise ResponseTooLargeError(f"event {self.count + 1} of the stream is larger than {self._cap} bytes")
