"""Is a body the same on an event loop wherever its packets are cut, also one that looks like HTTP's chunks itself?

isochat joins the chunks of a packet before aiohttp sees them. The server runs on the client's own loop, so that it
knows when a piece has been read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from isochat.transport.async_pools import AsyncPools
from isochat.transport.async_wire import AsyncWire
from isochat.transport.deadline import Deadline, SystemClock

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK_LIKE = b"5\r\nhello\r\n3\r\nabc\r\n"
TURNS = 6


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Server:
    """Answers each request with the next of ``replies``, a list of pieces, each read before the next is sent."""

    def __init__(self) -> None:
        self.replies: list[Sequence[bytes]] = []
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                for piece in self.replies.pop(0):
                    writer.write(piece)
                    for _ in range(TURNS):
                        await asyncio.sleep(0)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.left.set()


async def bodies(replies: list[Sequence[bytes]]) -> list[bytes]:
    """What is read of the replies, over one connection."""
    served, pools = Server(), AsyncPools()
    served.replies = list(replies)
    server = await asyncio.start_server(served.serve, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    read = []
    for _ in replies:
        wire = AsyncWire(pools, Deadline(30, SystemClock()), streaming=True)
        await wire.exchange("POST", url, [("Content-Length", "2")], b"{}")
        body = b""
        while piece := await wire.incoming.read1():  # type: ignore[union-attr]
            body += piece
        read.append(body)
    await pools.aclose()
    await served.left.wait()
    server.close()
    return read


PIECES = [b"data: 1\n\n", CHUNK_LIKE, b"data: 2\n\n" * 40, b"0\r\n\r\n", b"\r\n"]


@pytest.mark.parametrize("write", [chunk, lambda data: b"00%X;a=b\r\n%s\r\n" % (len(data), data)], ids=["plain", "odd"])
def test_a_body_in_chunks_is_the_same_over_any_split(write) -> None:
    wire = CHUNKED + b"".join(map(write, PIECES)) + b"0\r\n\r\n"
    size, body = len(CHUNK_LIKE), len(CHUNKED) - 1  # a packet may be no more than what looks like chunks
    once = [(wire[:place], wire[place:]) for place in range(1, len(wire))]
    twice = [(wire[:place], wire[place : place + size], wire[place + size :]) for place in range(body, body + 60)]
    thrice = [(head[:body], head[body:], *rest) for head, *rest in twice]

    async def read() -> list[bytes]:
        return await bodies([*once, *twice, *thrice])

    assert set(asyncio.run(read())) == {b"".join(PIECES)}


def test_a_body_of_a_known_length_that_looks_like_chunks_is_left_as_it_is() -> None:
    body = CHUNK_LIKE * 4
    wire = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body

    async def read() -> list[bytes]:
        return await bodies([(wire[:place], wire[place:]) for place in range(1, len(wire))])

    assert set(asyncio.run(read())) == {body}
