"""How does whoever pauses learn that nobody wants what he waits for: that a client is closed, or a stream left?

At once and from any thread, also from a signal handler, so without a lock that could be held just then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isochat.transport.deadline import Clock


class Closing:
    """Whether something is closed, and who is to be told of it.

    Attributes:
        closed: Whether it is.
    """

    __slots__ = ("_tells", "closed")

    def __init__(self) -> None:
        self.closed = False
        self._tells: dict[object, Callable[[], object]] = {}

    def close(self) -> None:
        """Close, and tell all who want to know."""
        self.closed = True
        for tell in list(self._tells.values()):
            tell()

    @contextmanager
    def telling(self, tell: Callable[[], object]) -> Iterator[None]:
        """Inside, ``tell`` is called when it closes, by whoever closes it; at once where it is closed already."""
        key = object()
        self._tells[key] = tell
        try:
            if self.closed:
                tell()
            yield
        finally:
            del self._tells[key]


def pause(clock: Clock, seconds: float, *closings: Closing) -> None:
    """Let ``seconds`` pass, or less where one of ``closings`` closes."""
    woken: SimpleQueue[None] = SimpleQueue()
    with ExitStack() as told:
        for closing in closings:
            told.enter_context(closing.telling(lambda: woken.put(None)))
        clock.sleep(seconds, woken)


async def apause(clock: Clock, seconds: float, *closings: Closing) -> None:
    """As :func:`pause`, on the running event loop."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop has ended, and the pause with it
            loop.call_soon_threadsafe(woken.set)

    with ExitStack() as told:
        for closing in closings:
            told.enter_context(closing.telling(tell))
        await clock.asleep(seconds, woken)
