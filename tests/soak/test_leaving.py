"""Does a program end as it wants to, whatever is still open, and does a lack of descriptors end with the lack?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("leaving.py")
WAYS = (
    "in_a_loop_of_chunks",
    "held_by_a_module",
    "in_another_thread",
    "in_a_call_of_another_thread",
    "on_a_loop",
    "on_a_loop_in_a_task",
    "behind_a_loop",
    "without_descriptors",
    "many_at_once_without_descriptors",
    "after_close",
)


# One that reads in this thread or on the loop, and one that a loop reads in threads; the others are much like these.
QUICK = ("rest", "mlflow")
BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")


@pytest.mark.parametrize(
    "backend", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in BACKENDS]
)
@pytest.mark.parametrize("way", WAYS)
def test_it_ends_quietly_with_its_own_code(way: str, backend: str, serving: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-W", "always::RuntimeWarning", str(PROGRAM), way, backend,
         serving.url],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
