"""How do the pieces of one message become its content: text, or a list of blocks?

A delta's ``content`` is text or, from Claude and gpt-oss endpoints, a list of blocks (payload facts 08 and 11).
Neighbours of one type are one block: their texts are joined, their citations and summaries put in a row.
"""

from __future__ import annotations

from typing import Any

from isochat.wire_format.content import reasoning_of


class Content:
    """The content of one message, growing."""

    __slots__ = ("_blocks", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] | None = None  # while all of it is text
        self._blocks: list[dict[str, Any]] | None = None

    def add(self, content: Any) -> tuple[str, str | None]:
        """Take the content of one delta; gives the text and the reasoning that it brings."""
        if isinstance(content, str):
            if self._blocks is not None:
                self._add_block({"type": "text", "text": content}) if content else None
            elif self._texts is None:
                self._texts = [content]
            else:
                self._texts.append(content)
            return content, None
        if not isinstance(content, list):
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
            elif block.get("type") == "reasoning":
                piece = reasoning_of(block)
                thought = piece if thought is None or piece is None else thought + piece
        return said, thought

    def value(self) -> Any:
        """The content as a plain reply would have it: text, blocks or ``None``."""
        if self._blocks is not None:
            return [_joined(block) for block in self._blocks]
        return None if self._texts is None else "".join(self._texts)

    def _as_blocks(self) -> None:
        if self._blocks is None:
            text = "".join(self._texts or ())
            self._blocks = [{"type": "text", "text": [text]}] if text else []
            self._texts = None

    def _add_block(self, block: dict[str, Any]) -> None:
        assert self._blocks is not None
        last = self._blocks[-1] if self._blocks else None
        kind = block.get("type")
        if kind in ("text", "output_text"):
            if last is None or last.get("type") != kind:
                self._blocks.append({**block, "text": [_text(block.get("text"))]})
                return
            last["text"].append(_text(block.get("text")))
            for name, value in block.items():
                if isinstance(value, list) and isinstance(last.get(name), list) and name != "text":
                    last[name] = [*last[name], *value]
                elif name != "text" and value is not None:
                    last[name] = value
        elif kind == "reasoning" and last is not None and last.get("type") == "reasoning":
            self._go_on_thinking(last, block)
        elif kind == "reasoning" and isinstance(block.get("summary"), list):
            self._blocks.append({**block, "summary": [_opened(entry) for entry in block["summary"]]})
        else:
            self._blocks.append(block)

    def _go_on_thinking(self, last: dict[str, Any], block: dict[str, Any]) -> None:
        """Join ``block`` to the reasoning before it, or begin another where that is signed, hence ended."""
        assert self._blocks is not None
        before, entries = last.get("summary"), block.get("summary")
        if not isinstance(before, list) or not isinstance(entries, list):
            self._blocks.append(block)
            return
        for position, entry in enumerate(entries):
            open_entry = before[-1] if before else None
            goes_on = (
                position == 0  # further ones of one delta are summaries of their own (payload fact 08)
                and isinstance(entry, dict)
                and isinstance(open_entry, dict)
                and open_entry.get("type") == entry.get("type") == "summary_text"
                and not open_entry.get("signature")
            )
            if goes_on:
                assert open_entry is not None
                open_entry["text"].append(_text(entry.get("text")))
                open_entry.update({name: v for name, v in entry.items() if name != "text" and v is not None})
            elif isinstance(open_entry, dict) and open_entry.get("signature"):
                rest = [_opened(entry) for entry in entries[position:]]
                self._blocks.append({**block, "summary": rest})
                return
            else:
                before.append(_opened(entry))


def _opened(entry: Any) -> Any:
    if isinstance(entry, dict) and entry.get("type") == "summary_text":
        return {**entry, "text": [_text(entry.get("text"))]}
    return entry


def _joined(block: dict[str, Any]) -> dict[str, Any]:
    if isinstance(block.get("text"), list):
        return {**block, "text": "".join(block["text"])}
    if block.get("type") == "reasoning" and isinstance(block.get("summary"), list):
        summary = [
            {**entry, "text": "".join(entry["text"])}
            if isinstance(entry, dict) and isinstance(entry.get("text"), list)
            else entry
            for entry in block["summary"]
        ]
        return {**block, "summary": summary}
    return block


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
