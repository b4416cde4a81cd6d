"""How does the session of one event loop end, whichever way its loop ends?

asyncio and aiohttp warn of connections that a loop leaves open, and whoever shares a client between loops cannot close
them in time: ``asyncio.run`` is over when control comes back. So the session hangs on an asynchronous generator, which
``loop.shutdown_asyncgens()`` ends while the loop still lives; ``asyncio.run``, ``Runner`` and servers call it. What a
loop leaves behind that was closed without it is buried quietly when it is found.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from typing import Any

import aiohttp

from isochat.transport.async_connection import Connection, Connector

_NO_TIMEOUTS = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
# http.client's own limit of a line, so that both wires refuse the same heads.
_LONGEST_LINE = 65536
# An aborted connection is gone after two turns of the loop, one of TLS after three.
_TURNS = 5


class LoopSession:
    """The aiohttp session of the running loop. :meth:`guard` must be awaited before its first use.

    Args:
        max_connections: Connections at once; more wait. ``None``: no bound.
    """

    def __init__(self, max_connections: int | None) -> None:
        self.loop = asyncio.get_running_loop()
        self._opened: set[Connection] = set()
        self.session = aiohttp.ClientSession(
            connector=Connector(self._opened, limit=max_connections or 0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            # The others that aiohttp adds where they are missing, User-Agent and Accept-Encoding, never are.
            skip_auto_headers=("Accept", "Content-Type"),
            timeout=_NO_TIMEOUTS,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        self._guard = self._until_the_loop_ends()
        _kept.add(self)

    @property
    def usable(self) -> bool:
        """Whether requests can be sent."""
        return not self.session.closed

    async def guard(self) -> None:
        """Have the loop close this session when it ends."""
        await anext(self._guard)

    async def aclose(self) -> None:
        """Close all connections at once, those in use too. On the session's own loop."""
        await self._guard.aclose()

    def close(self) -> None:
        """Close from anywhere: at once where the loop has ended, else as soon as it turns again."""
        if self.session.closed:
            return
        try:
            self.loop.call_soon_threadsafe(_Closing(self))
        except RuntimeError:
            pass  # the loop has ended; dropping the request has buried what it left

    def leave(self) -> None:
        """In a forked child: the sockets and the loop's selector are the parent's, who goes on using them."""
        _left.extend(self._opened)
        self._opened.clear()
        # A child's copies of connections do nothing when they are closed, so there is nothing to wait for.
        _run_dry(self._guard.aclose())

    async def _until_the_loop_ends(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            for connection in list(self._opened):
                connection.leave()
            await self.session.close()
            for _ in range(_TURNS):
                if not self._opened:
                    break
                await asyncio.sleep(0)
            _kept.discard(self)

    def bury(self) -> None:
        """Close what an ended loop has left behind."""
        for connection in list(self._opened):
            connection.leave()
        _run_dry(self.session.close())
        _kept.discard(self)


class _Closing:
    """The request to close a session, held by its loop alone: a loop that is closed first drops it."""

    def __init__(self, session: LoopSession) -> None:
        self._session: LoopSession | None = session

    def __call__(self) -> None:
        session, self._session = self._session, None
        assert session is not None
        task = session.loop.create_task(session.aclose(), name="isochat-close")
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)

    def __del__(self) -> None:
        if self._session is not None:
            self._session.bury()


def _run_dry(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that has nothing to wait for, without a loop."""
    with suppress(StopIteration, RuntimeError):
        coroutine.send(None)
    coroutine.close()


# A task is held by its loop weakly.
_under_way: set[asyncio.Task[None]] = set()
# Until they are closed, so that none is collected before its turn, with a warning.
_kept: set[LoopSession] = set()
# What a forked child has inherited: to collect it would close it.
_left: list[Connection] = []


def _leave_to_the_parent() -> None:
    for session in list(_kept):
        session.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
