"""How does one output item of a Responses stream grow: by its deltas, until the item itself comes?"""

from __future__ import annotations

from typing import Any

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that are tool calls, with the field that is written piece by piece."""


class Item:
    """One output item.

    Attributes:
        fields: The item as it was last told, its ``type`` always.
        place: Its ``output_index``; agents often give none.
        call: Which of the answer's tool calls it is.
        named: Whether a chunk has brought the name of the call.
        done: Whether ``fields`` is the whole item.
    """

    __slots__ = ("_told", "call", "done", "fields", "ids", "named", "place", "texts")

    def __init__(self, kind: str, place: int | None) -> None:
        self.fields: dict[str, Any] = {"type": kind}
        self.place = place
        self.ids: set[str] = set()
        self.texts: dict[tuple[int, str], list[str]] = {}  # by position and the field of the item
        self._told: dict[str, str] = {}
        self.call: int | None = None
        self.named = False
        self.done = False

    def add(self, field: str, position: int, text: str) -> None:
        """Take a delta."""
        self.texts.setdefault((position, field), []).append(text)

    def said(self, field: str) -> str:
        """What the deltas of ``field`` have said."""
        return "".join(text for (_, name), texts in sorted(self.texts.items()) if name == field for text in texts)

    def untold(self, field: str, whole: str) -> str:
        """What of the ``whole`` text of ``field`` no chunk has brought yet, once; nothing where what was said differs,
        as that cannot be taken back.
        """
        told = self._told[field] if field in self._told else self.said(field)
        if not whole.startswith(told):
            return ""
        self._told[field] = whole
        return whole[len(told) :]

    def value(self) -> dict[str, Any]:
        """The item as far as it is known."""
        if self.done:
            return self.fields
        kind = self.fields["type"]
        if kind in CALLS:
            return {**self.fields, CALLS[kind]: self.said(CALLS[kind])}
        built: dict[str, list[Any]] = {}
        for (_, name), texts in sorted(self.texts.items()):
            text = "".join(texts)
            match name:
                case "text":
                    built.setdefault("content", []).append({"type": "output_text", "text": text})
                case "refusal":
                    built.setdefault("content", []).append({"type": "refusal", "refusal": text})
                case "summary" | "content":
                    word = "summary_text" if name == "summary" else "reasoning_text"
                    built.setdefault(name, []).append({"type": word, "text": text})
        return {**self.fields, **built}
