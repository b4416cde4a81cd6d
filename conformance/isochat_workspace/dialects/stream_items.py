"""How does one output item of a Responses stream come into being? Its events from `added` to `done`, by kind."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

from isochat_workspace.dialects.chat import write_logprob
from isochat_workspace.dialects.response_object import (
    Status,
    call_item,
    message_item,
    new_id,
    reasoning_item,
    summary_part,
    text_part,
)
from isochat_workspace.models.answers import TokenLogprob, ToolCall
from isochat_workspace.models.pieces import ReasoningPiece, SaidPiece, TextPiece, ToolCallPiece

Event = dict[str, Any]


class OpenItem(abc.ABC):
    """An output item while it is being said. `place` is its index in the output."""

    prefix: str

    def __init__(self, place: int) -> None:
        self.id = new_id(self.prefix)
        self.place = place
        self.said = ""

    @abc.abstractmethod
    def takes(self, piece: SaidPiece) -> bool:
        """Whether the piece belongs to this item."""

    @abc.abstractmethod
    def open(self) -> Iterator[Event]:
        """The events before the first piece."""

    @abc.abstractmethod
    def add(self, piece: SaidPiece) -> Iterator[Event]:
        """The event of a piece."""

    @abc.abstractmethod
    def close(self, status: Status) -> Iterator[Event]:
        """The events after the last piece."""

    @abc.abstractmethod
    def whole(self, status: Status) -> Event:
        """The item as it stands in the response."""

    def _event(self, kind: str, **fields: Any) -> Event:
        return {"type": f"response.{kind}", "item_id": self.id, "output_index": self.place, **fields}

    def _item_event(self, kind: str, item: Event) -> Event:
        return {"type": f"response.output_item.{kind}", "output_index": self.place, "item": item}


class MessageItem(OpenItem):
    """A message with one text."""

    prefix = "msg"

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self._logprobs: list[TokenLogprob] | None = None

    def takes(self, piece: SaidPiece) -> bool:
        return isinstance(piece, TextPiece)

    def open(self) -> Iterator[Event]:
        yield self._item_event("added", message_item(self.id, "in_progress", []))
        yield self._event("content_part.added", content_index=0, part=text_part(""))

    def add(self, piece: SaidPiece) -> Iterator[Event]:
        if isinstance(piece, TextPiece) and piece.text:
            self.said += piece.text
            if piece.logprobs is not None:
                self._logprobs = [*(self._logprobs or ()), *piece.logprobs]
            logprobs = [write_logprob(one) for one in piece.logprobs or ()]
            yield self._event("output_text.delta", content_index=0, delta=piece.text, logprobs=logprobs)

    def close(self, status: Status) -> Iterator[Event]:
        logprobs = [write_logprob(one) for one in self._logprobs or ()]
        yield self._event("output_text.done", content_index=0, text=self.said, logprobs=logprobs)
        yield self._event("content_part.done", content_index=0, part=text_part(self.said, self._logprobs))
        yield self._item_event("done", self.whole(status))

    def whole(self, status: Status) -> Event:
        return message_item(self.id, status, [text_part(self.said, self._logprobs)])


class CallItem(OpenItem):
    """A function call."""

    prefix = "fc"

    def __init__(self, place: int, piece: ToolCallPiece) -> None:
        super().__init__(place)
        self._piece = piece

    def takes(self, piece: SaidPiece) -> bool:
        return isinstance(piece, ToolCallPiece) and piece.call == self._piece.call

    def open(self) -> Iterator[Event]:
        yield self._item_event("added", self.whole("in_progress"))

    def add(self, piece: SaidPiece) -> Iterator[Event]:
        if isinstance(piece, ToolCallPiece) and piece.arguments:
            self.said += piece.arguments
            yield self._event("function_call_arguments.delta", delta=piece.arguments)

    def close(self, status: Status) -> Iterator[Event]:
        yield self._event("function_call_arguments.done", name=self._piece.name, arguments=self.said)
        yield self._item_event("done", self.whole("completed"))

    def whole(self, status: Status) -> Event:
        # A call is whole once it is closed, also where the answer was cut.
        call = ToolCall(self._piece.id or "", self._piece.name or "", self.said)
        return call_item(self.id, "in_progress" if status == "in_progress" else "completed", call)


class ReasoningItem(OpenItem):
    """Reasoning with one summary; the API has no place for a signature."""

    prefix = "rs"

    def takes(self, piece: SaidPiece) -> bool:
        return isinstance(piece, ReasoningPiece)

    def open(self) -> Iterator[Event]:
        yield self._item_event("added", reasoning_item(self.id, []))
        yield self._event("reasoning_summary_part.added", summary_index=0, part=summary_part(""))

    def add(self, piece: SaidPiece) -> Iterator[Event]:
        if isinstance(piece, ReasoningPiece) and piece.text:
            self.said += piece.text
            yield self._event("reasoning_summary_text.delta", summary_index=0, delta=piece.text)

    def close(self, status: Status) -> Iterator[Event]:
        yield self._event("reasoning_summary_text.done", summary_index=0, text=self.said)
        yield self._event("reasoning_summary_part.done", summary_index=0, part=summary_part(self.said))
        yield self._item_event("done", self.whole(status))

    def whole(self, status: Status) -> Event:
        return reasoning_item(self.id, [self.said])
