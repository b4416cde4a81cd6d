"""Is a body in chunks the same however it is cut and written, and is a damaged one never taken for a whole one?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isochat
from isochat.transport.chunked import ChunkedBody

MANY = settings(deadline=None, database=None, max_examples=200)

# Some of them look like chunks themselves.
chunks = st.lists(
    st.binary(min_size=1, max_size=40) | st.sampled_from([b"5\r\nhello\r\n", b"\r\n", b"0\r\n\r\n"]), max_size=6
)
sizes = st.just("{:x}") | st.sampled_from(["{:x}", "{:X}", "{:05x}", "{:x} ", "{:x};name=value", '{:x};a="b;c"'])
END = b"\r\n"
trailers = st.lists(st.sampled_from([b"X-Checksum: 1", b"Expires: 0"]), max_size=2)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body, and how it stands on the wire."""
    body = draw(chunks)
    written = b"".join(draw(sizes).format(len(chunk)).encode() + END + chunk + END for chunk in body)
    last = b"0" + END + b"".join(field + END for field in draw(trailers)) + END
    return b"".join(body), written + last


@MANY
@given(bodies(), st.data())
def test_the_same_over_any_split(case: tuple[bytes, bytes], data: st.DataObject) -> None:
    body, wire = case
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    decoder = ChunkedBody()
    read = b"".join(decoder.feed(wire[a:b]) for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True))
    assert (read, decoder.ended, decoder.rest, decoder.damage) == (body, True, b"", None)


@MANY
@given(bodies(), st.data())
def test_a_cut_body_never_says_that_it_is_whole(case: tuple[bytes, bytes], data: st.DataObject) -> None:
    body, wire = case
    cut = data.draw(st.integers(0, len(wire) - 1))
    decoder = ChunkedBody()
    read = decoder.feed(wire[:cut])
    assert body.startswith(read)
    assert not decoder.ended


@pytest.mark.parametrize(
    "wire",
    [
        b"zz\r\nabc\r\n",
        b"\r\n3\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"1_0\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"11111111111111111\r\nabc",
        b";a=b\r\nabc",
        b"3" + b" " * 70_000,
        b"3\nabc\r\n",
        b"3\r\nabc\n",
        b"3;\r\nabc\r\n",
        b"3;(\r\nabc\r\n",
        b'3;a="b\r\nabc\r\n',
        b"3;a\0\r\nabc\r\n",
        b"3;a\rb\r\nabc\r\n",
        b"0\r\nnothing\r\n",
        b"0\r\nX-A : 1\r\n",
        b"0\r\n: 1\r\n",
        b"0\r\n X-A: 1\r\n",
        b"0\r\nX-A: 1\rX-B: 1\r\n",
        b"0\r\ncontent-length: 4\r\n",
        b"0\r\n" + b"X-A: 1\r\n" * 129,
    ],
)
def test_damage_is_named_and_ends_the_reading(wire: bytes) -> None:
    decoder = ChunkedBody()
    before = decoder.feed(b"4\r\nwell\r\n" + wire)
    assert before.startswith(b"well")
    assert decoder.damage is not None
    assert decoder.feed(b"0\r\n\r\n") == b""
    assert not decoder.ended


@pytest.mark.parametrize("trailer", [b"X-A: 1\r\n 2\r\n\r\n", b"X-A: 1\n\n", b"X-A:\r\n" * 128 + b"\r\n", b"\n"])
def test_a_trailer_is_read_as_headers_are(trailer: bytes) -> None:
    decoder = ChunkedBody()
    assert decoder.feed(b"2\r\nhi\r\n0\r\n" + trailer) == b"hi"
    assert (decoder.ended, decoder.damage) == (True, None)


def test_what_follows_the_end_is_set_apart() -> None:
    decoder = ChunkedBody()
    assert decoder.feed(b"2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n") == b"hi"
    assert decoder.rest == b"HTTP/1.1 200 OK\r\n"


def test_a_reply_that_nobody_asked_for_ends_its_connection(
    serve: Callable[..., Any], make_client: Callable[..., isochat.Client], body_of: Callable[..., bytes]
) -> None:
    def script(connection: Any, server: Any) -> str:
        first = len(server.requests) == 1
        connection.sendall(chunked(body_of("rest", "true")) + (chunked(body_of("rest", "forged")) if first else b""))
        return "keep"

    server = serve(script)
    client = make_client("rest", server)
    assert [client.chat("Hi").text for _ in range(3)] == ["true"] * 3
    assert server.connections == 2


def chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def test_a_connection_serves_again_whatever_frames_its_replies(
    serve: Callable[..., Any], make_client: Callable[..., isochat.Client], body_of: Callable[..., bytes], reply: Any
) -> None:
    def script(connection: Any, server: Any) -> str:
        body = body_of("rest", "true")
        connection.sendall(reply("200 OK", body) if len(server.requests) % 2 else chunked(body))
        return "keep"

    server = serve(script)
    client = make_client("rest", server)
    assert [client.chat("Hi").text for _ in range(4)] == ["true"] * 4
    assert server.connections == 1
