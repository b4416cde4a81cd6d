"""Do the backends that run on an event loop read a refusal whole, serve several loops and keep to their own setup?"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from isochat import plugins
from isochat.backend import Backend, Setup
from isochat.request import Request
from isochat.transport.async_pools import AsyncPools
from isochat.transport.async_wire import AsyncWire
from isochat.transport.deadline import Deadline, SystemClock

NATIVE = ("rest", "openai-chat", "openai-responses")


class Refusing:
    """A server that refuses its one request, in two pieces."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(30)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as reader:
            lines = list(iter(reader.readline, b"\r\n"))
            length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length"))
            self.heads.append(b"".join(lines).decode())
            self.bodies.append(json.loads(reader.read(length)))
            connection.sendall(
                b"HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\r\n"
            )
            for piece in (b'{"error_code": "REQUEST_LIMIT_EXCEEDED", ', b'"message": "slow down"}', b""):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            reader.read()  # until the client has gone

    def close(self) -> None:
        self._thread.join(30)
        self._listener.close()


@pytest.fixture(params=NATIVE)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Backend]]:
    """The backend on a host, as `make(url)`."""
    made: list[Backend] = []

    def on(url: str) -> Backend:
        backend_class = plugins.load_backend(request.param)
        made.append(backend_class(Setup(host=url, route="serving-endpoints", api_base=f"{url}/serving-endpoints")))
        return made[-1]

    yield on
    for backend in made:
        backend.close()
    del made[:]
    gc.collect()  # what the client leaves unread must not warn


def request_for(backend: Backend) -> Request:
    message = {"role": "user", "content": "Hi"}
    field = "input" if backend.capabilities.api == "responses" else "messages"
    body = {field: [message], "temperature": 0.5, "usage_context": {"who": "me"}}
    return Request("e", backend.capabilities.api, body, (message,), "e")


def asked_properly(server: Refusing, backend: Backend, stream: bool) -> None:
    (body,) = server.bodies
    assert body.get("stream") is (True if stream else None)
    assert (body["temperature"], body["usage_context"]) == (0.5, {"who": "me"})
    assert ("stream" in body) is stream
    assert f"/{backend.capabilities.surface}" in server.heads[0].partition("\r\n")[0]


@pytest.mark.parametrize("streaming", [False, True])
def test_an_error_instead_of_a_stream_is_read_whole(streaming: bool, make: Any) -> None:
    """Also of a plain call: the client raises its own exception of the status, and the wire has the truth."""
    server = Refusing()
    backend, pools = make(server.url), AsyncPools()

    async def call() -> tuple[AsyncWire, str | None]:
        wire = AsyncWire(pools, Deadline(30, SystemClock()), streaming=streaming)
        try:
            await (backend.astream if streaming else backend.acomplete)(request_for(backend), wire)
        except Exception as error:  # noqa: BLE001 looked at below
            return wire, type(error).__name__
        return wire, None

    wire, raised = asyncio.run(call())
    server.close()

    assert raised == (None if backend.name == "rest" else "RateLimitError")
    assert (wire.status, wire.incoming, wire.failure) == (429, None, None)
    assert wire.body is not None
    assert b"slow down" in wire.body
    asked_properly(server, backend, stream=streaming)


@pytest.mark.parametrize("name", NATIVE)
def test_what_these_backends_can_do(name: str) -> None:
    capabilities = plugins.load_backend(name).capabilities

    assert (capabilities.streaming, capabilities.asynchronous) == (True, "native")


@pytest.mark.parametrize("name", NATIVE)
def test_one_backend_object_serves_several_loops(name: str, workspace: Any) -> None:
    backend = plugins.load_backend(name)(
        Setup(host=workspace.url, route="serving-endpoints", api_base=f"{workspace.url}/serving-endpoints")
    )
    request = request_for(backend)
    endpoint = workspace.default_endpoint
    request = Request(endpoint, request.api, {**request.body}, request.messages, endpoint)
    request.body.pop("usage_context")
    pools = AsyncPools()

    async def call() -> Any:
        wire = AsyncWire(pools, Deadline(60, SystemClock()), credentials={"Authorization": f"Bearer {workspace.token}"})
        reply: Any = await backend.acomplete(request, wire)
        return backend.held_by(reply.native())

    def talk() -> list[Any]:
        return [asyncio.run(call()) for _ in range(2)]

    done: list[Any] = []
    threads = [threading.Thread(target=lambda: done.extend(talk())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    pools.close()
    backend.close()

    assert len(done) == len(workspace.requests) == 6
    assert all("Hi" in json.dumps(held) for held in done)


def test_nothing_of_the_openai_environment_goes_out(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(variable, f"of-{variable}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: of-OPENAI")
    backend = plugins.load_backend("openai-chat")(
        Setup(host=workspace.url, route="serving-endpoints", api_base=f"{workspace.url}/serving-endpoints")
    )
    request = request_for(backend)
    request = Request(workspace.default_endpoint, request.api, {"messages": request.body["messages"]},
                      request.messages, workspace.default_endpoint)  # fmt: skip

    async def call() -> None:
        wire = AsyncWire(
            AsyncPools(), Deadline(60, SystemClock()), credentials={"Authorization": f"Bearer {workspace.token}"}
        )
        await backend.acomplete(request, wire)

    asyncio.run(call())
    backend.close()

    (sent,) = workspace.requests
    assert "of-" not in str(sent.headers)
