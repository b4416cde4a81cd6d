"""What does the chat-completions API say? Requests are written, replies read, in OpenAI's shape.

Spoken on ``/serving-endpoints/{endpoint}/invocations`` and ``/serving-endpoints/chat/completions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isochat.errors import BadResponseError
from isochat.results import (
    ChatResult,
    Choice,
    FinishReason,
    Function,
    ImagePart,
    Message,
    Meta,
    OtherPart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCall,
)
from isochat.wire_format.beside_content import (
    is_spoken,
    read_cited,
    read_spoken,
    write_beside_content,
    write_reference,
)
from isochat.wire_format.content import arguments_text, joined, read_content, reasoning_beside
from isochat.wire_format.json_text import type_name
from isochat.wire_format.usage import read_usage, write_usage

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}
# Documented roles (foundation-model API reference, ChatMessage), and OpenAI's `developer` for its own models.
ROLES = ("system", "developer", "user", "assistant", "tool")
_NO_META = Meta()
_TEXT_TYPES = ("text", "output_text")


def read_completion(data: Any, meta: Meta = _NO_META) -> ChatResult:
    """The normalised result of a chat completion.

    A null id, an empty message and a null finish reason are read as they are: the documentation's own example
    has all three.

    Raises:
        BadResponseError: it has no choices, or a field is of the wrong type; the message names the path.
    """
    if not isinstance(data, Mapping):
        raise BadResponseError(f"the reply is {type_name(data)}; expected a chat completion")
    choices = data.get("choices")
    if not isinstance(choices, list | tuple) or not choices:
        found = "missing" if "choices" not in data else "an empty list" if choices == [] else type_name(choices)
        raise BadResponseError(f"choices is {found}; expected a list with at least one choice")
    read = tuple(_read_choice(choice, i) for i, choice in enumerate(choices))
    if len({choice.index for choice in read}) < len(read):
        raise BadResponseError("choices holds one index twice")
    created = data.get("created")
    return ChatResult(
        id=_text_or_none(data.get("id")),
        model=_text_or_none(data.get("model")),
        created=created if isinstance(created, int | float) and not isinstance(created, bool) else None,
        choices=read if len(read) == 1 else tuple(sorted(read, key=lambda choice: choice.index)),
        usage=read_usage(data.get("usage")),
        meta=meta,
    )


def _read_choice(data: Any, position: int) -> Choice:
    path = f"choices[{position}]"
    if not isinstance(data, dict):
        raise BadResponseError(f"{path} is {type_name(data)}; expected a choice")
    if not isinstance(data.get("message"), dict):
        raise BadResponseError(f"{path}.message is {type_name(data.get('message'))}; expected a message")
    index = data.get("index")
    reason = data.get("finish_reason")
    reason = None if reason == "" else reason  # some servers write "" where there is none
    return Choice(
        index=index if isinstance(index, int) and not isinstance(index, bool) else position,
        message=read_message(data["message"], f"{path}.message"),
        finish_reason=None if reason is None else FINISH_REASONS.get(str(reason), "unknown"),
        raw_finish_reason=None if reason is None else str(reason),
        logprobs=data.get("logprobs"),
    )


def read_message(data: dict[str, Any], path: str) -> Message:
    """One message of a reply; ``path`` is its place, for the error.

    Raises:
        BadResponseError: a field is of the wrong type.
    """
    parts = _read_parts(data, path)
    tool_calls = _read_tool_calls(data.get("tool_calls"), f"{path}.tool_calls")
    if _PARTS in data:  # written by to_dict(), which has worked all of it out
        content, reasoning, refusal = (_text_or_none(data.get(k)) for k in ("content", "reasoning_content", "refusal"))
        return Message(_role(data), content, reasoning, tool_calls, refusal, parts)
    content = joined(parts, TextPart)
    if not tool_calls and isinstance(data.get("function_call"), dict):  # the older form, of one call without an id
        tool_calls = (_read_tool_call({"function": data["function_call"]}, f"{path}.function_call"),)
    if tool_calls:  # a text of no words beside calls means that there is no text, and endpoints refuse it in a history
        content = content or None
        parts = tuple(part for part in parts if part != TextPart(""))
    if content is None and data.get("content") == "" and not tool_calls:
        content = ""  # an answer of no words; beside tool calls it means that there is no text
    return Message(
        role=_role(data),
        content=content,
        reasoning=joined(parts, ReasoningPart),
        tool_calls=tool_calls,
        refusal=joined(parts, RefusalPart),
        parts=parts,
    )


def _role(data: dict[str, Any]) -> str:
    """Who is said to have answered; a word of other APIs (``model``, ``ai``) is the assistant's, who may go back."""
    role = data.get("role")
    return str(role) if role in ROLES else "assistant"


def _read_parts(data: dict[str, Any], path: str) -> tuple[Part, ...]:
    if _PARTS in data:
        return _read_written_parts(data[_PARTS], f"{path}.{_PARTS}")
    parts = read_content(data.get("content"), f"{path}.content")
    if isinstance(data.get("content"), str):
        parts = read_cited(data["content"], data.get("annotations")) or parts
    reasoning, refusal = reasoning_beside(data), data.get("refusal")
    if reasoning is not None and not any(isinstance(p, ReasoningPart) for p in parts):
        parts = (ReasoningPart(reasoning), *parts)
    if isinstance(refusal, str) and refusal and not any(isinstance(p, RefusalPart) for p in parts):
        parts = (*parts, RefusalPart(refusal))
    return (*parts, *read_spoken(data.get("audio")))


def _read_written_parts(written: Any, path: str) -> tuple[Part, ...]:
    try:
        return tuple(_PART_TYPES[p["type"]](**{k: v for k, v in p.items() if k != "type"}) for p in written)
    except (TypeError, KeyError, AttributeError):
        raise BadResponseError(f"{path} is not what to_dict() writes") from None


def _read_tool_calls(data: Any, path: str) -> tuple[ToolCall, ...]:
    if data is None:
        return ()
    if not isinstance(data, list | tuple):
        raise BadResponseError(f"{path} is {type_name(data)}; expected a list of tool calls")
    return tuple(_read_tool_call(call, f"{path}[{i}]") for i, call in enumerate(data))


def _read_tool_call(data: Any, path: str) -> ToolCall:
    if not isinstance(data, dict):
        raise BadResponseError(f"{path} is {type_name(data)}; expected a tool call")
    kind = _text_or_none(data.get("type")) or "function"
    # Custom tools of OpenAI's have their name, and an input of plain text, under the word of their type.
    function = data.get("function", data.get(kind))
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadResponseError(f"{path} is no tool call: it names no function")
    extra = {name: value for name, value in data.items() if name not in ("id", "type", "function", "index")}
    beside = {name: value for name, value in function.items() if name not in ("name", "arguments")}
    if beside and "function" in data:
        extra["function"] = beside
    return ToolCall(
        id=_text_or_none(data.get("id")),
        type=kind,
        function=Function(function["name"], arguments_text(function.get("arguments", function.get("input")))),
        extra=extra,
    )


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


# ---------------------------------------------------------------------------------------------- writing

# Only to_dict() writes this field, where content and reasoning_content do not say it all; providers have a "parts".
_PARTS = "isochat_parts"
_PART_TYPES: dict[str, Any] = {
    "text": lambda text, citations=(): TextPart(text, tuple(citations)),
    "reasoning": ReasoningPart,
    "image": ImagePart,
    "refusal": RefusalPart,
    "other": lambda kind, data=None: OtherPart(kind, data),
}


def write_completion(result: ChatResult) -> dict[str, Any]:
    """``result`` as a chat completion that :func:`read_completion` reads back to an equal result."""
    data: dict[str, Any] = {
        "id": result.id,
        "object": "chat.completion",
        "created": result.created,
        "model": result.model,
        "choices": [
            {
                "index": choice.index,
                "message": _write_answer(choice.message),
                "finish_reason": choice.finish_reason,
                "logprobs": choice.logprobs,
            }
            for choice in result.choices
        ],
    }
    if result.usage is not None:
        data["usage"] = write_usage(result.usage)
    return data


def _write_answer(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        data["reasoning_content"] = message.reasoning
    if message.refusal is not None:
        data["refusal"] = message.refusal
    if message.tool_calls:
        data["tool_calls"] = [_write_tool_call(call) for call in message.tool_calls]
    data.update(write_beside_content(message.parts))
    if _read_parts(data, "") != message.parts:
        data[_PARTS] = [_write_part(part) for part in message.parts]
    return data


def _write_part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text, "citations": part.citations}
        case ReasoningPart():
            return {"type": "reasoning", "text": part.text, "signature": part.signature, "encrypted": part.encrypted}
        case ImagePart():
            return {"type": "image", "url": part.url}
        case RefusalPart():
            return {"type": "refusal", "text": part.text}
        case OtherPart():
            return {"type": "other", "kind": part.type, "data": part.data}


def _write_tool_call(call: ToolCall) -> dict[str, Any]:
    if call.type in call.extra and call.type != "function":
        return {"id": call.id, "type": call.type, **call.extra}
    beside = call.extra.get("function", {})
    function = {"name": call.function.name, "arguments": call.function.arguments, **beside}
    return {**call.extra, "id": call.id, "type": call.type, "function": function}


def write_message(message: Message) -> dict[str, Any]:
    """``message`` as one of a request's messages.

    Plain text stays plain, with an empty line between the texts of an agent's turn. Anything else goes back as the
    blocks it came in, reasoning with its signatures, unknown blocks as they were. Reasoning that came as
    ``reasoning_content`` is not sent back: endpoints refuse that field in a request (BerriAI/litellm#36931). Nor are
    ``annotations``, which a request's message does not have.
    """
    blocks: list[Any] = []
    for part in message.parts:
        written = None if is_spoken(part) else _write_block(part)
        for block in written if isinstance(written, list) else [written]:
            # One block may have become several parts.
            if block is not None and not any(block is other for other in blocks):
                blocks.append(block)
    content = message.content
    if content and blocks and not any(isinstance(part, TextPart) for part in message.parts):
        # Written by hand: a question beside its image, an answer behind its reasoning.
        blocks.insert(len(blocks) if message.role == "assistant" else 0, {"type": "text", "text": content})
    plain = all(block.keys() == {"type", "text"} and block["type"] in _TEXT_TYPES for block in blocks)
    if plain and len(blocks) > 1 and "".join(block["text"] for block in blocks) != content:
        # The texts of an agent's turn, of which `content` is the last; agents take text alone (payload fact 22).
        content = "\n\n".join(block["text"] for block in blocks)
    data: dict[str, Any] = {"role": message.role, "content": content if plain else blocks}
    if message.refusal is not None and not any(block.get("type") == "refusal" for block in blocks):
        data["refusal"] = message.refusal
    if message.tool_calls:
        data["tool_calls"] = [_write_tool_call(call) for call in message.tool_calls]
    data.update(write_reference(message.parts))
    return data


def _write_block(part: Part) -> Any:
    if part.wire is not None:
        return part.wire
    match part:
        case TextPart():
            citations = {"citations": list(part.citations)} if part.citations else {}
            return {"type": "text", "text": part.text, **citations}
        case ReasoningPart(encrypted=str() as data):
            return {"type": "reasoning", "summary": [{"type": "summary_encrypted_text", "data": data}]}
        case ReasoningPart(signature=str() as signature):
            summary = {"type": "summary_text", "text": part.text, "signature": signature}
            return {"type": "reasoning", "summary": [summary]}
        case ImagePart():
            return {"type": "image_url", "image_url": {"url": part.url}}
        case OtherPart(data=dict() as data):
            return {**data, "type": part.type}
    return None
