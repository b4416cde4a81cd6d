"""What the tests of streams share stands beside them: the oracle, the recorded streams, the server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stream_server import Departures, first_event

import isochat


@pytest.fixture
def departures() -> Departures:
    """What the server sees of clients that leave."""
    return Departures()


@pytest.fixture
def held(backend: str, departures: Departures, serve: Any, make_client: Any) -> Callable[..., isochat.Client]:
    """A client with one connection, of a server that holds its streams open after the first text or after ``pieces``,
    as `held(pieces, every=b": ping")`, until the client leaves.
    """

    def make(pieces: Iterable[bytes] | None = None, every: bytes = b"") -> isochat.Client:
        script = departures.streaming(first_event(backend) if pieces is None else pieces, every)
        client: isochat.Client = make_client(backend, serve(script), max_connections=1)
        return client

    return make
