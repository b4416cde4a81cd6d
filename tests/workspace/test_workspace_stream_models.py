"""Does a streaming model's every piece go out at once, do its errors arrive, and is it stopped when nobody reads?"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import urllib3

from isochat_workspace import (
    Answer,
    Endpoint,
    FinishPiece,
    Model,
    Piece,
    Prompt,
    Scripted,
    ServiceError,
    TextPiece,
    TokenUsage,
    Workspace,
)

Send = Callable[..., urllib3.BaseHTTPResponse]
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi you"}]}


def text_of(data: bytes) -> str:
    """The text of a whole chat stream with one choice."""
    lines = data.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])


def test_a_model_may_stream_by_any_async_iterator(send: Send) -> None:
    class Iterating:
        """An iterator that has no `aclose`."""

        def __init__(self, pieces: list[Piece]) -> None:
            self._pieces = iter(pieces)

        def __aiter__(self) -> Iterating:
            return self

        async def __anext__(self) -> Piece:
            for piece in self._pieces:
                return piece
            raise StopAsyncIteration

    class Foreign(Scripted):
        def stream(self, prompt: Prompt) -> Any:
            return Iterating([TextPiece("a"), TokenUsage(1, 1), FinishPiece("stop")])

    with Workspace([Endpoint("f", Foreign())]) as workspace:
        streamed = send(workspace, "POST", "/serving-endpoints/f/invocations", {**ASK, "stream": True})
    assert text_of(streamed.data) == "a"


class Halting(Model):
    """Says a word each time it is let, then fails as told; notes when its work is ended from outside."""

    served_name = "halting"

    def __init__(self, failure: Exception | None = None, words: int = 1) -> None:
        self.failure = failure
        self.words = words
        self.go: asyncio.Queue[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.ended = threading.Event()

    async def open(self) -> None:
        self.go, self.loop = asyncio.Queue(), asyncio.get_running_loop()

    def let(self) -> None:
        assert self.loop is not None
        assert self.go is not None
        self.loop.call_soon_threadsafe(self.go.put_nowait, None)

    async def answer(self, prompt: Prompt) -> Answer:
        raise AssertionError("it streams")

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece]:
        assert self.go is not None
        try:
            for number in range(self.words):
                await self.go.get()
                yield TextPiece(f"{number} ")
            if self.failure is not None:
                raise self.failure
            yield TokenUsage(1, self.words)
            yield FinishPiece("stop")
        finally:
            self.ended.set()


def open_stream(http: urllib3.PoolManager, workspace: Workspace, name: str) -> urllib3.BaseHTTPResponse:
    return http.request(
        "POST",
        f"{workspace.url}/serving-endpoints/{name}/invocations",
        json={**ASK, "stream": True},
        headers={"authorization": f"Bearer {workspace.token}"},
        preload_content=False,
    )


def test_each_piece_of_a_model_arrives_before_the_next_is_made(http: urllib3.PoolManager) -> None:
    model = Halting(words=20)
    with Workspace([Endpoint("h", model)]) as workspace:
        model.let()
        reply = open_stream(http, workspace, "h")
        lines: Iterator[bytes] = iter(reply.stream(16, decode_content=True))
        received = b""
        for number in range(20):
            while f'"content": "{number} "'.encode() not in received:
                received += next(lines)
            model.let()
        received += b"".join(lines)
    assert text_of(received).split() == [str(n) for n in range(20)]


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (ServiceError(429, "REQUEST_LIMIT_EXCEEDED", "too much"), "REQUEST_LIMIT_EXCEEDED", "too much"),
        (RuntimeError("a secret detail"), "INTERNAL_ERROR", "Internal error"),
    ],
)
def test_a_model_that_fails_half_way_says_so_in_the_stream(
    send: Send, caplog: pytest.LogCaptureFixture, failure: Exception, code: str, text: str
) -> None:
    model = Halting(failure)
    with Workspace([Endpoint("h", model)]) as workspace:
        model.let()
        reply = send(workspace, "POST", "/serving-endpoints/h/invocations", {**ASK, "stream": True})
    last = reply.data.decode().split("\n\n")[-2]
    assert json.loads(last.removeprefix("data: ")) == {"error_code": code, "message": text}
    assert b"secret" not in reply.data
    assert ("a secret detail" in caplog.text) == isinstance(failure, RuntimeError)


@pytest.mark.parametrize(
    ("failure", "status"), [(ServiceError(400, "BAD_REQUEST", "too long"), 400), (RuntimeError("x"), 500)]
)
def test_a_model_that_refuses_before_its_first_piece_has_a_status(send: Send, failure: Exception, status: int) -> None:
    with Workspace([Endpoint("h", Halting(failure, words=0))]) as workspace:
        reply = send(workspace, "POST", "/serving-endpoints/h/invocations", {**ASK, "stream": True})
    assert reply.status == status
    assert "error_code" in reply.json()


def test_a_client_that_leaves_ends_the_models_work(http: urllib3.PoolManager, until: Any) -> None:
    model = Halting(words=2)
    with Workspace([Endpoint("h", model)]) as workspace:
        model.let()
        reply = open_stream(http, workspace, "h")
        lines = reply.stream(16)  # kept: a generator that goes away closes the connection
        assert next(lines)
        assert not model.ended.is_set()
        reply.close()
        assert model.ended.wait(30)
        until(lambda: workspace.requests[0].closed_early)
