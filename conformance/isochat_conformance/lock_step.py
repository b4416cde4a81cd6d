"""Are chunks handed out as they come? A server that sends no piece before the one before it has reached the caller.

A backend that reads ahead, buffers by size or waits for the end makes both sides wait for each other here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isochat.client import Client
from isochat.errors import ChatError
from isochat.request import Api
from isochat.results import ChatResult
from isochat.streaming.chunks import ChatChunk
from isochat_conformance.asking import without_warnings
from isochat_conformance.json_difference import shown
from isochat_conformance.modes import Mode, is_async
from isochat_workspace.http.served_reply import ServerStream

PATIENCE = 10.0
"""Seconds that the server waits for a chunk to arrive before it takes the chunk for held back."""

_CHAT: Mapping[str, Any] = {"id": "lock-step", "object": "chat.completion.chunk", "created": 1767225600, "model": "m"}


def _chat_event(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {**_CHAT, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


_ITEM: Mapping[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant"}
_RESPONSE: Mapping[str, Any] = {"id": "lock-step", "object": "response", "created_at": 1767225600, "model": "m"}
_PLACE: Mapping[str, Any] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
_WORDS = ("One ", "by ", "one.")
EVENTS: Mapping[Api, Sequence[dict[str, Any]]] = {
    "chat-completions": (
        _chat_event({"role": "assistant", "content": ""}),
        *(_chat_event({"content": word}) for word in _WORDS),
        _chat_event({}, "stop"),
    ),
    "responses": (
        {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**_ITEM, "content": []}},
        *({"type": "response.output_text.delta", **_PLACE, "delta": word} for word in _WORDS),
        {
            "type": "response.completed",
            "response": {
                **_RESPONSE,
                "status": "completed",
                "output": [{**_ITEM, "content": [{"type": "output_text", "text": "".join(_WORDS), "annotations": []}]}],
            },
        },
    ),
}


class Gate:
    """Pieces for one request, each sent once the one before it is known to have arrived.

    Args:
        pieces: Of each piece, its bytes.
        patience: Seconds to wait for that; then all the rest is sent, so that the caller ends.

    Attributes:
        held_back: Which piece had not arrived in time, if one had not.
    """

    def __init__(self, pieces: Sequence[bytes], patience: float = PATIENCE) -> None:
        self._pieces = pieces
        self._patience = patience
        self._arrived = threading.Semaphore(0)
        self.held_back: int | None = None

    def arrived(self) -> None:
        """The caller has what was sent so far: at first the head of the reply, then a piece each."""
        self._arrived.release()

    def __iter__(self) -> Iterator[bytes]:
        for number, piece in enumerate(self._pieces):
            if self.held_back is None and not self._arrived.acquire(timeout=self._patience):
                self.held_back = number
            yield piece


def gated(api: Api, patience: float = PATIENCE) -> Gate:
    """The events of ``api``, an event a piece."""
    return Gate([ServerStream(events=[event]).body() for event in EVENTS[api]], patience)


def walk(client: Client, gate: Gate, mode: Mode, runner: asyncio.Runner) -> list[str]:
    """Read the stream that ``gate`` sends through ``client``, in a streamed ``mode``.

    Returns:
        What is wrong, in words.
    """
    chunks: list[ChatChunk] = []
    outcome: ChatResult | ChatError
    try:
        with without_warnings():
            outcome = runner.run(_walk_async(client, gate, chunks)) if is_async(mode) else _walk(client, gate, chunks)
    except ChatError as error:
        outcome = error
    return list(_findings(gate, chunks, outcome))


def _walk(client: Client, gate: Gate, chunks: list[ChatChunk]) -> ChatResult:
    with client.chat("Count.", stream=True) as stream:
        gate.arrived()
        for chunk in stream:
            chunks.append(chunk)
            gate.arrived()
        return stream.result()


async def _walk_async(client: Client, gate: Gate, chunks: list[ChatChunk]) -> ChatResult:
    async with await client.achat("Count.", stream=True) as stream:
        gate.arrived()
        async for chunk in stream:
            chunks.append(chunk)
            gate.arrived()
        return await stream.result()


def _findings(gate: Gate, chunks: Sequence[ChatChunk], outcome: ChatResult | ChatError) -> Iterator[str]:
    if gate.held_back == 0:
        yield "the call returned no stream until the first event had come; the status was known before"
    elif gate.held_back is not None:
        yield f"chunk {gate.held_back} was held back until more had come; hand each out as soon as it is there"
    if isinstance(outcome, ChatError):
        yield f"{type(outcome).__name__} was raised: {shown(str(outcome))}"
    elif outcome.text != "".join(_WORDS) or [chunk.text for chunk in chunks if chunk.text] != list(_WORDS):
        yield f"the chunks bring {shown([chunk.text for chunk in chunks])}, the result {shown(outcome.text)}"
