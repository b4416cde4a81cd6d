"""Does another member carry on for a stream before its first chunk, and never after?"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from stream_server import CHAT, RESPONSE, http_chunk, to_the_end, whole, written

import isochat

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
BUSY = {"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}
PAIRS = [(one, other) for one in BACKENDS for other in BACKENDS if one != other]


def refusing(connection: socket.socket, server: Any, reply: Any, how: str) -> str:
    """Script: the first request is refused by its status or in place of the first event; the second is answered."""
    first = len(server.requests) == 1
    if first and how == "status":
        connection.sendall(reply("503 Busy", json.dumps({"message": "No."}).encode()))
    elif first:
        connection.sendall(whole(written([BUSY])))
    else:
        events = RESPONSE if server.requests[-1].split()[1].endswith(b"/responses") else [*CHAT, "[DONE]"]
        connection.sendall(whole(written(events)))
    return "keep"


@pytest.fixture(params=["status", "event"])
def refused(request: pytest.FixtureRequest, serve: Any, reply: Any) -> Any:
    """Such a server."""
    return serve(lambda connection, server: refusing(connection, server, reply, request.param))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_before_the_first_chunk(first: str, second: str, refused: Any, make_client: Any) -> None:
    stream = make_client(first, refused, max_retries=0, fallback=[second]).chat("Hi", stream=True)

    assert "".join(chunk.text for chunk in stream) == "Hi é!"
    meta = stream.result().meta
    assert (meta.backend, meta.attempts, len(refused.requests)) == (second, 2, 2)
    assert meta.warnings[0].startswith(f"fell back from {first} to {second}: ")


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_before_the_first_chunk_on_a_loop(first: str, second: str, refused: Any, make_client: Any) -> None:
    async def read() -> isochat.ChatResult:
        async with make_client(first, refused, max_retries=0, fallback=[second]) as client:
            stream = await client.achat("Hi", stream=True)
            assert "".join([chunk.text async for chunk in stream]) == "Hi é!"
            return await stream.result()  # type: ignore[no-any-return]

    meta = asyncio.run(read()).meta
    assert (meta.backend, meta.attempts, len(refused.requests)) == (second, 2, 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_never_after_it(backend: str, serve: Any, make_client: Any) -> None:
    def script(connection: socket.socket, server: Any) -> None:
        piece = to_the_end(backend)[1 if backend == "openai-responses" else 0]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + http_chunk(piece) + http_chunk(written([BUSY])[0]))

    other = next(name for name in BACKENDS if name != backend)
    server = serve(script)
    stream = make_client(backend, server, fallback=[other]).chat("Hi", stream=True)
    with pytest.raises(isochat.StreamError) as raised:
        list(stream)
    assert raised.value.partial.text == "Hi é"
    assert len(server.requests) == 1


def test_if_all_refuse_the_first_refusal_is_raised_and_raised_again(serve: Any, make_client: Any, reply: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        if len(server.requests) == 1:
            connection.sendall(whole(written([BUSY])))
        else:
            connection.sendall(reply("503 Busy", b"{}"))
        return "keep"

    server = serve(script)
    stream = make_client("rest", server, max_retries=0, fallback=["mlflow"]).chat("Hi", stream=True)
    for again in (lambda: next(stream), stream.result):
        with pytest.raises(isochat.RateLimitError, match="then failed: mlflow with OverloadedError") as raised:
            again()
        assert (raised.value.backend, raised.value.attempts) == ("rest", 2)
    assert len(server.requests) == 2


def test_an_echoed_token_is_blank_in_the_warnings(serve: Any, make_client: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        echo = {"error": {"message": f"Not {server.token}.", "code": "rate_limit_exceeded"}}
        events = [echo] if len(server.requests) == 1 else [*CHAT, "[DONE]"]
        connection.sendall(whole(written(events)))
        return "keep"

    client = make_client("rest", serve(script), max_retries=0, fallback=["mlflow"])
    result = client.chat("Hi", stream=True).result()
    assert "Not [token]." in result.meta.warnings[0]


def test_the_next_is_asked_what_the_call_was_given(serve: Any, reply: Any, make_client: Any) -> None:
    server = serve(lambda connection, server: refusing(connection, server, reply, "event"))
    client = make_client("rest", server, max_retries=0, fallback=["mlflow"])
    part: dict[str, Any] = {"type": "text", "text": "First."}
    messages: list[dict[str, Any]] = [{"role": "user", "content": [part]}]
    tools: list[dict[str, Any]] = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    stream = client.chat(messages, stream=True, tools=tools)
    # The first event is read later: the caller's list goes on meanwhile.
    part["text"] = "Changed."
    messages[0]["role"] = "system"
    messages.append({"role": "user", "content": "Later."})
    tools[0]["function"]["name"] = "lose"
    stream.result()

    first, second = (json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests)
    assert (second["messages"], second["tools"]) == (first["messages"], first["tools"])
    assert first["messages"] == [{"role": "user", "content": [{"type": "text", "text": "First."}]}]
