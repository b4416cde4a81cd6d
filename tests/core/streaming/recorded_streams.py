"""Streams as the service's endpoints send them, one of each kind, with what they say in full.

Their shapes are those of recordings and public fixtures; the values are short, so that each can be cut at every byte.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from event_oracle import events_of

from isochat import ChatResult


class Recorded(NamedTuple):
    """One stream and the truth of it.

    Attributes:
        kind: Which rule of completion holds.
        texts: The text of each of its messages (of each choice, of a chat).
        calls: Its tool calls: id, name, arguments.
    """

    kind: Literal["chat", "responses", "agent"]
    events: list[Any]
    texts: list[str]
    reasoning: str = ""
    calls: list[tuple[str | None, str, str]] = []
    named: bool = False

    @property
    def body(self) -> bytes:
        """The bytes on the wire."""
        return b"".join(self.pieces)

    @property
    def pieces(self) -> list[bytes]:
        """The bytes of each event."""
        written = []
        for event in self.events:
            data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False, separators=(",", ":"))
            kind = f"event: {event['type']}\n" if self.named and isinstance(event, dict) else ""
            written.append(f"{kind}data: {data}\n\n".encode())
        return written


def chat(delta: Any, reason: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    choices = [{"index": index, "delta": delta, "finish_reason": reason}]
    return {
        "id": "chatcmpl_x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        **fields,
    }


def call(index: int, arguments: str, its_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    if its_id is None:
        return {"index": index, "function": {"arguments": arguments}}
    return {"index": index, "id": its_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 14, "completion_tokens": completion, "total_tokens": 14 + completion}


def summary(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text, **more}]}


CITATION = {"type": "char_location", "cited_text": "c", "document_index": 0, "end_char_index": 5}
NULLS = {"error": None, "incomplete_details": None, "status": None, "usage": None}
TURN = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1.5,
    "model": "databricks-claude-3-7-sonnet",
    "output": [],
    **NULLS,
}
SAID = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "A", "annotations": [], "logprobs": None}]}  # fmt: skip
CALLED = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "toolu_1",
    "name": "f",
    "arguments": "{}",
    "status": None,
}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm é"}]}
ASKED = {
    "id": "fc_2",
    "type": "function_call",
    "call_id": "call_2",
    "name": "g",
    "arguments": '{"a":1}',
    "status": "completed",
}

STREAMS: dict[str, Recorded] = {
    "llama text, usage on every chunk": Recorded(
        "chat",
        [
            chat({"role": "assistant", "content": ""}, usage=usage(3)),
            chat({"content": "Hello! é😀"}, usage=usage(3)),
            chat({"content": "\u2028ok"}, "stop", usage=usage(20)),
            "[DONE]",
        ],
        ["Hello! é😀\u2028ok"],
    ),
    "llama tool call": Recorded(
        "chat",
        [
            chat(
                {"role": "assistant", "content": None, "tool_calls": [call(0, "", "call_u", "weather")]},
                usage=usage(15),
            ),
            chat({"content": None, "tool_calls": [call(0, '{ "city": "Tokyo" }')]}, usage=usage(15)),
            chat({"content": None}, "tool_calls", usage=usage(15)),
            "[DONE]",
        ],
        [""],
        calls=[("call_u", "weather", '{ "city": "Tokyo" }')],
    ),
    "split arguments, no [DONE]": Recorded(
        "chat",
        [
            chat({"role": "assistant", "content": None, "tool_calls": [call(0, "", "call_1", "f")]}),
            chat({"tool_calls": [call(0, '{"a":')]}),
            chat({"tool_calls": [call(0, "1}")]}),
            chat({}, "tool_calls"),
        ],
        [""],
        calls=[("call_1", "f", '{"a":1}')],
    ),
    "parallel calls": Recorded(
        "chat",
        [
            chat(
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [call(0, "", "call_0", "a"), call(1, "", "call_1", "b")],
                }
            ),
            chat({"tool_calls": [call(0, '{"x":1}')]}),
            chat({"tool_calls": [call(1, '{"y":2}')]}),
            chat({}, "tool_calls"),
        ],
        [""],
        calls=[("call_0", "a", '{"x":1}'), ("call_1", "b", '{"y":2}')],
    ),
    "usage only last": Recorded(
        "chat",
        [
            chat({"role": "assistant", "content": "A"}),
            chat({"content": ""}, "stop"),
            {**chat({}), "choices": [], "usage": usage(10)},
            "[DONE]",
        ],
        ["A"],
    ),
    "summaries and strings": Recorded(
        "chat",
        [
            chat(
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "reasoning",
                            "summary": [{"type": "summary_text", "text": "1"}, {"type": "summary_text", "text": "2"}],
                        }
                    ],
                }
            ),
            chat({"content": [{"type": "text", "text": "A"}]}),
            chat({"content": "B"}, "stop"),
        ],
        ["AB"],
        "12",
    ),
    "a citation, cut there": Recorded(
        "chat", [chat({"content": [{"type": "text", "text": "", "citations": [CITATION]}]})], [""]
    ),
    "Claude thinking": Recorded(
        "chat",
        [
            chat({"role": "assistant", "content": ""}),
            chat({"content": [summary("I é")]}),
            chat({"content": [summary("think")]}),
            chat({"content": [summary("", signature="Sig==")]}),
            chat({"content": [{"type": "text", "text": "An"}]}),
            chat({"content": [{"type": "text", "text": "swer"}]}),
            chat({"content": ""}, "stop", usage=usage(9)),
            "[DONE]",
        ],
        ["Answer"],
        "I éthink",
    ),
    "two choices": Recorded(
        "chat",
        [
            chat({"role": "assistant", "content": "a"}),
            chat({"content": "x"}, index=1),
            chat({"content": "b"}, "stop"),
            chat({"content": "y"}, "length", 1),
            "[DONE]",
        ],
        ["ab", "xy"],
    ),
    "ChatAgent, without [DONE]": Recorded(
        "agent",
        [
            {"id": "c", "delta": {"role": "assistant", "content": "H", "id": "msg_1"}},
            {
                "id": "c",
                "delta": {
                    "role": "assistant",
                    "content": "",
                    "id": "msg_2",
                    "tool_calls": [{"type": "function", "id": "call_1", "function": {"name": "f", "arguments": "{}"}}],
                },
            },
            {"id": "c", "delta": {"role": "tool", "name": "f", "content": "{}", "tool_call_id": "call_1", "id": "t_1"}},
            {"id": "c", "delta": {"role": "assistant", "content": "B", "id": "msg_3"}},
        ],
        ["H", "", "B"],
        calls=[("call_1", "f", "{}")],
    ),
    "custom model": Recorded(
        "agent",
        [
            {
                **chat({}),
                "choices": [],
                "usage": usage(20),
                "delta": {"role": "assistant", "content": t},
                "custom_outputs": {"k": "v"},
            }
            for t in "AB"
        ]
        + ["[DONE]"],
        ["AB"],
    ),
    "ResponsesAgent, two turns": Recorded(
        "responses",
        [
            {"type": "response.created", "sequence_number": 0, "response": TURN},
            {"type": "response.output_item.added", "output_index": 0, "item": {**SAID, "id": "added", "content": []}},
            {
                "type": "response.content_part.added",
                "content_index": 0,
                "output_index": 0,
                "item_id": "part",
                "part": {"type": "output_text", "text": ""},
            },
            {
                "type": "response.output_text.delta",
                "content_index": 0,
                "output_index": 0,
                "item_id": "msg_1",
                "delta": "A",
            },
            {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc_1", "delta": "{}"},
            {"type": "response.output_item.done", "output_index": 1, "item": CALLED},
            {"type": "response.output_item.done", "output_index": 0, "item": SAID},
            {
                "type": "response.completed",
                "response": {**TURN, "output": [SAID, CALLED], "usage": {"input_tokens": 5}},
            },
            {"type": "function_call_output", "call_id": "toolu_1", "output": "{}"},
            {"type": "response.created", "sequence_number": 0, "response": TURN},
        ],
        ["A"],
        calls=[("toolu_1", "f", "{}")],
    ),
    "AgentServer": Recorded(
        "agent",
        [
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "A"},
            {"type": "response.output_item.done", "item": SAID},
            "[DONE]",
        ],
        ["A"],
    ),
    "Responses": Recorded(
        "responses",
        [
            {"type": "response.created", "response": {**TURN, "status": "in_progress"}},
            {"type": "response.output_item.added", "output_index": 0, "item": {**THOUGHT, "summary": []}},
            {
                "type": "response.reasoning_summary_text.delta",
                "output_index": 0,
                "summary_index": 0,
                "item_id": "rs_1",
                "delta": "Hm",
            },
            {
                "type": "response.reasoning_summary_text.delta",
                "output_index": 0,
                "summary_index": 0,
                "item_id": "rs_1",
                "delta": " é",
            },
            {"type": "response.output_item.done", "output_index": 0, "item": THOUGHT},
            {"type": "response.output_item.added", "output_index": 1, "item": {**ASKED, "arguments": ""}},
            {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc_2", "delta": '{"a":'},
            {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc_2", "delta": "1}"},
            {"type": "response.output_item.done", "output_index": 1, "item": ASKED},
            {"type": "response.output_text.delta", "output_index": 2, "item_id": "msg_1", "delta": "A"},
            {
                "type": "response.completed",
                "response": {**TURN, "status": "completed", "output": [THOUGHT, ASKED, SAID]},
            },
        ],
        ["A"],
        "Hm é",
        [("call_2", "g", '{"a":1}')],
        named=True,
    ),
}


def is_complete(stream: Recorded, prefix: bytes, end: str) -> bool:
    """Whether the events that are wholly in ``prefix``, and the end, prove that the answer is complete."""
    data = [event.data for event in events_of(prefix)]
    told: list[Any] = [json.loads(event) for event in data if event != "[DONE]"]
    clean_end = end == "delimited" and prefix.endswith(b"\n\n") and bool(told)
    if stream.kind == "agent":
        return "[DONE]" in data or clean_end
    if stream.kind == "responses":
        tools_answered = any(event["type"] == "function_call_output" for event in told)
        return bool(told) and (told[-1]["type"] == "response.completed" or (tools_answered and clean_end))
    reasons: dict[int, Any] = {}
    for choice in (choice for event in told for choice in event["choices"]):
        reasons[choice["index"]] = choice.get("finish_reason") or reasons.get(choice["index"])
    return bool(reasons) and all(reasons.values())


def is_prefix_of_the_truth(result: ChatResult, stream: Recorded) -> bool:
    for choice in result.choices:
        message = choice.message
        # Of several messages of an agent, the one that is being told.
        truths = [stream.texts[choice.index]] if stream.kind == "chat" else stream.texts
        if not any(truth.startswith(message.content or "") for truth in truths):
            return False
        if not stream.reasoning.startswith(message.reasoning or ""):
            return False
        if len(message.tool_calls) > len(stream.calls):
            return False
        for call, (its_id, name, arguments) in zip(message.tool_calls, stream.calls, strict=False):
            if (call.id, call.function.name) != (its_id, name) or not arguments.startswith(call.function.arguments):
                return False
    return True
