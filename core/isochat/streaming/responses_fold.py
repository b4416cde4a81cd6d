"""How do the events of a Responses stream become the response that a plain call gives?

Events build up output items; an item's ``done`` event and the response at the end are the last word on it. Agents
(payload facts 19 and 24) send the same events more loosely, bare items among them: :mod:`isochat.streaming.turns` says
of which item an event speaks.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from isochat.results import ChatResult, FinishReason, Meta, Usage
from isochat.streaming.chunks import NOTHING_SAID, ChatChunk, Said
from isochat.streaming.item_events import DELTAS, ItemEvents
from isochat.streaming.items import CALLS
from isochat.streaming.turns import Turns
from isochat.wire_format.content import arguments_text, reasoning_fields, reasoning_of
from isochat.wire_format.responses import ANSWERS, call_id, finish_reason, read_response
from isochat.wire_format.usage import UsageAccount, read_usage

_ENDS = frozenset({"response.completed", "response.incomplete"})
_PARTS = {"summary": "summary_text", "content": "reasoning_text"}  # of reasoning
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
        extra: Fields of events that a result has no place for, e.g. ``custom_outputs``.
    """

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._account = UsageAccount()
        self._turns = Turns()
        self._events = ItemEvents(self._turns)
        self._ended = False
        self._framed = False
        self._tools_answered = False
        self._asked: set[str | None] = set()  # ids of tool calls that nothing has answered
        self._answered: set[str | None] = set()
        self.extra: dict[str, Any] = {}

    @property
    def usage(self) -> dict[str, Any] | None:
        """The token counts so far, in their wire form."""
        return self._account.wire

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
        return self._turns.unended

    @property
    def calls_tools(self) -> bool:
        """Whether the last response asks for tools, which an agent then runs."""
        return self._turns.calls_tools

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
        if kind in DELTAS:
            self._ended = self._ended and not isinstance(data.get("delta"), str)
            text, reasoning, calls = self._events.take_delta(kind, data)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            if isinstance(data.get("item"), dict):
                text, reasoning, calls = self._take_item(data["item"], data, kind.endswith("done"))
        elif isinstance(data.get("response"), dict):
            text, reasoning, calls = self._take_response(kind, data["response"])
            if kind in _ENDS:
                self._ended = True
                usage = read_usage(data["response"].get("usage"))
                reason = self._finish_reason()
        elif kind.startswith("response."):
            text, reasoning, calls = self._events.take(kind, data)
        elif kind:
            # An item of its own, without an event around it.
            text, reasoning, calls = self._take_item(data, {}, True)
        if isinstance(data.get("usage"), dict):
            usage = self._account.take(data["usage"])
        return [
            ChatChunk(
                text=text, reasoning=reasoning, tool_calls=calls, finish_reason=reason, usage=usage, _raw=data
            )
        ]  # fmt: skip

    def reply(self) -> dict[str, Any]:
        """The response so far, as a plain call would have brought it."""
        reply = {**self._response, "output": self._turns.output(), "usage": self.usage}
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
        # Not from the whole result: an agent ends thousands of responses in one stream.
        return finish_reason(self._response, bool(self._asked))[0]

    # -- one event --------------------------------------------------------------------------------------------

    def _take_item(self, item: dict[str, Any], event: dict[str, Any], done: bool) -> Said:
        """An item begins or is whole; gives what its deltas had not said yet."""
        kind = str(item.get("type") or "unknown")
        self._ended = False
        self._tools_answered = self._tools_answered or kind.endswith("_output")
        slot = self._turns.told(item, event, kind, done)
        text, reasoning, calls = NOTHING_SAID
        if kind in CALLS:
            written = arguments_text(item.get(CALLS[kind]))
            if not done:  # pieces of the arguments follow; what stands here already is the first of them
                slot.piece(CALLS[kind], 0).texts.append(written)
                more = written
            else:
                more = slot.untold(CALLS[kind], written)
            if not slot.named or more:
                calls = (self._events.call_chunk(slot, item, more),)
        elif done and kind == "message":
            text = slot.untold("output_text", _message_text(item))
        elif done and kind == "reasoning":
            told = {name: reasoning_of({name: item.get(name)}) or "" for name in reasoning_fields(item)}
            reasoning = "".join(slot.untold(_PARTS.get(name, name), text) for name, text in told.items()) or None
        slot.fields = {**item, "type": kind}
        its_id = call_id(item)
        if kind in ANSWERS:
            self._answered.add(its_id)
            self._asked.discard(its_id)
        elif kind in CALLS and isinstance(item.get("name"), str) and (its_id is None or its_id not in self._answered):
            self._asked.add(its_id)
        if done:
            slot.end()
            if slot.place is None:
                self._turns.bare.add(_digest(slot.fields))
        return text, reasoning, calls

    def _take_response(self, kind: str, response: dict[str, Any]) -> Said:
        self._framed = True
        if kind == "response.created":
            self._turns.begin()
        self._ended = False
        known = self._response
        for name, value in response.items():
            if name not in ("output", "usage") and (value is not None or name not in known):
                known[name] = value
            if name not in _RESPONSE and value is not None:
                self.extra[name] = value
        known["status"] = response.get("status")  # of this event: it does not stay "in_progress"
        if isinstance(response.get("usage"), dict):
            self._account.take(response["usage"])
        output = response.get("output")
        if not (kind in _ENDS and isinstance(output, list) and output):
            return NOTHING_SAID
        known_items = self._turns.bare
        more = [
            self._take_item(item, {"output_index": place}, True)
            for place, item in enumerate(output)
            if isinstance(item, dict) and not (known_items and _digest(item) in known_items)
        ]
        thoughts = [reasoning for _, reasoning, _ in more if reasoning is not None]
        return (
            "".join(text for text, _, _ in more),
            "".join(thoughts) if thoughts else None,
            tuple(call for _, _, calls in more for call in calls),
        )


def _digest(item: dict[str, Any]) -> bytes:
    """The same for equal items: there may be thousands, and to compare each with each takes for ever."""
    return hashlib.blake2b(json.dumps(item, sort_keys=True).encode(), digest_size=16).digest()


def _message_text(item: dict[str, Any]) -> str:
    blocks = item.get("content")
    if isinstance(blocks, str):
        return blocks
    texts = [block.get("text") for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    return "".join(text for text in texts if isinstance(text, str))
