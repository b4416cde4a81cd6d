"""Fixtures of the core tests: a server that breaks HTTP byte by byte, and replies for it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TOKEN = "dapi-of-the-test"

# What these tests share stands beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def clean_environment(clean_environment: Path) -> Path:
    """For each test here."""
    return clean_environment


class FaultServer:
    """Runs a script on each connection: ``script(connection, server)`` after each request it has read.

    The connection is closed when the script is over, unless it returns ``"keep"``.
    """

    token = TOKEN

    def __init__(self, script: Callable[[socket.socket, FaultServer], Any], tls: ssl.SSLContext | None = None):
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self.over.is_set():
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection:
                while self.read_request(connection) and self._script(connection, self) == "keep":
                    pass

    def read_request(self, connection: socket.socket) -> bytes:
        """One request with its body; empty when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            got = connection.recv(65536)
            if not got:
                return b""
            data += got
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            got = connection.recv(65536)
            if not got:
                return b""
            body += got
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):  # wakes accept()
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def serve() -> Iterator[Callable[..., FaultServer]]:
    """Start a FaultServer with a script, as `serve(script)`; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(script: Callable[..., Any], **arguments: Any) -> FaultServer:
            server = FaultServer(script, **arguments)
            stack.callback(server.close)
            return server

        yield start


def completion(text: str = "Hello.") -> bytes:
    """A chat completion of one choice."""
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        }
    ).encode()


def response(text: str = "Hello.") -> bytes:
    """The same answer as a Responses object."""
    return json.dumps(
        {
            "id": "resp-1",
            "object": "response",
            "created_at": 1700000000,
            "model": "m",
            "status": "completed",
            "output": [
                {
                    "id": "msg-1",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": text, "annotations": []}],
                }
            ],
            "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
    ).encode()


@pytest.fixture
def body_of() -> Callable[..., bytes]:
    """The bytes of an answer in the dialect of a backend, as `body_of(backend, text)`."""
    return lambda backend, text="Hello.": (response if backend == "openai-responses" else completion)(text)


def http_reply(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole HTTP reply with its Content-Length."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.fixture
def reply() -> Callable[..., bytes]:
    """As `reply("200 OK", body, "Header: value")`."""
    return http_reply
