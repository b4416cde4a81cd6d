"""How do the chunks of a ChatAgent endpoint become its reply? By message id (payload fact 17, MLflow's ChatAgentChunk).

A chunk has one ``delta``, a piece of one of the agent's messages or of a tool's answer; pieces of one id are joined.
"""

from __future__ import annotations

from typing import Any

from isochat.results import ChatResult, Meta
from isochat.streaming.blocks import Content
from isochat.streaming.chunks import NOTHING_SAID, ChatChunk, Said
from isochat.streaming.pieces import Pieces
from isochat.streaming.tool_calls import ToolCalls
from isochat.wire_format.agents import read_chat_agent
from isochat.wire_format.chat_completions import FINISH_REASONS
from isochat.wire_format.content import reasoning_beside
from isochat.wire_format.usage import UsageAccount, read_usage

_KNOWN = frozenset({"id", "delta", "finish_reason", "usage", "object", "created", "model"})


class AgentFold:
    """One ChatAgent reply, growing.

    Attributes:
        extra: Fields of the chunks themselves that a result has no place for, e.g. ``custom_outputs``.
    """

    agentic = True

    def __init__(self) -> None:
        self._id: Any = None
        self._messages: list[_MessageFold] = []
        self._by_id: dict[str, _MessageFold] = {}
        self._account = UsageAccount()
        self._finish_reason: Any = None
        self.extra: dict[str, Any] = {}

    @property
    def usage(self) -> dict[str, Any] | None:
        """The token counts so far, in their wire form."""
        return self._account.wire

    @property
    def complete(self) -> bool:
        """Whether a finish reason was the last that the agent said; few say one. A tool call is no end of its turn."""
        return self._finish_reason is not None and self._finish_reason not in ("tool_calls", "function_call")

    def add(self, data: dict[str, Any]) -> list[ChatChunk]:
        """Take one event; gives its chunk. What a tool answered is no text of the agent's."""
        if self._id is None:
            self._id = data.get("id")
        for name, value in data.items():
            if name not in _KNOWN and value is not None:
                self.extra[name] = value
        usage = None
        if isinstance(data.get("usage"), dict):
            usage = self._account.take(data["usage"])
        delta, reason = data.get("delta"), data.get("finish_reason") or None
        if isinstance(delta, dict) or reason is not None:
            self._finish_reason = reason
        text, reasoning, calls = NOTHING_SAID
        if isinstance(delta, dict):
            message = self._message_of(delta)
            said, thought, calls = message.add(delta)
            if message.role == "assistant":
                text, reasoning = said, thought
        return [
            ChatChunk(
                text=text,
                reasoning=reasoning,
                tool_calls=calls,
                finish_reason=None if reason is None else FINISH_REASONS.get(str(reason), "unknown"),
                usage=usage,
                _raw=data,
            )
        ]

    def reply(self, *, whole: bool = True) -> dict[str, Any]:
        """The reply so far, as a plain call would have brought it."""
        return {
            "id": self._id,
            "messages": [message.reply(whole) for message in self._messages],
            "finish_reason": self._finish_reason,
            "usage": self.usage,
        }

    def result(self, meta: Meta, *, whole: bool = True) -> ChatResult:
        """The result so far; raises BadResponseError where a plain reply of that content would."""
        if not self._messages and not whole:
            return ChatResult(usage=read_usage(self.usage), meta=meta)
        return read_chat_agent(self.reply(whole=whole), meta)

    def _message_of(self, delta: dict[str, Any]) -> _MessageFold:
        its_id, role = delta.get("id"), delta.get("role")
        if its_id is not None and (known := self._by_id.get(repr(its_id))) is not None:
            return known
        last = self._messages[-1] if self._messages else None
        if last is not None and its_id is None and role in (None, last.role) and last.role == "assistant":
            return last
        message = _MessageFold(role if isinstance(role, str) else "assistant")
        self._messages.append(message)
        if its_id is not None:
            self._by_id[repr(its_id)] = message
        return message


class _MessageFold:
    __slots__ = ("_content", "_thoughts", "_tool_calls", "fields", "role")

    def __init__(self, role: str) -> None:
        self.role = role
        self.fields: dict[str, Any] = {}
        self._content = Content()
        self._thoughts: dict[str, Pieces] = {}  # by the field in which they stand
        self._tool_calls: ToolCalls | None = None

    def add(self, delta: dict[str, Any]) -> Said:
        text, reasoning, calls = NOTHING_SAID
        for name, value in delta.items():
            if value is None or name == "role":
                continue
            if name == "content":
                text, reasoning = self._content.add(value)
            elif name == "tool_calls":
                self._tool_calls = self._tool_calls or ToolCalls()
                calls = self._tool_calls.add(value)
            elif name in ("reasoning_content", "reasoning") and isinstance(value, str):
                self._thoughts.setdefault(name, Pieces()).append(value)
            else:
                self.fields[name] = value
        thought = reasoning_beside(delta)
        if thought is not None:
            reasoning = thought if reasoning is None else reasoning + thought
        return text, reasoning, calls

    def reply(self, whole: bool) -> dict[str, Any]:
        message = {"role": self.role, "content": self._content.value(whole=whole), **self.fields}
        message |= {name: pieces.text() for name, pieces in self._thoughts.items()}
        if self._tool_calls is not None:
            message["tool_calls"] = self._tool_calls.value(whole=whole)
        return message
