"""How large may a reply be? Past a cap the connection is closed and the call ends in ResponseTooLargeError."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Caps on one reply, in bytes, and the connect timeout in seconds.

    A stream says a few hundred bytes for each token and is not kept whole, so ``stream`` is far more than ``body``;
    ``event`` caps one of its events.
    """

    head: int = 256 * 1024
    body: int = 64 * 1024 * 1024
    stream: int = 1024 * 1024 * 1024
    event: int = 16 * 1024 * 1024
    connect: float = 10.0


DEFAULT_LIMITS = Limits()
