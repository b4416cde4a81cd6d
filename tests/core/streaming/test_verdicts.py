"""When is a stream complete, cut, failed, or no stream at all? Each sentence of the rule, as bytes and an end."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from stream_bytes import chunk, completion, read, sse

import isochat
from isochat.errors import ChatError, ConnectionLostError, ResponseTooLargeError
from isochat.results import Meta
from isochat.streaming.reading import StreamReading
from isochat.transport.limits import Limits

ENDS = ("delimited", "closed", "lost")
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
A, B, STOP = chunk({"role": "assistant", "content": "A"}), chunk({"content": "B"}), chunk({}, "stop")
COUNTED = {"id": "c", "choices": [], "usage": USAGE}
AGENT = {"id": "a", "delta": {"role": "assistant", "content": "A", "id": "m1"}}
CUSTOM = {"choices": [], "delta": {"role": "assistant", "content": "A"}, "custom_outputs": {"k": 1}}
DELTA = {"type": "response.output_text.delta", "item_id": "m1", "delta": "A"}
MESSAGE = {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": "A"}]}
ITEM = {"type": "response.output_item.done", "item": MESSAGE}
TOOL = {"type": "function_call_output", "call_id": "x", "output": "1"}
CREATED = {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}}


def ended(kind: str = "completed", **fields: Any) -> dict[str, Any]:
    response = {"id": "r", "status": kind, "output": [MESSAGE], "usage": {"input_tokens": 1}, **fields}
    return {"type": f"response.{kind}", "response": response}


WHOLE = json.dumps(completion({"content": "A"})).encode()


def over_lines(event: Any) -> bytes:
    """An event with its JSON over several lines of data."""
    lines = json.dumps(event, indent=1).split("\n")
    return "".join([*(f"data: {line}\n" for line in lines), "\n"]).encode()


class Case(NamedTuple):
    """A body, with what is made of it at a delimited end, a close-delimited end and a loss.

    An outcome is ``ok``, a warning of a complete stream, or the name of an error's class.
    """

    body: bytes
    delimited: str
    closed: str | None = None
    lost: str | None = None
    text: str = "A"
    arguments: dict[str, Any] = {}


CUT, BAD, FAILED = "StreamTruncatedError", "BadResponseError", "StreamFailedError"
ASKED = {"usage_asked": True}
ON_RESPONSES = {"api": "responses", "on_responses": True}
SMALL = {"limits": Limits(event=400, body=400)}

CASES: dict[str, Case] = {
    # -- chat: a finish reason for every choice that appeared
    "chat with reason and [DONE]": Case(sse(A, STOP, "[DONE]"), "ok"),
    "chat with reason, no [DONE]": Case(sse(A, STOP), "ok"),
    "chat without reason": Case(sse(A), CUT),
    "chat without reason, [DONE]": Case(sse(A, "[DONE]"), CUT),
    "chat, one of two choices without reason": Case(sse(A, chunk({"content": "x"}, index=1), STOP, "[DONE]"), CUT),
    "chat, both of two choices with reason": Case(sse(A, chunk({"content": "x"}, "stop", 1), STOP, "[DONE]"), "ok"),
    "chat, two asked, the second has not begun": Case(sse(A, STOP), "ok", CUT, CUT, arguments={"choices": 2}),
    "chat, two asked, one given, [DONE]": Case(sse(A, STOP, "[DONE]"), "ok", arguments={"choices": 2}),
    "chat, usage asked and given": Case(sse(A, STOP, COUNTED, "[DONE]"), "ok", arguments=ASKED),
    "chat, usage asked, lost before it": Case(sse(A, STOP), "usage_missing", arguments=ASKED),
    "chat, usage asked, nulls given": Case(
        sse(A, STOP, {"choices": [], "usage": {"prompt_tokens": None}}), "usage_missing", arguments=ASKED
    ),
    "chat, usage not asked, none given": Case(sse(A, STOP, "[DONE]"), "ok"),
    "chat, text after the reason": Case(sse(A, STOP, B, "[DONE]"), "ok", text="AB"),
    "chat, reason inside an unfinished event": Case(sse(A) + sse(STOP)[:-1], CUT),
    "chat, cut inside an event": Case(sse(A) + sse(B)[:20], CUT),
    "chat, cut inside UTF-8": Case(sse(A) + sse(chunk({"content": "é"})).split(b"\xa9")[0], CUT),
    "data after [DONE]": Case(sse(A, STOP, "[DONE]", B, {"error": "x"}) + b"data: {broken\n\n", "ok"),
    "[DONE] with blanks": Case(sse(AGENT) + b"data:  [DONE] \n\n", "ok"),
    # -- agents: [DONE], else a clean end that the framing proves
    "ChatAgent with [DONE]": Case(sse(AGENT, "[DONE]"), "ok"),
    "ChatAgent without [DONE]": Case(sse(AGENT), "completion_unproven", CUT, CUT),
    "ChatAgent, usage asked": Case(sse(AGENT, "[DONE]"), "ok", arguments=ASKED),
    "ChatAgent with a reason": Case(sse({**AGENT, "finish_reason": "stop"}), "ok"),
    "ChatAgent, a reason that is a tool's": Case(
        sse({**AGENT, "finish_reason": "tool_calls"}), "completion_unproven", CUT, CUT
    ),
    "ChatAgent, a reason, then more": Case(
        sse({**AGENT, "finish_reason": "stop"}, AGENT), "completion_unproven", CUT, CUT, text="AA"
    ),
    "ChatAgent, cut inside an event": Case(sse(AGENT) + b'data: {"id', CUT),
    "custom model with bare deltas": Case(sse(CUSTOM), "completion_unproven", CUT, CUT),
    "custom model with bare deltas and [DONE]": Case(sse(CUSTOM, "[DONE]"), "ok"),
    "ResponsesAgent with [DONE]": Case(sse(DELTA, ITEM, "[DONE]"), "ok"),
    "ResponsesAgent without [DONE]": Case(sse(DELTA, ITEM), "completion_unproven", CUT, CUT),
    "ResponsesAgent with answered tools": Case(sse(CREATED, TOOL, ITEM), "completion_unproven", CUT, CUT),
    "bare items": Case(sse(TOOL, MESSAGE), "completion_unproven", CUT, CUT),
    "an agent, a comment under way": Case(sse(AGENT, "[DONE]") + b": pi", "ok"),
    # -- the Responses path: there an agent too ends its items
    "on the Responses path, deltas alone": Case(sse(DELTA), CUT, arguments=ON_RESPONSES),
    "on the Responses path, deltas alone and [DONE]": Case(sse(DELTA, "[DONE]"), "ok", arguments=ON_RESPONSES),
    "on the Responses path, a whole item": Case(
        sse(DELTA, ITEM), "completion_unproven", CUT, CUT, arguments=ON_RESPONSES
    ),
    "on the Responses path, a whole item and half of the next": Case(
        sse(DELTA, ITEM, {**DELTA, "item_id": "m2"}), CUT, text="A", arguments=ON_RESPONSES
    ),
    "on the Responses path, an answered tool": Case(
        sse(CREATED, TOOL, ITEM), "completion_unproven", CUT, CUT, arguments=ON_RESPONSES
    ),
    "elsewhere, deltas alone": Case(sse(DELTA), "completion_unproven", CUT, CUT),
    # -- Responses: its own last event
    "response completed": Case(sse(CREATED, DELTA, ended(), named=True), "ok"),
    "response completed and [DONE]": Case(sse(CREATED, DELTA, ended(), "[DONE]"), "ok"),
    "response incomplete": Case(sse(CREATED, DELTA, ended("incomplete"), named=True), "ok"),
    "response not completed": Case(sse(CREATED, DELTA, ITEM, named=True), CUT),
    "response not completed, [DONE]": Case(sse(CREATED, DELTA, ITEM, "[DONE]"), CUT),
    "response begun only": Case(sse(CREATED), CUT, text=""),
    "response completed, another begun": Case(sse(CREATED, DELTA, ended(), CREATED), CUT),
    "response completed, an unknown event after it": Case(sse(CREATED, ended(), {"type": "response.odd"}), "ok"),
    # -- nothing, and what is no stream
    "empty": Case(b"", CUT, text=""),
    "blank": Case(b"\n\n", CUT, text=""),
    "comments only": Case(b": ping\n\n: ping\n\n", CUT, text=""),
    "BOM only": Case(b"\xef\xbb\xbf", CUT, text=""),
    "[DONE] only": Case(sse("[DONE]"), CUT, text=""),
    "empty data only": Case(b"data:\n\ndata\n\n", CUT, text=""),
    "usage only": Case(sse(COUNTED, "[DONE]"), CUT, text=""),
    "objects of no dialect": Case(sse({}, {"x": 1}, "[DONE]"), CUT, text=""),
    "values that are no objects": Case(sse("1", '"a"', "null", "[1]", "[DONE]"), CUT, text=""),
    "half a field": Case(b"dat", CUT, text=""),
    "HTML": Case(b"<!DOCTYPE html><html>Sign in</html>", BAD, lost=CUT, text=""),
    "HTML after blanks and a BOM": Case(b"\xef\xbb\xbf \n <html>Sign in</html>", BAD, lost=CUT, text=""),
    "plain text": Case(b"upstream connect error\n", BAD, text="", lost=CUT),
    "plain text of one word": Case(b"forbidden", BAD, text="", lost=CUT),
    "text that begins as a field": Case(b"dataset is missing\n", BAD, text="", lost=CUT),
    # -- what is tolerated
    "a BOM, comments, ids": Case(b"\xef\xbb\xbf: hi\nid: 1\nretry: 5\nfoo: bar\n" + sse(A, STOP), "ok"),
    "pings of every kind": Case(
        b": ping\n\nevent: ping\ndata: x\n\n" + sse({"type": "ping"}, A, STOP) + b"event: ping\ndata: {}\n\n", "ok"
    ),
    "an unknown event with text": Case(sse(A) + b"event: heartbeat\ndata: still here\n\n" + sse(STOP), "ok"),
    "an unknown event with an object": Case(sse(A) + b'event: trace\ndata: {"x": 1}\n\n' + sse(STOP), "ok"),
    "choices null, empty, without delta": Case(
        sse({"choices": None}, {"choices": []}, {"choices": [{"index": 0}]}, {"choices": [{"delta": None}]}, A, STOP),
        "ok",
    ),
    "values among the events": Case(sse("1", A, "null", '["x"]', STOP), "ok"),
    "data over several lines": Case(over_lines(chunk({"content": "A"}, "stop")), "ok"),
    # -- what fails in the middle
    "broken JSON": Case(sse(A) + b"data: {broken\n\n" + sse(STOP), FAILED),
    "broken JSON in an event of its own type": Case(sse(A) + b"event: chunk\ndata: {broken\n\n" + sse(STOP), FAILED),
    "broken JSON at once": Case(b"data: {broken\n\n", FAILED, text=""),
    "invalid UTF-8": Case(sse(A) + b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n', FAILED),
    "NaN": Case(sse(A) + b'data: {"choices":[], "x": NaN}\n\n', FAILED),
    "too deep": Case(sse(A) + b"data: " + b"[" * 100_000 + b"\n\n", "ResponseTooLargeError"),
    "too large": Case(sse(A) + b"data: " + b"x" * 500, "ResponseTooLargeError", arguments=SMALL),
    # -- whole replies in place of a stream
    "a completion": Case(WHOLE, "not_streamed"),
    "a completion over lines": Case(json.dumps(json.loads(WHOLE), indent=2).encode(), "not_streamed"),
    "a completion after a BOM and blanks": Case(b"\xef\xbb\xbf\r\n" + b" " * 500 + WHOLE, "not_streamed"),
    "a completion as an event": Case(sse(completion({"content": "A"}), "[DONE]"), "ok"),
    "a Responses object": Case(json.dumps(ended()["response"]).encode(), "not_streamed"),
    "a Responses object as an event": Case(sse(ended()["response"], "[DONE]"), "not_streamed"),
    "a ChatAgent reply": Case(json.dumps({"messages": [AGENT["delta"]]}).encode(), "not_streamed"),
    "a ChatAgent reply as an event": Case(sse({"messages": [AGENT["delta"]]}), "not_streamed"),
    "a whole reply, cut": Case(WHOLE[:-1], BAD, lost=CUT, text=""),
    "a whole reply over its cap": Case(b"{" + b" " * 500, "ResponseTooLargeError", text="", arguments=SMALL),
    "JSON that is no answer": Case(b'{"x": 1}', BAD, lost=CUT, text=""),
    "a JSON list": Case(b"[1]", BAD, lost=CUT, text=""),
    "a whole reply of the wrong kind as an event": Case(sse({"output": [3]}), BAD, text=""),
}


def outcome_of(case: Case, end: str, step: int | None = None) -> tuple[str, str]:
    """The outcome's name and the text that came."""
    reading = StreamReading(**{"api": "chat-completions", "headers": {"x-request-id": "rid"}, **case.arguments})
    step = step or len(case.body) or 1
    try:
        for place in range(0, len(case.body), step):
            reading.feed(case.body[place : place + step])
        if end == "lost":
            reading.broken(ConnectionLostError("the connection ended inside the reply"))
        else:
            reading.end(end == "delimited")
    except ChatError as error:
        failure = error
    else:
        result = reading.result(Meta())
        return ",".join(reading.warnings) or "ok", result.text
    assert (failure.status_code, failure.request_id) == (200, "rid")
    assert failure.partial is not None
    assert isinstance(failure.__cause__, ConnectionLostError) == (end == "lost" and type(failure).__name__ == CUT)
    return type(failure).__name__, failure.partial.text


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", CASES)
def test_the_verdict(name, end):
    case = CASES[name]
    expected = {"delimited": case.delimited, "closed": case.closed, "lost": case.lost}[end] or case.delimited

    assert outcome_of(case, end) == (expected, case.text)
    if len(case.body) < 3000:
        assert outcome_of(case, end, step=1) == (expected, case.text)


CALL = {"type": "function_call", "id": "f1", "call_id": "x", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("body", "elsewhere", "on_responses"),
    [
        (sse(A, STOP, "[DONE]"), True, True),
        (sse(A, STOP, COUNTED), False, False),
        (sse(AGENT, "[DONE]"), True, True),
        (sse(CREATED, DELTA, ended(), named=True), False, True),
        (sse(CREATED, DELTA, ended("incomplete"), named=True), False, True),
        (sse(CREATED, DELTA, ITEM, named=True), False, False),
        (sse(CREATED, DELTA, ended()) + b"data: ", False, False),
        (sse(CREATED, ended(output=[CALL])), False, False),
        (sse(CREATED, ended(output=[CALL]), TOOL, CREATED, ended()), False, False),
        (sse(DELTA, ITEM), False, False),
    ],
)
def test_when_nothing_more_is_expected(body, elsewhere, on_responses):
    for reading, expected in (
        (StreamReading("chat-completions"), elsewhere),
        (StreamReading("responses", on_responses=True), on_responses),
    ):
        reading.feed(body)
        assert reading.over == expected


def test_a_stream_over_time_keeps_what_had_come():
    reading = StreamReading("chat-completions")
    reading.feed(sse(A))
    late = isochat.ChatTimeoutError("silent", phase="idle")

    with pytest.raises(isochat.ChatTimeoutError) as caught:
        reading.broken(late)

    assert caught.value is late
    assert late.partial.text == "A"


def test_a_stream_over_time_after_its_last_reason_is_complete():
    reading = StreamReading("chat-completions", usage_asked=True)
    reading.feed(sse(A, STOP))
    reading.broken(isochat.ChatTimeoutError("silent", phase="idle"))

    assert reading.result(Meta()).text == "A"
    assert reading.warnings == ["usage_missing"]


def test_the_errors_say_where_and_what():
    def said(body: bytes) -> ChatError:
        with pytest.raises(ChatError) as caught:
            read([body])
        return caught.value

    assert "the stream ended after 1 event, before the answer was complete" in str(said(sse(A)))
    assert "[DONE] came after 2 events" in str(said(sse(A, B, "[DONE]")))
    assert "after no event" in str(said(b""))
    assert "event 2 of the stream is not JSON; it begins '{broken'" in str(said(sse(A) + b"data: {broken\n\n"))
    assert "event 2 of the stream is not UTF-8" in str(said(sse(A) + b'data: "\xff"\n\n'))
    assert "encoding" in str(said(sse(A) + b'data: "\xff"\n\n'))
    assert "it begins 'upstream connect error'" in str(said(b"upstream connect error\n\n"))
    assert "web page" in str(said(b"<html>"))
    assert "event 2 of the stream is nested too deep" in str(said(sse(A) + b"data: " + b"[" * 100_000 + b"\n\n"))


def test_mappings_of_a_backend_are_read_as_events_are():
    reading = StreamReading("chat-completions")
    for event in (A, B, STOP):
        reading.feed(event)
    reading.end(True)

    assert reading.result(Meta()).text == "AB"
    assert [chunk.text for chunk in reading.chunks] == ["A", "B", ""]


def test_an_event_too_large_keeps_what_had_come():
    reading = StreamReading("chat-completions", limits=Limits(event=300))
    reading.feed(sse(A))
    with pytest.raises(ResponseTooLargeError) as caught:
        reading.feed(b"data: " + b"x" * 400)

    assert caught.value.partial.text == "A"
