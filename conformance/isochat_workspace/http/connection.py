"""How is answered what is no request at all, or what the server fails at? In the service's shape, not in aiohttp's."""

from __future__ import annotations

import re

from aiohttp import web
from aiohttp.http_exceptions import InvalidURLError

from isochat_workspace.http.http_reply import ServiceError, new_request_id
from isochat_workspace.http.whole_response import WholeResponse


class Connection(web.RequestHandler):
    """The HTTP protocol of one connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The reply, with which the connection ends. Raises ConnectionError where another reply has begun."""
        super().handle_error(request, status, exc, message)  # logs it
        error = ServiceError(status, "INTERNAL_ERROR", "Internal error")
        if status == 400:
            reason = "the target is no URL" if isinstance(exc, InvalidURLError) else _reason(message)
            error = ServiceError(400, "BAD_REQUEST", f"Bad request: this is no HTTP/1.1 request: {reason}")
        response = WholeResponse(error.reply(new_request_id()))
        response.force_close()
        return response


def _reason(message: str | None) -> str:
    """Why the parser gave up, without the bytes it quotes behind that: they may be those of a token."""
    return re.split(r"[:\n]", message or "")[0].strip() or "it cannot be read"
