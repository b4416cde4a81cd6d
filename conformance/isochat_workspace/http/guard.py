"""How much may one connection, and all of them together, take? A guard in front of the HTTP protocol.

A client that never ends its head, sends requests faster than it takes answers, or opens connections without end costs
no more than what stands here. What a body may be, `server.py` says.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

MOST_CONNECTIONS = 4000
"""Further ones are closed as they come. Fewer where the process may open fewer files."""

AHEAD_BYTES = 1024 * 1024
"""Of a head, and of requests that are sent while others wait for their answer. A few reads from the socket, of 256 KiB
each, may bring the begin of a body before anybody has looked at its head."""

FRAMING_BYTES = 4 * 1024 * 1024
"""Of a body beyond its content: sizes of chunks, trailers, and what was received and is not read yet."""

REST_BYTES = 16 * 1024 * 1024
"""Of the rest of a body that was refused as too large, so that the client finds the refusal; then it is cut off."""

HEAD_SECONDS = 60.0
"""Between the connection and its first whole head."""

FILES_LEFT_FREE = 64

# How many turns of the loop a finished request takes at most to make room for one that has come already.
_TURNS = 5

Phase = Literal["head", "body", "answer", "rest"]


def most_connections() -> int:
    """As many as there are to be, or as this process may have files open."""
    if sys.platform == "win32":
        return MOST_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft < 0 else max(16, min(MOST_CONNECTIONS, soft - FILES_LEFT_FREE))


class Guards:
    """The connections of a server."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[asyncio.BaseTransport, Guard] = {}

    def admit(self, transport: asyncio.BaseTransport, guard: Guard) -> bool:
        """Count a connection; false where it is one too many."""
        if len(self._open) >= self._most:
            return False
        self._open[transport] = guard
        return True

    def forget(self, transport: asyncio.BaseTransport) -> None:
        """Count it no longer."""
        self._open.pop(transport, None)

    def close_all(self) -> None:
        """Close each at once: what a client has not taken by now it will not take."""
        for transport in [*self._open]:
            if isinstance(transport, asyncio.Transport):
                transport.abort()

    def of(self, transport: asyncio.BaseTransport | None) -> Guard | None:
        """The guard of a connection that is open."""
        return None if transport is None else self._open.get(transport)


class Guard(asyncio.Protocol):
    """One connection: hands on to the protocol behind it what its limits let through."""

    def __init__(self, behind: asyncio.Protocol, guards: Guards) -> None:
        self._behind = behind
        self._guards = guards
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._phase: Phase = "head"
        self._ahead = 0
        self._room = 0

    def begin_body(self, head_size: int) -> None:
        """A request has begun whose head has about this size: what came beyond it belongs to the body, or is ahead."""
        self._cancel_timer()
        self._phase = "body"
        self._ahead = max(0, self._ahead - head_size)
        self._room = FRAMING_BYTES

    def take_body(self, size: int) -> None:
        """So much of the content of the body was read."""
        self._ahead -= size
        self._room += size

    def end_body(self, framing: int) -> None:
        """The body is read to its end; its framing took up to so many bytes beside the content."""
        self._phase = "answer"
        self._ahead = max(0, self._ahead - framing)

    def drop_rest(self) -> None:
        """What is left of the body is thrown away."""
        self._phase, self._room = "rest", REST_BYTES

    def end_request(self) -> None:
        """The answer is out. If no other request begins at once, there is none, and nothing is ahead."""
        if self._phase != "rest":
            self._phase = "head"
            self._look_for_rest(_TURNS)

    def _look_for_rest(self, turns: int) -> None:
        if self._phase != "head":
            return
        if turns:
            asyncio.get_running_loop().call_soon(self._look_for_rest, turns - 1)
        else:
            self._ahead = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._guards.admit(transport, self):
            transport.abort()
            return
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, transport.abort)
        self._behind.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        if self._transport is not None:
            self._guards.forget(self._transport)
            self._behind.connection_lost(exc)
            self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._ahead += len(data)
        self._room -= len(data)
        if self._room < 0 if self._phase in ("body", "rest") else self._ahead > AHEAD_BYTES:
            self._transport.abort()
            return
        self._behind.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._transport is None else self._behind.eof_received()

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
