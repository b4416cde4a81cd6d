"""What does a call give back?

``ChatResult`` and everything below it: frozen, slotted, without behaviour beyond reading. ``==`` holds between
two readings of one answer: it ignores ``meta``, ``raw_finish_reason`` and the wire forms that parts keep for
:meth:`ChatResult.to_message`. Answers to two separate requests are compared by :func:`isochat.diff`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from isochat.message import (
    Function,
    ImagePart,
    Message,
    OtherPart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCall,
)
from isochat.meta import Meta
from isochat.records import Record

__all__ = [
    "ChatResult",
    "Choice",
    "FinishReason",
    "Function",
    "ImagePart",
    "Message",
    "Meta",
    "OtherPart",
    "Part",
    "ReasoningPart",
    "RefusalPart",
    "TextPart",
    "ToolCall",
    "Usage",
]

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error", "unknown"]

# Why a text may be no whole object.
_UNFINISHED = {
    "length": "It was cut off: raise max_tokens",
    "content_filter": "A content filter cut it off: reword the request",
}


class Choice(Record, frozen=True, eq=False, kw_only=True):
    """One of ``n`` answers; ``raw_finish_reason`` is the word that stood on the wire."""

    index: int = 0
    message: Message
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    logprobs: Any = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"raw_finish_reason"})


class Usage(Record, frozen=True, eq=False):
    """Token counts as the service reported them; ``None`` means not reported, never 0."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    reasoning_tokens: int | None = None


class ChatResult(Record, frozen=True, eq=False):
    """The normalised answer. ``str()`` of it is the text of its first choice."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    meta: Meta = Meta()
    _not_compared: ClassVar[frozenset[str]] = frozenset({"meta"})

    def __str__(self) -> str:
        return self.text

    @property
    def message(self) -> Message:
        """The first choice's message; an empty one while a stream has brought none."""
        return self.choices[0].message if self.choices else Message()

    @property
    def text(self) -> str:
        """The first choice's text; ``""`` when it has none."""
        return self.message.content or ""

    @property
    def reasoning(self) -> str | None:
        """The first choice's reasoning, if the model gave any."""
        return self.message.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The first choice's tool calls."""
        return self.message.tool_calls

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the first choice ended; ``None`` where the wire does not say."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def parsed(self) -> Any:
        """The first choice's text as an object of the type that ``response_format`` asked for; ``None`` where it was no
        type.

        Raises:
            OutputParseError: the text spells no such object; the message says where it differs.
        """
        if self.meta._parsing is None:
            return None
        return self.meta._parsing.parse(self.text, self._why_no_object())

    def _why_no_object(self) -> str | None:
        if self.message.refusal:
            return "The model refused; its words are in result.message.refusal"
        if self.tool_calls:
            return "The model calls tools first: answer result.tool_calls and ask again"
        return _UNFINISHED.get(self.finish_reason or "")

    def to_message(self) -> dict[str, Any]:
        """The first choice's message in the shape that a following request takes."""
        from isochat.wire_format.chat_completions import write_message

        return write_message(self.message)

    def to_dict(self) -> dict[str, Any]:
        """The answer in OpenAI's chat-completion shape; :meth:`from_dict` reads it back."""
        from isochat.wire_format.chat_completions import write_completion

        return write_completion(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChatResult:
        """Read what :meth:`to_dict` wrote, or any chat completion.

        Raises:
            BadResponseError: ``data`` is not a chat completion; the message names the path.
        """
        from isochat.wire_format.chat_completions import read_completion

        return read_completion(data)
