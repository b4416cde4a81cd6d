"""Is a reply's head read alike however its bytes are cut, and refused where two readers could differ?"""

from __future__ import annotations

import random

import pytest

from isochat.errors import ProtocolError, ResponseTooLargeError
from isochat.transport.head import HeadReader

_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\nServer: a\r\nX-Long: b\r\n\tc \r\nx-empty:\r\nContent-Length: 2\r\n\r\n"
_FIELDS = [("Server", "a"), ("X-Long", "b c"), ("x-empty", ""), ("Content-Length", "2")]


def read(data: bytes, sizes: random.Random | None = None, cap: int = 256 * 1024) -> tuple[HeadReader, int]:
    reader, at = HeadReader(cap), 0
    while reader.head is None and at < len(data):
        piece = data[at : at + (sizes.randint(1, 9) if sizes else len(data))]
        at += (taken := reader.feed(piece))
        if taken < len(piece):
            break
    return reader, at


@pytest.mark.parametrize("seed", range(50))
def test_however_the_bytes_are_cut(seed: int) -> None:
    reader, taken = read(_INTERIM * 2 + _HEAD + b"{}", random.Random(seed) if seed else None)
    assert reader.head == (200, "OK", _FIELDS)
    assert (reader.begun, reader.count, taken) == (len(_INTERIM) * 2, len(_INTERIM) * 2 + len(_HEAD), reader.count)


@pytest.mark.parametrize("end", range(len(_INTERIM) + len(_HEAD)))
def test_a_head_that_is_cut_is_none(end: int) -> None:
    reader, taken = read((_INTERIM + _HEAD)[:end])
    assert (reader.head, taken, reader.count) == (None, end, end)


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\r\r\n", b"X: a\rY: b\r\n", b"X : a\r\n", b"X a\r\n", b": a\r\n", b"X: a\x00\r\n", b"X: \x7f\r\n",
        b"X: \x0b\r\n", b"X\xe9: a\r\n", b"X(a): a\r\n", b"\rX: a\r\n", b"Content-Length: +2\r\n",
        b"Content-Length: 2\r\nContent-Length: 2\r\n", b"Content-Length: 2, 2\r\n", b"Content-Length:\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n", b"Transfer-Encoding:\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n", b"Transfer-Encoding: \x0bchunked\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [b"", b"Server: a\r\n"])
def test_lines_that_are_no_header_or_contradict_another(line: bytes, first: bytes) -> None:
    for seed in (None, random.Random(1)):
        with pytest.raises(ProtocolError):
            read(b"HTTP/1.1 200 OK\r\n" + first + line + b"\r\n", seed)


@pytest.mark.parametrize(
    ("data", "cap"),
    [
        (b"X: " + b"a" * 65536, 256 * 1024),
        (b"X: " + b"a" * 65536 + b"\r\n\r\n", 256 * 1024),
        (b"X: a\r\n" * 100, 256 * 1024),
        (b"X: " + b"a" * 990 + b"\r\n\r\n", 1000),
    ],
)
def test_heads_that_are_too_large(data: bytes, cap: int) -> None:
    with pytest.raises(ResponseTooLargeError):
        read(b"HTTP/1.1 200 OK\r\n" + data, None, cap)


def test_another_protocol_is_refused_at_its_first_bytes() -> None:
    with pytest.raises(ProtocolError, match="it begins b'SSH-'"):
        HeadReader(1000).feed(b"SSH-")
    assert HeadReader(1000).feed(b"HTTP") == 4
