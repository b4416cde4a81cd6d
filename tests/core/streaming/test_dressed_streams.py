"""However a server writes an answer's events, and however the network cuts them: is it the same answer?

Line ends of three kinds, a byte order mark, comments, ids, pretty JSON over several lines, ``[DONE]`` in its spellings;
and at every point what has come so far is a beginning of the whole.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_generated_streams import (
    MANY,
    completion_events,
    completions,
    endings,
    outputs,
    randoms,
    response_events,
    usages,
    with_ids,
)

from isochat import ChatError, ChatResult, StreamFailedError
from isochat.results import Meta
from isochat.streaming.reading import StreamReading
from isochat.wire_format.chat_completions import read_completion
from isochat.wire_format.responses import read_response

SOME = settings(MANY, max_examples=50)

NOISE = [": ping", ":", "id: 7", "id", "retry: 10", "retry: soon", "odd: field", "odd", "event: ping\ndata: {}\n",
         "event: ping\ndata\n", "data:\n", "data: \n", "event: note\ndata: not JSON\n", ""]  # fmt: skip
ENDS = ["data: [DONE]\n\n", "data:[DONE]\n\n", "data:  [DONE] \n\n", "data: [DONE]\n\n" * 2,
        "data: [DONE]\n\ndata: {broken\n\n", "event: done\ndata: [DONE]\n\n", ": bye\n\n", ""]  # fmt: skip


def dressed(random: Random, events: list[dict[str, Any]], ends: list[str]) -> bytes:
    """The events as some server might write them."""
    lines: list[str] = []
    for event in events:
        lines += random.choices(NOISE, k=random.choice([0, 0, 1, 2]))
        kind = event.get("type")
        if random.random() < 0.3:
            lines.append(f"event: {kind}" if isinstance(kind, str) else "event: message")
        text = json.dumps(event, ensure_ascii=random.random() < 0.3, indent=random.choice([None, None, 1]))
        gap = random.choice(["", " "])
        lines += [f"data:{gap}{line}" for line in text.split("\n")]
        lines.append("")
    written = "\n".join([*lines, ""]) + random.choice(ends)
    ends_of_line = random.choice([["\n"], ["\r"], ["\r\n"], ["\r", "\r\n"], ["\n", "\r\n"]])
    dress = "".join(random.choice(ends_of_line) if letter == "\n" else letter for letter in written)
    return (b"\xef\xbb\xbf" if random.random() < 0.3 else b"") + dress.encode("utf-8", "surrogatepass")


def cut(random: Random, data: bytes) -> list[bytes]:
    size = random.choice([1, 7, 60, 2000])
    pieces, at = [], 0
    while at < len(data):
        to = at + random.randint(1, size)
        pieces.append(data[at:to])
        at = to
    return pieces


def read_so_far(pieces: list[bytes], reading: StreamReading) -> list[ChatResult]:
    """What was known after each piece."""
    known = []
    for piece in pieces:
        reading.feed(piece)
        known.append(reading.partial())
    return known


def check_beginnings(known: list[ChatResult], whole: ChatResult) -> None:
    texts = {choice.index: choice.message for choice in whole.choices}
    for partial in known:
        for choice in partial.choices:
            message = texts[choice.index]
            assert (message.content or "").startswith(choice.message.content or "")
            assert (message.reasoning or "").startswith(choice.message.reasoning or "")
            assert (message.refusal or "").startswith(choice.message.refusal or "")


@SOME
@given(completions, randoms)
def test_a_completion_in_any_dress(plain: dict[str, Any], random: Random) -> None:
    data = dressed(random, completion_events(random, plain), ENDS)
    reading = StreamReading("chat-completions", choices=len(plain["choices"]))
    known = read_so_far(cut(random, data), reading)
    reading.end(random.random() < 0.5)
    whole = read_completion(plain)
    assert reading.result(Meta()) == whole
    check_beginnings(known, whole)


@SOME
@given(outputs, endings, usages, randoms)
def test_a_response_in_any_dress(output: list[Any], status: str | None, usage: Any, random: Random) -> None:
    plain = {
        "id": "r", "object": "response", "created_at": 1.5, "model": "m", "status": status, "output": with_ids(output),
        "usage": usage and {"input_tokens": usage["prompt_tokens"]},
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
    }  # fmt: skip
    data = dressed(random, response_events(random, plain), ENDS)
    reading = StreamReading("responses")
    read_so_far(cut(random, data), reading)
    reading.end(True)
    assert reading.result(Meta()) == read_response(plain)


FAILURES = [
    b'data: {"error": {"message": "it failed", "code": "server_error"}}\n\n',
    b'data: {"error": "it failed"}\n\n',
    b'data: {"error_code": "INTERNAL_ERROR", "message": "it failed"}\n\n',
    b'data: {"type": "error", "message": "it failed"}\n\n',
    b'data: {"type": "error", "error": {"type": "api_error", "message": "it failed"}}\n\n',
    b'event: error\ndata: {"message": "it failed"}\n\n',
    b"event: error\ndata: it failed\n\n",
    b'{"error_code": "INTERNAL_ERROR", "message": "it failed"}\n',
    b'data: {"detail": "it failed"}\n\n',
    b'data: {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "it failed"}}}\n\n',
]


@SOME
@given(failure=st.sampled_from(FAILURES), plain=completions, random=randoms)
def test_a_failure_in_the_middle_keeps_what_had_come(failure: bytes, plain: dict[str, Any], random: Random) -> None:
    events = completion_events(random, plain)
    place = random.randint(1, len(events))
    end = random.choice(["\n", "\r", "\r\n"]).encode()
    data = dressed(random, events[:place], [""]) + failure.replace(b"\n", end)
    reading = StreamReading("chat-completions", choices=len(plain["choices"]))
    with pytest.raises(StreamFailedError, match="it failed") as caught:
        read_so_far(cut(random, data), reading)
    assert caught.value.partial is not None
    check_beginnings([caught.value.partial], read_completion(plain))


@SOME
@given(plain=completions, random=randoms)
def test_a_stream_cut_anywhere_is_whole_or_says_that_it_is_not(plain: dict[str, Any], random: Random) -> None:
    data = dressed(random, completion_events(random, plain), ENDS)
    reading = StreamReading("chat-completions", choices=len(plain["choices"]))
    whole = read_completion(plain)
    try:
        read_so_far(cut(random, data[: random.randint(0, len(data))]), reading)
        reading.end(random.random() < 0.5)
    except ChatError as error:
        if error.partial is not None:
            check_beginnings([error.partial], whole)
        return
    result = reading.result(Meta())
    check_beginnings([result], whole)
    assert [(c.index, c.finish_reason) for c in result.choices] == [(c.index, c.finish_reason) for c in whole.choices]
