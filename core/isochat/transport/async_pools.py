"""Which session carries a request on an event loop? Each loop has its own; one client object serves them all.

The counterpart of :mod:`isochat.transport.pools` for aiohttp: the same certificates, the same proxies, dropped in a
forked child as there. This module and its neighbours import aiohttp, so they are imported by the first call alone.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from yarl import URL

from isochat.transport.async_connection import RequestBody
from isochat.transport.loop_session import LoopSession
from isochat.transport.proxies import Proxies
from isochat.transport.tls import trusting

if TYPE_CHECKING:
    import aiohttp

    from isochat.transport.async_wire import AsyncWire


_REMEMBERED = 64


class AsyncPools:
    """The sessions of one client object. May be made in any thread, with or without a loop.

    Args:
        max_connections: Connections at once from one loop; more wait for a free one. ``None``: no bound.
        ca_bundle: A file of certificate authorities to trust in place of the system's.
        trust_env: Read ``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE`` and ``REQUESTS_CA_BUNDLE``.
    """

    def __init__(
        self, *, max_connections: int | None = None, ca_bundle: str | None = None, trust_env: bool = True
    ) -> None:
        self._max_connections = max_connections
        self._ca_bundle = ca_bundle
        self._trust_env = trust_env
        self.proxies = Proxies(trust_env)
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._sessions: dict[asyncio.AbstractEventLoop, LoopSession] = {}
        self._ways: dict[str, tuple[URL, dict[str, Any]]] = {}
        self._pid = os.getpid()

    async def request(self, wire: AsyncWire) -> aiohttp.ClientResponse:
        """Send ``wire``'s request and wait for the reply's head; its body is left on the connection."""
        opened = self._sessions.get(asyncio.get_running_loop())
        if opened is None or not opened.usable or self._pid != os.getpid():
            opened = await self._open()
        url, way = self._ways.get(wire.url) or self._way_to(wire.url)
        return await opened.session.request(
            wire.method,
            url,
            data=RequestBody(wire) if wire.request_body else None,
            headers=wire.request_headers,
            allow_redirects=False,
            **way,
        )

    def close(self) -> None:
        """Close all connections: those of other threads' loops as soon as their loops turn."""
        with self._lock:
            sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.close()

    async def aclose(self) -> None:
        """Close this loop's connections now, those of other loops as :meth:`close` does."""
        mine = self._sessions.pop(asyncio.get_running_loop(), None)
        self.close()
        if mine is not None and mine.usable:
            await mine.aclose()

    def __del__(self) -> None:
        if self._pid == os.getpid():
            self.close()

    async def _open(self) -> LoopSession:
        if self._pid != os.getpid():
            # A lock that another thread held is never released; the sessions have been left with the fork.
            self._lock, self._sessions, self._pid = threading.Lock(), {}, os.getpid()
        session = LoopSession(self._max_connections)
        await session.guard()  # does not wait, so no other task can come in between
        with self._lock:
            self._sessions[session.loop] = session
            dead = [self._sessions.pop(loop) for loop in list(self._sessions) if loop.is_closed()]
        for other in dead:
            other.close()
        return session

    def _way_to(self, address: str) -> tuple[URL, dict[str, Any]]:
        parts = urlsplit(address)
        proxy = self.proxies.way_to(parts.scheme, parts.hostname or "", parts.port)
        options: dict[str, Any] = {}
        if parts.scheme == "https":
            options["ssl"] = self._tls_context()
        if proxy is not None:
            options |= {"proxy": proxy.url, "proxy_headers": proxy.headers}
        way = URL(address, encoded=True), options
        if len(self._ways) < _REMEMBERED:  # a client object asks few places
            self._ways[address] = way
        return way

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = trusting(self._ca_bundle, self._trust_env)
        return self._tls
