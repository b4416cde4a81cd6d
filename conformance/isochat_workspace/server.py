"""How do requests get in and replies out? The aiohttp side of the workspace: record, ask, send as it stands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import web
from multidict import CIMultiDict

from .http_reply import HttpReply
from .records import LogEntry, RecordedRequest, RequestLog
from .reported_tokens import ReplyTail
from .service import MAX_BODY_BYTES, Service
from .stream_reply import StreamReply
from .stream_response import StreamResponse, client_left, send_stream

logger = logging.getLogger("isochat.workspace")
# Bytes that are no HTTP are answered 400 by aiohttp itself; its traceback belongs on no one's terminal.
_http_logger = logging.getLogger("isochat.workspace.http")
_http_logger.addHandler(logging.NullHandler())

AccessLog = Callable[[RecordedRequest], object]


class Server:
    """A listening socket on loopback; `start` and `stop` run on one event loop."""

    def __init__(self, service: Service, log: RequestLog, access_log: AccessLog | None) -> None:
        self._service = service
        self._log = log
        self._access_log = access_log
        self._runner: web.AppRunner | None = None
        self._stopping = False

    async def start(self, host: str, port: int) -> str:
        """Listen on a free port for 0, and return the URL. Raises OSError if address or port cannot be had."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        # One route: paths are matched raw by `routes.py`, before anything is decoded or normalised.
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_send_no_header_of_its_own)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_http_logger,
            # A client that leaves ends its request, and with it the work of a real model.
            handler_cancellation=True,
            # Bodies are recorded as sent.
            auto_decompress=False,
            shutdown_timeout=0.5,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return _url(*self._runner.addresses[0][:2])

    async def stop(self) -> None:
        """Stop listening, close kept-alive connections, cancel what still runs after half a second."""
        self._stopping = True
        if self._runner is not None:
            await self._runner.cleanup()

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
        try:
            return await self._answer(request, entry)
        except asyncio.CancelledError:
            if client_left(request):
                self._note_that_the_client_left(entry)
            raise

    async def _answer(self, request: web.Request, entry: LogEntry) -> web.StreamResponse:
        too_large = False
        try:
            entry.update(body=await request.read())
        except web.HTTPRequestEntityTooLarge:
            too_large = True
        reply = await self._service.answer(entry.request, too_large=too_large)
        # Recorded before the first byte goes out: who holds the answer finds the request in the log.
        now = time.monotonic()
        tail, streamed = ReplyTail(), _is_event_stream(reply)
        if isinstance(reply, HttpReply):
            tail.add(reply.body)
            entry.update(status=reply.status, answered_at=now, ended_at=now, streamed=streamed, tokens=tail.tokens())
            self._write_access_log(entry)
            return _Prepared(reply)
        entry.update(status=reply.status, answered_at=now, streamed=streamed)
        response = await send_stream(request, reply, tail.add, lambda: self._note_the_end(entry, tail))
        if not entry.request.ended_at:
            self._note_that_the_client_left(entry)
        return response

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


def _url(host: str, port: int) -> str:
    """Where a program on this machine finds a listening socket: "all addresses" is none to go to."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class _Prepared(web.Response):
    """A reply, and which of its headers were given."""

    def __init__(self, reply: HttpReply) -> None:
        # Content-Length is framing and comes from the body as it is.
        headers = CIMultiDict((name, value) for name, value in reply.header_pairs() if name.lower() != "content-length")
        super().__init__(status=reply.status, headers=headers, body=reply.body)
        self.given = frozenset(name.lower() for name in headers)


async def _send_no_header_of_its_own(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Take out what aiohttp adds by itself: a prepared answer goes out with its own headers only."""
    given = response.given if isinstance(response, _Prepared | StreamResponse) else frozenset()
    for name in ("Content-Type", "Date", "Server"):
        if name.lower() not in given and name in response.headers:
            del response.headers[name]
    if isinstance(response, StreamResponse) and response.until_close:
        del response.headers["Content-Length"]
