"""What does the Responses API say? Its replies, read into the same result as a chat completion.

Spoken on ``/serving-endpoints/responses``. Shapes: OpenAI's Responses reference and the ResponsesAgent replies
among the payload facts (ids and status may be missing, ``created_at`` may be a float).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from isochat.errors import BadResponseError
from isochat.results import (
    ChatResult,
    Choice,
    FinishReason,
    Function,
    Message,
    Meta,
    OtherPart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCall,
)
from isochat.wire_format.content import arguments_text, joined, read_content, read_reasoning
from isochat.wire_format.json_text import type_name
from isochat.wire_format.usage import read_usage

_NO_META = Meta()
ANSWERS = ("function_call_output", "custom_tool_call_output")
_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}


def read_response(data: Any, meta: Meta = _NO_META) -> ChatResult:
    """The normalised result of a Responses object.

    Raises:
        BadResponseError: it has no output list, or an item is of the wrong type; the message names the path.
    """
    if not isinstance(data, Mapping):
        raise BadResponseError(f"the reply is {type_name(data)}; expected a Responses object")
    output = data.get("output")
    if not isinstance(output, list | tuple):
        found = "missing" if "output" not in data else type_name(output)
        raise BadResponseError(f"output is {found}; expected a list of items")
    message, logprobs = _read_output(output)
    reason, raw_reason = finish_reason(data, bool(message.tool_calls))
    created, model, reply_id = data.get("created_at"), data.get("model"), data.get("id")
    return ChatResult(
        id=reply_id if isinstance(reply_id, str) else None,
        model=model if isinstance(model, str) else None,
        created=created if isinstance(created, int | float) and not isinstance(created, bool) else None,
        choices=(Choice(message=message, finish_reason=reason, raw_finish_reason=raw_reason, logprobs=logprobs),),
        usage=read_usage(data.get("usage")),
        meta=meta,
    )


def _read_output(output: Sequence[Any]) -> tuple[Message, Any]:
    parts: list[Part] = []
    calls: list[ToolCall] = []
    content: str | None = None
    logprobs: list[Any] = []
    # Pending calls that other items follow: their place is kept in the wire form of what follows, since the API takes a
    # reasoning item back only before what it led to.
    before: list[Any] = []
    answered = {call_id(item) for item in output if _type(item) in ANSWERS} - {None}
    for index, item in enumerate(output):
        path = f"output[{index}]"
        match _type(item):
            case "message":
                blocks = read_content(item.get("content"), f"{path}.content")
                parts.extend(_in_phase(blocks, item.get("phase")))
                # Of several messages (an agent's turns) the last one is the answer.
                text = joined(blocks, TextPart)
                content = content if text is None else text
                for block in item.get("content") or ():
                    if isinstance(block, dict) and isinstance(block.get("logprobs"), list):
                        logprobs.extend(block["logprobs"])
            case "reasoning":
                parts.extend(_placed(read_reasoning(item, path), before))
            case "function_call" if call_id(item) not in answered:
                calls.append(_read_call(item, path))
                before.append(item)
            case "custom_tool_call" if call_id(item) not in answered:
                calls.append(_read_custom_call(item, path))
                before.append(item)
            case None:
                raise BadResponseError(f"{path} is {type_name(item)}; expected an item with a type")
            case kind:
                data = {k: v for k, v in item.items() if k != "type"}
                parts.extend(_placed((OtherPart(kind, data, wire={**item, "type": kind}),), before))
    if content == "" and calls:
        content = None
    message = Message(
        content=content,
        reasoning=joined(parts, ReasoningPart),
        tool_calls=tuple(calls),
        refusal=joined(parts, RefusalPart),
        parts=tuple(part for part in parts if part != TextPart("")),
    )
    return message, {"content": logprobs} if logprobs else None


def _placed(parts: Sequence[ReasoningPart | OtherPart], before: list[Any]) -> Sequence[Part]:
    """The parts of one item, with the calls ``before`` it in their wire form; these are placed then."""
    if not before or not parts:
        return parts
    wire = [*before, parts[0].wire]
    before.clear()
    return [msgspec.structs.replace(part, wire=wire) for part in parts]


def _in_phase(parts: Sequence[Part], phase: Any) -> Sequence[Part]:
    """The parts of a message with its ``phase`` in their wire form: GPT-5 models want it back with each message."""
    if not isinstance(phase, str):
        return parts
    return [
        msgspec.structs.replace(part, wire={**part.wire, "phase": phase}) if isinstance(part.wire, dict) else part
        for part in parts
    ]


def _type(item: Any) -> str | None:
    return str(item.get("type") or "unknown") if isinstance(item, dict) else None


def call_id(item: Mapping[str, Any]) -> str | None:
    """By which id a tool call and its answer are known to each other."""
    found = item.get("call_id") or item.get("id")
    return found if isinstance(found, str) else None


def _read_call(item: dict[str, Any], path: str) -> ToolCall:
    name, arguments = item.get("name"), item.get("arguments")
    if not isinstance(name, str):
        raise BadResponseError(f"{path} is a function_call without a name")
    known = ("id", "call_id", "type", "name", "arguments", "status")
    return ToolCall(
        id=call_id(item),
        function=Function(name, arguments_text(arguments)),
        extra={k: v for k, v in item.items() if k not in known},
    )


def _read_custom_call(item: dict[str, Any], path: str) -> ToolCall:
    name, text = item.get("name"), arguments_text(item.get("input"))
    if not isinstance(name, str):
        raise BadResponseError(f"{path} is a custom_tool_call without a name")
    known = ("id", "call_id", "type", "name", "input", "status")
    return ToolCall(
        id=call_id(item),
        type="custom",
        function=Function(name, text),
        # As chat completions write it: this is what goes back.
        extra={**{k: v for k, v in item.items() if k not in known}, "custom": {"name": name, "input": text}},
    )


def finish_reason(data: Mapping[str, Any], calls_tools: bool) -> tuple[FinishReason | None, str | None]:
    """Why a response ended, and the word for it; ``calls_tools`` where tool calls are left that nothing answered."""
    status = data.get("status")
    match status:
        case None:
            return None, None
        case "completed":
            return ("tool_calls" if calls_tools else "stop"), "completed"
        case "incomplete":
            details = data.get("incomplete_details")
            why = details.get("reason") if isinstance(details, dict) else None
            return _INCOMPLETE.get(str(why), "unknown"), f"incomplete/{why}" if why else "incomplete"
    return "unknown", str(status)
