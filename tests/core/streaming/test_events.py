"""Are bytes cut into events as the specification says, however they arrive, as soon as they can be, up to the cap?"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

import pytest
from event_oracle import events_of
from hypothesis import given, settings
from hypothesis import strategies as st

from isochat.errors import ResponseTooLargeError
from isochat.streaming.events import Event, EventDecoder
from isochat.transport.limits import DEFAULT_LIMITS

MANY = settings(deadline=None, database=None, max_examples=200)
MB = 1024 * 1024

ODD = [
    "",
    " ",
    "a: b",
    "{}",
    "[DONE]",
    "é",
    "😀",
    "\u2028",
    "\u2029",
    "\u0085",
    "\x0b\x0c\x1c",
    "\x00",
    "\ufeff",
    "<",
    '"\\',
]
texts = st.lists(st.sampled_from(ODD) | st.text(max_size=3), max_size=3).map("".join)
names = st.sampled_from(["data", "event", "id", "retry", "", "Data", "data ", "dat", "datax", "foo", "{", "<html", "["])
ODD_LINES = [b"", b"", b"data: [DONE]", b"data", b"event", b":", b"data: \xff", b"data: \xe2\x82", b"\xef\xbb\xbf"]
fields = st.tuples(names, st.sampled_from([":", ": ", ""]), texts).map("".join)
lines = fields.map(lambda line: line.replace("\r", "").replace("\n", "").encode()) | st.sampled_from(ODD_LINES)
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
streams = st.builds(
    lambda bom, parts, tail: bom + b"".join(line + end for line, end in parts) + tail,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef\xbb\xbf\xef\xbb\xbf"]),
    st.lists(st.tuples(lines, ends), max_size=25),
    st.sampled_from([b"", b"", b"data: x", b"\r", b"dat"]),
)


def decoded(pieces: Iterable[bytes]) -> list[tuple[str, str]]:
    decoder = EventDecoder(MB)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    assert decoder.count == len([event for event in events if not event.stray])
    return [(event.type, event.data.decode("utf-8", "replace")) for event in events if not event.stray]


def expected(stream: bytes) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in events_of(stream)]


def cut(stream: bytes, at: Iterable[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(stream) + 1) for place in at}), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(places)]


@MANY
@given(streams)
def test_the_oracle_agrees(stream):
    assert decoded([stream]) == expected(stream)


@MANY
@given(streams, st.lists(st.integers(0, 1000), max_size=12))
def test_the_split_makes_no_difference(stream, at):
    assert decoded(cut(stream, at)) == expected(stream)


@settings(MANY, max_examples=80)
@given(streams)
def test_no_split_in_two_makes_a_difference_and_neither_do_single_bytes(stream):
    truth = expected(stream)

    assert decoded(stream[i : i + 1] for i in range(len(stream))) == truth
    for place in range(len(stream) + 1):
        assert decoded([stream[:place], stream[place:]]) == truth


@MANY
@given(st.lists(lines.map(lambda line: line + b"\n\n") | st.sampled_from([b"\n", b"event: x\n", b"data: y\n", b"\r"])))
def test_pieces_that_are_events_are_read_as_all_are(pieces):
    assert decoded(pieces) == expected(b"".join(pieces))


@pytest.mark.parametrize(
    "before", [b"data: x\n\n", b"data: x\n\n\r", b"event: e\n", b"event: e\nevent\n", b"data: x\n", b": c", b""]
)
@pytest.mark.parametrize(
    "piece",
    [b"\xef\xbb\xbfdata: a\n\n", b"data: a\rdata: b\n\n", b"data: a\ndata: b\n\n", b"data: a\n\ndata: b\nevent: e\n\n"],
)
def test_a_piece_that_begins_and_ends_as_whole_events_do(before, piece):
    after = b"\ndata: z\n\n"

    assert decoded([before, piece, piece, after]) == expected(before + piece + piece + after)


@settings(MANY, max_examples=80)
@given(streams)
def test_an_event_comes_with_the_very_byte_that_ends_its_blank_line(stream):
    decoder = EventDecoder(MB)
    count = 0
    for place in range(len(stream)):
        count += len([event for event in decoder.feed(stream[place : place + 1]) if not event.stray])
        # What the oracle sees in the beginning alone must be out: no byte behind it is waited for.
        assert count == len(expected(stream[: place + 1]))


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_the_blank_line_of_every_kind_ends_an_event_at_once(end):
    decoder = EventDecoder(100)

    assert list(decoder.feed(b"data: a" + end)) == []
    assert list(decoder.feed(end[:1])) == [Event("message", b"a")]
    assert list(decoder.feed(end[1:] + b"data: b" + end + end)) == [Event("message", b"b")]


@pytest.mark.parametrize("line", [b'{"error": 1}', b"<html>", b"[1]"])
def test_a_line_that_is_no_field_and_looks_like_json_or_markup_is_told_apart(line):
    assert list(EventDecoder(100).feed(b"data: a\n" + line + b"\n\n")) == [
        Event("", line, stray=True),
        Event("message", b"a"),
    ]


def test_what_is_under_way_is_known():
    decoder = EventDecoder(100)
    seen = []
    for piece in (b": ping", b"\n", b"event: a\n", b"data: 1234", b"\n", b":ping\n", b"\n", b"da"):
        list(decoder.feed(piece))
        seen.append((decoder.pending, decoder.growing))

    # A comment keeps the connection alive and brings no data.
    assert seen == [
        (True, 0), (False, 0), (False, 0), (True, 10), (True, 4), (True, 4), (False, 0), (True, 2),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------- the cap


def feed_all(cap: int, pieces: Iterable[bytes]) -> int:
    """How many events came, or the number of the piece at which the cap was reached, negative."""
    decoder = EventDecoder(cap)
    events = 0
    for number, piece in enumerate(pieces, 1):
        try:
            events += len(list(decoder.feed(piece)))
        except ResponseTooLargeError:
            return -number
    return events


def test_the_cap_is_the_size_of_the_data():
    assert feed_all(10, [b"data: " + b"x" * 10 + b"\n\n"]) == 1
    assert feed_all(10, [b"data: " + b"x" * 11 + b"\n\n"]) == -1
    assert feed_all(11, [b"data: 12345\ndata: 12345\n\n"]) == 1
    assert feed_all(10, [b"data: 12345\ndata: 12345\n\n"]) == -1


def test_the_cap_holds_for_an_event_that_comes_in_one_piece():
    decoder = EventDecoder(10)
    assert [event.data for event in decoder.feed(b"data: begun\n\n")] == [b"begun"]

    with pytest.raises(ResponseTooLargeError):
        list(decoder.feed(b"data: eleven long\n\n"))


def test_the_cap_counts_for_each_event_by_itself():
    assert feed_all(10, [b"data: 0123456789\n\n"] * 50) == 50


def test_the_error_names_the_event_and_the_cap():
    with pytest.raises(ResponseTooLargeError, match="event 2 of the stream is larger than 10 bytes"):
        list(EventDecoder(10).feed(b"data: 1\n\ndata: 12345678901\n\n"))


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"data: ", *[b"x" * 100] * 50], id="one line in pieces"),
        pytest.param([b": ", *[b"x" * 100] * 50], id="one comment in pieces"),
        pytest.param([b"data: " + b"x" * 99 + b"\n"] * 50, id="many lines"),
        pytest.param([b"data\n" * 100] * 50, id="empty lines"),
        pytest.param([b"data:\n", b"data: " + b"x" * 5000], id="a line upon a line"),
    ],
)
def test_the_cap_holds_before_the_event_is_whole(pieces):
    assert feed_all(1000, pieces) < 0


def test_an_event_of_twenty_megabytes_is_refused_at_the_default_cap_and_one_of_fifteen_is_not():
    piece = b"x" * 65536

    assert feed_all(DEFAULT_LIMITS.event, [b"data: ", *[piece] * (20 * 16), b"\n\n"]) < 0
    assert feed_all(DEFAULT_LIMITS.event, [b"data: ", *[piece] * (15 * 16), b"\n\n"]) == 1


@pytest.mark.parametrize(
    "pieces_of",
    [
        pytest.param(lambda n: [b"data: ", *[b"x" * 16] * n, b"\n\n"], id="one line in pieces"),
        pytest.param(lambda n: [*[b"data: x\n"] * n, b"\n"], id="a line a piece"),
        pytest.param(lambda n: [b"data: x\n" * n + b"\n"], id="lines in one piece"),
        pytest.param(lambda n: [b"data: x\n\n" * n], id="events in one piece"),
        pytest.param(lambda n: [*[b"data: x\r"] * n, b"\r"], id="lines that end in CR"),
    ],
)
def test_time_grows_as_the_size_does(pieces_of):
    def seconds(n: int) -> float:
        pieces = pieces_of(n)
        best = float("inf")
        for _ in range(3):
            begun = time.process_time()
            assert feed_all(1 << 40, pieces) >= 1
            best = min(best, time.process_time() - begun)
        return best

    small = 3_000
    # Sixteen times the size: linear takes sixteen times as long, quadratic 256 times.
    ratio = min(seconds(16 * small) / seconds(small) for _ in range(3))

    assert ratio < 64
