"""Does HTTP's framing decide as it must, over real sockets, whichever client carries the stream?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from recorded_streams import Recorded, is_complete
from stream_server import FRAMINGS, events_for, framed, streaming_backends, whole, written

import isochat

ENDS = {"chunked": "delimited", "close-delimited": "closed"}


def check_cut(client: isochat.Client, stream: Recorded, pieces: list[bytes], framing: str, place: int) -> None:
    prefix = b"".join(pieces)[:place]
    chunks: list[isochat.ChatChunk] = []
    opened = client.chat("Hi", stream=True, stream_options=isochat.UNSET)
    failure: isochat.ChatError | None = None
    try:
        chunks.extend(opened)
    except isochat.ChatError as error:
        failure = error

    assert (failure is None) == is_complete(stream, prefix, ENDS.get(framing, "lost")), (framing, prefix)
    text = "".join(chunk.text for chunk in chunks)
    assert "Hi é!".startswith(text)
    if failure is None:
        assert opened.result().text == text == "Hi é!"
        return
    assert type(failure) is isochat.StreamTruncatedError
    assert failure.partial.text == opened.partial.text == text
    assert (failure.endpoint, failure.request_id, failure.attempts) == ("any", "rid", 1)


@pytest.fixture
def server_of_cuts(serve: Callable[..., Any]) -> Any:
    """A server that sends, for each request, the next of ``server.replies``."""

    def script(connection: Any, server: Any) -> str | None:
        reply = server.replies.pop(0)
        connection.sendall(reply)
        return "keep" if reply.endswith(b"0\r\n\r\n") else None  # else the cut is a close

    server = serve(script)
    server.replies = []
    return server


def check_cuts(client: isochat.Client, server: Any, backend: str, framing: str, places: range) -> None:
    events = events_for(backend)
    kind: Any = "responses" if "type" in events[0] else "chat"
    pieces = written([*events, "[DONE]"])
    for place in places:
        server.replies.append(framed(framing, pieces, place))
        check_cut(client, Recorded(kind, [], []), pieces, framing, place)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_stream_cut_at_every_byte_is_complete_only_after_its_mark(framing, server_of_cuts, make_client):
    backend = streaming_backends()[0]
    size = len(b"".join(written([*events_for(backend), "[DONE]"])))

    check_cuts(make_client(backend, server_of_cuts), server_of_cuts, backend, framing, range(size + 1))


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("backend", streaming_backends())
def test_every_backend_says_the_same_of_a_cut(backend, framing, server_of_cuts, make_client):
    size = len(b"".join(written([*events_for(backend), "[DONE]"])))

    check_cuts(make_client(backend, server_of_cuts), server_of_cuts, backend, framing, range(0, size + 1, 17))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("backend", streaming_backends())
def test_a_whole_stream_leaves_its_connection_to_the_next(backend, packed, serve, make_client):
    body = whole(written([*events_for(backend), "[DONE]"]), packed)

    def script(connection: Any, server: Any) -> str:
        connection.sendall(body)
        return "keep"

    server = serve(script)
    client = make_client(backend, server)
    for _ in range(3):
        stream = client.chat("Hi", stream=True)
        assert "".join(chunk.text for chunk in stream) == "Hi é!"
        assert stream.result().text == "Hi é!"
        assert stream.meta.status_code == 200
        assert stream.meta.request_id == "rid"
        assert stream.result().meta.raw is None

    assert (len(server.requests), server.connections) == (3, 1)
