"""How does an event loop wait for work that blocks? In bounded threads of the client's own.

For the clients that have no asynchronous form. A call that is cancelled ends its connection, so that the server sees it
and the worker, which is woken by that, is free for the next one.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

WORKERS = 32
"""Threads at most of each kind; further calls, or reads, wait for a free one."""


class Workers:
    """The threads of one client object for one kind of work, started as they are needed."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    async def run(
        self, work: Callable[[], T], leave: Callable[[], None], undo: Callable[[T | None], object] | None = None
    ) -> T:
        """What ``work`` gives, done in a thread.

        Args:
            leave: Makes ``work`` end soon; called when the waiting task is cancelled.
            undo: Called when the task is cancelled, once ``work`` is over or will never begin, with what it gave.
        """
        future = self._threads().submit(contextvars.copy_context().run, work)
        try:
            return await asyncio.wrap_future(future)
        except BaseException:
            if not future.done():
                leave()
            if undo is not None:
                # Work that was over, or nearly, may have opened what nobody else knows of.
                future.add_done_callback(functools.partial(_undone, undo))
            raise

    def close(self) -> None:
        """Let the threads end once they are idle."""
        self._leave_to_the_parent()
        with self._lock:
            if self._executor is not None:
                self._executor.shutdown(wait=False)
            self._executor = None

    def _threads(self) -> ThreadPoolExecutor:
        self._leave_to_the_parent()
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(WORKERS, "isochat-worker")
            return self._executor

    def _leave_to_the_parent(self) -> None:
        # A forked child has none of its parent's threads, and perhaps a lock that one of them held.
        if self._pid != os.getpid():
            self._lock, self._executor, self._pid = threading.Lock(), None, os.getpid()


def _undone(undo: Callable[[T | None], object], future: Future[T]) -> None:
    worked = not future.cancelled() and future.exception() is None
    undo(future.result() if worked else None)
