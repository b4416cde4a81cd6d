"""What did a client send? The requests a workspace received, in order of arrival."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import Any

KEEP_BYTES = 256 * 1024 * 1024
"""What the requests of a log may hold together, if nothing else is said."""

# What the objects of a record and of a header take beside their texts.
_RECORD_BYTES, _HEADER_BYTES = 600, 200


@dataclasses.dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as it came over the wire.

    `target` is the request target byte for byte (path and query, nothing decoded). `headers` keep order and
    case. `body` is as sent, not decompressed; it is empty where the body was over the size limit or never
    came whole. `status` is the HTTP status of the answer; 0 while there is none yet, and for good where the
    client left before it.

    Times are `time.monotonic()` seconds: `arrived_at`, `answered_at` (the status was known and the head about
    to be sent) and `ended_at` (the last piece of the body had been handed out; of a plain answer the same as
    `answered_at`). A time is 0.0 while it has not come. `closed_early` says that the client left before the
    end of the answer; it is set as soon as the connection is seen to be gone, also while nothing is sent.

    `streamed` says that the answer is an event stream. `tokens` are the prompt and completion tokens that the
    answer reported, None where it reported none or has not come so far.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    arrived_at: float
    answered_at: float = 0.0
    status: int = 0
    ended_at: float = 0.0
    closed_early: bool = False
    streamed: bool = False
    tokens: tuple[int, int] | None = None

    @property
    def path(self) -> str:
        """The target without its query, and without the host that a client which takes this for a proxy puts first."""
        path = self.target.partition("?")[0]
        scheme, colon, rest = path.partition("://")
        return "/" + rest.partition("/")[2] if colon and scheme.isalpha() else path

    @property
    def path_and_query(self) -> str:
        """The target without such a host: what a server is asked for (RFC 9112, 3.2.1)."""
        _, mark, query = self.target.partition("?")
        return self.path + mark + query

    def header(self, name: str) -> str | None:
        """The first header of this name in any case, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def json(self) -> Any:
        """The body read as JSON. Raises ValueError if it is none."""
        return json.loads(self.body)


class RequestLog:
    """Requests by order of arrival; an entry is replaced as more becomes known of it.

    `keep` bounds how many are held (the oldest go first), so that a server left running does not grow
    without end; None keeps any number. `keep_bytes` bounds what they hold together: bodies, targets and headers.
    """

    def __init__(self, keep: int | None = None, keep_bytes: int = KEEP_BYTES) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._entries: dict[int, RecordedRequest] = {}
        self._bytes = 0
        self._count = 0
        self._lock = threading.Lock()

    def open(self, request: RecordedRequest) -> int:
        """Put a request at the end and return the ticket by which it is replaced later."""
        with self._lock:
            ticket = self._count
            self._count += 1
            self._put(ticket, request)
        return ticket

    def replace(self, ticket: int, request: RecordedRequest) -> None:
        """Put the fuller record in the place of the first one."""
        with self._lock:
            if ticket in self._entries:
                self._bytes -= _size(self._entries[ticket])
                self._put(ticket, request)

    def _put(self, ticket: int, request: RecordedRequest) -> None:
        self._entries[ticket] = request
        self._bytes += _size(request)
        while len(self._entries) > 1 and (
            self._bytes > self._keep_bytes or (self._keep is not None and len(self._entries) > self._keep)
        ):
            self._bytes -= _size(self._entries.pop(next(iter(self._entries))))

    def clear(self) -> None:
        """Forget the requests so far. One that is still being answered stays forgotten when its answer ends."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def snapshot(self) -> list[RecordedRequest]:
        """The requests so far, a list of the caller's own."""
        with self._lock:
            return list(self._entries.values())


def _size(request: RecordedRequest) -> int:
    headers = sum(len(name) + len(value) + _HEADER_BYTES for name, value in request.headers)
    return _RECORD_BYTES + len(request.body) + len(request.target) + headers


class LogEntry:
    """One request's place in a log while it is being answered; `request` is what is known of it so far."""

    def __init__(self, log: RequestLog, request: RecordedRequest) -> None:
        self._log = log
        self._ticket = log.open(request)
        self.request = request

    def update(self, **known: Any) -> None:
        """Fill in fields that became known."""
        self.request = dataclasses.replace(self.request, **known)
        self._log.replace(self._ticket, self.request)
