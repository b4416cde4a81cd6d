"""Does each chunk reach the caller before the server sends the next piece? On every backend, in every dialect.

The server holds each piece until the chunk before it is known to have arrived: who reads ahead, buffers by size or
waits for the end never gets on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import isochat
from isochat.request import Api
from isochat_conformance.lock_step import EVENTS, Gate, gated, walk
from isochat_conformance.modes import Mode
from isochat_conformance.served import ServerStream
from isochat_workspace import Endpoint, Replay, StreamReply, Workspace

DIALECTS: tuple[tuple[str, Api], ...] = (
    ("rest", "chat-completions"),
    ("openai-chat", "chat-completions"),
    ("openai-responses", "responses"),
    ("mlflow", "chat-completions"),
    ("mlflow", "responses"),
    ("databricks-sdk", "chat-completions"),
    ("databricks-sdk", "responses"),
    ("rest", "responses"),
)
HEADERS = {"content-type": "text/event-stream"}
Open = Callable[[str, Api, Gate], isochat.Client]


@pytest.fixture(params=["stream", "async-stream"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@pytest.fixture
def open_client(runner: asyncio.Runner) -> Iterator[Open]:
    """Make a client whose endpoint streams what the gate lets through; it is closed at the end of the test."""
    made: list[isochat.Client] = []
    with Workspace([]) as workspace:

        def make(backend: str, api: Api, gate: Gate) -> isochat.Client:
            reply = StreamReply(200, HEADERS, gate)
            task = "agent/v1/responses" if api == "responses" else "llm/v1/chat"
            workspace.add(Endpoint("lock-step", Replay({"chat": reply, "responses": reply}), task=task))
            native = api == "responses" and backend != "openai-responses"
            options: dict[str, Any] = {"api": "responses"} if native else {}
            client = isochat.Client(
                backend, host=workspace.url, token=workspace.token, endpoint="lock-step", max_retries=0, **options
            )
            made.append(client)
            return client

        yield make
        for client in made:
            runner.run(client.aclose())


@pytest.mark.parametrize(("backend", "api"), DIALECTS)
def test_each_chunk_comes_before_the_next_event_is_sent(
    backend: str, api: Api, mode: Mode, open_client: Open, runner: asyncio.Runner
) -> None:
    gate = gated(api)
    assert walk(open_client(backend, api, gate), gate, mode, runner) == []
    assert gate.held_back is None


@pytest.mark.parametrize("line_end", ["\r\n", "\r"], ids=["crlf", "cr"])
@pytest.mark.parametrize(("backend", "api"), DIALECTS[:3])
def test_an_event_ends_with_its_blank_line_whatever_ends_the_lines(
    backend: str, api: Api, line_end: str, mode: Mode, open_client: Open, runner: asyncio.Runner
) -> None:
    gate = gated(api, line_end)
    assert walk(open_client(backend, api, gate), gate, mode, runner) == []


@pytest.mark.parametrize(("backend", "api"), DIALECTS[:3])
def test_the_beginning_of_the_next_event_in_the_same_piece_holds_nothing_back(
    backend: str, api: Api, mode: Mode, open_client: Open, runner: asyncio.Runner
) -> None:
    events = [ServerStream(events=[event]).body() for event in EVENTS[api]]
    joined, cuts = b"".join(events), [0]
    for event in events[:-1]:
        cuts.append(sum(map(len, events[: len(cuts)])) + min(9, len(event)))
    pieces = [joined[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(joined)], strict=True)]
    assert all(len(piece) > 20 for piece in pieces)
    gate = Gate(pieces)
    assert walk(open_client(backend, api, gate), gate, mode, runner) == []


def test_a_gate_tells_which_piece_was_held_back_and_lets_the_rest_go() -> None:
    gate = Gate([b"0", b"1", b"2", b"3"], patience=0.05)
    gate.arrived()
    gate.arrived()
    assert list(gate) == [b"0", b"1", b"2", b"3"]
    assert gate.held_back == 2
