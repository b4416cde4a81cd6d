"""Does a stream's cost grow with its length and no faster, whatever it opens by the thousand?"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from isochat.results import Meta
from isochat.streaming.kept import check_result
from isochat.streaming.reading import StreamReading
from isochat.wire_format.json_text import decode
from isochat.wire_format.replies import read_reply

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


def responses(n: int) -> Events:
    for i in range(n):
        yield {"type": "response.created", "response": {"status": "in_progress", "output": []}}
        yield completed([item(i)])


def bare_items_and_responses(n: int) -> Events:
    for i in range(n):
        yield item(i)
        yield completed([item(i)])


@pytest.mark.parametrize(
    "events_of",
    [
        tool_calls, citations, choices, annotations, items_of_one_id, items_listed_again, items_and_others_listed,
        calls_listed, agent_messages, responses, bare_items_and_responses,
    ],
)  # fmt: skip
def test_time_grows_as_the_number_of_events_does(events_of: Callable[[int], Events]) -> None:
    def seconds(n: int) -> float:
        stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events_of(n))
        best = float("inf")
        for _ in range(2):
            gc.collect()
            gc.disable()  # it looks through all that the other tests have left
            begun = time.process_time()
            reading = StreamReading("chat-completions")
            reading.feed(stream)
            reading.partial(Meta())
            best = min(best, time.process_time() - begun)
            gc.enable()
        return best

    # Eight times the events: linear takes eight times as long, quadratic 64 times. What is kept of the longer one is
    # measured besides.
    assert min(seconds(4000) / seconds(500) for _ in range(4)) < 32


@pytest.mark.parametrize(("alternatives", "tokens"), [(20, 4000), (5, 12000)])
def test_log_probabilities_of_a_long_answer_are_kept(alternatives: int, tokens: int) -> None:
    def entry(i: int) -> dict[str, Any]:
        token = f" word{i % 9000}"
        return {"token": token, "logprob": -0.123456 * i - 0.01, "bytes": list(token.encode())}

    entries = [{**entry(i), "top_logprobs": [entry(i + j) for j in range(alternatives)]} for i in range(tokens)]
    reading = StreamReading("chat-completions")
    for one in entries:
        event = {"choices": [{"index": 0, "delta": {"content": "w"}, "logprobs": {"content": [one]}}]}
        reading.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    reading.feed(b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')
    reading.end(delimited=True)

    streamed = reading.partial(Meta())
    choice = {"index": 0, "message": {"role": "assistant", "content": "w" * tokens}, "finish_reason": "stop"}
    body = json.dumps({"choices": [{**choice, "logprobs": {"content": entries}}]}).encode()
    data = decode(body)
    check_result(data, body)
    assert streamed == read_reply(data, "chat-completions", Meta())
