"""How is the engine started and ended? `engine.py` as a child process that cannot outlive its parent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from isochat_workspace.smollm2.model_store import ModelStore

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 5.0


class EngineProcess:
    """A running engine. The constructor blocks until it answers (1 to 8 s) and raises EngineError.

    It runs apart from the host program: its environment variables, its threads and, should it come to that,
    its crash stay its own. One that ends by itself leaves no zombie: a thread waits for it.
    """

    def __init__(self, store: ModelStore) -> None:
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                # -I: neither the user's PYTHONPATH nor this folder may shadow what the engine imports.
                [
                    sys.executable,
                    "-I",
                    str(Path(__file__).with_name("engine.py")),
                    str(store.folder),
                    str(store.weights),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Read when the engine's libraries load: waiting threads sleep instead of spinning.
                env={**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"},
            )
            assert self._process.stdout is not None
            watchdog = threading.Timer(_START_TIMEOUT_S, self._process.kill)
            watchdog.start()
            self._reaper = threading.Thread(target=self._process.wait, name="isochat-workspace-engine", daemon=True)
            try:
                address = json.loads(self._process.stdout.readline())
            except ValueError:
                self.stop()
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                raise EngineError(lines[-1].strip() if lines else self.ended) from None
            finally:
                watchdog.cancel()
                watchdog.join()
        self._reaper.start()
        self.url: str = address["url"]
        self.key: str = address["key"]

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    @property
    def ended(self) -> str | None:
        """How it ended ("exit status 1", "SIGKILL"), or None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def stop(self) -> None:
        """Close the engine's input, which ends it; kill it if it does not listen. Blocks."""
        with self._process as process:
            assert process.stdin is not None
            with contextlib.suppress(OSError):  # it may be gone already
                process.stdin.close()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._reaper.ident is not None:
            self._reaper.join()


class EngineError(Exception):
    """The engine did not start; the message is the last line it wrote."""
