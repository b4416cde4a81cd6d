"""Does a streamed reply go out piece by piece, in every framing, to every kind of end?"""

from __future__ import annotations

import http.client
import queue
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from isochat_workspace import Endpoint, HttpReply, RecordedRequest, Replay, StreamReply, Workspace

PIECES = [b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n"]
EVENTS = {"content-type": "text/event-stream"}
WAIT_S = 30


@contextmanager
def serving(*replies: StreamReply | HttpReply, **options: Any) -> Iterator[Workspace]:
    with Workspace([Endpoint("r", Replay({"chat": replies}))], **options) as workspace:
        yield workspace


def connect(workspace: Workspace) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(workspace.url.removeprefix("http://"), timeout=WAIT_S)


def ask(connection: http.client.HTTPConnection, workspace: Workspace) -> http.client.HTTPResponse:
    headers = {"authorization": f"Bearer {workspace.token}"}
    connection.request("POST", "/serving-endpoints/r/invocations", b"{}", headers)
    return connection.getresponse()


def raw_answer(workspace: Workspace, version: str = "HTTP/1.1") -> tuple[bytes, bool]:
    """All bytes of the answer up to the end of the connection, and whether it ended in a reset."""
    host, port = workspace.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as client:
        head = (
            f"POST /serving-endpoints/r/invocations {version}\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {workspace.token}\r\nContent-Length: 2\r\n\r\n"
        )
        client.sendall(head.encode() + b"{}")
        received = b""
        try:
            while data := client.recv(65536):
                received += data
        except ConnectionResetError:
            return received, True
        return received, False


def only(workspace: Workspace) -> RecordedRequest:
    [request] = workspace.requests
    return request


async def asynchronous() -> AsyncIterator[bytes]:
    for piece in PIECES:
        yield piece


SOURCES: dict[str, Any] = {
    "list": PIECES,
    "iterator": iter(PIECES),
    "callable giving an iterator": lambda: iter(PIECES),
    "callable giving a list": lambda: PIECES,
    "async": asynchronous(),
    "callable giving an async iterator": asynchronous,
}


@pytest.mark.parametrize("source", list(SOURCES))
def test_any_source_of_pieces_is_sent_with_the_given_headers_only(source: str) -> None:
    reply = StreamReply(207, (("X-b", "2"), ("content-type", "text/event-stream"), ("a", "1")), SOURCES[source])
    with serving(reply) as workspace:
        connection = connect(workspace)
        answer = ask(connection, workspace)
        assert answer.status == 207
        assert answer.getheaders() == [*reply.header_pairs(), ("Transfer-Encoding", "chunked")]
        assert answer.read() == b"".join(PIECES)
        connection.close()
        request = only(workspace)
    assert (request.status, request.closed_early) == (207, False)
    assert request.arrived_at <= request.answered_at <= request.ended_at


def test_what_is_called_is_called_for_each_request_and_the_connection_lives_on() -> None:
    with serving(StreamReply(pieces=lambda: iter(PIECES)), StreamReply(pieces=asynchronous)) as workspace:
        connection = connect(workspace)
        connection.connect()
        first = connection.sock
        for _ in range(3):
            assert ask(connection, workspace).read() == b"".join(PIECES)
            assert connection.sock is first
        connection.close()


def test_a_piece_is_one_chunk_and_an_empty_piece_is_none() -> None:
    with serving(StreamReply(pieces=[b"ab", b"", b"c" * 17])) as workspace:
        received, _ = raw_answer(workspace)
    assert received.partition(b"\r\n\r\n")[2] == b"2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("framing", ["chunked", "content-length", "close"])
@pytest.mark.parametrize("end", ["clean", "cut", "reset"])
def test_framing_and_end_are_seen_on_the_wire(framing: Any, end: Any) -> None:
    with serving(StreamReply(200, EVENTS, PIECES, framing, end)) as workspace:
        received, reset = raw_answer(workspace)
        assert only(workspace).closed_early is False
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    size = sum(map(len, PIECES))
    assert reset == (end == "reset")
    assert b"connection: close" in lines
    if framing == "chunked":
        assert b"transfer-encoding: chunked" in lines
        assert body.endswith(b"\r\n0\r\n\r\n") == (end == "clean")
        assert body.startswith(b"9\r\ndata: 1")
    else:
        assert b"transfer-encoding" not in head.lower()
        assert body == b"".join(PIECES)
        length = {"content-length": size + (end != "clean"), "close": None}[framing]
        assert [line for line in lines if line.startswith(b"content-length")] == (
            [] if length is None else [f"content-length: {length}".encode()]
        )


def test_a_close_delimited_reply_says_so_to_a_client_that_would_keep_the_connection() -> None:
    with serving(StreamReply(200, EVENTS, PIECES, "close")) as workspace:
        connection = connect(workspace)
        answer = ask(connection, workspace)
        assert answer.getheader("connection") == "close"
        assert answer.read() == b"".join(PIECES)
        assert answer.will_close
        connection.close()


def test_http_1_0_is_never_sent_chunks() -> None:
    with serving(StreamReply(200, EVENTS, PIECES)) as workspace:
        received, reset = raw_answer(workspace, "HTTP/1.0")
    head, _, body = received.partition(b"\r\n\r\n")
    assert (body, reset) == (b"".join(PIECES), False)
    assert b"ncoding" not in head


def test_a_length_may_be_given_for_any_source_and_a_clean_end_short_of_it_is_a_cut() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"four"

    with serving(
        StreamReply(pieces=pieces, framing="content-length", content_length=4),
        StreamReply(pieces=pieces, framing="content-length", content_length=9),
        StreamReply(pieces=pieces, framing="content-length", content_length=2),
    ) as workspace:
        connection = connect(workspace)
        assert ask(connection, workspace).read() == b"four"
        with pytest.raises(http.client.IncompleteRead):
            ask(connection, workspace).read()
        connection.close()
        assert ask(connection, workspace).read() == b"fo"
        connection.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"pieces": b"one piece"},
        {"pieces": iter(PIECES), "framing": "content-length"},
        {"pieces": lambda: PIECES, "framing": "content-length"},
    ],
)
def test_a_reply_that_cannot_be_sent_is_a_mistake(wrong: Any) -> None:
    with pytest.raises(ValueError, match="StreamReply"):
        StreamReply(**wrong)


@pytest.mark.parametrize("framing", ["chunked", "content-length", "close"])
def test_each_piece_arrives_before_the_next_one_is_made(framing: Any) -> None:
    """The server has no second piece to send until the client has the first: nothing can be held back."""
    seen: queue.Queue[bytes] = queue.Queue()
    made = [f"data: {number}\n\n".encode() for number in range(50)]

    def lock_step() -> Iterator[bytes]:
        for piece in made:
            yield piece
            assert seen.get(timeout=WAIT_S) == piece

    reply = StreamReply(200, EVENTS, lock_step, framing, content_length=sum(map(len, made)))
    with serving(reply) as workspace:
        connection = connect(workspace)
        answer = ask(connection, workspace)
        received = []
        for piece in made:
            received.append(answer.read(len(piece)))
            seen.put(received[-1])
        assert (received, answer.read()) == (made, b"")
        connection.close()


def test_the_head_arrives_before_the_first_piece_and_a_blocked_source_blocks_nobody_else() -> None:
    gate = threading.Event()

    def blocked() -> Iterator[bytes]:
        assert gate.wait(WAIT_S)
        yield b"late"

    with serving(StreamReply(200, EVENTS, blocked), HttpReply(200, (), b"meanwhile")) as workspace:
        slow, quick = connect(workspace), connect(workspace)
        answer = ask(slow, workspace)
        assert answer.getheader("content-type") == "text/event-stream"
        assert ask(quick, workspace).read() == b"meanwhile"
        assert (workspace.requests[0].status, workspace.requests[0].ended_at) == (200, 0.0)
        gate.set()
        assert answer.read() == b"late"
        slow.close()
        quick.close()


class FailsForGood(BaseException):
    """As a test framework's own: no Exception."""


@pytest.mark.parametrize("failure", [OSError("disk"), FailsForGood("disk")], ids=type)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_source_that_fails_cuts_the_reply_and_is_logged(
    caplog: pytest.LogCaptureFixture, failure: BaseException, at_once: bool
) -> None:
    def failing() -> Iterator[bytes]:
        if not at_once:
            yield b"one"
        raise failure

    with serving(StreamReply(pieces=failing)) as workspace:
        received, _ = raw_answer(workspace)
    assert received.partition(b"\r\n\r\n")[2] == (b"" if at_once else b"3\r\none\r\n")
    assert f"{type(failure).__name__}: disk" in caplog.text


@pytest.mark.parametrize("wrong", [None, "text", 7])
def test_a_piece_that_is_no_bytes_cuts_the_reply(caplog: pytest.LogCaptureFixture, wrong: Any) -> None:
    with serving(StreamReply(pieces=lambda: iter([b"one", wrong]))) as workspace:
        received, _ = raw_answer(workspace)
    assert received.partition(b"\r\n\r\n")[2] == b"3\r\none\r\n"
    assert "a piece of a streamed reply failed" in caplog.text
