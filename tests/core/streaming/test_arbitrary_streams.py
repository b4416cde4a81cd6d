"""Can any stream break the readers? Arbitrary events give chunks, a result or a ChatError, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isochat import ChatResult
from isochat.errors import ChatError, ConnectionLostError
from isochat.results import Meta
from isochat.streaming.reading import StreamReading

QUICK = settings(deadline=None, database=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])

WORDS = [
    "id", "model", "created", "choices", "index", "delta", "message", "finish_reason", "logprobs", "usage", "role",
    "content", "text", "type", "summary", "signature", "data", "citations", "refusal", "tool_calls", "function",
    "custom", "name", "arguments", "input", "call_id", "output", "status", "response", "item", "item_id",
    "output_index", "content_index", "summary_index", "reasoning_content", "function_call", "object", "messages",
    "tool_call_id", "error", "error_code", "detail", "prompt_tokens", "incomplete_details", "isochat_parts",
]  # fmt: skip
VALUES = [
    "text", "reasoning", "output_text", "message", "function_call", "function_call_output", "custom_tool_call",
    "summary_text", "summary_encrypted_text", "assistant", "tool", "stop", "completed", "failed", "error", "ping",
    "response.created", "response.output_text.delta", "response.output_item.added", "response.output_item.done",
    "response.function_call_arguments.delta", "response.reasoning_summary_text.delta", "response.completed",
    "chat.completion.chunk", "a",
]  # fmt: skip
scalars = st.none() | st.booleans() | st.integers(-2, 3) | st.floats(allow_nan=False) | st.sampled_from(VALUES)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(WORDS), anything, max_size=5)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "output_text", "reasoning", "refusal", "odd"]) | anything},
    optional={
        "text": anything, "refusal": anything, "citations": anything,
        "summary": st.lists(objects, max_size=2) | anything,
        "content": st.lists(objects, max_size=2) | anything,
    },
)  # fmt: skip
pieces = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({}, optional={"name": anything, "arguments": anything})},
    optional={"index": anything, "id": anything, "type": anything, "custom": objects},
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": anything,
        "content": anything | st.lists(blocks, max_size=3),
        "tool_calls": anything | st.lists(pieces, max_size=2),
        "function_call": objects,
        "reasoning_content": anything,
        "refusal": anything,
        "id": anything,
        "tool_call_id": anything,
    },
)
choices = st.fixed_dictionaries(
    {"delta": deltas | anything},
    optional={"index": anything, "finish_reason": anything, "logprobs": objects | anything},
)
chats = st.fixed_dictionaries(
    {"choices": st.lists(choices, max_size=2) | anything}, optional={"usage": objects | anything}
)
agents = st.fixed_dictionaries({"delta": deltas}, optional={"finish_reason": anything, "usage": objects})
items = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "function_call_output"])},
    optional=dict.fromkeys(("id", "call_id", "name", "arguments", "input", "content", "summary"), anything),
)
responses = st.fixed_dictionaries(
    {"type": st.sampled_from([value for value in VALUES if value.startswith("response.")])},
    optional={
        "delta": anything, "item": items, "item_id": anything, "output_index": anything, "content_index": anything,
        "summary_index": anything,
        "response": st.fixed_dictionaries(
            {"output": st.lists(items, max_size=2) | anything},
            optional={"usage": anything, "status": anything, "id": anything},
        ),
    },
)  # fmt: skip
streams = (
    st.lists(chats | objects, max_size=5)
    | st.lists(agents | objects, max_size=5)
    | st.lists(responses | items, max_size=6)
    | st.lists(anything, max_size=3)
)


def check(body: bytes | list[dict[str, Any]], api: str, end: str) -> None:
    reading = StreamReading(api, usage_asked=True)
    try:
        for data in [body] if isinstance(body, bytes) else body:
            reading.feed(data)
        assert isinstance(reading.partial(), ChatResult)
        if end == "lost":
            reading.broken(ConnectionLostError("lost"))
        else:
            reading.end(end == "delimited")
        result = reading.result(Meta())
    except ChatError:
        assert isinstance(reading.partial(), ChatResult)
        return
    assert result.choices
    assert ChatResult.from_dict(json.loads(json.dumps(result.to_dict()))) is not None


ends = st.sampled_from(["delimited", "closed", "lost"])
apis = st.sampled_from(["chat-completions", "responses"])


@QUICK
@given(streams, apis, ends, st.booleans())
def test_arbitrary_events(events, api, end, done):
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)

    check(body + (b"data: [DONE]\n\n" if done else b""), api, end)


@QUICK
@given(st.lists(chats | agents | responses, max_size=4), apis, ends)
def test_arbitrary_mappings(events, api, end):
    check(events, api, end)


@QUICK
@given(anything, apis, ends)
def test_arbitrary_whole_replies(reply, api, end):
    check(json.dumps(reply).encode(), api, end)


@QUICK
@given(st.binary(max_size=60), st.sampled_from([b"", b"data: ", b"{", b"event: error\ndata: "]), ends)
def test_arbitrary_bytes(data, before, end):
    check(before + data, "chat-completions", end)
