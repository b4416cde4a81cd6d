"""How does an HttpReply go over the socket? As it stands, in one piece."""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDict

from isochat_workspace.http.http_reply import HttpReply


class WholeResponse(web.Response):
    """A reply, and which of its headers were given."""

    def __init__(self, reply: HttpReply) -> None:
        # Content-Length is framing and comes from the body as it is.
        headers = CIMultiDict((name, value) for name, value in reply.header_pairs() if name.lower() != "content-length")
        super().__init__(status=reply.status, headers=headers, body=reply.body)
        self.given = frozenset(name.lower() for name in headers)


async def send_whole(request: web.Request, reply: HttpReply) -> web.StreamResponse:
    """Send a plain reply, and wait until the client has taken it: until then it counts as being answered."""
    response = WholeResponse(reply)
    if request.transport is not None:
        request.transport.set_write_buffer_limits(0)
    try:
        await response.prepare(request)
        await response.write_eof()
        await request.writer.drain()
    except ConnectionError:  # the client left: that is on record for streams, and of no account here
        pass
    return response
