"""In which ways can one case be asked? Waiting in a thread or on an event loop, whole or as a stream."""

from __future__ import annotations

from typing import Literal

Mode = Literal["sync", "async", "stream", "async-stream"]
MODES: tuple[Mode, ...] = ("sync", "async", "stream", "async-stream")


def is_streamed(mode: Mode) -> bool:
    """Whether the answer is asked for piece by piece."""
    return mode in ("stream", "async-stream")


def is_async(mode: Mode) -> bool:
    """Whether it is asked for on an event loop."""
    return mode in ("async", "async-stream")
