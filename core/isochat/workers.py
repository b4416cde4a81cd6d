"""How does an event loop wait for work that blocks? In bounded threads of the client's own.

For the clients that have no asynchronous form. A call that is cancelled ends its connection, so that the server sees it
and the worker, which is woken by that, is free for the next one.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

WORKERS = 32
"""Threads at most; further calls wait for a free one."""


class Workers:
    """The threads of one client object, started as they are needed."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T], leave: Callable[[], None]) -> T:
        """What ``work`` gives, done in a thread.

        Args:
            leave: Makes ``work`` end soon; called when the waiting task is cancelled.
        """
        future = self._threads().submit(contextvars.copy_context().run, work)
        try:
            return await asyncio.wrap_future(future)
        except BaseException:
            if not future.done():
                leave()
            raise

    def close(self) -> None:
        """Let the threads end once they are idle."""
        with self._lock:
            if self._executor is not None and self._pid == os.getpid():
                self._executor.shutdown(wait=False)
            self._executor = None

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None or self._pid != os.getpid():  # a forked child has none of its parent's threads
                self._executor, self._pid = ThreadPoolExecutor(WORKERS, "isochat-worker"), os.getpid()
            return self._executor
