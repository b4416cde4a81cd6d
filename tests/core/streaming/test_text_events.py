"""Is a chunk that is read as nothing but text read as any other is? The same events, as bytes and as objects."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_bytes import sse
from test_generated_streams import MANY, texts

from isochat import ChatChunk, ChatError
from isochat.results import ChatResult, Meta
from isochat.streaming.reading import StreamReading
from isochat.streaming.text_events import TextEvents
from isochat.wire_format.json_text import decode

HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}

counts = st.integers(-1, 9) | st.sampled_from([None, True, 1.0, 2**70])
usages = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 1), "completion_tokens": st.integers(0, 1)},
    optional={"total_tokens": counts, "prompt_tokens_details": st.just({"cached_tokens": 1}), "odd": st.just(1)},
)
deltas = st.fixed_dictionaries(
    {"content": texts | st.sampled_from([None, "", 1, [{"type": "text", "text": "B"}], "\ud800"])},
    optional={
        "role": st.sampled_from(["assistant", "", None, 1]),
        "reasoning_content": texts,
        "tool_calls": st.just([{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}]),
    },
) | st.just({"content": "A"})
choices = st.fixed_dictionaries(
    {"delta": deltas},
    optional={
        "index": st.sampled_from([0, 1, 2, True, None, "1"]),
        "finish_reason": st.sampled_from([None, "", "stop"]),
        "logprobs": st.sampled_from([None, {"content": [{"token": "A"}]}]),
        "odd": st.none(),
    },
)
events = st.fixed_dictionaries(
    {"choices": st.lists(choices, min_size=1, max_size=1) | st.lists(choices, max_size=2) | st.none()},
    optional={
        "usage": usages | st.none(),
        "id": st.sampled_from(["c", None, 1]),
        "created": st.sampled_from([1, 1.5, None]),
        "model": st.sampled_from(["m", "other"]),
        "object": st.just("chat.completion.chunk"),
        "system_fingerprint": st.sampled_from([None, "fp"]),
        "error": st.sampled_from([None, "it failed"]),
        "type": st.just("ping"),
    },
)


def outcome(pieces: list[Any]) -> tuple[ChatResult | str, list[ChatChunk], list[Any]]:
    reading = StreamReading("chat-completions", usage_asked=True)
    said: ChatResult | str
    try:
        for piece in pieces:
            reading.feed(piece)
        reading.end(True)
        said = reading.result(Meta())
    except ChatError as error:
        said = f"{type(error).__name__}: {error.message} {error.partial!r}"
    return said, list(reading.chunks), [chunk.raw for chunk in reading.chunks]


@MANY
@given(st.lists(events, max_size=20), st.booleans())
def test_read_as_text_or_as_any_other(told: list[dict[str, Any]], named: bool) -> None:
    first = [{**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}] if named else []
    end = {"choices": [{"index": i, "delta": {}, "finish_reason": "stop"} for i in range(3)]}
    written = [json.dumps(event) for event in [*first, *told, end]]
    assert outcome([sse(event) for event in written]) == outcome([decode(event.encode()) for event in written])


def test_what_stands_twice_in_a_chunk_counts_as_it_does_in_any_other() -> None:
    twice = b'{"choices":[{"delta":{"content":"A","content":"B"}}],"choices":[{"index":1,"delta":{"content":"C"}}]}'
    event = TextEvents().read(twice)
    assert event is not None
    (choice,) = event.choices
    assert (choice.index, choice.delta.content) == (1, json.loads(twice)["choices"][0]["delta"]["content"])


def test_the_event_as_it_came_is_read_when_somebody_looks() -> None:
    told = {**HEAD, "choices": [{"index": 0, "delta": {"content": "A"}}]}
    _, chunks, _ = outcome([sse(told, told)])
    assert pickle.loads(pickle.dumps(chunks[1])).raw == chunks[1].raw == told
    assert chunks[1].raw is chunks[1].raw
    assert chunks[1] == chunks[0]
    assert repr(chunks[1]) == "ChatChunk(text='A')"


def test_who_finds_none_looks_no_more() -> None:
    looks = TextEvents()
    with_more = b'{"choices":[{"index":0,"delta":{"content":"A","refusal":null}}]}'
    for _ in range(8):
        assert looks.likely
        assert looks.read(with_more) is None
    assert not looks.likely


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b'{"choices":[]}', b'{"choices":[{"delta":{"content":"\xff"}}]}']
)
def test_what_is_no_such_chunk_is_left(data: bytes) -> None:
    assert TextEvents().read(data) is None
