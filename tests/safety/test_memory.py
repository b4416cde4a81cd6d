"""How much memory does one hostile answer take? At most twice the cap of a body, whichever part of it is too large."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from isochat.transport.limits import DEFAULT_LIMITS
from isochat_conformance.fault_bytes import Texts, shared_bodies
from isochat_conformance.fault_row import HttpReply

MB = b"a" * (1 << 20)
GZIP = "Content-Encoding: gzip"
EVENTS = "text/event-stream"
MEASURING = Path(__file__).with_name("measuring.py")
ENDLESS = 400  # megabytes; far more than any cap
Answer = Callable[[str], Iterable[bytes]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process's peak of memory is read from /proc")


def head(status: str, kind: str, *more: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *more, "", ""]).encode()


def packed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    for block in blocks:
        yield compressor.compress(block)
    yield compressor.flush()


def endless(before: bytes, piece: bytes = MB) -> Iterator[bytes]:
    yield before
    for _ in range(ENDLESS * len(MB) // len(piece)):
        yield piece


def bomb(status: str, kind: str, before: bytes) -> Answer:
    return lambda api: [head(status, kind, GZIP), *packed(endless(before))]


def heavy(status: str, piece: bytes) -> Answer:
    """Under every cap of bytes; as objects it would fill the memory."""

    def answer(api: str) -> Iterator[bytes]:
        good = shared_bodies()[api]["answer"].encode()  # type: ignore[index]
        body = good[:-1] + b',"x":[' + piece * (3_900_000 // len(piece)) + b"1]}"
        yield head(status, "application/json", f"Content-Length: {len(body)}") + body

    return answer


def heavy_whole(api: str) -> Iterator[bytes]:
    body = b"[" + b"[]," * 20_000_000 + b"1]"
    yield head("200 OK", "application/json", f"Content-Length: {len(body)}") + body


def wide(api: str) -> Iterator[bytes]:
    """One emoji among letters, each of which takes as much memory as the emoji."""
    good = shared_bodies()[api]["answer"].encode()  # type: ignore[index]
    body = good.replace(b"hello", "\U0001f600".encode() + b"a" * 62_000_000, 1)
    yield head("200 OK", "application/json", f"Content-Length: {len(body)}") + body


def answered(before: bytes, piece: bytes, size: int, after: bytes = b"") -> Answer:
    """The text of an answer: of that ``size``, in bytes."""

    def answer(api: str) -> Iterator[bytes]:
        good = shared_bodies()[api]["answer"].encode()  # type: ignore[index]
        body = good.replace(b"hello", before + piece * (size // len(piece)) + after, 1)
        yield head("200 OK", "application/json", f"Content-Length: {len(body)}") + body

    return answer


def beside(before: bytes, piece: bytes, size: int, after: bytes) -> Answer:
    """A body that has the word of an answer in it, and may be none."""

    def answer(api: str) -> Iterator[bytes]:
        body = b'{"choices":' + before + piece * (size // len(piece)) + after + b"}"
        yield head("200 OK", "application/json", f"Content-Length: {len(body)}") + body

    return answer


def streamed(before: bytes, piece: bytes, size: int, after: bytes) -> Answer:
    """The same event until the stream is too long; packed, since to send it is not what is measured."""

    def answer(api: str) -> Iterator[bytes]:
        event = b"data: " + before + piece * (size // len(piece)) + after + b"\n\n"
        yield from [head("200 OK", EVENTS, GZIP), *packed(endless(b"", event * (len(MB) // len(event) or 1)))]

    return answer


def numbered(event: str) -> Answer:
    """Something new in each event."""

    def events() -> Iterator[bytes]:
        for first in range(0, 3_000_000, 10_000):
            yield "".join(f"data: {event.replace('#', str(n))}\n\n" for n in range(first, first + 10_000)).encode()

    return lambda api: [head("200 OK", EVENTS, GZIP), *packed(events())]


def heavy_event(api: str) -> Iterator[bytes]:
    yield head("200 OK", EVENTS) + b'data: {"x":[' + b"[]," * 5_000_000 + b"1]}\n\n"


ANYWHERE: dict[str, tuple[Answer, str]] = {
    "header": (lambda api: endless(b"HTTP/1.1 200 OK\r\nX-A: "), "ResponseTooLargeError"),
    "headers": (
        lambda api: endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 60_000 + b"\r\n"),
        "ResponseTooLargeError",
    ),
    "status line": (lambda api: endless(b"HTTP/1.1 200 "), "ResponseTooLargeError"),
    "interim replies": (lambda api: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4000), "ProtocolError"),
    "packed error": (bomb("500 Oops", "application/json", b'{"message":"'), "ResponseTooLargeError"),
    "error": (lambda api: endless(head("400 No", "text/html")), "ResponseTooLargeError"),
    "error of many values": (heavy("400 No", b"[],"), "BadRequestError"),
}
WHOLE: dict[str, tuple[Answer, str]] = {
    "packed": (bomb("200 OK", "application/json", b'{"choices":[{"message":{"content":"'), "ResponseTooLargeError"),
    "length": (
        lambda api: endless(head("200 OK", "application/json", "Content-Length: 99999999999")), "ResponseTooLargeError",
    ),
    "chunk": (
        lambda api: endless(head("200 OK", "application/json", "Transfer-Encoding: chunked") + b"ffffffff\r\n"),
        "ResponseTooLargeError",
    ),
    "chunk extension": (
        lambda api: endless(head("200 OK", "application/json", "Transfer-Encoding: chunked") + b"5;"),
        "ConnectionLostError",
    ),
    "values": (heavy_whole, "ResponseTooLargeError"),
    "wide letters": (wide, "ResponseTooLargeError"),
    "brackets": (lambda api: [head("200 OK", "application/json"), b"[" * 30_000_000], "ResponseTooLargeError"),
    "digits": (
        lambda api: [head("200 OK", "application/json"), b'{"x":' + b"9" * 20_000_000 + b"}"], "BadResponseError",
    ),
    "digits of an answer": (beside(b"", b"9", 60_000_000, b""), "BadResponseError"),
    "text": (answered(b"", b"a", 60_000_000), "60000000"),
    "escaped text": (answered(b"", b"a\\n", 60_000_000), "ResponseTooLargeError"),
    "an accent behind a text": (answered(b"", b"a", 60_000_000, b"\xc3\xa9"), "ResponseTooLargeError"),
    "half a pair behind a text": (answered(b"", b"a", 30_000_000, b"\\ud83d"), "ResponseTooLargeError"),
    "numbers": (beside(b"[", b"999,", 20_000_000, b"9]"), "ResponseTooLargeError"),
    "empty blocks": (beside(b'[{"message":{"content":[', b"{},", 1_000_000, b"{}]}}]"), "ResponseTooLargeError"),
    "few empty blocks": (beside(b'[{"message":{"content":[', b"{},", 500_000, b'{}]}}],"output":[]'), ""),
    "the token in a long reply": (beside(b'"', b"dapi-of-the-test ", 60_000_000, b'"'), "BadResponseError"),
}  # fmt: skip
STREAMED: dict[str, tuple[Answer, str]] = {
    "event": (lambda api: endless(head("200 OK", EVENTS) + b"data: "), "ResponseTooLargeError"),
    "event lines": (lambda api: endless(head("200 OK", EVENTS), b"data: a\n" * 100_000), "ResponseTooLargeError"),
    "event type": (lambda api: endless(head("200 OK", EVENTS) + b"event: "), "ResponseTooLargeError"),
    "packed event": (bomb("200 OK", EVENTS, b"data: "), "ResponseTooLargeError"),
    "packed comment": (bomb("200 OK", EVENTS, b": "), "ResponseTooLargeError"),
    "packed json": (bomb("200 OK", "application/json", b'{"choices":"'), "ResponseTooLargeError"),
    "event of many values": (heavy_event, "ResponseTooLargeError"),
    "lines of two": (lambda api: endless(head("200 OK", EVENTS), b"data: ab\n" * 100_000), "ResponseTooLargeError"),
    "whole text": (answered(b"", b"a", 60_000_000), "60000000"),
    "deltas": (
        streamed(b'{"choices":[{"index":0,"delta":{"content":"', b"a", 1_000_000, b'"}}]}'), "ResponseTooLargeError",
    ),
    "large deltas": (
        streamed(b'{"choices":[{"index":0,"delta":{"content":"', b"a", 15_000_000, b'"}}]}'), "ResponseTooLargeError",
    ),
    "wide deltas": (
        streamed(b'{"choices":[{"index":0,"delta":{"content":"', b"\xf0\x9f\x98\x80", 200_000, b'"}}]}'),
        "ResponseTooLargeError",
    ),
    "blocks": (
        streamed(b'{"choices":[{"index":0,"delta":{"content":[', b"{},", 50_000, b"{}]}}]}"), "ResponseTooLargeError",
    ),
    "choices": (streamed(b'{"choices":[', b"{},", 60_000, b"{}]}"), "ResponseTooLargeError"),
    "tool calls": (
        numbered('{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"#"}]}}]}'), "ResponseTooLargeError",
    ),
    "log probabilities": (
        streamed(b'{"choices":[{"delta":{},"logprobs":{"content":[', b"[],", 50_000, b"[]]}}]}"),
        "ResponseTooLargeError",
    ),
    "items": (
        numbered('{"type":"response.output_item.added","output_index":#,"item":{"type":"message"}}'),
        "ResponseTooLargeError",
    ),
    "before the dialect is told": (streamed(b'{"a":"', b"a", 15_000_000, b'"}'), "ResponseTooLargeError"),
}  # fmt: skip
ALL = {**ANYWHERE, **WHOLE, **STREAMED}
ASKED = {"sync": {**ANYWHERE, **WHOLE}, "stream": {**ANYWHERE, **STREAMED}}
ASKED |= {"async": ASKED["sync"], "async-stream": ASKED["stream"]}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that answers by the name in the prompt."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def serve(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as reader:
        while line := reader.readline():
            length = 0
            path = line.split()[1].decode()
            while (line := reader.readline()).strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            body = reader.read(length)
            named = re.search(r"<<(.*?)>>", body.decode())
            api = "responses" if path.endswith("/responses") else "chat-completions"
            asked = "stream" if re.search(rb'"stream": ?true', body) else "call"
            if named is None or named[1] not in ALL:
                blocks: Iterable[bytes] = Texts(api, asked).reply(HttpReply())  # type: ignore[arg-type]
            else:
                blocks = ALL[named[1]][0](api)
            for block in blocks:
                connection.sendall(block)
            if named is not None and named[1] in ALL:
                return


BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")


QUICK = {("rest", "sync"), ("rest", "async-stream")}


@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        pytest.param(backend, mode, marks=() if (backend, mode) in QUICK else pytest.mark.long)
        for backend in BACKENDS
        for mode in ASKED
    ],
)
def test_no_answer_takes_more_than_twice_the_cap(backend: str, mode: str, url: str) -> None:
    names = ASKED[mode]
    done = subprocess.run(
        [sys.executable, str(MEASURING), backend, mode, url, *names],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = {name: (said, grown) for name, said, grown in map(json.loads, done.stdout.splitlines())}

    assert {name: said for name, (said, _) in told.items()} == {name: error for name, (_, error) in names.items()}
    most = 2 * DEFAULT_LIMITS.body / 2**20
    assert {name: grown for name, (_, grown) in told.items() if grown > most} == {}
