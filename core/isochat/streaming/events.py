"""Which events does a stream of bytes hold? Server-sent events by the WHATWG algorithm, over any split of the bytes.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. Lines end in LF, CR or CRLF
and in nothing else: U+2028 inside JSON is text. ``id`` and ``retry`` are for clients that reconnect, which a POST must
not; they are ignored like every unknown field.
"""

from __future__ import annotations

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
        self._tail: list[bytes] = []  # of a line that has no end yet, in pieces: one long line is joined once
        self._tail_size = 0
        self._skip_lf = False
        self._type = b""
        self._data: list[bytes] = []
        self._size = 0  # of the data, as it will be joined
        self.count = 0

    @property
    def pending(self) -> bool:
        """Whether an event has begun whose blank line has not come."""
        return bool(self._data) or self._tail_size > 0

    @property
    def growing(self) -> int:
        """Bytes of data that the event under way has so far: comments, which keep a connection alive, add none."""
        return self._size + (0 if self._tail and self._tail[0].startswith(b":") else self._tail_size)

    def feed(self, data: bytes) -> Iterable[Event]:
        """The events that ``data`` completes; to be taken all, or no more is fed.

        Raises:
            ResponseTooLargeError: one event is larger than the cap; those before it have been given.
        """
        if (  # nearly all pieces are whole events of one line each, and come when nothing is under way
            data.startswith(_LINE)
            and data.endswith(_BLANK)
            and b"\r" not in data
            and not (self._tail or self._data or self._type or self._skip_lf)
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
            joined = b"".join(self._tail) + data
            if len(joined) < len(_BOM) and _BOM.startswith(joined):
                self._tail, self._tail_size = [joined], len(joined)
                return
            self._begun, self._tail, self._tail_size = True, [], 0
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
        if lines and self._tail:
            lines[0] = b"".join([*self._tail, lines[0]])
            self._tail, self._tail_size = [], 0
        yield from self._read(lines)
        if last:
            self._tail.append(last)
            self._tail_size += len(last)
            self._check_size()

    def _read(self, lines: list[bytes]) -> Iterator[Event]:
        for line in lines:
            line = line.rstrip(b"\r\n")
            if line.startswith(b"data:"):
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data:
                    kind = self._type.decode("utf-8", "replace") if self._type else "message"
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    self.count += 1
                    self._data, self._size = [], 0
                    yield Event(kind, data)
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
        self._size += len(data) + bool(self._data)
        self._data.append(data)
        if self._size > self._cap:
            self._check_size()

    def _check_size(self) -> None:
        if self._size + self._tail_size > self._cap:
            raise ResponseTooLargeError(f"event {self.count + 1} of the stream is larger than {self._cap} bytes")
