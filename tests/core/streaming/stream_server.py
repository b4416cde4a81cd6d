"""Scripts for a server that streams byte by byte, and what it sees of a client that leaves."""

from __future__ import annotations

import gzip
import json
import queue
import socket
import threading
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import isochat

TIMEOUT = 20.0
"""Seconds that a test waits for what must happen; far longer than it takes."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-request-id: rid\r\n"
FRAMINGS = ("chunked", "chunked cut", "content-length cut", "close-delimited", "gzip, chunked cut")

CHAT = [
    {"choices": [{"index": 0, "delta": {"content": "Hi é"}}]},
    {"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "stop"}]},
]
RESPONSE = [
    {"type": "response.created", "response": {"status": "in_progress"}},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi é"},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "!"},
    {"type": "response.completed", "response": {"status": "completed"}},
]


def streaming_backends() -> list[str]:
    """The installed backends that can stream."""
    known = isochat.backends(load=True)
    return [name for name, info in known.items() if info.capabilities is not None and info.capabilities.streaming]


def events_for(backend: str) -> list[Any]:
    """A short stream that says "Hi é!", in the dialect of ``backend``."""
    capabilities = isochat.backends(load=True)[backend].capabilities
    assert capabilities is not None
    return RESPONSE if capabilities.api == "responses" else CHAT


WORDS = [f" word{number}" for number in range(60)]


def many_words(backend: str) -> list[bytes]:
    """A longer stream that says :data:`WORDS`, one an event, up to its end."""
    events = events_for(backend)
    template = json.dumps(events[-2] if events is RESPONSE else {"choices": [{"index": 0, "delta": {"content": "!"}}]})
    said = [json.loads(template.replace("!", word)) for word in WORDS]
    end = [RESPONSE[-1]] if events is RESPONSE else [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    return written([*said, *end, "[DONE]"])


def in_pieces(events: Iterable[bytes]) -> Callable[..., Any]:
    """A script that sends each event as a chunk of its own."""

    def script(connection: socket.socket, server: Any) -> str:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for event in events:
            connection.sendall(http_chunk(event))
        connection.sendall(b"0\r\n\r\n")
        return "keep"

    return script


def first_event(backend: str) -> list[bytes]:
    """The beginning of that stream, up to its first text."""
    events = events_for(backend)
    return written(events[: next(i for i, event in enumerate(events) if "Hi é" in str(event)) + 1])


def to_the_end(backend: str) -> list[bytes]:
    """The whole of that stream, up to the event behind which nothing more is expected."""
    events = events_for(backend)
    return written(events if events is RESPONSE else [*events, "[DONE]"])


def written(events: Iterable[Any]) -> list[bytes]:
    """Each event as its bytes."""
    return [
        event
        if isinstance(event, bytes)
        else f"data: {event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)}\n\n".encode()
        for event in events
    ]


def http_chunk(data: bytes, said: int | None = None) -> bytes:
    """A chunk of HTTP's chunked framing; ``said`` is the size that it claims."""
    return b"%x\r\n%s%s" % (said or len(data), data, b"" if said and said > len(data) else b"\r\n")


def framed(framing: str, pieces: list[bytes], place: int) -> bytes:
    """The whole HTTP reply whose body, of these pieces, ends after ``place`` bytes."""
    prefix = b"".join(pieces)[:place]
    if framing == "close-delimited":
        return HEAD + b"Connection: close\r\n\r\n" + prefix
    if framing == "content-length cut":
        return HEAD + b"Content-Length: %d\r\n\r\n" % (len(b"".join(pieces)) + 1) + prefix
    if framing == "gzip, chunked cut":
        packer = zlib.compressobj(wbits=31)
        packed = packer.compress(prefix) + packer.flush(zlib.Z_SYNC_FLUSH)
        return HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + http_chunk(packed)
    out, left = [HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], place
    for piece in pieces:
        if left > 0:
            cut = piece[:left]
            out.append(http_chunk(cut) if framing == "chunked" else http_chunk(cut, len(piece)))
            left -= len(cut)
    return b"".join([*out, b"0\r\n\r\n" if framing == "chunked" else b""])


def whole(pieces: Iterable[bytes], packed: bool = False) -> bytes:
    """A reply that ends well."""
    body = b"".join(pieces)
    if packed:
        body = gzip.compress(body)
        return HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Departures:
    """What the server sees of clients that leave.

    Attributes:
        seen: One entry for each connection that a client has ended while its stream was open.
    """

    def __init__(self) -> None:
        self.seen: queue.Queue[str] = queue.Queue()
        self.open = threading.Event()

    def wait(self) -> str:
        """Raises queue.Empty if no client leaves in time."""
        return self.seen.get(timeout=TIMEOUT)

    def streaming(self, pieces: Iterable[bytes], every: bytes = b"", first: int | None = None) -> Callable[..., Any]:
        """A script that sends ``pieces`` and then ``every`` again and again, until the client leaves.

        Args:
            first: Only this many requests; later ones get a short stream that ends well.
        """
        served = 0

        def script(connection: socket.socket, server: Any) -> str | None:
            nonlocal served
            served += 1
            if first is not None and served > first:
                connection.sendall(whole(written([*CHAT, "[DONE]"])))
                return "keep"
            connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(http_chunk, pieces)))
            self.open.set()
            connection.settimeout(0.02)
            while not server.over.is_set():
                try:
                    if every:
                        connection.sendall(http_chunk(every))
                    if not connection.recv(1):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            else:
                return None
            self.seen.put("left")
            return None

        return script
