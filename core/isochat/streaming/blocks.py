"""How do the pieces of one message become its content: text, or a list of blocks?

A delta's ``content`` is text or, from Claude and gpt-oss endpoints, a list of blocks (payload facts 08 and 11).
Neighbours of one type are one block: their texts are joined, their citations and summaries put in a row.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from isochat.streaming.pieces import Pieces
from isochat.wire_format.content import reasoning_of
from isochat.wire_format.turn_items import without


class Content:
    """The content of one message, growing."""

    __slots__ = ("_blocks", "_odd", "_texts")

    def __init__(self) -> None:
        self._texts: Pieces | None = None  # while all of it is text
        self._blocks: list[dict[str, Any]] | None = None
        self._odd: Any = None  # of a type that content cannot have; the reader of plain replies says so

    def add(self, content: Any) -> tuple[str, str | None]:
        """Take the content of one delta; gives the text and the reasoning that it brings."""
        if isinstance(content, str):
            if self._blocks is not None:
                self._add_block({"type": "text", "text": content}) if content else None
            elif self._texts is None:
                self._texts = Pieces(content)
            else:
                self._texts.append(content)
            return content, None
        if not isinstance(content, list):
            self._odd = content if self._odd is None else self._odd
            return "", None
        said, thought = "", None
        self._as_blocks()
        for block in content:
            if isinstance(block, str):
                block = {"type": "text", "text": block}
            if not isinstance(block, dict):
                continue
            self._add_block(block)
            if block.get("type") in ("text", "output_text"):
                said += _text(block.get("text"))
            elif block.get("type") in ("reasoning", "thinking"):
                piece = reasoning_of(block)
                if piece is not None:
                    thought = piece if thought is None else thought + piece
        return said, thought

    def value(self, *, whole: bool = True) -> Any:
        """The content as a plain reply would have it: text, blocks or ``None``.

        Args:
            whole: Also what a reader would refuse.
        """
        if whole and self._odd is not None:
            return self._odd
        if self._blocks is not None:
            return [_joined(block) for block in self._blocks]
        return None if self._texts is None else self._texts.text()

    def _as_blocks(self) -> None:
        if self._blocks is None:
            text = "" if self._texts is None else self._texts.text()
            self._blocks = [{"type": "text", "text": Pieces(text)}] if text else []
            self._texts = None

    def _add_block(self, block: dict[str, Any]) -> None:
        assert self._blocks is not None
        last = self._blocks[-1] if self._blocks else {}
        kind = block.get("type")
        field = _TEXTS.get(kind) if isinstance(kind, str) else None
        if field is not None:
            text = _text(block.get(field))
            if block.get("citation"):  # one for each delta: they are put in a row
                cited = [*(block.get("citations") or ()), block["citation"]]
                block = {**without(block, "citation"), "citations": cited}
            if last.get("type") == kind and not (kind == "thinking" and last.get("signature")):
                last[field].append(text)
                _fill(last, block, field)
            else:
                self._blocks.append({**_own(block), field: Pieces(text)})
        elif kind == "reasoning" and (field := _entries_of(block)) is not None:
            if last.get("type") == "reasoning" and isinstance(last.get(field), list):
                self._go_on_thinking(last, block, field)
            else:
                self._blocks.append({**block, field: [_opened(entry) for entry in block[field]]})
        else:
            self._blocks.append(block)

    def _go_on_thinking(self, last: dict[str, Any], block: dict[str, Any], field: str) -> None:
        """Join ``block`` to the reasoning before it, or begin another where that is signed, hence ended."""
        assert self._blocks is not None
        before: list[Any] = last[field]
        for position, entry in enumerate(block[field]):
            known = before[-1] if before else None
            if isinstance(known, dict) and known.get("signature"):
                rest = [_opened(entry) for entry in block[field][position:]]
                self._blocks.append({**block, field: rest})
                return
            # Further ones of one delta are summaries of their own (payload fact 08).
            if position == 0 and _readable(known) and _readable(entry) and known["type"] == entry["type"]:
                known["text"].append(_text(entry.get("text")))
                _fill(known, entry, "text")
            else:
                before.append(_opened(entry))
        _fill(last, block, field)


# Blocks of text, with the field that holds it, and entries of reasoning.
_TEXTS = {"text": "text", "output_text": "text", "refusal": "refusal", "thinking": "thinking"}
_SUMMARIES = ("summary_text", "reasoning_text")


def _entries_of(block: dict[str, Any]) -> str | None:
    """The field of a reasoning block that holds its entries."""
    lists = [name for name in ("summary", "content") if isinstance(block.get(name), list)]
    return next((name for name in lists if block[name]), lists[0] if lists else None)


def _readable(entry: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(entry, dict) and entry.get("type") in _SUMMARIES


def _opened(entry: Any) -> Any:
    return {**_own(entry), "text": Pieces(_text(entry.get("text")))} if _readable(entry) else entry


def _closed(entry: Any) -> Any:
    opened = _readable(entry) and isinstance(entry.get("text"), Pieces)
    return {**entry, "text": entry["text"].text()} if opened else entry


def _fill(known: dict[str, Any], more: dict[str, Any], joined: str) -> None:
    """Put what ``more`` brings beside its text into ``known``: lists in a row, else the last that is not null."""
    for name, value in more.items():
        if name == joined or value is None:
            continue
        before = known.get(name)
        if isinstance(before, list) and isinstance(value, list):
            before.extend(value)
        else:
            known[name] = list(value) if isinstance(value, list) else value


def _own(block: dict[str, Any]) -> dict[str, Any]:
    """``block`` with lists that may grow: those on the wire are the chunk's."""
    return {name: list(value) if isinstance(value, list) else value for name, value in block.items()}


def _joined(block: dict[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    field = _TEXTS.get(kind) if isinstance(kind, str) else None
    if field is not None:
        return {**_own(block), field: block[field].text()}
    if kind == "reasoning":
        lists = {name: block[name] for name in ("summary", "content") if isinstance(block.get(name), list)}
        return {**block, **{name: [_closed(entry) for entry in entries] for name, entries in lists.items()}}
    return block


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
