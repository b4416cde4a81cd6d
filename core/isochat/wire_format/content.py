"""What do the content blocks of an answer mean?

Text in ``content`` comes as one string or, from Claude and gpt-oss endpoints, as a list of blocks (payload facts
05 to 10: ``reasoning`` with ``summary``, ``text`` with ``citations``, ``image``). Both become isochat's parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from isochat.errors import BadResponseError, ResponseTooLargeError
from isochat.results import ImagePart, OtherPart, Part, ReasoningPart, RefusalPart, TextPart
from isochat.wire_format.json_text import type_name


def read_content(content: Any, path: str) -> tuple[Part, ...]:
    """The parts of a message's ``content``.

    Raises:
        BadResponseError: it is neither text, nor a list of blocks, nor null.
    """
    match content:
        case None | "":
            return ()
        case str():
            return (TextPart(content),)
        case list() | tuple():
            return tuple(part for i, block in enumerate(content) for part in _read_block(block, f"{path}[{i}]"))
    raise BadResponseError(f"{path} is {type_name(content)}; expected text, a list of blocks or null")


def _read_block(block: Any, path: str) -> Iterable[Part]:
    if isinstance(block, str):
        return (TextPart(block),)
    if not isinstance(block, dict):
        raise BadResponseError(f"{path} is {type_name(block)}; expected a content block")
    match block.get("type"):
        case "text" | "output_text":
            wire = block if isinstance(block.get("text"), str) else {**block, "text": ""}
            return (TextPart(_text(block, "text", path), _citations(block), wire=wire),)
        case "reasoning":
            return read_reasoning(block, path)
        case "thinking" if isinstance(block.get("thinking"), str):
            return (ReasoningPart(block["thinking"], block.get("signature") or None, wire=block),)
        case "redacted_thinking" if isinstance(block.get("data"), str):
            return (ReasoningPart(encrypted=block["data"], wire=block),)
        case "image" | "image_url":
            image = block.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            return (ImagePart(url, wire=block),) if isinstance(url, str) else (_other(block),)
        case "refusal":
            return (RefusalPart(_text(block, "refusal", path), wire=block),)
    return (_other(block),)


def _citations(block: dict[str, Any]) -> tuple[Any, ...]:
    found = block.get("citations") or block.get("annotations")
    if isinstance(found, list | tuple):
        return tuple(found)
    # Databricks' own client knows a single `citation` too (databricks-ai-bridge, fmapi-schema.ts).
    return (block["citation"],) if block.get("citation") else ()


def read_reasoning(block: dict[str, Any], path: str) -> tuple[ReasoningPart, ...]:
    """The parts of one ``reasoning`` block or Responses item: readable summaries, or encrypted ones."""
    parts: list[ReasoningPart] = []
    entries = _entries(block)
    if not isinstance(entries, list | tuple):
        raise BadResponseError(f"{path}.summary is {type_name(entries)}; expected a list of summaries")
    for index, entry in enumerate(entries):
        where = f"{path}.summary[{index}]"
        if isinstance(entry, str):
            entry = {"text": entry}
        if not isinstance(entry, dict):
            raise BadResponseError(f"{where} is {type_name(entry)}; expected a summary")
        if entry.get("type") == "summary_encrypted_text":
            parts.append(ReasoningPart(encrypted=_text(entry, "data", where), wire=block))
        else:
            parts.append(ReasoningPart(_text(entry, "text", where), entry.get("signature") or None, wire=block))
    encrypted = block.get("encrypted_content")
    if isinstance(encrypted, str) and encrypted:
        parts.append(ReasoningPart(encrypted=encrypted, wire=block))
    return tuple(parts)


def reasoning_beside(message: Mapping[str, Any]) -> str | None:
    """The reasoning that a message or delta has beside its content: DeepSeek's ``reasoning_content``, or ``reasoning``
    of vLLM and OpenRouter. Servers that write both write the same in them.
    """
    said = message.get("reasoning_content") or message.get("reasoning")
    return said if isinstance(said, str) and said else None


def reasoning_of(block: dict[str, Any]) -> str | None:
    """The readable text of a ``reasoning`` or ``thinking`` block or item; ``None`` where it has none of its own."""
    entries = [{"text": block["thinking"]}] if "thinking" in block else _entries(block)
    texts = [e.get("text") if isinstance(e, dict) else e for e in entries] if isinstance(entries, list) else []
    readable = [text for text in texts if isinstance(text, str)]
    return "".join(readable) if readable else None


def reasoning_fields(block: Mapping[str, Any]) -> list[str]:
    """Where a ``reasoning`` block or item says something: its summary and what that sums up, or, of agents that write
    their own replies, a bare text.
    """
    return [name for name in ("summary", "content") if block.get(name)] or ["text"]


def _entries(block: dict[str, Any]) -> Any:
    told: list[Any] = []
    for name in reasoning_fields(block):
        said = block.get(name) or ()
        if isinstance(said, str):
            said = [{"text": said, "signature": block.get("signature")}]
        if not isinstance(said, list | tuple):
            return said
        told.extend(said)
    return told


def arguments_text(arguments: Any) -> str:
    """A tool call's arguments as JSON text; some models answer with the object itself."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments)


def joined(parts: Iterable[Part], kind: type[TextPart] | type[ReasoningPart] | type[RefusalPart]) -> str | None:
    """The text of all parts of one kind, or ``None`` where there is no such part with text of its own.

    Raises:
        ResponseTooLargeError: there is no room for it beside the parts, by :func:`room_for_joining`.
    """
    texts = [p.text for p in parts if isinstance(p, kind) and not getattr(p, "encrypted", None)]
    if len(texts) > 1:
        _take_room(sum(map(len, texts)) * (1 if all(map(str.isascii, texts)) else 4))
    return "".join(texts) if texts else None


@contextmanager
def room_for_joining(size: int) -> Iterator[None]:
    """Inside, the texts of an answer may take ``size`` bytes of memory once more, by being joined."""
    token = _room.set([size])
    try:
        yield
    finally:
        _room.reset(token)


def _take_room(size: int) -> None:
    left = _room.get()
    if left is not None:
        left[0] -= size
        if left[0] < 0:
            raise ResponseTooLargeError("the texts of the answer, joined, would take too much memory")


_room: ContextVar[list[int] | None] = ContextVar("isochat_room_for_joining", default=None)


def _other(block: dict[str, Any]) -> OtherPart:
    kind = str(block.get("type") or "unknown")
    data = {name: value for name, value in block.items() if name != "type"}
    return OtherPart(kind, data, wire=block if block.get("type") == kind else {**data, "type": kind})


def _text(block: dict[str, Any], key: str, path: str) -> str:
    text = block.get(key)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise BadResponseError(f"{path}.{key} is {type_name(text)}; expected text")
    return text
