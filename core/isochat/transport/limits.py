"""How large may a reply be? Past a cap the connection is closed and the call ends in ResponseTooLargeError."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Caps on one reply, in bytes, and the connect timeout in seconds.

    A stream says a few hundred bytes for each token and is not kept whole, so ``stream`` is far more than ``body``;
    ``event`` caps one of its events. ``error`` caps the explanation of an error, which clients read several times over.
    """

    head: int = 256 * 1024
    body: int = 64 * 1024 * 1024
    error: int = 4 * 1024 * 1024
    stream: int = 256 * 1024 * 1024
    event: int = 16 * 1024 * 1024
    connect: float = 10.0


DEFAULT_LIMITS = Limits()
