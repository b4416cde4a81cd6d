"""Do the chunks of a chat completion give what the plain reply of the same answer gives?"""

from __future__ import annotations

import pytest
from chat_shapes import CALLED, ROLE, SHAPES, STOP, USAGE, piece, pieces
from stream_bytes import calls_of, chunk, completion, fold, read, reasoning_of, sse, text_of

import isochat
from isochat.wire_format.chat_completions import read_completion


@pytest.mark.parametrize("shape", SHAPES)
def test_a_folded_stream_equals_the_plain_answer(shape):
    events, plain = SHAPES[shape]

    assert fold(*events) == read_completion(plain)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_chunks_say_what_the_answer_says(shape):
    result, chunks, _ = read([sse(*SHAPES[shape][0])])

    for choice in result.choices:
        message = choice.message
        assert text_of(chunks, choice.index) == (message.content or "")
        assert reasoning_of(chunks, choice.index) == message.reasoning
        assert [chunk.finish_reason for chunk in chunks if chunk.index == choice.index][-1:] != []
    if "function_call" not in str(SHAPES[shape][0]):
        assert calls_of(chunks) == [(c.id, c.function.name, c.function.arguments) for c in result.tool_calls]
    assert [c.usage for c in chunks if c.usage is not None][-1:] in ([], [result.usage]) or "usage with" in shape


def test_every_event_is_a_chunk_and_carries_it_as_it_came():
    events = [ROLE, {"choices": None, "x": 1}, chunk({"content": "A"}), STOP, {"choices": [], "usage": USAGE}]

    assert [chunk.raw for chunk in read([sse(*events)])[1]] == events


def test_what_a_result_has_no_place_for_is_kept_beside_it():
    _, _, reading = read(
        [sse(chunk({"content": "A"}, service_tier="x", odd=None), chunk({}, "stop", custom_outputs={"k": 1}))]
    )

    assert reading.extra == {"service_tier": "x", "custom_outputs": {"k": 1}}


def test_a_call_without_a_name_is_no_call_in_a_stream_either():
    events = [pieces(piece(0, "{}", "a")), CALLED]

    with pytest.raises(isochat.BadResponseError, match=r"tool_calls\[0\] is no tool call"):
        fold(*events)
    with pytest.raises(isochat.BadResponseError, match=r"tool_calls\[0\] is no tool call"):
        read_completion(completion({"tool_calls": [{"id": "a", "function": {"arguments": "{}"}}]}, "tool_calls"))


def test_bare_deltas_of_a_custom_model_are_the_one_choice():
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": USAGE,
             "delta": {"role": "assistant", "content": "A"}, "custom_outputs": {"k": "v"}}  # fmt: skip
    result, chunks, reading = read([sse(event, {**event, "delta": {"content": "B"}}, "[DONE]")])

    assert result == read_completion(completion({"content": "AB"}, None, usage=USAGE))
    assert text_of(chunks) == "AB"
    assert reading.extra == {"custom_outputs": {"k": "v"}}


def test_single_citations_go_back_in_a_row_and_thinking_as_it_came():
    blocks = [
        {"type": "thinking", "thinking": "Hm"}, {"type": "thinking", "thinking": ".", "signature": "S"},
        {"type": "text", "text": "A", "citation": {"n": 1}}, {"type": "text", "text": "", "citation": {"n": 2}},
    ]  # fmt: skip

    assert fold(*(chunk({"content": [block]}) for block in blocks), STOP).to_message()["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "S"},
        {"type": "text", "text": "A", "citations": [{"n": 1}, {"n": 2}]},
    ]
