"""How does a conversation go on in the words of chat completions?

A conversation may change its client at each turn, so its history holds what the Responses API said: reasoning items
with encrypted content, ``output_text`` blocks, items of an agent's turn. What has no word here is refused where the
caller asks for it, and left out and noted where it is the model's own: live endpoints refuse unknown fields ("Extra
inputs are not permitted").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isochat.notes import Notes
from isochat.wire_format.turn_items import is_of_agent, names_call, without

# The fields of a reasoning block as Databricks writes it (ReasoningContent of the foundation-model API reference);
# OpenAI's reasoning items have an id, a status or encrypted_content beside them.
_REASONING_BLOCK = frozenset({"type", "summary"})
# Where an assistant's message says something beside its content.
_SAID_BESIDE_CONTENT = ("tool_calls", "refusal", "audio", "function_call")
# The blocks that a caller wrote for the Responses API: the fields that chat completions have too, under which name the
# block has them there, and how it is called. What stands beside them in either API is the caller's `cache_control`.
_BLOCKS = {
    "input_text": ("text", None, frozenset({"text"})),
    "input_image": ("image_url", "image_url", frozenset({"image_url", "detail"})),
    "input_file": ("file", "file", frozenset({"file_id", "file_data", "filename"})),
}
_OF_THE_CALLER = "cache_control"


def for_chat_completions(messages: Sequence[dict[str, Any]], notes: Notes) -> list[dict[str, Any]]:
    """The messages as a chat-completions endpoint takes them; most pass as they are.

    Raises:
        UnsupportedParameterError: a caller's block has no counterpart, or nothing is left of a message that is not the
            model's own.
    """
    written = (_message(message, f"messages[{index}]", notes) for index, message in enumerate(messages))
    return notes.check_not_empty([message for message in written if message is not None])


def _message(message: dict[str, Any], path: str, notes: Notes) -> dict[str, Any] | None:
    content = message.get("content")
    if message["role"] == "assistant" and content != "" and not any(without(message, "role").values()):
        # An answer cut off while the model reasoned, say. Endpoints refuse null without calls.
        notes.nothing_left("assistant", path)
        return None
    if not isinstance(content, list):
        return message
    calls = [call.get("id") for call in message.get("tool_calls") or ()]
    blocks = [
        None if names_call(block, calls) else _block(block, f"{path}.content[{i}]", notes)
        for i, block in enumerate(content)
    ]
    if all(new is old for new, old in zip(blocks, content, strict=True)):
        return message
    kept = [block for block in blocks if block is not None]
    if not kept:
        if any(message.get(name) for name in _SAID_BESIDE_CONTENT):
            return {**message, "content": None}
        notes.nothing_left(message["role"], path)
        return None
    if all(block.keys() == {"type", "text"} and block["type"] == "text" for block in kept):
        # Some endpoints take no lists (payload fact 33), and plain text says the same.
        texts = [block["text"] for block in kept if block["text"]]
        if len(texts) > 1:
            notes.rewritten(f"{path}.content: its {len(texts)} texts became one, with an empty line between them")
        return {**message, "content": "\n\n".join(texts) or (None if message.get("tool_calls") else "")}
    return {**message, "content": kept}


def _block(block: Mapping[str, Any], path: str, notes: Notes) -> Any:
    match block.get("type"):
        case "reasoning" if not block.keys() <= _REASONING_BLOCK:
            notes.left_out(f"{path} (reasoning of the Responses API)")
            return None
        case "output_text":
            for name in sorted(block.keys() - {"type", "text", "logprobs", _OF_THE_CALLER}):
                if block[name]:
                    notes.left_out(f"{path}.{name}")
            return {"type": "text", "text": block.get("text", ""), **_callers(block)}
        case "input_text" | "input_image" | "input_file" as kind:
            return _callers_block(block, kind, path, notes)
        case str() as kind if is_of_agent(kind):
            notes.left_out(f"{path} ({kind!r} of an agent)")
            return None
    return block


def _callers_block(block: Mapping[str, Any], kind: str, path: str, notes: Notes) -> dict[str, Any] | None:
    """A block of the caller's in the other API's words, or ``None`` where nothing of it can be said."""
    name, inner, fields = _BLOCKS[kind]
    said = {field: block[field] for field in block if field in fields and block[field] is not None}
    beyond = sorted(name for name in block.keys() - fields - {"type", _OF_THE_CALLER} if block[name] is not None)
    if kind != "input_text" and not said.keys() - {"detail", "filename"}:
        notes.unsupported(f"{path} (type {kind!r} with {' and '.join(beyond) or 'nothing'})", "it has no such block")
        return None
    for field in beyond:
        notes.unsupported(f"{path}.{field}", f"a block of the type {name!r} has no such field")
    if kind == "input_image":
        said = {"url": said["image_url"], **without(said, "image_url")}
    return {"type": name, **({inner: said} if inner else {"text": "", **said}), **_callers(block)}


def _callers(block: Mapping[str, Any]) -> dict[str, Any]:
    return {_OF_THE_CALLER: block[_OF_THE_CALLER]} if block.get(_OF_THE_CALLER) else {}
