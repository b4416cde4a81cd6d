"""Is it noticed at once that a client has left, and does a stop wait for no blocked source?"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from isochat_workspace import Endpoint, RecordedRequest, Replay, StreamReply, Workspace

EVENTS = {"content-type": "text/event-stream"}
WAIT_S = 30
Until = Callable[[Callable[[], bool]], None]


@contextmanager
def serving(*replies: StreamReply, **options: Any) -> Iterator[Workspace]:
    with Workspace([Endpoint("r", Replay({"chat": replies}))], **options) as workspace:
        yield workspace


def connect(workspace: Workspace) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(workspace.url.removeprefix("http://"), timeout=WAIT_S)


def ask(connection: http.client.HTTPConnection, workspace: Workspace) -> http.client.HTTPResponse:
    headers = {"authorization": f"Bearer {workspace.token}"}
    connection.request("POST", "/serving-endpoints/r/invocations", b"{}", headers)
    return connection.getresponse()


def only(workspace: Workspace) -> RecordedRequest:
    [request] = workspace.requests
    return request


@pytest.mark.parametrize("leaving", ["close", "reset"])
def test_a_client_that_leaves_while_the_server_waits_is_on_record_at_once(leaving: str, until: Until) -> None:
    gate, closed = threading.Event(), threading.Event()
    logged: list[RecordedRequest] = []

    def stalled() -> Iterator[bytes]:
        try:
            yield b"data: 1\n\n"
            assert gate.wait(WAIT_S)
            yield b"nobody is there"
        finally:
            closed.set()

    with serving(StreamReply(200, EVENTS, stalled), access_log=logged.append) as workspace:
        connection = connect(workspace)
        answer = ask(connection, workspace)
        assert answer.read(9) == b"data: 1\n\n"
        assert only(workspace).closed_early is False
        if leaving == "reset":
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        answer.close()
        connection.close()
        # The source still blocks: only the connection itself can have told.
        until(lambda: only(workspace).closed_early)
        request = only(workspace)
        assert not gate.is_set()
        assert (request.status, logged) == (200, [request])
        assert request.ended_at >= request.answered_at
        gate.set()
        assert closed.wait(WAIT_S)


def test_an_async_source_is_closed_when_the_client_leaves(until: Until) -> None:
    closed = threading.Event()

    async def stalled() -> AsyncIterator[bytes]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    with serving(StreamReply(200, EVENTS, stalled)) as workspace:
        connection = connect(workspace)
        answer = ask(connection, workspace)
        assert answer.read(9) == b"data: 1\n\n"
        answer.close()
        connection.close()
        assert closed.wait(WAIT_S)
        until(lambda: only(workspace).closed_early)


def test_a_client_that_does_not_read_holds_the_source_back_and_may_leave(until: Until) -> None:
    made = 0

    def endless() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x" * 65536

    with serving(StreamReply(pieces=endless)) as workspace:
        connection = connect(workspace)
        answer = ask(connection, workspace)
        answer.read(1)
        answer.close()
        connection.close()
        until(lambda: only(workspace).closed_early)
        # What two sockets buffer, not what a source can make.
        assert made < 1000


def test_stopping_while_a_source_blocks_does_not_wait_for_it_and_is_no_leaving_client(until: Until) -> None:
    before = set(threading.enumerate())
    gate = threading.Event()

    def stalled() -> Iterator[bytes]:
        yield b"data: 1\n\n"
        assert gate.wait(WAIT_S)

    with serving(StreamReply(200, EVENTS, stalled)) as workspace:
        connection = connect(workspace)
        answer = ask(connection, workspace)
        assert answer.read(9) == b"data: 1\n\n"
    assert not gate.is_set()
    assert only(workspace).closed_early is False
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
    gate.set()
    until(lambda: set(threading.enumerate()) == before)
