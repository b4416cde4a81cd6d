"""How does a StreamReply go over the socket? Each piece on its own at once, and every kind of end."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from contextlib import aclosing

from aiohttp import web
from multidict import CIMultiDict

from isochat_workspace.http.stream_reply import CutHereError, End, StreamReply
from isochat_workspace.models.piece_source import each_piece

logger = logging.getLogger("isochat.workspace")

_NO_LENGTH = 2**62
"""Declared to aiohttp, and never sent, where only the end of the connection ends the body."""

_FRAMING = ("content-length", "transfer-encoding")


class StreamResponse(web.StreamResponse):
    """A streamed reply: which of its headers were given, and how its end is told."""

    def __init__(self, reply: StreamReply, *, http_1_0: bool) -> None:
        headers = CIMultiDict((name, value) for name, value in reply.header_pairs() if name.lower() not in _FRAMING)
        super().__init__(status=reply.status, headers=headers)
        self.given = frozenset(name.lower() for name in headers)
        self.tells_length = reply.framing == "content-length"
        self.until_close = reply.framing == "close" or (http_1_0 and not self.tells_length)
        if self.tells_length:
            self.content_length = reply.declared_length()
        elif self.until_close:
            self.content_length = _NO_LENGTH
            self.force_close()
        else:
            self.enable_chunked_encoding()


async def send_stream(
    request: web.BaseRequest,
    reply: StreamReply,
    after_piece: Callable[[bytes], object],
    before_end: Callable[[], object],
) -> web.StreamResponse:
    """Send the reply. `after_piece` is called with each piece that went out.

    `before_end` is called once the last piece is out, before the client can see the end. It is not called where the
    client left before. One that leaves while the next piece is awaited cancels the calling task; one that leaves while
    a piece is being written makes this return.
    """
    response = StreamResponse(reply, http_1_0=request.version < (1, 1))
    end = reply.end
    if request.transport is not None:
        # Nothing stays in the writer: with this, drain() waits until the kernel has taken every byte.
        request.transport.set_write_buffer_limits(0)
    try:
        await response.prepare(request)
        async with aclosing(each_piece(reply.pieces)) as pieces:
            async for piece in pieces:
                # Others first: a source that never waits would keep the loop to itself. Not after the writing:
                # a client that stops at the last event would then be seen to leave before the end.
                await asyncio.sleep(0)
                await response.write(piece)
                await request.writer.drain()
                after_piece(piece)
    except Exception as error:
        if client_left(request):
            return response
        if not isinstance(error, CutHereError):
            logger.exception("a piece of a streamed reply failed: the reply is cut here")
        end = "cut"
    finally:
        # Also where nothing was asked of it: it may hold a connection.
        if (close := getattr(reply.pieces, "aclose", None)) is not None:
            await close()
    before_end()
    if end == "clean" and response.tells_length and request.writer.length:
        end = "cut"  # short of its own length: the connection can serve no other request
    if end == "clean":
        await response.write_eof()
    elif request.transport is not None:
        _break_off(request.transport, end)
    return response


def client_left(request: web.BaseRequest) -> bool:
    """Whether the connection is gone, which only the client and this module bring about."""
    return request.transport is None or request.transport.is_closing()


def _break_off(transport: asyncio.Transport, end: End) -> None:
    if end == "cut":
        transport.close()
        return
    # Closing with a linger time of zero makes the kernel send a RST in place of a FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
