"""How does an event loop wait for work that blocks? In bounded threads of the client's own.

For the clients that have no asynchronous form. A call that is cancelled ends its connection, so that the server sees it
and the worker, which is woken by that, is free for the next one.

They are daemons, which concurrent.futures has none of: a backend that hangs must not keep the interpreter from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from isochat.transport.deadline import Deadline

T = TypeVar("T")

WORKERS = 32
"""Threads at most of each kind; further calls, or reads, wait for a free one."""


class _Crew:
    """Threads that take work from one queue. They hold no more than that, so that whoever forgets them ends them."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._size = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have ``work`` done by whoever is idle, or by one more. Not from two threads at once."""
        future: Future[T] = Future()
        self._waiting.put((future, work))
        if not self._idle.acquire(blocking=False) and self._size < WORKERS:
            self._size += 1
            threading.Thread(
                target=_serve, args=(self._waiting, self._idle), name=f"isochat-worker_{self._size}", daemon=True
            ).start()
        return future

    def dismiss(self) -> None:
        """Let each end once there is nothing left to do."""
        self._waiting.put(None)

    def __del__(self) -> None:
        self.dismiss()


def _serve(waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None], idle: threading.Semaphore) -> None:
    while (task := waiting.get()) is not None:
        future, work = task
        if future.set_running_or_notify_cancel():
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001 handed to whoever waits, whatever it is
                future.set_exception(error)
            else:
                future.set_result(value)
                del value
        del task, future, work  # nothing of a call outlives it here
        idle.release()
    waiting.put(None)  # for the next one


class Workers:
    """The threads of one client object for one kind of work, started as they are needed."""

    def __init__(self) -> None:
        self._crew: _Crew | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    async def run(
        self,
        work: Callable[[], T],
        leave: Callable[[], None],
        undo: Callable[[T | None], object] | None = None,
        deadline: Deadline | None = None,
    ) -> T:
        """What ``work`` gives, done in a thread.

        Args:
            deadline: How long a thread is waited for. Work that has begun keeps the time itself.
            leave: Makes ``work`` end soon; called when the waiting task is cancelled.
            undo: Called when the task is cancelled, once ``work`` is over or will never begin, with what it gave.

        Raises:
            ChatTimeoutError: no thread was free until the deadline.
        """
        future = self._submit(functools.partial(contextvars.copy_context().run, work))
        waiting = asyncio.wrap_future(future)
        try:
            if deadline is not None:
                await asyncio.wait((waiting,), timeout=deadline.left("pool"))
                if not waiting.done() and future.cancel():
                    raise deadline.passed("pool")
            return await waiting
        except BaseException:
            waiting.cancel()
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
            if self._crew is not None:
                self._crew.dismiss()
            self._crew = None

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        self._leave_to_the_parent()
        with self._lock:
            if self._crew is None:
                self._crew = _Crew()
            return self._crew.submit(work)

    def _leave_to_the_parent(self) -> None:
        # A forked child has none of its parent's threads, and perhaps a lock that one of them held.
        if self._pid != os.getpid():
            self._lock, self._crew, self._pid = threading.Lock(), None, os.getpid()


def _undone(undo: Callable[[T | None], object], future: Future[T]) -> None:
    worked = not future.cancelled() and future.exception() is None
    undo(future.result() if worked else None)
