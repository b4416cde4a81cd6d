"""Do the types hold for a program that uses isochat? mypy --strict over the sample of call forms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_mypy_reads_the_calls(tmp_path: Path) -> None:
    sample = Path(__file__).with_name("calls.py")
    # Without the project's own settings, as a user's program would be checked.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(sample)],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.stdout.splitlines()[-1:] == ["Success: no issues found in 1 source file"], done.stdout + done.stderr
