"""What the tests of streams share stands beside them: the oracle, the recorded streams, the server."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
