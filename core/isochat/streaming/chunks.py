"""What does a stream hand out? Chunks, each with what one event on the wire added to the answer."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from isochat.records import Record
from isochat.results import FinishReason, Function, Usage
from isochat.wire_format.json_text import decode


class ToolCallChunk(Record, frozen=True, eq=False, kw_only=True):
    """A piece of a tool call.

    Attributes:
        index: Which call of the answer it belongs to, counted from 0 in the order in which they began.
        id: The call's id, where this piece brings it.
        function: The piece of the name and of the arguments that it brings, each ``""`` where it brings none.
    """

    index: int = 0
    id: str | None = None
    function: Function


class ChatChunk(Record, frozen=True, eq=False, kw_only=True):
    """What one event added. Every event of data is at least one chunk, at once; many add no text.

    Attributes:
        index: The choice that it belongs to.
        text: A piece of the answer, ``""`` where the event brings none.
        reasoning: A piece of the reasoning, or ``None``.
        tool_calls: Pieces of tool calls.
        finish_reason: Why the choice ended, on the chunk that says so.
        usage: The token counts that stand on this event; later ones replace them.
    """

    index: int = 0
    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCallChunk, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    _raw: Any = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"_raw"})

    @property
    def raw(self) -> Any:
        """The event as it came, decoded from JSON."""
        if isinstance(self._raw, bytes):  # few look at it, and to decode it takes longer than all the rest
            msgspec.structs.force_setattr(self, "_raw", decode(self._raw))
        return self._raw

    def __str__(self) -> str:
        return self.text


Said = tuple[str, str | None, tuple[ToolCallChunk, ...]]
"""What a delta brings: text, reasoning, pieces of tool calls."""
NOTHING_SAID: Said = ("", None, ())
