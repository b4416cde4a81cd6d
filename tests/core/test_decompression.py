"""Is a compressed body opened however it is cut, in one gzip member or several, and no further than the cap?"""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isochat.errors import ConnectionLostError, ProtocolError, ResponseTooLargeError
from isochat.transport.decompression import BodyCounter

members = st.lists(st.binary(max_size=50), min_size=1, max_size=4)


def opened(coding: str, wire: bytes, step: int, cap: int = 1000) -> bytes:
    counter = BodyCounter(coding, cap)
    data = b"".join(counter.take(wire[place : place + step]) for place in range(0, len(wire), step))
    counter.finish()
    assert counter.count == len(data)
    return data


@settings(deadline=None, database=None)
@given(members, st.integers(1, 60))
def test_members_in_a_row_are_one_body(parts: list[bytes], step: int) -> None:
    assert opened("gzip", b"".join(map(gzip.compress, parts)), step) == b"".join(parts)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_what_is_behind_the_end_is_ignored(step: int) -> None:
    assert opened("gzip", gzip.compress(b"said") + b"\0\0 garbage", step) == b"said"
    assert opened("deflate", zlib.compress(b"said") + gzip.compress(b"more"), step) == b"said"


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_cut_member_is_noticed(step: int) -> None:
    whole = gzip.compress(b"said") + gzip.compress(b"more")
    for cut in range(len(gzip.compress(b"said")) + 2, len(whole)):
        with pytest.raises(ConnectionLostError):
            opened("gzip", whole[:cut], step)


@pytest.mark.parametrize("step", [1, 30, 10_000])
def test_the_cap_is_that_of_all_members(step: int) -> None:
    half = gzip.compress(bytes(500))
    assert len(opened("gzip", half + half, step)) == 1000
    for bomb in (half + half + gzip.compress(b"x"), half + gzip.compress(bytes(10_000_000)), half * 3):
        with pytest.raises(ResponseTooLargeError):
            opened("gzip", bomb, step)


def test_no_other_coding_is_opened() -> None:
    with pytest.raises(ProtocolError, match="br"):
        opened("br", b"x", 1)
