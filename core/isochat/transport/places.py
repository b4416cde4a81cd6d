"""How does a call wait for a free connection, and leave the queue when it ends first?

urllib3 keeps the places of a pool in a queue whose class a pool may choose (``QueueCls``). Its own can be left by the
clock alone, and counts a place too many after an interrupt.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

under_way: ContextVar[Wire] = ContextVar("isochat_wire")


class Places(queue.LifoQueue[Any]):
    """The places of a pool: idle connections, and ``None`` for one that is still to be made."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self._interrupted = 0
        self._make_locks()

    def _make_locks(self) -> None:
        # A stream that is collected gives its place back, and the collector may run while this thread holds the lock.
        self.mutex = threading.RLock()  # type: ignore[assignment]
        self.not_empty = threading.Condition(self.mutex)
        self.not_full = threading.Condition(self.mutex)
        self.all_tasks_done = threading.Condition(self.mutex)
        self._pid = os.getpid()

    def _unlock_after_fork(self) -> None:
        # What a forked child has inherited is still collected there, and a thread of its parent may hold the lock.
        if self._pid != os.getpid():
            self._make_locks()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self._unlock_after_fork()
        wire = under_way.get(None)
        if not block or wire is None:
            return super().get(block, timeout)
        until = None if timeout is None else time.monotonic() + timeout
        with self.not_empty:
            wire.queue = self
            while not self._qsize():
                left = None if until is None else until - time.monotonic()
                if wire.aborted or (left is not None and left <= 0):
                    raise queue.Empty
                try:
                    self.not_empty.wait(left)
                except BaseException:
                    # urllib3 gives a place back after every exception but Empty, though none was taken.
                    self._interrupted += 1
                    self.not_empty.notify()
                    raise
            return self._get()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._unlock_after_fork()
        with self.mutex:
            if item is None and self._interrupted:
                self._interrupted -= 1
            else:
                super().put(item, block, timeout)

    def wake(self) -> None:
        """Let all who wait look whether their calls have ended."""
        with self.not_empty:
            self.not_empty.notify_all()
