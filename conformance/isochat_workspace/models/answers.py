"""What did a model say? The neutral answer, without dialect."""

from __future__ import annotations

import dataclasses
from typing import Literal

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thought before it spoke; `signature` (Claude has one) proves it unchanged."""

    text: str
    signature: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of the text, its natural log probability, and the likeliest tokens of its place."""

    token: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerChoice:
    """One of the n answers; `text` is None beside tool calls. `logprobs` are there where they were asked for."""

    text: str | None
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: Reasoning | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens as the model counts them.

    `reasoning` is the part of `completion` that was thought; `cache_read` and `cache_creation` are what a prompt cache
    gave and took.
    """

    prompt: int
    completion: int
    reasoning: int = 0
    cache_read: int = 0
    cache_creation: int = 0

    @property
    def total(self) -> int:
        """Prompt and completion together."""
        return self.prompt + self.completion


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a model said."""

    choices: tuple[AnswerChoice, ...]
    usage: TokenUsage
