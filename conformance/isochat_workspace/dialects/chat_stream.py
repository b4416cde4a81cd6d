"""How does the chat API stream? The pieces of an answer as `chat.completion.chunk` events.

Shapes: recordings of a live Llama endpoint (llama-stack), fixtures of databricks-ai-bridge for tool calls, usage
and reasoning blocks.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from isochat_workspace.dialects.chat import choice_logprobs, reasoning_block
from isochat_workspace.dialects.dressings import DRESSINGS, Dressing, StreamUsage
from isochat_workspace.http.event_stream import DONE, error_within, write_event
from isochat_workspace.models.answers import TokenUsage
from isochat_workspace.models.pieces import FinishPiece, Piece, ReasoningPiece, SaidPiece, TextPiece, ToolCallPiece


async def chat_events(
    pieces: AsyncIterator[Piece], served_name: str, stream_usage: StreamUsage, dressing: Dressing = DRESSINGS["plain"]
) -> AsyncGenerator[bytes, None]:
    """The events of one answer, each as soon as its piece is there, in the dress of a kind of endpoint.

    `stream_usage` as in Endpoint, with the request heard: never "asked". An error in between ends the
    stream with an event in the service's flat error shape and without `[DONE]`.
    """
    chunks = _Chunks(served_name, stream_usage, dressing)
    pieces = dressing.pieces(pieces)
    source: Any = pieces
    async with aclosing(source):
        try:
            async for piece in pieces:
                if isinstance(piece, TokenUsage):
                    chunks.usage = piece
                    continue
                for chunk in chunks.of_piece(piece):
                    yield write_event(dressing.chunk(chunk))
        except Exception as error:  # noqa: BLE001 - the status is sent: an event is the only place left for it
            told = error_within(error)
            yield write_event({"error_code": told.error_code, "message": told.message})
            return
    if stream_usage == "last":
        yield write_event(chunks.of_usage())
    yield DONE


class _Chunks:
    """The chunks of one stream, which share their head."""

    def __init__(self, served_name: str, stream_usage: StreamUsage, dressing: Dressing) -> None:
        self._dressing = dressing
        self._head = {
            "id": f"chatcmpl_{uuid.uuid4()}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": served_name,
        }
        self._usage_in_each = stream_usage == "every"
        self._begun: set[int] = set()
        self._with_text: set[int] = set()
        self.usage: TokenUsage | None = None

    def of_piece(self, piece: SaidPiece) -> Iterator[dict[str, Any]]:
        """The chunks of a piece: one, and before the first text of a choice one more with the role alone."""
        first = piece.choice not in self._begun
        self._begun.add(piece.choice)
        role: dict[str, Any] = {"role": "assistant", "content": None} if first else {}
        match piece:
            case TextPiece():
                self._with_text.add(piece.choice)
                if first:
                    yield self._chunk(TextPiece("", piece.choice), {"role": "assistant", "content": ""})
                if piece.text or piece.logprobs or not first:
                    yield self._chunk(piece, {"content": piece.text})
            case ReasoningPiece():
                yield self._chunk(piece, {**role, "content": [reasoning_block(piece.text, piece.signature)]})
            case ToolCallPiece():
                yield self._chunk(piece, {**role, "tool_calls": [_call_delta(piece)]})
            case FinishPiece():
                last = {"content": ""} if piece.choice in self._with_text else {}
                yield self._chunk(piece, {**role, **last}, piece.reason)

    def of_usage(self) -> dict[str, Any]:
        """The chunk that has usage and no choices."""
        return {**self._head, "choices": [], "usage": self._dressing.usage(self.usage)}

    def _chunk(self, piece: SaidPiece, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        logprobs = choice_logprobs((piece.logprobs or None) if isinstance(piece, TextPiece) else None)
        choice = {"index": piece.choice, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        chunk = {**self._head, "choices": [choice]}
        return {**chunk, "usage": self._dressing.usage(self.usage)} if self._usage_in_each else chunk


def _call_delta(piece: ToolCallPiece) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": piece.arguments}
    if piece.id is None:
        return {"index": piece.call, "function": function}
    return {
        "index": piece.call,
        "id": piece.id,
        "type": "function",
        "function": {"name": piece.name, **function},
    }
