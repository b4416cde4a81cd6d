"""How do requests get in and replies out? The aiohttp side of the workspace: record, ask, send as it stands."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from isochat_workspace.cli.reported_tokens import ReplyTail
from isochat_workspace.http.connection import Connection
from isochat_workspace.http.guard import Guard, Guards, most_connections
from isochat_workspace.http.http_reply import HttpReply, ServiceError, new_request_id
from isochat_workspace.http.records import LogEntry, RecordedRequest, RequestLog
from isochat_workspace.http.stream_reply import StreamReply
from isochat_workspace.http.stream_response import StreamResponse, client_left, send_stream
from isochat_workspace.http.whole_response import WholeResponse, send_whole
from isochat_workspace.models.reply_source import Reply
from isochat_workspace.serving.service import MAX_BODY_BYTES, Service

logger = logging.getLogger("isochat.workspace")
# Bytes that are no HTTP are answered 400 by aiohttp itself; its traceback belongs on no one's terminal.
_http_logger = logging.getLogger("isochat.workspace.http")
_http_logger.addHandler(logging.NullHandler())

AccessLog = Callable[[RecordedRequest], object]

BODIES_BYTES = 32 * 1024 * 1024
"""Of all bodies that are being received or answered at one time. As objects, while answered, they take more."""

KEEP_ALIVE_SECONDS = 75.0
"""For how long a connection may be idle between two requests."""

_PROTOCOL: dict[str, Any] = {
    "access_log": None,
    "logger": _http_logger,
    "auto_decompress": False,  # bodies are recorded as sent
    "keepalive_timeout": KEEP_ALIVE_SECONDS,
}


class Server:
    """A listening socket on loopback; `start` and `stop` run on one event loop."""

    def __init__(
        self, service: Service, log: RequestLog, access_log: AccessLog | None, max_seconds: float | None
    ) -> None:
        self._service = service
        self._log = log
        self._access_log = access_log
        self._max_seconds = max_seconds
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._guards = Guards(most_connections())
        self._bodies = 0
        self._stopping = False

    async def start(self, host: str, port: int) -> str:
        """Listen on a free port for 0, and return the URL. Raises OSError if address or port cannot be had."""
        # In place of routes: paths are matched raw by `routes.py`, before anything is decoded or normalised, and a
        # target that is none of a path (`OPTIONS *`) is answered like the others.
        app = web.Application(middlewares=[self._whatever_the_target])
        app.on_response_prepare.append(_send_no_header_of_its_own)
        self._runner = web.AppRunner(
            app,
            # A client that leaves ends its request, and with it the work of a real model.
            handler_cancellation=True,
            shutdown_timeout=0.5,
        )
        await self._runner.setup()
        requests = self._runner.server
        assert requests is not None
        loop = asyncio.get_running_loop()

        def accept() -> Guard:
            return Guard(Connection(requests, loop=loop, **_PROTOCOL), self._guards)

        self._listening = await loop.create_server(accept, host, port)
        return _url(*self._listening.sockets[0].getsockname()[:2])

    async def stop(self) -> None:
        """Stop listening, close kept-alive connections, cancel what still runs after half a second."""
        self._stopping = True
        if self._listening is not None:
            await _stop_listening(self._listening)
        if self._runner is not None:
            await self._runner.cleanup()
        self._guards.close_all()
        await asyncio.sleep(0)  # for the loop to close their sockets

    @web.middleware
    async def _whatever_the_target(self, request: web.Request, handler: object) -> web.StreamResponse:
        return await self._handle(request)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        entry = LogEntry(
            self._log,
            RecordedRequest(
                method=request.method,
                target=request.raw_path,
                headers=tuple(
                    (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
                    for name, value in request.raw_headers
                ),
                body=b"",
                arrived_at=time.monotonic(),
            ),
        )
        guard, held = self._guards.of(request.transport), _Held(self)
        if guard is not None:
            guard.begin_body(_head_size(request))
        try:
            async with asyncio.timeout(self._max_seconds):
                return await self._answer(request, entry, held)
        except TimeoutError:
            return await self._give_up(request, entry)
        except asyncio.CancelledError:
            if client_left(request):
                self._note_that_the_client_left(entry)
            raise
        finally:
            held.release()
            if guard is not None:
                guard.end_request()

    async def _answer(self, request: web.Request, entry: LogEntry, held: _Held) -> web.StreamResponse:
        body = await self._read(request, held)
        if (guard := self._guards.of(request.transport)) is None:
            pass  # the client left
        elif request.content.is_eof():
            guard.end_body(_chunks_size(request, len(body) if isinstance(body, bytes) else 0))
        else:
            guard.drop_rest()
        if isinstance(body, HttpReply):
            reply: Reply = body
        else:
            entry.update(body=body or b"")
            reply = await self._service.answer(entry.request, too_large=body is None)
        # Recorded before the first byte goes out: who holds the answer finds the request in the log.
        now = time.monotonic()
        tail, streamed = ReplyTail(), _is_event_stream(reply)
        if isinstance(reply, HttpReply):
            tail.add(reply.body)
            entry.update(status=reply.status, answered_at=now, ended_at=now, streamed=streamed, tokens=tail.tokens())
            self._write_access_log(entry)
            return await send_whole(request, reply)
        entry.update(status=reply.status, answered_at=now, streamed=streamed)
        response = await send_stream(request, reply, tail.add, lambda: self._note_the_end(entry, tail))
        if not entry.request.ended_at:
            self._note_that_the_client_left(entry)
        return response

    async def _read(self, request: web.Request, held: _Held) -> bytes | HttpReply | None:
        """The body, None if it is too large, or the reply where there is no room for it now."""
        if (request.content_length or 0) > MAX_BODY_BYTES:
            return None
        body, guard = bytearray(), self._guards.of(request.transport)
        async for piece in request.content.iter_any():
            if not held.take(len(piece)):
                message = f"The bodies of all requests together are larger than {BODIES_BYTES} bytes."
                return ServiceError(503, "TEMPORARILY_UNAVAILABLE", message).reply(new_request_id())
            body += piece
            if guard is not None:
                guard.take_body(len(piece))
            if len(body) > MAX_BODY_BYTES:
                return None
        return bytes(body)

    async def _give_up(self, request: web.Request, entry: LogEntry) -> web.StreamResponse:
        """End a request that took longer than the service allows: with a 504, or, once it is begun, in the middle."""
        if entry.request.status:
            if request.transport is not None:
                request.transport.abort()
            if not entry.request.ended_at:
                self._note_the_end(entry, ReplyTail())
            return web.Response()
        # No source shows the text of the service.
        message = f"The request took longer than {self._max_seconds:g} seconds."
        reply = ServiceError(504, "DEADLINE_EXCEEDED", message).reply(new_request_id())
        now = time.monotonic()
        entry.update(status=reply.status, answered_at=now, ended_at=now)
        self._write_access_log(entry)
        response = WholeResponse(reply)
        response.force_close()
        return response

    def take_room(self, size: int) -> bool:
        """Count bytes of a body; false where there is no room for them."""
        if self._bodies + size > BODIES_BYTES:
            return False
        self._bodies += size
        return True

    def give_back_room(self, size: int) -> None:
        """Count them no longer."""
        self._bodies -= size

    def _note_the_end(self, entry: LogEntry, tail: ReplyTail) -> None:
        entry.update(ended_at=time.monotonic(), tokens=tail.tokens())
        self._write_access_log(entry)

    def _note_that_the_client_left(self, entry: LogEntry) -> None:
        """Mark the record, unless the whole answer had been handed out, or it is the server that leaves."""
        if entry.request.ended_at or self._stopping:
            return
        entry.update(closed_early=True, ended_at=time.monotonic())
        self._write_access_log(entry)

    def _write_access_log(self, entry: LogEntry) -> None:
        if self._access_log is not None:
            try:
                self._access_log(entry.request)
            except Exception:
                logger.exception("the access log failed")


def _is_event_stream(reply: HttpReply | StreamReply) -> bool:
    return any(
        name.lower() == "content-type" and value.lower().startswith("text/event-stream")
        for name, value in reply.header_pairs()
    )


def _head_size(request: web.Request) -> int:
    """About as many bytes as the head took."""
    lines = sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    return len(request.method) + len(request.raw_path) + 12 + lines + 2


def _chunks_size(request: web.Request, content: int) -> int:
    """As many bytes as chunks may have taken beside their content, if it came in chunks of one byte."""
    return 6 * content + 64 if request.headers.get("Transfer-Encoding") else 0


async def _stop_listening(listening: asyncio.Server) -> None:
    """Accept no more, and close once those that were just accepted have their protocol.

    asyncio of Python 3.11 forgets a connection, its socket open, that it accepted right before the closing.
    """
    with contextlib.suppress(NotImplementedError):  # the loop of Windows
        for socket in listening.sockets:
            asyncio.get_running_loop().remove_reader(socket)
    for _ in range(3):
        await asyncio.sleep(0)
    listening.close()


def _url(host: str, port: int) -> str:
    """Where a program on this machine finds a listening socket: "all addresses" is none to go to."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class _Held:
    """What one request's body takes of the room for all."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._size = 0

    def take(self, size: int) -> bool:
        taken = self._server.take_room(size)
        self._size += size if taken else 0
        return taken

    def release(self) -> None:
        self._server.give_back_room(self._size)
        self._size = 0


async def _send_no_header_of_its_own(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Take out what aiohttp adds by itself: a prepared answer goes out with its own headers only."""
    given = response.given if isinstance(response, WholeResponse | StreamResponse) else frozenset()
    for name in ("Content-Type", "Date", "Server"):
        if name.lower() not in given and name in response.headers:
            del response.headers[name]
    if isinstance(response, StreamResponse) and response.until_close:
        del response.headers["Content-Length"]
