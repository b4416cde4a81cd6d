"""How do the events of a Responses stream become the response that a plain call gives?

Events build up output items; an item's ``done`` event and the response at the end are the last word on it. Agents
(payload facts 19 and 24) send the same events more loosely: bare items among them, several responses in one stream,
no response at all around the items, other ids in ``added`` than in ``done``. So an item is found by its place where
the event names one, else by its id, else it is the one under way.
"""

from __future__ import annotations

from typing import Any

from isochat.errors import BadResponseError
from isochat.results import ChatResult, FinishReason, Function, Meta, Usage
from isochat.streaming.chunks import NOTHING_SAID, ChatChunk, Said, ToolCallChunk
from isochat.streaming.items import CALLS, Item
from isochat.wire_format.content import arguments_text, reasoning_fields, reasoning_of
from isochat.wire_format.responses import read_response
from isochat.wire_format.usage import merged_usage, read_usage

_ENDS = frozenset({"response.completed", "response.incomplete"})
# Deltas, with the field of their item in which they belong.
_TEXTS = {"response.output_text.delta": "text", "response.refusal.delta": "refusal"}
_REASONING = {
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.reasoning_text.delta": ("content", "content_index"),
}
_ARGUMENTS = {
    "response.function_call_arguments.delta": "function_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
}
_RESPONSE = frozenset({"id", "object", "created_at", "model", "output", "usage"})
_KNOWN = frozenset(
    {
        "type", "sequence_number", "response", "item", "item_id", "output_index", "content_index", "summary_index",
        "delta", "part", "text", "arguments", "logprobs", "obfuscation", "annotation", "annotation_index", "refusal",
        "code", "message", "param", "id", "call_id", "name", "output", "role", "content", "summary", "status", "input",
        "encrypted_content", "event_id",
    }
)  # fmt: skip


class ResponsesFold:
    """One response, growing; of an agent, all its turns.

    Attributes:
        usage: The token counts so far, in their wire form.
        extra: Fields of events that a result has no place for, e.g. ``custom_outputs``.
    """

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self.usage: dict[str, Any] | None = None
        self._turns: list[list[Item]] = [[]]
        self._growing: tuple[tuple[Any, ...], Item] | None = None  # the item of the last delta, and what named it
        self._calls = 0
        self._ended = False
        self._framed = False
        self._tools_answered = False
        self.extra: dict[str, Any] = {}

    @property
    def complete(self) -> bool:
        """Whether the response's own last event was the last thing said."""
        return self._ended

    @property
    def agentic(self) -> bool:
        """Whether an agent tells it, who need not say when it ends: no response around the items, or answered tools."""
        return not self._framed or self._tools_answered

    @property
    def unended(self) -> bool:
        """Whether an item has begun that is not whole."""
        return any(not item.done for item in self._turns[-1])

    @property
    def calls_tools(self) -> bool:
        """Whether the last response asks for tools, which an agent then runs."""
        return any(item.fields["type"] in CALLS for item in self._turns[-1])

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
                reason = self._finish_reason()
        elif kind and not kind.startswith("response."):
            # An item of its own, without an event around it.
            text, reasoning, calls = self._take_item(data, {}, True)
        if isinstance(data.get("usage"), dict):
            self.usage = merged_usage(self.usage, data["usage"])
            usage = read_usage(data["usage"])
        return [
            ChatChunk(
                text=text, reasoning=reasoning, tool_calls=calls, finish_reason=reason, usage=usage, raw=data
            )
        ]  # fmt: skip

    def reply(self) -> dict[str, Any]:
        """The response so far, as a plain call would have brought it."""
        output = [item.value() for turn in self._turns for item in _in_order(turn)]
        reply = {**self._response, "output": output, "usage": self.usage}
        if not self._ended:
            reply.pop("status", None)
        return reply

    def result(self, meta: Meta, *, whole: bool = True) -> ChatResult:
        """The result so far; raises BadResponseError where a plain reply of that content would."""
        reply = self.reply()
        if not whole:
            reply["output"] = [item for item in reply["output"] if item["type"] not in CALLS or item.get("name")]
        return read_response(reply, meta)

    def _finish_reason(self) -> FinishReason | None:
        try:
            return self.result(Meta(), whole=False).finish_reason
        except BadResponseError:  # a field of the wrong type, which result() reports
            return None

    # -- one event --------------------------------------------------------------------------------------------

    def _take_delta(self, kind: str, data: dict[str, Any]) -> Said:
        delta = data.get("delta")
        if not isinstance(delta, str):
            return NOTHING_SAID
        self._ended = False
        if kind in _TEXTS:
            self._growing_item(data, "message").add(_TEXTS[kind], _whole(data.get("content_index")), delta)
            return (delta if kind == "response.output_text.delta" else ""), None, ()
        if kind in _REASONING:
            field, position = _REASONING[kind]
            self._growing_item(data, "reasoning").add(field, _whole(data.get(position)), delta)
            return "", delta, ()
        item = self._growing_item(data, _ARGUMENTS[kind])
        item.add(CALLS[_ARGUMENTS[kind]], 0, delta)
        return "", None, (self._call_chunk(item, None, delta),)

    def _take_item(self, item: dict[str, Any], event: dict[str, Any], done: bool) -> Said:
        """An item begins or is whole; gives what its deltas had not said yet."""
        kind = str(item.get("type") or "unknown")
        self._ended = False
        self._growing = None
        self._tools_answered = self._tools_answered or kind.endswith("_output")
        slot = self._item_of({"item_id": item.get("id"), **event}, kind, new=not done or not event)
        at_the_end = bool(event) and "item" not in event  # as the response itself lists it
        if slot.done and not at_the_end and (not done or slot.fields != item):
            self._begin_turn()
            slot = self._item_of({"item_id": item.get("id"), **event}, kind, new=True)
        text, reasoning, calls = NOTHING_SAID
        if kind in CALLS:
            written = arguments_text(item.get(CALLS[kind]))
            if not done:  # pieces of the arguments follow; what stands here already is the first of them
                slot.add(CALLS[kind], 0, written)
                more = written
            else:
                more = slot.untold(CALLS[kind], written)
            if not slot.named or more:
                calls = (self._call_chunk(slot, item, more),)
        elif done and kind == "message":
            text = slot.untold("text", _message_text(item))
        elif done and kind == "reasoning":
            told = {name: reasoning_of({name: item.get(name)}) or "" for name in reasoning_fields(item)}
            reasoning = "".join(slot.untold(name, text) for name, text in told.items()) or None
        slot.fields = {**item, "type": kind}
        slot.done = done
        return text, reasoning, calls

    def _take_response(self, kind: str, response: dict[str, Any]) -> Said:
        self._framed = True
        if kind == "response.created":
            self._begin_turn()
        self._ended = False
        known = self._response
        for name, value in response.items():
            if name not in ("output", "usage") and (value is not None or name not in known):
                known[name] = value
            if name not in _RESPONSE and value is not None:
                self.extra[name] = value
        known["status"] = response.get("status")  # of this event: it does not stay "in_progress"
        if isinstance(response.get("usage"), dict):
            self.usage = merged_usage(self.usage, response["usage"])
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

    def _item_of(self, event: dict[str, Any], kind: str, new: bool = False) -> Item:
        turn = [item for item in self._turns[-1] if item.fields["type"] == kind]
        place, its_id = event.get("output_index"), event.get("item_id")
        found = None
        if isinstance(place, int):
            found = next((item for item in turn if item.place == place), None)
        if found is None and isinstance(its_id, str):
            found = next((i for i in turn if its_id in i.ids and (i.place is None or place is None)), None)
        if found is None and not isinstance(place, int) and not new:
            # Nothing names it: the one of its kind that is under way.
            found = next((item for item in reversed(turn) if not item.done), None)
            if found is not None and isinstance(its_id, str) and found.ids and its_id not in found.ids:
                found = None
        if found is None:
            found = Item(kind, place if isinstance(place, int) else None)
            self._turns[-1].append(found)
        if isinstance(its_id, str):
            found.ids.add(its_id)
        return found

    def _growing_item(self, event: dict[str, Any], kind: str) -> Item:
        named = (kind, event.get("output_index"), event.get("item_id"))
        if self._growing is not None and self._growing[0] == named:  # as nearly always
            return self._growing[1]
        item = self._item_of(event, kind)
        if item.done:
            self._begin_turn()
            item = self._item_of(event, kind)
        self._growing = (named, item)
        return item

    def _begin_turn(self) -> None:
        """An agent's next turn: places count from 0 again, ids may be the same. Not all agents announce it."""
        self._growing = None
        if self._turns[-1]:
            self._turns.append([])

    def _call_chunk(self, item: Item, whole: dict[str, Any] | None, text: str) -> ToolCallChunk:
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


def _in_order(turn: list[Item]) -> list[Item]:
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


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
