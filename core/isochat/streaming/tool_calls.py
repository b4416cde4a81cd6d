"""How do the pieces of tool calls become the calls of one message?

All shapes seen: the whole call in one piece, the id only in the first piece, arguments split, several calls side by
side in one delta or interleaved by index (payload facts 02, 12, 14, 15), no index at all, index 0 for every call, the
name repeated on each piece.
"""

from __future__ import annotations

from typing import Any

from isochat.results import Function
from isochat.streaming.chunks import ToolCallChunk
from isochat.streaming.pieces import Pieces
from isochat.wire_format.content import arguments_text

# Where a call holds what is written piece by piece: functions have JSON arguments, custom tools an input of plain text.
_WRITTEN = {"function": "arguments", "custom": "input"}


class _Call:
    __slots__ = ("body", "fields", "names", "position", "size", "word", "written")

    def __init__(self, position: int) -> None:
        self.position = position
        self.word = "function"
        self.fields: dict[str, Any] = {}
        self.body: dict[str, Any] = {}
        self.names: list[str] = []
        self.size = 0  # of the name
        self.written = Pieces()

    @property
    def name(self) -> str | None:
        return "".join(self.names) if self.names else None

    def add_name(self, piece: Any) -> str:
        """What ``piece`` adds to the name: nothing where it repeats it, as some do with each piece."""
        if not isinstance(piece, str) or (len(piece) == self.size and self.names and piece == self.name):
            return ""
        self.names.append(piece)
        self.size += len(piece)
        return piece


class ToolCalls:
    """The tool calls of one message, growing."""

    __slots__ = ("_by_id", "_by_index", "_calls")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def add(self, pieces: Any) -> tuple[ToolCallChunk, ...]:
        """Take the ``tool_calls`` of one delta; what is no tool call is passed over."""
        if not isinstance(pieces, list):
            return ()
        return tuple(self._add(piece) for piece in pieces if isinstance(piece, dict))

    def value(self, *, whole: bool = True) -> list[dict[str, Any]]:
        """The calls as a plain reply would list them.

        Args:
            whole: Also those whose name has not come, which a reader refuses.
        """
        return [_written(call) for call in self._calls if whole or call.name]

    def _add(self, piece: dict[str, Any]) -> ToolCallChunk:
        call = self._call_of(piece)
        for key, value in piece.items():
            if key not in ("index", "function", "custom") and value not in (None, ""):
                call.fields[key] = call.fields.get("id", value) if key == "id" else value
        if (its_id := call.fields.get("id")) is not None and isinstance(its_id, str):
            self._by_id.setdefault(its_id, call)
        word = "custom" if isinstance(piece.get("custom"), dict) else "function"
        body = piece.get(word)
        if not isinstance(body, dict):
            return ToolCallChunk(index=call.position, id=_id_of(piece), function=Function(""))
        call.word = word
        written_as = _WRITTEN[word]
        name = call.add_name(body.get("name"))
        text = arguments_text(body.get(written_as))
        call.written.append(text)
        for key, value in body.items():
            if key not in ("name", written_as) and value is not None:
                call.body[key] = value
        return ToolCallChunk(index=call.position, id=_id_of(piece), function=Function(name, text))

    def _call_of(self, piece: dict[str, Any]) -> _Call:
        index, its_id = piece.get("index"), _id_of(piece)
        known = self._by_index.get(index) if isinstance(index, int) else None
        if known is None and not isinstance(index, int) and self._calls:
            # Without an index: the call of that id, or the one that was written last.
            known = self._by_id.get(its_id) if its_id else self._calls[-1]
        elif known is not None and its_id and known.fields.get("id") not in (None, its_id):
            known = None  # another call under the index of the one before
        if known is None:
            known = _Call(len(self._calls))
            self._calls.append(known)
        if isinstance(index, int):
            self._by_index[index] = known
        return known


def _id_of(piece: dict[str, Any]) -> str | None:
    its_id = piece.get("id")
    return its_id if isinstance(its_id, str) and its_id else None


def _written(call: _Call) -> dict[str, Any]:
    named = {} if call.name is None else {"name": call.name}
    return {**call.fields, call.word: {**call.body, **named, _WRITTEN[call.word]: call.written.text()}}
