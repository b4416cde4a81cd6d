"""Is what begins a reply a head of HTTP/1, and where does it end? Read once, strictly, for both wires.

http.client and aiohttp each take what the other refuses: CR CR LF, two spaces, HTTP/0.9, a line without a colon. So the
bytes are judged here (RFC 9112 4 to 6) before either of them sees any, and what is let through both read alike.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from isochat.errors import ProtocolError, ResponseTooLargeError

_BEGINNING = b"HTTP/1."
# Lines may end in LF alone (RFC 9112 2.2). No other control character but the tab stands in them.
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?\r?\n")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r?\n")
_FOLDED = re.compile(rb"[ \t][^\x00-\x08\x0a-\x1f\x7f]*\r?\n")
_LENGTH = re.compile("[0-9]{1,18}")
_FRAMING = ("content-length", "transfer-encoding")

# http.client's own limits; it counts the empty line too.
_LONGEST_LINE = 65536
_MOST_FIELDS = 99
_INTERIM_REPLIES = 16
_SHOWN = 80


class Head(NamedTuple):
    """A reply's status, and its fields in order, with the names as they stand on the wire."""

    status: int
    reason: str
    fields: list[tuple[str, str]]

    @property
    def delimited(self) -> bool:
        """Whether the body says where it ends, by its length or its chunks."""
        return self.first("content-length") is not None or self.chunked

    @property
    def chunked(self) -> bool:
        """Whether it is in chunks."""
        return (self.first("transfer-encoding") or "").lower() == "chunked"

    @property
    def coding(self) -> str:
        """How the body is compressed."""
        return ", ".join(value for name, value in self.fields if name.lower() == "content-encoding")

    def first(self, name: str) -> str | None:
        """The first field of that name, which is in lower case."""
        return next((value for key, value in self.fields if key.lower() == name), None)


class HeadReader:
    """Bytes in as they come, until the head is whole. Interim replies before it are passed over.

    Args:
        cap: Bytes that all heads together may have.

    Attributes:
        head: The reply's, once it is whole.
        count: Bytes that have come of it, and of those interim replies.
        begun: Those of the interim replies alone.
    """

    __slots__ = ("_cap", "_fields", "_interim", "_line", "_status", "begun", "count", "head")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._line = b""  # the beginning of a line whose end has not come
        self._status: tuple[int, str] | None = None
        self._fields: list[tuple[str, str]] = []
        self.head: Head | None = None
        self.count = 0
        self.begun = 0
        self._interim = 0

    def feed(self, data: bytes) -> int:
        """How many bytes of ``data`` belong to heads: fewer than all of them where the body begins.

        Raises:
            ProtocolError: this is no head, or its framing is ambiguous, or it switches protocols.
            ResponseTooLargeError: the heads, a line or their number are beyond all limits.
        """
        held = len(self._line)
        if held:
            data = self._line + data
        at, size = 0, len(data)
        while self.head is None:
            end = data.find(b"\n", at) + 1
            if (end or size) - at > _LONGEST_LINE:
                raise ResponseTooLargeError("the reply's head has too many or too long lines")
            if not end:
                break
            self._take(data[at:end])
            at = end
            if self._status is None:  # an interim reply has ended here
                self.begun = self.count + at - held
        self._line = b"" if self.head else data[at:]
        if self._status is None and self._line and not _BEGINNING.startswith(self._line[: len(_BEGINNING)]):
            raise _no_http(self._line)  # at once: another protocol may have no lines
        taken = (at if self.head else size) - held
        self.count += taken
        if self.count > self._cap:
            raise ResponseTooLargeError(f"the reply's head is larger than {self._cap} bytes")
        return taken

    def _take(self, line: bytes) -> None:
        if self._status is None:
            found = _STATUS.fullmatch(line)
            if found is None:
                raise _no_http(line)
            self._status = int(found[1]), (found[2] or b"").decode("latin-1").strip()
        elif found := _FIELD.fullmatch(line):
            if len(self._fields) == _MOST_FIELDS:
                raise ResponseTooLargeError("the reply's head has too many or too long lines")
            self._fields.append((found[1].decode("latin-1"), found[2].decode("latin-1").strip(" \t")))
        elif line in (b"\r\n", b"\n"):
            self._finish(*self._status)
        else:
            self._fold(line)

    def _fold(self, line: bytes) -> None:
        """Take a line that goes on with the field before it, as RFC 9112 5.2 has it."""
        if not (self._fields and _FOLDED.fullmatch(line)):
            raise ProtocolError(f"the line {line[:_SHOWN]!r} of the reply's head is no header")
        name, value = self._fields[-1]
        if name.lower() in _FRAMING:
            raise ProtocolError(f"the reply's header {name} goes over two lines")
        self._fields[-1] = name, f"{value} {line.decode('latin-1').strip()}".strip()

    def _finish(self, status: int, reason: str) -> None:
        head = Head(status, reason, self._fields)
        if status == 101:
            raise ProtocolError("the server answered 101, which was not asked for", status_code=status)
        _check_framing(head)
        if status >= 200:
            self.head = head
            return
        self._interim += 1
        if self._interim > _INTERIM_REPLIES:
            raise ProtocolError(f"the server sent more than {_INTERIM_REPLIES} interim replies")
        self._status, self._fields = None, []


def _check_framing(head: Head) -> None:
    """Whoever sees another end of the body than we do sees another reply behind it."""
    lengths = [value for name, value in head.fields if name.lower() == "content-length"]
    codings = [value for name, value in head.fields if name.lower() == "transfer-encoding"]
    if lengths and codings:
        # RFC 9112 6.3 calls this an attack on message framing; aiohttp refuses it, urllib3 does not.
        raise ProtocolError("the reply has both Content-Length and Transfer-Encoding")
    if len(lengths) > 1:
        raise ProtocolError("the reply has more than one Content-Length")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise ProtocolError(f"the reply's Content-Length is {lengths[0][:_SHOWN]!r}")
    if codings and (len(codings) > 1 or codings[0].lower() not in ("chunked", "identity")):
        # Nothing else was asked for (RFC 9112 7.4), and urllib3 would read it to the end of the connection.
        raise ProtocolError(
            f"the reply has the transfer encoding {', '.join(codings)[:_SHOWN]!r}, which was not asked for"
        )
    if (head.status == 204 or head.status < 200) and (codings or (lengths and lengths[0].strip("0"))):
        raise ProtocolError(f"the reply has status {head.status} and a body")


def _no_http(beginning: bytes) -> ProtocolError:
    return ProtocolError(f"the server's reply is not HTTP/1: it begins {beginning[:_SHOWN]!r}")
