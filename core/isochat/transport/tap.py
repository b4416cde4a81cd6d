"""How does one look at what went over the wire?

``recording()`` collects every :class:`~isochat.transport.wire.Wire` that this context's calls use: how the
conformance suite, ``isochat compare`` and a curious user see the exact request and reply of each client.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from isochat.transport.exchange import Exchange

_tape: ContextVar[list[Exchange] | None] = ContextVar("isochat_tape", default=None)


@contextmanager
def recording() -> Iterator[list[Exchange]]:
    """Collect the wires of all calls made inside, in the order of their attempts."""
    tape: list[Exchange] = []
    token = _tape.set(tape)
    try:
        yield tape
    finally:
        _tape.reset(token)


def record(wire: Exchange) -> None:
    """Put ``wire`` on the tape, if somebody records."""
    tape = _tape.get()
    if tape is not None:
        tape.append(wire)
