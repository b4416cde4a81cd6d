"""Do the events of agents and of the Responses API give what their plain replies give?"""

from __future__ import annotations

from typing import Any

import pytest
from recorded_streams import STREAMS
from stream_bytes import calls_of, fold, read, reasoning_of, sse, text_of

from isochat.results import Meta
from isochat.wire_format.agents import read_chat_agent
from isochat.wire_format.responses import read_response


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": said, **more}


def message(*content: Any, its_id: str = "msg_1") -> dict[str, Any]:
    return {"type": "message", "id": its_id, "role": "assistant", "content": list(content)}


def called(its_id: str = "fc_1", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": its_id, "call_id": f"call_{its_id}", "name": "f", "arguments": "{}", **more}


def thinking(*texts: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": t} for t in texts], **more}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def done(item: Any, **fields: Any) -> dict[str, Any]:
    return event("output_item.done", item=item, **fields)


def added(item: Any, **fields: Any) -> dict[str, Any]:
    return event("output_item.added", item=item, **fields)


def delta(kind: str, said: str, **fields: Any) -> dict[str, Any]:
    return event(f"{kind}.delta", delta=said, **fields)


def ended(status: str, *output: Any, **fields: Any) -> dict[str, Any]:
    return event(status, response={"id": "r", "model": "m", "status": status, "output": list(output), **fields})


CREATED = event("created", response={"id": "r", "status": "in_progress", "output": []})
TOOL = {"type": "function_call_output", "call_id": "call_fc_1", "output": "1"}
NULL_STATUS = {"id": "r", "model": "m", "status": None}

# What is streamed, and the plain response of the same answer.
RESPONSES: dict[str, tuple[list[Any], Any]] = {
    "text in deltas": (
        [
            CREATED,
            delta("output_text", "A", output_index=0),
            delta("output_text", "B", output_index=0),
            done(message(text("AB")), output_index=0),
            ended("completed", message(text("AB"))),
        ],
        ended("completed", message(text("AB")))["response"],
    ),
    "an item done without deltas": (
        [CREATED, done(message(text("A")), output_index=0), ended("completed", message(text("A")))],
        ended("completed", message(text("A")))["response"],
    ),
    "a response completed with what was never streamed": (
        [CREATED, ended("completed", thinking("T"), message(text("A")), called())],
        ended("completed", thinking("T"), message(text("A")), called())["response"],
    ),
    "a response completed without its output": (
        [
            CREATED,
            delta("output_text", "A", output_index=0),
            done(message(text("A")), output_index=0),
            ended("completed"),
        ],
        ended("completed", message(text("A")))["response"],
    ),
    "no done for its item": (
        [CREATED, delta("output_text", "A", item_id="x"), delta("output_text", "B", item_id="x"), ended("completed")],
        ended("completed", message(text("AB")))["response"],
    ),
    "summaries of reasoning": (
        [
            CREATED,
            added(thinking(), output_index=0),
            delta("reasoning_summary_text", "1", output_index=0, summary_index=0),
            delta("reasoning_summary_text", "2", output_index=0, summary_index=1),
            done(thinking("1", "2", encrypted_content="xyz"), output_index=0),
            ended("completed"),
        ],
        ended("completed", thinking("1", "2", encrypted_content="xyz"))["response"],
    ),
    "a refusal in deltas": (
        [
            CREATED,
            delta("refusal", "I ", output_index=0),
            delta("refusal", "can't", output_index=0),
            ended("completed"),
        ],
        ended("completed", message({"type": "refusal", "refusal": "I can't"}))["response"],
    ),
    "text before a refusal": (
        [
            CREATED,
            delta("output_text", "A", output_index=0, content_index=0),
            delta("refusal", "no", output_index=0, content_index=1),
            ended("completed"),
        ],
        ended("completed", message(text("A"), {"type": "refusal", "refusal": "no"}))["response"],
    ),
    "incomplete by length": (
        [CREATED, ended("incomplete", message(text("A")), incomplete_details={"reason": "max_output_tokens"})],
        ended("incomplete", message(text("A")), incomplete_details={"reason": "max_output_tokens"})["response"],
    ),
    "incomplete by a filter": (
        [CREATED, ended("incomplete", incomplete_details={"reason": "content_filter"})],
        ended("incomplete", incomplete_details={"reason": "content_filter"})["response"],
    ),
    "items that end out of order": (
        [
            CREATED,
            delta("output_text", "A", output_index=0),
            delta("function_call_arguments", "{}", output_index=1),
            done(called(), output_index=1),
            done(message(text("A")), output_index=0),
            ended("completed"),
        ],
        ended("completed", message(text("A")), called())["response"],
    ),
    "calls side by side": (
        [
            CREATED,
            added(called(arguments=""), output_index=0),
            added(called("fc_2", arguments=""), output_index=1),
            delta("function_call_arguments", "{", output_index=0, item_id="fc_1"),
            delta("function_call_arguments", "{", output_index=1, item_id="fc_2"),
            delta("function_call_arguments", "}", output_index=0, item_id="fc_1"),
            delta("function_call_arguments", "}", output_index=1, item_id="fc_2"),
            ended("completed"),
        ],
        ended("completed", called(), called("fc_2"))["response"],
    ),
    "a status that is null at the end": (
        [CREATED, event("completed", response={**NULL_STATUS, "output": [message(text("A"))]})],
        {**NULL_STATUS, "output": [message(text("A"))]},
    ),
    "usage": (
        [CREATED, ended("completed", message(text("A")), usage={"input_tokens": 1, "output_tokens": 2})],
        ended("completed", message(text("A")), usage={"input_tokens": 1, "output_tokens": 2})["response"],
    ),
    # -- agents
    "items of an agent": (
        [delta("output_text", "A", item_id="msg_1"), done(message(text("A"))), "[DONE]"],
        {"output": [message(text("A"))]},
    ),
    "bare items": ([called(), TOOL, message(text("A"))], {"output": [called(), TOOL, message(text("A"))]}),
    "deltas without any name": (
        [
            delta("output_text", "A"),
            delta("output_text", "B"),
            done(message(text("AB"))),
            delta("output_text", "C"),
            "[DONE]",
        ],
        {"output": [message(text("AB")), message(text("C"))]},
    ),
    "turns, announced": (
        [
            CREATED,
            done(called(), output_index=0),
            ended("completed", called()),
            TOOL,
            CREATED,
            done(message(text("A")), output_index=0),
            ended("completed", message(text("A"))),
        ],
        ended("completed", called(), TOOL, message(text("A")))["response"],
    ),
    "turns that use the same place again": (
        [
            added(called(arguments=""), output_index=0),
            done(called(), output_index=0),
            TOOL,
            added(message(), output_index=0),
            delta("output_text", "A", output_index=0, item_id="msg_1"),
            done(message(text("A")), output_index=0),
            added(message(its_id="msg_2"), output_index=0),
            delta("output_text", "B", output_index=0, item_id="msg_2"),
            done(message(text("B"), its_id="msg_2"), output_index=0),
            "[DONE]",
        ],
        {"output": [called(), TOOL, message(text("A")), message(text("B"), its_id="msg_2")]},
    ),
    "messages that use the same id again": (
        [
            delta("output_text", "A", item_id="msg_1"),
            done(message(text("A"))),
            delta("output_text", "B", item_id="msg_1"),
            done(message(text("B"))),
            done(message(text("C"))),
            "[DONE]",
        ],
        {"output": [message(text("A")), message(text("B")), message(text("C"))]},
    ),
    "an item told twice": (
        [done(message(text("A"))), done(message(text("A"))), "[DONE]"],
        {"output": [message(text("A"))]},
    ),
    "a call and its answer under one id": (
        [
            called("x"),
            {"type": "function_call_output", "id": "x", "call_id": "call_x", "output": "1"},
            message(text("A")),
        ],
        {
            "output": [
                called("x"),
                {"type": "function_call_output", "id": "x", "call_id": "call_x", "output": "1"},
                message(text("A")),
            ]
        },
    ),
    "arguments at the place of a message": (
        [
            done(message(text("A")), output_index=0),
            delta("function_call_arguments", "{}", output_index=0),
            done(called(), output_index=0),
            "[DONE]",
        ],
        {"output": [message(text("A")), called()]},
    ),
}


@pytest.mark.parametrize("shape", RESPONSES)
def test_folded_events_equal_the_plain_response(shape):
    events, plain = RESPONSES[shape]

    assert fold(*events) == read_response(plain)


@pytest.mark.parametrize("shape", RESPONSES)
def test_the_chunks_say_it_all_once(shape):
    events, plain = RESPONSES[shape]
    _, chunks, _ = read([sse(*events)])
    said = [
        part["text"] for item in plain["output"] for part in item.get("content", ()) if part["type"] == "output_text"
    ]
    calls = [
        (item["call_id"], item["name"], item["arguments"])
        for item in plain["output"]
        if item["type"] == "function_call"
    ]

    assert text_of(chunks) == "".join(said)
    assert calls_of(chunks) == calls
    assert (reasoning_of(chunks) or "") == (read_response(plain).reasoning or "")


def test_a_chat_agent_tells_messages_by_their_ids():
    stream = STREAMS["ChatAgent, without [DONE]"]
    plain = {"id": "c", "messages": [event["delta"] for event in stream.events]}
    result, chunks, reading = read([stream.body])

    assert result == read_chat_agent(plain, Meta())
    assert result.text == "B"
    assert result.tool_calls == ()  # answered inside the reply
    assert text_of(chunks) == "HB"
    assert calls_of(chunks) == [("call_1", "f", "{}")]
    assert reading.warnings == ["completion_unproven"]


def test_a_chat_agent_without_ids_tells_one_message_at_a_time():
    def said(content: str, role: str = "assistant") -> dict[str, Any]:
        return {"delta": {"role": role, "content": content}}

    result = fold(said("A"), said("B"), said("1", "tool"), said("C"), {"delta": {"content": "D"}}, "[DONE]")

    assert result.text == "CD"
    assert [type(part).__name__ for part in result.message.parts] == ["TextPart", "OtherPart", "TextPart"]


def test_what_an_agent_says_beside_its_messages_is_kept():
    result, _, reading = read(
        [
            sse(
                {"id": "c", "delta": {"role": "assistant", "content": "A"}},
                {"custom_outputs": {"k": 1}, "usage": {"total_tokens": 3}},
                "[DONE]",
            )
        ]
    )

    assert reading.extra == {"custom_outputs": {"k": 1}}
    assert result.usage.total_tokens == 3


def test_an_odd_id_of_an_answer_is_tolerated():
    assert (
        fold({"delta": {"role": "tool", "tool_call_id": {}}}, {"delta": {"role": "assistant", "content": "A"}}).text
        == "A"
    )
    assert read_chat_agent({"messages": [{"role": "tool", "tool_call_id": []}]}, Meta()).text == ""


def test_custom_outputs_of_a_response_are_kept():
    _, _, reading = read([sse(CREATED, ended("completed", message(text("A")), custom_outputs={"k": 1}))])

    assert reading.extra["custom_outputs"] == {"k": 1}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_the_reasoning_of_a_chat_agent_comes_in_pieces(field):
    deltas = [{"role": "assistant", "id": "m1", **more} for more in ({field: "Hm"}, {field: "."}, {"content": "A"})]

    result, chunks, _ = read([sse(*({"delta": delta} for delta in deltas), "[DONE]")])

    assert result == read_chat_agent({"messages": [{"role": "assistant", "content": "A", field: "Hm."}]}, Meta())
    assert reasoning_of(chunks) == result.reasoning == "Hm."
