"""Does a chunk reach its caller before the next one exists?

The server sends event k+1 only after the caller has reported the chunk of event k. A client that holds chunks back
waits for ever, whatever the clock says; so do the server and the caller, until their patience ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import isochat
from isochat.backend import Backend, Capabilities, StreamReply

EVENTS = 12
PATIENCE = 30.0  # seconds: for a machine that is busy, not for a client that holds back


def chat_events() -> list[bytes]:
    """A stream of chat completions, each event as it stands on the wire."""
    told: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    told += [{"choices": [{"index": 0, "delta": {"content": f"word{n} "}}]} for n in range(EVENTS)]
    told += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    told += [{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": EVENTS, "total_tokens": EVENTS + 3}}]
    return [
        b"data: " + json.dumps({"id": "c-1", "object": "chat.completion.chunk", **t}).encode() + b"\n\n" for t in told
    ]


def responses_events() -> list[bytes]:
    """The same answer in the events of the Responses API."""
    part = {"output_index": 0, "content_index": 0, "item_id": "m-1"}
    text = "".join(f"word{n} " for n in range(EVENTS))
    item = {"type": "message", "id": "m-1", "role": "assistant", "status": "completed"}
    item["content"] = [{"type": "output_text", "text": text, "annotations": []}]  # type: ignore[assignment]
    usage = {"input_tokens": 3, "output_tokens": EVENTS, "total_tokens": EVENTS + 3}
    response: dict[str, Any] = {"id": "r-1", "object": "response", "model": "m"}
    told: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": {**response, "status": "in_progress", "output": []}}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}}),
        *(("response.output_text.delta", {**part, "delta": f"word{n} "}) for n in range(EVENTS)),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": {**response, "status": "completed", "output": [item], "usage": usage}}),
    ]
    return [f"event: {k}\ndata: {json.dumps({'type': k, **t})}\n\n".encode() for k, t in told]


def plain(events: list[bytes]) -> list[bytes]:
    return events


def split(events: list[bytes]) -> list[bytes]:
    """Each packet ends in the middle of an event: with an event's end comes the beginning of the next one."""
    whole, cuts = b"".join(events), []
    place = 0
    for before, event in zip([b"", *events], events, strict=False):
        place += len(before)
        cuts.append(place + len(event) // 2)
    ends = [0, *cuts[1:], len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(ends)]


def with_crlf(events: list[bytes]) -> list[bytes]:
    return [event.replace(b"\n", b"\r\n") for event in events]


def with_cr(events: list[bytes]) -> list[bytes]:
    """Here an event's end must not wait to see whether a line feed follows."""
    return [event.replace(b"\n", b"\r") for event in events]


def zipped(events: list[bytes]) -> list[bytes]:
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events]
    pieces[-1] += packer.flush()
    return pieces


def chunked(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


# How pieces are made of the events, how a piece is framed, what ends the body, and the headers that say so.
FRAMINGS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], Callable[[bytes], bytes], bytes, tuple[str, ...]]] = {
    "chunked": (plain, chunked, b"0\r\n\r\n", ("Transfer-Encoding: chunked",)),
    "close-delimited": (plain, bytes, b"", ("Connection: close",)),
    "gzip": (zipped, chunked, b"0\r\n\r\n", ("Transfer-Encoding: chunked", "Content-Encoding: gzip")),
    "CRLF": (with_crlf, chunked, b"0\r\n\r\n", ("Transfer-Encoding: chunked",)),
    "CR": (with_cr, chunked, b"0\r\n\r\n", ("Transfer-Encoding: chunked",)),
    "split events": (split, chunked, b"0\r\n\r\n", ("Transfer-Encoding: chunked",)),
    "split frames": (plain, lambda piece: piece, b"0\r\n\r\n", ("Transfer-Encoding: chunked",)),
}


class LockStepServer:
    """Serves one stream, whose every piece but the first waits for a report."""

    token = "dapi-of-the-test"
    default_endpoint = "any"

    def __init__(self, pieces: list[bytes], head: tuple[str, ...], end: bytes, patience: float = PATIENCE) -> None:
        self.reports = threading.Semaphore(0)
        self.sent = 0
        self.unreported = 0
        self._pieces, self._end, self._patience = pieces, end, patience
        self._head = "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/event-stream", *head, "", ""]).encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._read_request(connection)
                connection.sendall(self._head)  # alone: the call must return on it
                for piece in self._pieces:
                    if not self.reports.acquire(timeout=self._patience):
                        self.unreported += 1
                        return
                    connection.sendall(piece)
                    self.sent += 1
                if self.reports.acquire(timeout=self._patience):
                    connection.sendall(self._end)

    def _read_request(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += connection.recv(65536)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reports.release(10_000)
        self._thread.join(PATIENCE)


@pytest.fixture
def lock_step() -> Iterator[Callable[..., LockStepServer]]:
    with contextlib.ExitStack() as stack:

        def start(*args: Any, **arguments: Any) -> LockStepServer:
            server = LockStepServer(*args, **arguments)
            stack.callback(server.close)
            return server

        yield start


def framed(framing: str, events: list[bytes]) -> tuple[list[bytes], tuple[str, ...], bytes]:
    cut, frame, end, head = FRAMINGS[framing]
    pieces = [frame(piece) for piece in cut(events)]
    if framing == "split frames":  # the packets end in the middle of HTTP's own chunks
        pieces = split([chunked(event) for event in events])
    return pieces, head, end


def read(client: isochat.Client, server: LockStepServer) -> list[Any]:
    stream = client.chat("Hi", stream=True)
    server.reports.release()  # the status is known: the first piece may come
    told = []
    for chunk in stream:
        told.append(chunk.raw)
        server.reports.release()
    assert stream.result().text == "".join(f"word{n} " for n in range(EVENTS))
    return told


async def aread(client: isochat.Client, server: LockStepServer) -> list[Any]:
    async with client:
        stream = await client.achat("Hi", stream=True)
        server.reports.release()
        told = []
        async for chunk in stream:
            told.append(chunk.raw)
            server.reports.release()
        assert (await stream.result()).text == "".join(f"word{n} " for n in range(EVENTS))
    return told


READERS: dict[str, Callable[[isochat.Client, LockStepServer], list[Any]]] = {
    "sync": read,
    "async": lambda client, server: asyncio.run(aread(client, server)),
}


SPEAKERS = [
    *itertools.product(("rest", "mlflow", "databricks-sdk"), ({"api": "chat-completions"}, {"api": "responses"})),
    ("openai-chat", {}),
    ("openai-responses", {}),
]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("way", READERS)
@pytest.mark.parametrize(("backend", "options"), SPEAKERS, ids=str)
def test_no_chunk_is_held_back(
    backend: str, options: dict[str, str], way: str, framing: str, lock_step: Any, make_client: Any
) -> None:
    speaks_responses = backend == "openai-responses" or options.get("api") == "responses"
    events = responses_events() if speaks_responses else chat_events()
    server = lock_step(*framed(framing, events))
    client = make_client(backend, server, timeout=PATIENCE, max_retries=0, **options)

    told = READERS[way](client, server)

    assert told == [json.loads(event.partition(b"data: ")[2]) for event in events]
    assert server.unreported == 0


class HoldsBack(Backend):
    """Reads the wire itself and hands on two events at a time: the wrong backend that the proof must catch."""

    name = "holds-back"
    capabilities = Capabilities(api="chat-completions", own_transport=True, streaming=True)

    def complete(self, request: Any, wire: Any) -> Any:
        raise AssertionError("only streams are asked for here")

    def stream(self, request: Any, wire: Any) -> StreamReply:
        host, _, port = self.setup.host.rpartition("/")[2].partition(":")
        connection = socket.create_connection((host, int(port)))
        body = json.dumps({**request.body, "stream": True}).encode()
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        reader = connection.makefile("rb")
        while reader.readline() != b"\r\n":
            pass
        return StreamReply(status=200, headers=[], pieces=self._pairs(connection, reader), delimited=False)

    @staticmethod
    def _pairs(connection: socket.socket, reader: Any) -> Iterator[bytes]:
        with connection, reader:
            lines = [b""]
            while lines[-1:] != []:
                lines = [line for line in (reader.readline() for _ in range(4)) if line]
                yield b"".join(lines)


def test_a_backend_that_holds_chunks_back_does_not_pass(lock_step: Any, make_client: Any) -> None:
    server = lock_step(chat_events(), ("Connection: close",), b"", patience=0.2)
    client = make_client(HoldsBack, server, max_retries=0)

    with pytest.raises(isochat.StreamTruncatedError):
        read(client, server)
    assert (server.unreported, server.sent) == (1, 1)
