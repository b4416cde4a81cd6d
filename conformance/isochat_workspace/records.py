"""What did a client send? The requests a workspace received, in order of arrival."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as it came over the wire.

    `target` is the request target byte for byte (path and query, nothing decoded). `headers` keep order and
    case. `body` is as sent, not decompressed; it is empty where the body was over the size limit or never
    came whole. `arrived_at` and `answered_at` are `time.monotonic()` seconds. `status` is the HTTP status of
    the answer; 0 while there is none yet, and for good where the client left before it.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    arrived_at: float
    answered_at: float = 0.0
    status: int = 0

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

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
    without end; None keeps all.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self._entries: dict[int, RecordedRequest] = {}
        self._count = 0
        self._lock = threading.Lock()

    def open(self, request: RecordedRequest) -> int:
        """Put a request at the end and return the ticket by which it is replaced later."""
        with self._lock:
            ticket = self._count
            self._count += 1
            self._entries[ticket] = request
            if self._keep is not None and len(self._entries) > self._keep:
                del self._entries[next(iter(self._entries))]
        return ticket

    def replace(self, ticket: int, request: RecordedRequest) -> None:
        """Put the fuller record in the place of the first one."""
        with self._lock:
            if ticket in self._entries:
                self._entries[ticket] = request

    def snapshot(self) -> list[RecordedRequest]:
        """The requests so far, a list of the caller's own."""
        with self._lock:
            return list(self._entries.values())
