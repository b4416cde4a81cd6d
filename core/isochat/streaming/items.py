"""How does one output item of a Responses stream grow: by what its events say, until the item itself comes?"""

from __future__ import annotations

from typing import Any

from isochat.streaming.pieces import Pieces

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that are tool calls, with the field that is written piece by piece."""
PARTS = {
    "output_text": ("content", "text"),
    "refusal": ("content", "refusal"),
    "summary_text": ("summary", "text"),
    "reasoning_text": ("content", "text"),
}
"""Parts of an item that are text, by type: the item's list in which they stand, and their own field for the text."""


class Piece:
    """A text that is under way: a part of an item, or one of its own fields.

    Attributes:
        texts: What deltas have said.
        beside: What else the part holds.
    """

    __slots__ = ("_rows", "beside", "texts")

    def __init__(self) -> None:
        self.texts = Pieces()
        self.beside: dict[str, Any] = {}
        self._rows: dict[str, list[Any]] = {}  # e.g. ``annotations`` and ``logprobs``, told one by one

    def rest_of(self, whole: str) -> str:
        """What of the ``whole`` text no delta has said; from here on it is the text."""
        said = self.texts.text()
        self.texts = Pieces(whole)
        return whole[len(said) :] if whole.startswith(said) else ""

    def append(self, name: str, values: list[Any]) -> None:
        """Put ``values`` behind those of its list ``name``."""
        self._rows.setdefault(name, []).extend(values)

    def told(self) -> dict[str, Any]:
        """All that stands beside its text."""
        return {**self.beside, **{name: list(row) for name, row in self._rows.items()}}

    def tell(self, name: str, value: Any) -> None:
        """The part itself has ``value`` in the field ``name``; where that is empty, what other events told holds."""
        if value or (name not in self.beside and name not in self._rows):
            self.beside[name] = value
            self._rows.pop(name, None)


class Item:
    """One output item.

    Attributes:
        fields: The item as it was last told, its ``type`` always.
        place: Its ``output_index``; agents often give none.
        call: Which of the answer's tool calls it is.
        named: Whether a chunk has brought the name of the call.
        done: Whether ``fields`` is the whole item.
    """

    __slots__ = ("_pieces", "_told", "call", "done", "fields", "ids", "named", "place")

    def __init__(self, kind: str, place: int | None) -> None:
        self.fields: dict[str, Any] = {"type": kind}
        self.place = place
        self.ids: set[str] = set()
        self._pieces: dict[tuple[int, str], Piece] = {}
        self._told: dict[str, list[str]] = {}
        self.call: int | None = None
        self.named = False
        self.done = False

    def piece(self, name: str, position: int) -> Piece:
        """The part of type ``name`` at ``position``, or the field of that name; of parts that are no text, any."""
        key = (position, name)
        found = self._pieces.get(key)
        if found is None:
            found = self._pieces[key] = Piece()
        return found

    def said(self, name: str) -> list[str]:
        """What has been said in the pieces of ``name``, in their order."""
        return [piece.texts.text() for (_, its), piece in self._in_order() if its == name]

    def untold(self, name: str, whole: str) -> str:
        """What of the ``whole`` text of ``name`` no chunk has brought yet, once; nothing where what was said differs,
        as that cannot be taken back.
        """
        told = 0
        for text in self._told.get(name) or self.said(name):
            if not whole.startswith(text, told):
                return ""
            told += len(text)
        self._told[name] = [whole]
        return whole[told:]

    def end(self) -> None:
        """It is whole: what its deltas said need not be kept beside it, but for what no chunk is to bring again."""
        self.done = True
        for name in {name for _, name in self._pieces}:
            self._told.setdefault(name, self.said(name))
        self._pieces.clear()

    def value(self) -> dict[str, Any]:
        """The item as far as it is known."""
        if self.done:
            return self.fields
        built: dict[str, Any] = {}
        for (_, name), piece in self._in_order():
            text = piece.texts.text()
            if name in CALLS.values() or name == "code":
                built[name] = text
            elif name in PARTS:
                parts, field = PARTS[name]
                built.setdefault(parts, []).append({**piece.told(), "type": name, field: text})
            else:
                built.setdefault("content", []).append(piece.told())
        return {**self.fields, **built}

    def _in_order(self) -> list[tuple[tuple[int, str], Piece]]:
        return sorted(self._pieces.items(), key=lambda entry: entry[0][0])
