"""What does Ctrl-C do in the middle of a call or a stream? It passes as it is, and the connection ends with it."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 60.0


def events(backend: str) -> bytes:
    """The head of a stream and its first event."""
    delta: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": "a"}}]}
    if backend == "openai-responses":
        delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "a"}
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: " + json.dumps(delta).encode() + b"\n\n"


def is_waiting(pid: int) -> bool:
    """Whether its main thread sleeps: a signal on the way to sleep is handled after it, and that is Python's."""
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "S"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_an_interrupt_passes_and_ends_the_connection(backend: str, serve: Any, body_of: Any, reply: Any) -> None:
    arrived, gone = threading.Semaphore(0), threading.Semaphore(0)

    def script(connection: socket.socket, server: Any) -> str | None:
        if b"answer" in server.requests[-1]:
            connection.sendall(reply("200 OK", body_of(backend)))
            return "keep"
        if b'"stream":true' in server.requests[-1].replace(b" ", b""):
            connection.sendall(events(backend))
        arrived.release()
        with contextlib.suppress(OSError):
            if connection.recv(1) == b"":
                gone.release()
        return None

    program = Path(__file__).with_name("interrupted.py")
    command = [sys.executable, "-W", "error", str(program), serve(script).url, backend]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            for way in ("call", "stream", "acall", "astream"):
                assert running.stdout.readline() == "asking\n"
                assert arrived.acquire(timeout=PATIENCE)
                until(lambda: is_waiting(running.pid))
                running.send_signal(signal.SIGINT)
                assert running.stdout.readline() == f"interrupted {way}\n"
                assert gone.acquire(timeout=PATIENCE)  # though neither the client nor the program has ended
                running.stdin.write("\n")
                running.stdin.flush()
                assert [running.stdout.readline() for _ in range(2)] == ["Hello.\n"] * 2
            said, complaints = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
    assert (said, complaints, running.returncode) == ("", "", 0)
