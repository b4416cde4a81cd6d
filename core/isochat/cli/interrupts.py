"""What does Ctrl-C do while modules load? It ends the process quietly, at once.

Nothing is there yet to be ended in good order. The usual exception would come out of what is loading in other shapes,
be swallowed by it, or leave the interpreter's import lock behind for ever.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """So it is within the block, where nobody else has said what Ctrl-C does."""
    free = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not free or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(130)
