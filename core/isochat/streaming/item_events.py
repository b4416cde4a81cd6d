"""What does an event of a Responses stream say of one piece of an item?

Most often a delta of its text; also the whole of that text, the part around it, an annotation, how a tool gets on. The
item's own ``done`` event repeats all of it, and the response at the end does so again; some servers leave out either.

Not gathered: partial images and audio, of which a plain reply tells nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from isochat.results import Function
from isochat.streaming.chunks import NOTHING_SAID, Said, ToolCallChunk
from isochat.streaming.items import CALLS, PARTS, Item
from isochat.streaming.turns import Turns


class _Text(NamedTuple):
    """A text that is written piece by piece."""

    item: str
    """The type of its item."""
    name: str
    """The type of its part, or the item's own field."""
    position: str
    """The event's field that tells which of the parts it is."""
    whole: str
    """The field of its ``done`` event that holds all of it."""


_TEXTS = {
    "output_text": _Text("message", "output_text", "content_index", "text"),
    "refusal": _Text("message", "refusal", "content_index", "refusal"),
    "reasoning_summary_text": _Text("reasoning", "summary_text", "summary_index", "text"),
    "reasoning_text": _Text("reasoning", "reasoning_text", "content_index", "text"),
    "function_call_arguments": _Text("function_call", "arguments", "", "arguments"),
    "custom_tool_call_input": _Text("custom_tool_call", "input", "", "input"),
    "mcp_call_arguments": _Text("mcp_call", "arguments", "", "arguments"),
    "code_interpreter_call_code": _Text("code_interpreter_call", "code", "", "code"),
}
DELTAS = {f"response.{name}.delta": text for name, text in _TEXTS.items()}
_WHOLES = {f"response.{name}.done": text for name, text in _TEXTS.items()}
_PARTS = {
    "response.content_part.added": "content_index",
    "response.content_part.done": "content_index",
    "response.reasoning_summary_part.added": "summary_index",
    "response.reasoning_summary_part.done": "summary_index",
}
_ANNOTATION = "response.output_text.annotation.added"
_HOSTED_TOOLS = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call"}
)
_STATES = frozenset({"in_progress", "searching", "interpreting", "generating", "completed", "failed"})


class ItemEvents:
    """Puts into the items of ``turns`` what such events say."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._calls = 0

    def take_delta(self, kind: str, data: dict[str, Any]) -> Said:
        """Take an event that is one of :data:`DELTAS`; gives what it brings."""
        delta, text = data.get("delta"), DELTAS[kind]
        if not isinstance(delta, str):
            return NOTHING_SAID
        item = self._turns.growing(data, text.item)
        piece = item.piece(text.name, _place(data, text.position))
        piece.texts.append(delta)
        if text.name == "output_text" and isinstance(data.get("logprobs"), list) and data["logprobs"]:
            piece.append("logprobs", data["logprobs"])
        return self._said(text.name, item, delta)

    def take(self, kind: str, data: dict[str, Any]) -> Said:
        """Take an event of any other kind; gives what it brings that no delta has brought."""
        if kind in _WHOLES:
            return self._take_whole(_WHOLES[kind], data)
        if kind in _PARTS:
            return self._take_part(kind, data)
        if kind == _ANNOTATION:
            self._take_annotation(data)
        else:
            self._take_status(kind, data)
        return NOTHING_SAID

    def call_chunk(self, item: Item, whole: dict[str, Any] | None, text: str) -> ToolCallChunk:
        """A piece of a call; the first that knows the ``whole`` item brings its id and name."""
        if item.call is None:
            item.call = self._calls
            self._calls += 1
        its_id, name = None, ""
        if whole is not None and not item.named and isinstance(whole.get("name"), str):
            item.named = True
            its_id, name = whole.get("call_id") or whole.get("id"), whole["name"]
            its_id = its_id if isinstance(its_id, str) else None
        return ToolCallChunk(index=item.call, id=its_id, function=Function(name, text))

    def _take_whole(self, text: _Text, data: dict[str, Any]) -> Said:
        whole = data.get(text.whole)
        item = self._turns.mentioned(data, text.item) if isinstance(whole, str) else None
        if item is None or not isinstance(whole, str):
            return NOTHING_SAID
        piece = item.piece(text.name, _place(data, text.position))
        more = piece.rest_of(whole)
        if text.name == "output_text" and isinstance(data.get("logprobs"), list) and data["logprobs"]:
            piece.tell("logprobs", data["logprobs"])
        if text.item in CALLS and not item.named and isinstance(data.get("name"), str):
            item.fields = {"id": data.get("item_id"), **item.fields, "name": data["name"]}
            return "", None, (self.call_chunk(item, item.fields, more),)
        return self._said(text.name, item, more) if more else NOTHING_SAID

    def _take_part(self, kind: str, data: dict[str, Any]) -> Said:
        part, done = data.get("part"), kind.endswith(".done")
        name = part.get("type") if isinstance(part, dict) else None
        if not isinstance(part, dict) or not isinstance(name, str):
            return NOTHING_SAID
        item = self._turns.mentioned(
            data, "reasoning" if name in ("summary_text", "reasoning_text") else "message", new=done
        )
        if item is None:
            return NOTHING_SAID
        piece = item.piece(name, _place(data, _PARTS[kind]))
        field = PARTS[name][1] if name in PARTS else None
        for key, value in part.items():
            if key != field:
                piece.tell(key, value)
        whole = part.get(field) if field is not None else None
        if not isinstance(whole, str) or not (done or (whole and not piece.texts)):
            return NOTHING_SAID
        more = piece.rest_of(whole)
        return self._said(name, item, more) if more else NOTHING_SAID

    def _take_annotation(self, data: dict[str, Any]) -> None:
        item = self._turns.mentioned(data, "message")
        if item is not None and data.get("annotation") is not None:
            item.piece("output_text", _place(data, "content_index")).append("annotations", [data["annotation"]])

    def _take_status(self, kind: str, data: dict[str, Any]) -> None:
        tool, _, status = kind.removeprefix("response.").partition(".")
        item = self._turns.mentioned(data, tool, new=False) if tool in _HOSTED_TOOLS else None
        if item is not None and "status" in item.fields and status in _STATES:
            item.fields = {**item.fields, "status": status}

    def _said(self, name: str, item: Item, text: str) -> Said:
        if name == "output_text":
            return text, None, ()
        if name in ("summary_text", "reasoning_text"):
            return "", text, ()
        if item.fields["type"] in CALLS:
            return "", None, (self.call_chunk(item, None, text),)
        return NOTHING_SAID


def _place(data: dict[str, Any], field: str) -> int:
    value = data.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
