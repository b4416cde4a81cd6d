"""How would the chat API have said it? An answer as a `chat.completion`, and a completion as the chunks of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from isochat.results import ChatResult, Choice, Part, ReasoningPart, RefusalPart, TextPart, ToolCall
from isochat.wire_format.usage import write_usage

WORD = re.compile(r"\S+\s*|\s+")
"""What a text is cut into where nobody knows how it was streamed."""

_OF_A_COMPLETION = ("id", "created", "model")
_READ = frozenset({*_OF_A_COMPLETION, "object", "choices", "usage"})
_TOLD_APART = ("role", "content", "tool_calls")


class CannotTellError(Exception):
    """An API has no words for an answer; the message says for what."""


def completion_of(result: ChatResult) -> dict[str, Any]:
    """The answer as a chat completion, blocks as Databricks writes them. Raises CannotTellError."""
    told = {
        "id": result.id,
        "object": "chat.completion",
        "created": result.created,
        "model": result.model,
        "choices": [_choice(choice) for choice in result.choices],
    }
    return told if result.usage is None else {**told, "usage": write_usage(result.usage)}


def _choice(choice: Choice) -> dict[str, Any]:
    message = choice.message
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    said = [part for part in message.parts if not isinstance(part, RefusalPart)]
    if len(said) > 1 or any(not isinstance(part, TextPart) or part.citations for part in said):
        told["content"] = [_block(part) for part in said]
    if message.refusal is not None:
        told["refusal"] = message.refusal
    if message.tool_calls:
        told["tool_calls"] = [_call(call) for call in message.tool_calls]
    reason = choice.raw_finish_reason if choice.finish_reason == "unknown" else choice.finish_reason
    return {"index": choice.index, "message": told, "finish_reason": reason, "logprobs": choice.logprobs}


def _block(part: Part) -> dict[str, Any]:
    match part:
        case TextPart(text=text, citations=citations):
            return {"type": "text", "text": text, **({"citations": list(citations)} if citations else {})}
        case ReasoningPart(encrypted=str() as data):
            return {"type": "reasoning", "summary": [{"type": "summary_encrypted_text", "data": data}]}
        case ReasoningPart(text=text, signature=signature):
            summary = {"type": "summary_text", "text": text, **({"signature": signature} if signature else {})}
            return {"type": "reasoning", "summary": [summary]}
    kind = getattr(part, "type", type(part).__name__)
    raise CannotTellError(f"chat completions have no words for {kind!r}")


def _call(call: ToolCall) -> dict[str, Any]:
    if call.type != "function":
        return {"id": call.id, "type": call.type, **call.extra}
    beside = {name: value for name, value in call.extra.items() if name != "function"}
    inner = call.extra.get("function", {})
    function = {"name": call.function.name, "arguments": call.function.arguments, **inner}
    return {"id": call.id, "type": call.type, **beside, "function": function}


def completion_chunks(completion: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks that a stream of this completion has: text word by word, blocks and calls whole, usage at the end."""
    head = {name: completion.get(name) for name in _OF_A_COMPLETION}
    head["object"] = "chat.completion.chunk"
    more = {name: value for name, value in completion.items() if name not in _READ}
    for choice in completion["choices"]:
        for delta in _deltas(choice.get("message") or {}):
            yield {**head, **more, "choices": [{"index": choice.get("index"), "delta": delta, "finish_reason": None}]}
            more = {}
        last = {"index": choice.get("index"), "delta": {}, "finish_reason": choice.get("finish_reason")}
        yield {**head, "choices": [{**last, "logprobs": choice.get("logprobs")}]}
    if completion.get("usage") is not None:
        yield {**head, "choices": [], "usage": completion["usage"]}


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    yield {"role": message.get("role", "assistant"), "content": "" if isinstance(content, str) else None}
    others = {name: value for name, value in message.items() if name not in _TOLD_APART and value is not None}
    if others:
        yield others
    if isinstance(content, str):
        for word in WORD.findall(content):
            yield {"content": word}
    elif isinstance(content, list):
        for block in content:
            yield {"content": [block]}
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"tool_calls": [{"index": index, **call}]}
