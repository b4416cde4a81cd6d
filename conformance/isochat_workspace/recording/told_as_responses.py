"""How would the Responses API have said it? An answer as a Responses object, and such an object as its stream.

Objects, events and their order: OpenAI's Responses reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from isochat.results import ChatResult, Part, ReasoningPart, RefusalPart, TextPart, ToolCall, Usage
from isochat_workspace.recording.told_as_chat import WORD, CannotTellError

_STATUS = {
    "stop": ("completed", None),
    "tool_calls": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "content_filter": ("incomplete", "content_filter"),
}
_LAST_EVENT = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
}
Event = dict[str, Any]


def response_of(result: ChatResult) -> dict[str, Any]:
    """The answer as a Responses object. Raises CannotTellError."""
    if len(result.choices) != 1:
        raise CannotTellError(f"the Responses API has no words for {len(result.choices)} choices")
    choice = result.choices[0]
    message, reason = choice.message, choice.finish_reason
    # Short: the service takes items back by ids of 64 characters at most.
    name = hashlib.sha256((result.id or "").encode("utf-8", "surrogatepass")).hexdigest()[:24]
    output = list(_items(message.parts, _token_logprobs(choice.logprobs), name))
    if not output and message.content is not None:
        output = [_message_item([TextPart(message.content)], None, f"msg_{name}_0")]
    output += [_call(call, f"fc_{name}_{index}") for index, call in enumerate(message.tool_calls)]
    told: dict[str, Any] = {"id": result.id, "object": "response", "created_at": result.created}
    if reason is not None:
        if reason not in _STATUS:
            said = choice.raw_finish_reason or reason
            raise CannotTellError(f"the Responses API has no words for the finish reason {said!r}")
        status, why = _STATUS[reason]
        told.update(status=status, error=None, incomplete_details={"reason": why} if why else None)
    told.update(model=result.model, output=output, parallel_tool_calls=True, tool_choice="auto", tools=[])
    return told if result.usage is None else {**told, "usage": _usage(result.usage)}


def _token_logprobs(logprobs: Any) -> Any:
    return logprobs.get("content") if isinstance(logprobs, Mapping) else None


def _items(parts: tuple[Part, ...], logprobs: Any, name: str) -> Iterator[dict[str, Any]]:
    """The parts in their order; neighbours that are said, not thought, are one message."""
    said: list[TextPart | RefusalPart] = []
    count = 0
    for part in (*parts, None):
        if isinstance(part, TextPart | RefusalPart):
            said.append(part)
            continue
        if said:
            yield _message_item(said, logprobs, f"msg_{name}_{count}")
            said, logprobs, count = [], None, count + 1
        if isinstance(part, ReasoningPart):
            yield _reasoning_item(part, f"rs_{name}_{count}")
            count += 1
        elif part is not None:
            kind = getattr(part, "type", type(part).__name__)
            raise CannotTellError(f"the Responses API has no words for {kind!r}")


def _message_item(said: list[TextPart | RefusalPart], logprobs: Any, item_id: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for part in said:
        if isinstance(part, RefusalPart):
            content.append({"type": "refusal", "refusal": part.text})
        else:
            block = {"type": "output_text", "text": part.text, "annotations": list(part.citations)}
            content.append({**block, "logprobs": logprobs} if logprobs else block)
            logprobs = None
    return {"id": item_id, "type": "message", "role": "assistant", "status": "completed", "content": content}


def _reasoning_item(part: ReasoningPart, item_id: str) -> dict[str, Any]:
    if part.encrypted is not None:
        return {"id": item_id, "type": "reasoning", "summary": [], "encrypted_content": part.encrypted}
    # Claude's signature has no place of its own in this API; what a client does not know it leaves.
    signature = {"signature": part.signature} if part.signature else {}
    return {
        "id": item_id,
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": part.text, **signature}],
    }


def _call(call: ToolCall, item_id: str) -> dict[str, Any]:
    named: dict[str, Any] = {"call_id": call.id, "name": call.function.name, "status": "completed"}
    if call.type == "function":
        item = {"id": item_id, "type": "function_call", "arguments": call.function.arguments}
        return {**item, **named, **{key: value for key, value in call.extra.items() if key not in item}}
    if call.type == "custom":
        return {"id": item_id, "type": "custom_tool_call", "input": call.function.arguments, **named}
    raise CannotTellError(f"the Responses API has no words for a tool call of type {call.type!r}")


def _usage(usage: Usage) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "input_tokens_details": _told(
            cached_tokens=usage.cache_read_tokens, cache_write_tokens=usage.cache_creation_tokens
        ),
        "output_tokens_details": _told(reasoning_tokens=usage.reasoning_tokens),
    }
    return _told(**counts)


def _told(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != {}}


# ---------------------------------------------------------------------------------------------- stream


def response_events(response: Mapping[str, Any]) -> Iterator[Event]:
    """The events that a stream of this response has; of one without a status, as agents say it, its items alone."""
    for number, event in enumerate(_events(response)):
        yield {**event, "sequence_number": number}


def _events(response: Mapping[str, Any]) -> Iterator[Event]:
    status, output = response.get("status"), response["output"]
    if status is None:
        for index, item in enumerate(output):
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
        return
    if not isinstance(status, str) or status not in _LAST_EVENT:
        raise CannotTellError(f"a stream has no last event for the status {str(status)[:40]!r}")
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(output):
        yield from _item_events(item, index)
    yield {"type": _LAST_EVENT[status], "response": dict(response)}


def _item_events(item: Mapping[str, Any], index: int) -> Iterator[Event]:
    place = {"output_index": index, "item_id": item.get("id")}
    added, inner = dict(item), list(_inner_events(item, place))
    for name, nothing in (("content", []), ("summary", []), ("arguments", ""), ("input", "")):
        if name in added and inner:
            added[name] = nothing
    if "status" in added:
        added["status"] = "in_progress"
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    yield from inner
    yield {"type": "response.output_item.done", "output_index": index, "item": dict(item)}


def _inner_events(item: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[Event]:
    match item.get("type"):
        case "message" if isinstance(item.get("content"), list):
            for at, block in enumerate(item["content"]):
                yield from _block_events(block, {**place, "content_index": at})
        case "reasoning" if isinstance(item.get("summary"), list):
            for at, entry in enumerate(item["summary"]):
                yield from _summary_events(entry, {**place, "summary_index": at})
        case "function_call" if isinstance(item.get("arguments"), str):
            told = {**place, "type": "response.function_call_arguments"}
            yield {**told, "type": f"{told['type']}.delta", "delta": item["arguments"]}
            yield {**told, "type": f"{told['type']}.done", "arguments": item["arguments"]}
        case "custom_tool_call" if isinstance(item.get("input"), str):
            told = {**place, "type": "response.custom_tool_call_input"}
            yield {**told, "type": f"{told['type']}.delta", "delta": item["input"]}
            yield {**told, "type": f"{told['type']}.done", "input": item["input"]}


def _block_events(block: Any, place: Mapping[str, Any]) -> Iterator[Event]:
    kind = block.get("type") if isinstance(block, Mapping) else None
    field = {"output_text": "text", "refusal": "refusal"}.get(str(kind))
    if field is None or not isinstance(block.get(field), str):
        return
    yield {**place, "type": "response.content_part.added", "part": {**block, field: ""}}
    more: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
    for word in WORD.findall(block[field]):
        yield {**place, "type": f"response.{kind}.delta", "delta": word, **more}
    yield {**place, "type": f"response.{kind}.done", field: block[field], **more}
    yield {**place, "type": "response.content_part.done", "part": dict(block)}


def _summary_events(entry: Any, place: Mapping[str, Any]) -> Iterator[Event]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("text"), str):
        return
    yield {**place, "type": "response.reasoning_summary_part.added", "part": {**entry, "text": ""}}
    for word in WORD.findall(entry["text"]):
        yield {**place, "type": "response.reasoning_summary_text.delta", "delta": word}
    yield {**place, "type": "response.reasoning_summary_text.done", "text": entry["text"]}
    yield {**place, "type": "response.reasoning_summary_part.done", "part": dict(entry)}
