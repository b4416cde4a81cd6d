"""Do a parent and its forked children both go on with one client object, mid-stream and beside other threads?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any


def test_parent_and_children_go_on(backend: str, serving: Any, until: Any) -> None:
    program = Path(__file__).with_name("forking.py")
    # Python 3.12 warns of what is tested here: a fork beside threads.
    command = [sys.executable, "-W", "error", "-W", "ignore:.*fork.*:DeprecationWarning", str(program)]

    ran = subprocess.run([*command, serving.url, backend], capture_output=True, text=True, timeout=120, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    until(lambda: serving.state()["open"] == 1)
