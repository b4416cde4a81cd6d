"""Does a stream's cost grow with its length and no faster, whatever it opens by the thousand?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from isochat.results import Meta
from isochat.streaming.reading import StreamReading

Events = Iterator[dict[str, Any]]


def chat(delta: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


def item(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "message", "id": f"m{number}", "content": [{"type": "output_text", "text": "a"}], **more}


def added(item: dict[str, Any], **place: int) -> dict[str, Any]:
    return {"type": "response.output_item.done", "item": item, **place}


def completed(output: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", "output": output}}


def tool_calls(n: int) -> Events:
    for i in range(n):
        yield chat({"tool_calls": [{"id": f"c{i}", "function": {"name": "f", "arguments": "{}"}}]})


def citations(n: int) -> Events:
    for i in range(n):
        yield chat({"content": [{"type": "text", "text": "a", "citation": {"n": i}}]})


def choices(n: int) -> Events:
    for i in range(n):
        yield {"choices": [{"index": i, "delta": {"content": "a"}}]}


def annotations(n: int) -> Events:
    for i in range(n):
        yield chat({"content": "", "annotations": [{"n": i}]})


def items_of_one_id(n: int) -> Events:
    for i in range(n):
        yield added(item(0), output_index=i)


def items_listed_again(n: int) -> Events:
    for i in range(n):
        yield added(item(i))
    yield completed([item(i) for i in range(n)])


def items_and_others_listed(n: int) -> Events:
    for i in range(n):
        yield added(item(i))
    yield completed([item(i, role="assistant") for i in range(n)])


def calls_listed(n: int) -> Events:
    calls = [{"type": "function_call", "call_id": f"c{i}", "name": "f", "arguments": "{}"} for i in range(n)]
    yield {"type": "response.created", "response": {"status": "in_progress", "output": []}}
    yield completed(calls)


def agent_messages(n: int) -> Events:
    for i in range(n):
        yield {"delta": {"id": f"m{i}", "role": "assistant", "content": "a"}}


@pytest.mark.parametrize(
    "events_of",
    [
        tool_calls, citations, choices, annotations, items_of_one_id, items_listed_again, items_and_others_listed,
        calls_listed, agent_messages,
    ],
)  # fmt: skip
def test_time_grows_as_the_number_of_events_does(events_of: Callable[[int], Events]) -> None:
    def seconds(n: int) -> float:
        stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events_of(n))
        best = float("inf")
        for _ in range(2):
            begun = time.process_time()
            reading = StreamReading("chat-completions")
            reading.feed(stream)
            reading.partial(Meta())
            best = min(best, time.process_time() - begun)
        return best

    # Sixteen times the events: linear takes sixteen times as long, quadratic 256 times.
    assert min(seconds(4000) / seconds(250) for _ in range(3)) < 64
