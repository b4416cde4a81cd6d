"""Fixtures of the safety tests: servers that count what comes, and a chat in each of the four ways to wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import isochat

TOKEN = "dapi-of-the-test"
Chat = Callable[[isochat.Client], Any]


@pytest.fixture(autouse=True)
def clean_environment(clean_environment: Path) -> Path:
    """For each test here."""
    return clean_environment


def whole(client: isochat.Client) -> Any:
    return client.chat("Hi")


def streamed(client: isochat.Client) -> Any:
    return client.chat("Hi", stream=True).result()


def on_a_loop(client: isochat.Client) -> Any:
    return asyncio.run(client.achat("Hi"))


def streamed_on_a_loop(client: isochat.Client) -> Any:
    async def call() -> Any:
        return await (await client.achat("Hi", stream=True)).result()

    return asyncio.run(call())


WAYS: dict[str, Chat] = {
    "whole": whole,
    "stream": streamed,
    "async": on_a_loop,
    "async stream": streamed_on_a_loop,
}


@pytest.fixture(params=WAYS)
def chat(request: pytest.FixtureRequest) -> Chat:
    """Asks "Hi" and waits for the whole answer, in each of the four ways in turn."""
    return WAYS[request.param]


class Listener:
    """A server that answers every request with the same bytes and closes; without them it only counts."""

    token = TOKEN

    def __init__(self, answer: bytes | Callable[[bytes], bytes] = b"", host: str = "127.0.0.1") -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self._answer = answer
        self._socket = socket.create_server((host, 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(30)
                if self._closing(connection):
                    return
                self.connections += 1
                request = _read(connection)
                if request:
                    self.requests.append(request)
                    connection.sendall(self._answer(request) if callable(self._answer) else self._answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

    def _closing(self, connection: socket.socket) -> bool:
        return connection.getpeername() == getattr(self, "_last", None)

    def close(self) -> None:
        with contextlib.suppress(OSError), socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._last = last.getsockname()
            last.connect(self._socket.getsockname())
            self._thread.join(30)
        self._socket.close()


def _read(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(65536)
        if not got:
            return data
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < sum(lengths):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Start a Listener, as `listen(answer)`; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(answer: bytes | Callable[[bytes], bytes] = b"") -> Listener:
            server = Listener(answer)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def make_client() -> Iterator[Callable[..., isochat.Client]]:
    """Make a client, as `make_client(backend, server, **arguments)`; it is closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(backend: str, server: Any, **arguments: Any) -> isochat.Client:
            given = {"host": server.url, "token": server.token, "endpoint": "any", "max_retries": 0, **arguments}
            return stack.enter_context(isochat.Client(backend, **given))

        yield make


@pytest.fixture
def reply() -> Callable[..., bytes]:
    """As `reply("200 OK", body, "Header: value")`: a whole HTTP reply."""

    def make(status: str, body: bytes = b"", *headers: str, kind: str = "application/json") -> bytes:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + body

    return make
