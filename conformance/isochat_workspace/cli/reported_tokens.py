"""How many tokens did an answer cost? What the answer itself reports, read off its last bytes."""

from __future__ import annotations

import re
from collections import deque

_PROMPT = re.compile(rb'"(?:prompt|input)_tokens":\s*(\d+)')
_COMPLETION = re.compile(rb'"(?:completion|output)_tokens":\s*(\d+)')
_KEPT_BYTES = 32 * 1024
"""A usage stands near the end of an answer and of a stream; after it there may be a response's tools."""


class ReplyTail:
    """The last bytes of a reply, as they go by."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._bytes = 0

    def add(self, piece: bytes) -> None:
        """One more piece was sent."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        while self._bytes - len(self._pieces[0]) >= _KEPT_BYTES:
            self._bytes -= len(self._pieces.popleft())

    def tokens(self) -> tuple[int, int] | None:
        """Prompt and completion tokens as last reported, or None. (A usage quoted in a text has escaped quotes.)"""
        kept = b"".join(self._pieces)[-_KEPT_BYTES:]
        prompt, completion = _PROMPT.findall(kept), _COMPLETION.findall(kept)
        return (int(prompt[-1]), int(completion[-1])) if prompt and completion else None
