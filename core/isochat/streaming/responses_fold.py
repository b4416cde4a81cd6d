"""How do the events of a Responses stream become the response that a plain call gives?

Events build up output items; an item's ``done`` event and the response at the end are the last word on it. Agents
(payload facts 19 and 24) send the same events more loosely: bare items among them, several responses in one stream,
no response at all around the items, other ids in ``added`` than in ``done``. So an item is found by its place where
the event names one, else by its id, else it is the one under way.
"""

from __future__ import annotations

from typing import Any

from isochat.results import ChatResult, FinishReason, Function, Meta, Usage
from isochat.streaming.chunks import NOTHING_SAID, ChatChunk, Said, ToolCallChunk
from isochat.wire_format.content import arguments_text, reasoning_of
from isochat.wire_format.responses import read_response
from isochat.wire_format.usage import merged_usage, read_usage

_ENDS = frozenset({"response.completed", "response.incomplete"})
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
# Deltas, with the field of their item in which they belong.
_TEXTS = {"response.output_text.delta": "text", "response.refusal.delta": "refusal"}
_REASONING = {
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "summary_text"),
    "response.reasoning_text.delta": ("content", "content_index", "reasoning_text"),
}
_ARGUMENTS = {
    "response.function_call_arguments.delta": "function_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
}
_KNOWN = frozenset(
    {
        "type", "sequence_number", "response", "item", "item_id", "output_index", "content_index", "summary_index",
        "delta", "part", "text", "arguments", "logprobs", "obfuscation", "annotation", "annotation_index", "refusal",
        "code", "message", "param", "id", "call_id", "name", "output", "role", "content", "summary", "status", "input",
        "encrypted_content", "event_id",
    }
)  # fmt: skip


class _Item:
    """One output item: what its deltas have said so far, until the item itself comes."""

    __slots__ = ("call", "done", "fields", "ids", "named", "place", "texts")

    def __init__(self, kind: str, place: int | None) -> None:
        self.fields: dict[str, Any] = {"type": kind}
        self.place = place
        self.ids: set[str] = set()
        self.texts: dict[tuple[str, int], list[str]] = {}  # by field and position in it
        self.call: int | None = None  # which of the answer's tool calls it is
        self.named = False  # whether a chunk has brought its name
        self.done = False

    def said(self, field: str) -> str:
        return "".join(text for (name, _), texts in sorted(self.texts.items()) if name == field for text in texts)

    def value(self) -> dict[str, Any]:
        """The item as far as it is known."""
        if self.done:
            return self.fields
        kind = self.fields["type"]
        if kind in _CALLS:
            return {**self.fields, _CALLS[kind]: self.said(_CALLS[kind])}
        built: dict[str, list[Any]] = {}
        for (name, _), texts in sorted(self.texts.items()):
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


class ResponsesFold:
    """One response, growing; of an agent, all its turns.

    Attributes:
        extra: Fields of events that a result has no place for, e.g. ``custom_outputs``.
    """

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._turns: list[list[_Item]] = [[]]
        self._calls = 0
        self._ended = False
        self._created = False
        self._tools_answered = False
        self.extra: dict[str, Any] = {}

    @property
    def complete(self) -> bool:
        """Whether the response's own last event was the last thing said."""
        return self._ended

    @property
    def agentic(self) -> bool:
        """Whether an agent tells it, who need not say when it ends: no response around the items, or answered tools."""
        return not self._created or self._tools_answered

    @property
    def usage_known(self) -> bool:
        """Whether token counts have come."""
        return self._usage is not None

    def add(self, data: dict[str, Any]) -> list[ChatChunk]:
        """Take one event; gives its chunk."""
        kind = data.get("type")
        kind = kind if isinstance(kind, str) else ""
        for name, value in data.items():
            if name not in _KNOWN and value is not None:
                self.extra[name] = value
        text, reasoning, calls = NOTHING_SAID
        reason: FinishReason | None = None
        usage: Usage | None = None
        if kind in _TEXTS or kind in _REASONING or kind in _ARGUMENTS:
            text, reasoning, calls = self._take_delta(kind, data)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            if isinstance(data.get("item"), dict):
                text, reasoning, calls = self._take_item(data["item"], data, kind.endswith("done"))
        elif isinstance(data.get("response"), dict):
            text, reasoning, calls = self._take_response(kind, data["response"])
            if kind in _ENDS:
                self._ended = True
                usage = read_usage(data["response"].get("usage"))
                reason = self.result(Meta(), whole=False).finish_reason
        elif kind and not kind.startswith("response."):
            # An item of its own, without an event around it.
            text, reasoning, calls = self._take_item(data, {}, True)
        if isinstance(data.get("usage"), dict):
            self._usage = merged_usage(self._usage, data["usage"])
            usage = read_usage(data["usage"])
        return [
            ChatChunk(
                text=text, reasoning=reasoning, tool_calls=calls, finish_reason=reason, usage=usage, raw=data
            )
        ]  # fmt: skip

    def reply(self) -> dict[str, Any]:
        """The response so far, as a plain call would have brought it."""
        output = [item.value() for turn in self._turns for item in _in_order(turn)]
        reply = {**self._response, "output": output, "usage": self._usage}
        if not self._ended:
            reply.pop("status", None)
        return reply

    def result(self, meta: Meta, *, whole: bool = True) -> ChatResult:
        """The result so far; raises BadResponseError where a plain reply of that content would."""
        reply = self.reply()
        if not whole:
            reply["output"] = [item for item in reply["output"] if item["type"] not in _CALLS or item.get("name")]
        return read_response(reply, meta)

    # -- one event --------------------------------------------------------------------------------------------

    def _take_delta(self, kind: str, data: dict[str, Any]) -> Said:
        delta = data.get("delta")
        if not isinstance(delta, str):
            return NOTHING_SAID
        self._ended = False
        if kind in _TEXTS:
            item = self._item_of(data, "message")
            item.texts.setdefault((_TEXTS[kind], _whole(data.get("content_index"))), []).append(delta)
            return (delta if kind == "response.output_text.delta" else ""), None, ()
        if kind in _REASONING:
            field, position, _ = _REASONING[kind]
            item = self._item_of(data, "reasoning")
            item.texts.setdefault((field, _whole(data.get(position))), []).append(delta)
            return "", delta, ()
        item = self._item_of(data, _ARGUMENTS[kind])
        item.texts.setdefault((_CALLS[item.fields["type"]], 0), []).append(delta)
        return "", None, (self._call_chunk(item, None, delta),)

    def _take_item(self, item: dict[str, Any], event: dict[str, Any], done: bool) -> Said:
        """An item begins or is whole; gives what its deltas had not said yet."""
        kind = str(item.get("type") or "unknown")
        self._ended = False
        self._tools_answered = self._tools_answered or kind.endswith("_output")
        slot = self._item_of({"item_id": item.get("id"), **event}, kind, new=not done or not event)
        text, reasoning, calls = NOTHING_SAID
        if kind in _CALLS:
            written = arguments_text(item.get(_CALLS[kind]))
            if not done:  # pieces of the arguments follow; what stands here already is the first of them
                slot.texts.setdefault((_CALLS[kind], 0), []).append(written)
                more = written
            else:
                more = _rest(written, slot.said(_CALLS[kind]))
            if not slot.named or more:
                calls = (self._call_chunk(slot, item, more),)
        elif done and kind == "message":
            text = _rest(_message_text(item), slot.said("text"))
        elif done and kind == "reasoning":
            thought = reasoning_of(item) or ""
            reasoning = _rest(thought, slot.said("summary") or slot.said("content")) or None
        slot.fields = {**item, "type": kind}
        slot.done = done
        return text, reasoning, calls

    def _take_response(self, kind: str, response: dict[str, Any]) -> Said:
        if kind == "response.created":
            self._created = True
            if self._turns[-1]:  # an agent's next turn, whose places count from 0 again
                self._turns.append([])
        self._ended = False
        known = self._response
        for name, value in response.items():
            if name not in ("output", "usage") and (value is not None or name not in known):
                known[name] = value
        if isinstance(response.get("usage"), dict):
            self._usage = merged_usage(self._usage, response["usage"])
        text, reasoning, calls = NOTHING_SAID
        output = response.get("output")
        if kind in _ENDS and isinstance(output, list) and output:
            kept = [item for item in self._turns[-1] if item.place is None and item.done]
            for place, item in enumerate(output):
                if isinstance(item, dict) and not any(item == other.fields for other in kept):
                    more = self._take_item(item, {"output_index": place}, True)
                    text += more[0]
                    reasoning = more[1] if reasoning is None else reasoning + (more[1] or "")
                    calls = (*calls, *more[2])
        return text, reasoning, calls

    # -- items ------------------------------------------------------------------------------------------------

    def _item_of(self, event: dict[str, Any], kind: str, new: bool = False) -> _Item:
        turn = self._turns[-1]
        place, its_id = event.get("output_index"), event.get("item_id")
        found = None
        if isinstance(place, int):
            found = next((item for item in turn if item.place == place), None)
        if found is None and its_id is not None:
            found = next((i for i in turn if its_id in i.ids and (i.place is None or place is None)), None)
        if found is None and not isinstance(place, int) and not new:
            # Nothing names it: the one of its kind that is under way.
            found = next((i for i in reversed(turn) if i.fields["type"] == kind and not i.done), None)
            if found is not None and its_id is not None and found.ids and its_id not in found.ids:
                found = None
        if found is None:
            found = _Item(kind, place if isinstance(place, int) else None)
            turn.append(found)
        if isinstance(its_id, str):
            found.ids.add(its_id)
        return found

    def _call_chunk(self, item: _Item, whole: dict[str, Any] | None, text: str) -> ToolCallChunk:
        """A piece of a call; the first that knows the ``whole`` item brings its id and name."""
        if item.call is None:
            item.call = self._calls
            self._calls += 1
        its_id, name = None, ""
        if whole is not None and not item.named and isinstance(whole.get("name"), str):
            item.named = True
            its_id, name = whole.get("call_id") or whole.get("id"), whole["name"]
        return ToolCallChunk(index=item.call, id=its_id, function=Function(name, text))


def _in_order(turn: list[_Item]) -> list[_Item]:
    """By place where all have one (they may end out of order), else as they came."""
    if all(item.place is not None for item in turn):
        return sorted(turn, key=lambda item: item.place or 0)
    return turn


def _message_text(item: dict[str, Any]) -> str:
    blocks = item.get("content")
    if isinstance(blocks, str):
        return blocks
    texts = [block.get("text") for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    return "".join(text for text in texts if isinstance(text, str))


def _rest(whole: str, said: str) -> str:
    """What of ``whole`` has not been said; nothing where the two differ, as what was said cannot be taken back."""
    return whole[len(said) :] if whole.startswith(said) else ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
