"""What the tests of streams share stands beside them: the oracle, the recorded streams, the server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stream_server import Departures


@pytest.fixture
def departures() -> Departures:
    """What the server sees of clients that leave."""
    return Departures()
