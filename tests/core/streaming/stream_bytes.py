"""Events as bytes on the wire, and bytes read as a stream of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from isochat import ChatResult
from isochat.results import Meta
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.reading import StreamReading

DONE = "[DONE]"


def sse(*events: Any, named: bool = False) -> bytes:
    """Events as a server writes them: mappings as JSON, text and bytes as they are.

    Args:
        named: Write an ``event:`` line with the type of each, as the Responses API does.
    """
    written = []
    for event in events:
        if isinstance(event, bytes):
            written.append(event)
            continue
        data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        kind = f"event: {event['type']}\n" if named and isinstance(event, Mapping) else ""
        written.append(f"{kind}data: {data}\n\n".encode())
    return b"".join(written)


def chunk(delta: Mapping[str, Any] | None = None, reason: str | None = None, index: int = 0, **fields: Any) -> Any:
    """One chat-completion chunk with one choice."""
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **fields}


def completion(message: Mapping[str, Any], reason: str | None = "stop", **fields: Any) -> Any:
    """The plain completion of one choice that such chunks stand for."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **fields}


def read(data: Iterable[bytes], delimited: bool = True, **arguments: Any) -> tuple[ChatResult, list[ChatChunk], Any]:
    """The result, the chunks and the reading of a stream that ends well."""
    reading = StreamReading(arguments.pop("api", "chat-completions"), **arguments)
    for piece in data:
        reading.feed(piece)
    reading.end(delimited)
    return reading.result(Meta()), list(reading.chunks), reading


def fold(*events: Any, **arguments: Any) -> ChatResult:
    """The result of a stream of ``events`` that ends well."""
    return read([sse(*events)], **arguments)[0]


def text_of(chunks: Iterable[ChatChunk], index: int = 0) -> str:
    return "".join(chunk.text for chunk in chunks if chunk.index == index)


def reasoning_of(chunks: Iterable[ChatChunk], index: int = 0) -> str | None:
    pieces = [chunk.reasoning for chunk in chunks if chunk.index == index and chunk.reasoning is not None]
    return "".join(pieces) if pieces else None


def calls_of(chunks: Iterable[ChatChunk], index: int = 0) -> list[tuple[str | None, str, str]]:
    """The tool calls that the chunks spell: id, name, arguments."""
    calls: dict[int, tuple[str | None, str, str]] = {}
    for piece in (piece for chunk in chunks if chunk.index == index for piece in chunk.tool_calls):
        its_id, name, arguments = calls.get(piece.index, (None, "", ""))
        calls[piece.index] = (its_id or piece.id, name + piece.function.name, arguments + piece.function.arguments)
    return [calls[number] for number in sorted(calls)]
