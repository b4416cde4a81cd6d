"""How does the Responses API stream? The pieces of an answer as typed events, numbered in order.

Events and their order: OpenAI's Responses streaming reference and the types of the `openai` package.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from isochat_workspace.dialects.response_object import INCOMPLETE, Status, response_frame, response_state
from isochat_workspace.dialects.stream_items import CallItem, MessageItem, OpenItem, ReasoningItem
from isochat_workspace.http.event_stream import DONE, error_within, write_event
from isochat_workspace.models.answers import FinishReason, TokenUsage
from isochat_workspace.models.model import Prompt
from isochat_workspace.models.pieces import FinishPiece, Piece, ReasoningPiece, SaidPiece, TextPiece

Event = dict[str, Any]


async def responses_events(
    prompt: Prompt, pieces: AsyncIterator[Piece], served_name: str, *, as_agent: bool = False
) -> AsyncGenerator[bytes, None]:
    """The events of one answer, each as soon as its piece is there.

    OpenAI names each event on a line of its own (`event:`) and ends with the last event. `as_agent` leaves
    those lines out and ends with `data: [DONE]`, as MLflow's agent server does behind agent endpoints: MLflow's
    own `predict_stream` refuses any line but `data:`. An error in between is a `response.failed`.
    """
    stream = _Events(prompt, served_name)
    source: Any = pieces

    def written(events: Iterator[Event]) -> Iterator[bytes]:
        for event in events:
            yield write_event(event, None if as_agent else event["type"])

    async with aclosing(source):
        for line in written(stream.begin()):
            yield line
        try:
            async for piece in pieces:
                if isinstance(piece, TokenUsage):
                    stream.usage = piece
                elif piece.choice == 0:  # the API has no `n`
                    for line in written(stream.of_piece(piece)):
                        yield line
            last = stream.end()
        except Exception as error:  # noqa: BLE001 - the status is sent: an event is the only place left for it
            last = stream.fail(error_within(error).message)
        for line in written(last):
            yield line
    if as_agent:
        yield DONE


class _Events:
    """The events of one stream: numbers them, and gathers the response they tell of."""

    def __init__(self, prompt: Prompt, served_name: str) -> None:
        self._frame = response_frame(prompt, served_name)
        self._output: list[Event] = []
        self._item: OpenItem | None = None
        self._status: Status = "completed"
        self._reason: FinishReason = "stop"
        self._sent = 0
        self.usage: TokenUsage | None = None

    def begin(self) -> Iterator[Event]:
        yield self._numbered({"type": "response.created", "response": self._frame})
        yield self._numbered({"type": "response.in_progress", "response": self._frame})

    def of_piece(self, piece: SaidPiece) -> Iterator[Event]:
        if isinstance(piece, FinishPiece):
            self._reason = piece.reason
            self._status = "incomplete" if piece.reason in INCOMPLETE else "completed"
            yield from self._close_item(self._status)
            return
        if self._item is None or not self._item.takes(piece):
            yield from self._close_item("completed")
            self._item = _item_for(piece, len(self._output))
            yield from map(self._numbered, self._item.open())
        yield from map(self._numbered, self._item.add(piece))

    def end(self) -> Iterator[Event]:
        yield from self._close_item(self._status)
        yield self._final(self._status, None)

    def fail(self, message: str) -> Iterator[Event]:
        yield self._final("failed", {"code": "server_error", "message": message})

    def _close_item(self, status: Status) -> Iterator[Event]:
        if self._item is not None:
            yield from map(self._numbered, self._item.close(status))
            self._output.append(self._item.whole(status))
            self._item = None

    def _final(self, status: Status, error: dict[str, Any] | None) -> Event:
        response = {**self._frame, **response_state(status, self._output, self.usage, error, self._reason)}
        return self._numbered({"type": f"response.{status}", "response": response})

    def _numbered(self, event: Event) -> Event:
        self._sent += 1
        return {**event, "sequence_number": self._sent - 1}


def _item_for(piece: TextPiece | ReasoningPiece | Any, place: int) -> OpenItem:
    if isinstance(piece, TextPiece):
        return MessageItem(place)
    return ReasoningItem(place) if isinstance(piece, ReasoningPiece) else CallItem(place, piece)
