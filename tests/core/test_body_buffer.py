"""Is a body gathered in pieces the one that came, below the size where it leaves the heap, at it and above?"""

from __future__ import annotations

import random

import pytest

from isochat.transport.body_buffer import BodyBuffer

MB = 1024 * 1024


@pytest.mark.parametrize("size", [0, 1, MB - 1, MB, MB + 1, 3 * MB])
@pytest.mark.parametrize("longest", [1000, MB // 2, 3 * MB])
def test_what_comes_is_what_is_taken(size: int, longest: int) -> None:
    body = random.randbytes(size)
    buffer = BodyBuffer(3 * MB)

    at = 0
    while at < size:
        piece = body[at : at + random.randint(1, longest)]
        assert buffer.write(piece) == len(piece)
        at += len(piece)

    assert buffer.size == size
    assert buffer.take() == body
