"""Which bytes does a row's text stand for, in one API and one mode?

Texts may name what differs between the APIs: ``${answer}`` is the whole answer, ``${stream}`` the same as events,
``${good}`` whichever of the two was asked for; ``${begin}``, ``${hel}``, ``${lo}``, ``${finish}`` and ``${done}`` are
the parts of the stream. ``${url}``, ``${other}`` and ``${proxy}`` are the addresses of this server, of another one and
of the proxy; ``${token}`` is the token that the client sends.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterator, Mapping

import msgspec

from isochat.request import Api
from isochat_conformance.fault_row import Asked, Body, HttpReply
from isochat_conformance.fault_table import shared
from isochat_conformance.strict_json import strict_json

_NAME = re.compile(r"\$\{([a-z]+)\}")
_WINDOW_BITS = {"gzip": 31, "deflate": 15}
_BLOCK = 64 * 1024
_KINDS: Mapping[Asked, str] = {"call": "application/json", "stream": "text/event-stream"}


class Texts(msgspec.Struct, frozen=True):
    """What the names in texts stand for.

    Attributes:
        asked: Decides between ``${answer}`` and ``${stream}``.
        places: ``url``, ``other``, ``proxy`` and ``token``.
    """

    api: Api
    asked: Asked
    places: Mapping[str, str] = {}

    def text(self, template: str) -> str:
        """``template`` with its names replaced.

        Raises:
            KeyError: it names something unknown.
        """
        named = {**shared_bodies()[self.api], **self.places}
        named["stream"] = "".join(named[part] for part in ("begin", "hel", "lo", "finish", "done"))
        named["good"] = named["answer"] if self.asked == "call" else named["stream"]
        return _NAME.sub(lambda found: named[found[1]], template)

    def body(self, body: str | Body) -> Iterator[bytes]:
        """The bytes of ``body`` in blocks: it may be larger than one wants to hold."""
        if isinstance(body, str):
            yield self.text(body).encode()
            return
        blocks = _compressed(self._plain(body), body.coding) if body.coding else self._plain(body)
        if body.cut:
            yield b"".join(blocks)[: -body.cut]
        else:
            yield from blocks

    def reply(self, reply: HttpReply, *, closing: bool = False) -> Iterator[bytes]:
        """The bytes of a whole reply, as far as it is whole.

        Args:
            closing: Say that the connection ends with it. Who is not told may send the next request just before the
                end comes, or just after: a row would have one verdict or another.
        """
        kind = _KINDS[self.asked] if reply.kind is None else reply.kind
        coding = reply.body.coding if isinstance(reply.body, Body) else ""
        lines = [f"HTTP/1.1 {reply.status}", *(self.text(line) for line in reply.head)]
        lines += [f"Content-Type: {kind}"] if kind else []
        lines += [f"Content-Encoding: {coding}"] if coding else []
        lines += ["Connection: close"] if closing else []
        if reply.framing == "chunked":
            yield _head([*lines, "Transfer-Encoding: chunked"])
            for block in self.body(reply.body):
                for start in range(0, len(block), reply.chunk):
                    piece = block[start : start + reply.chunk]
                    yield b"%x%b\r\n%b\r\n" % (len(piece), reply.extension.encode(), piece)
            if reply.last_chunk:
                yield _head(["0", *reply.trailer]) + reply.behind.encode()
            return
        blocks: Iterator[bytes] = self.body(reply.body)
        if reply.framing == "length":
            held = list(blocks)
            length = sum(map(len, held)) if reply.length is None else reply.length
            lines.append(f"Content-Length: {length}")
            blocks = iter(held)
        yield _head(lines)
        if reply.behind:
            yield b"".join([*blocks, reply.behind.encode()])
        else:
            yield from blocks

    def _plain(self, body: Body) -> Iterator[bytes]:
        def written(template: str) -> bytes:
            text = self.text(template)
            for old, new in body.replace:
                text = text.replace(old, new)
            return text.encode(body.encoding)

        yield written(body.before)
        unit = bytes.fromhex(body.hex) if body.hex else written(body.by_api[self.api] if body.by_api else body.text)
        left = len(unit) * body.repeat
        block = unit * max(1, min(body.repeat, _BLOCK // max(1, len(unit))))
        while left > 0:
            yield block[:left]
            left -= len(block)
        yield written(body.after)


@functools.cache
def shared_bodies() -> Mapping[Api, Mapping[str, str]]:
    """By API and name, the good bodies that rows share."""
    return msgspec.convert(strict_json(shared("bodies.json")), dict[Api, dict[str, str]])


def _compressed(blocks: Iterator[bytes], coding: str) -> Iterator[bytes]:
    compressor = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS[coding])
    for block in blocks:
        yield compressor.compress(block)
    yield compressor.flush()


def _head(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
