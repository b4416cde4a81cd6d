"""How does a kind of model show an answer on the chat API? One answer, dressed as a kind of endpoint would give it.

The shapes are those of recordings, fixtures and pasted answers; what no source shows is left as the plain dialect has
it. A dressing changes nothing of what is said, but for reasoning that its kind does not show.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Literal

from isochat_workspace.models.answers import Answer, AnswerChoice, Reasoning, TokenUsage
from isochat_workspace.models.pieces import Piece, ReasoningPiece, ToolCallPiece

DressName = Literal["plain", "claude-like", "gpt-like", "gpt-oss-like", "llama-like", "agent-like"]
StreamUsage = Literal["every", "last", "asked", "never"]
Signature = Literal["as said", "always", "never"]


@dataclasses.dataclass(frozen=True, slots=True)
class Dressing:
    """What is particular to a kind.

    `family` and `stream_usage` are what an endpoint of this kind has if it names none. `signature` says whether shown
    reasoning is signed, `shows_reasoning` whether it is shown at all. `details` are further fields of a usage, each
    with the count it holds; a dotted name is an object, None a null. `nulls` stand in a completion.
    `logprobs_null`: a choice without log probabilities has a null for them.
    `bare_call_deltas`: a delta that only calls has `content: null`, and the arguments of a call come in one piece.
    """

    family: str = "open"
    stream_usage: StreamUsage = "last"
    signature: Signature = "as said"
    shows_reasoning: bool = True
    details: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    nulls: tuple[str, ...] = ()
    logprobs_null: bool = True
    bare_call_deltas: bool = False

    def answer(self, answer: Answer) -> Answer:
        """The answer with its reasoning as this kind shows it."""
        return dataclasses.replace(answer, choices=tuple(map(self._choice, answer.choices)))

    async def pieces(self, pieces: AsyncIterator[Piece]) -> AsyncGenerator[Piece, None]:
        """The same for an answer that is said bit by bit."""
        source: Any = pieces
        thought: dict[int, str] = {}
        called: list[ToolCallPiece] = []
        async with aclosing(source):
            async for piece in pieces:
                if self.bare_call_deltas and isinstance(piece, ToolCallPiece) and piece.id is None:
                    called.append(piece)
                    continue
                if called and not isinstance(piece, TokenUsage):
                    yield dataclasses.replace(called[0], arguments="".join(one.arguments for one in called))
                    called.clear()
                for index in [*thought] if not isinstance(piece, ReasoningPiece | TokenUsage) else ():
                    yield ReasoningPiece("", _signed(thought.pop(index)), index)
                if not isinstance(piece, ReasoningPiece):
                    yield piece
                elif self.shows_reasoning:
                    if self.signature == "always" and piece.signature is None:
                        thought[piece.choice] = thought.get(piece.choice, "") + piece.text
                        piece = dataclasses.replace(piece, signature="")
                    elif self.signature == "never":
                        piece = dataclasses.replace(piece, signature=None)
                    else:
                        thought.pop(piece.choice, None)
                    if piece.text or piece.signature:
                        yield piece

    def completion(self, completion: dict[str, Any], usage: TokenUsage) -> dict[str, Any]:
        """A completion of the plain dialect, dressed."""
        choices = [self._choice_shown(choice) for choice in completion["choices"]]
        return {**completion, "choices": choices, "usage": self.usage(usage), **dict.fromkeys(self.nulls)}

    def chunk(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """A chunk of the plain dialect, dressed."""
        choices = [self._choice_shown(choice) for choice in chunk["choices"]]
        if self.bare_call_deltas:
            choices = [{**choice, "delta": {"content": None, **choice["delta"]}} for choice in choices]
        return {**chunk, "choices": choices}

    def usage(self, usage: TokenUsage | None) -> dict[str, Any] | None:
        """A usage; None where nothing is known yet."""
        if usage is None:
            return None
        shown: dict[str, Any] = {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.total,
        }
        for name, count in self.details.items():
            outer, _, inner = name.partition(".")
            value = None if count is None else getattr(usage, count)
            shown[outer] = {inner: value} if inner else value
        return shown

    def _choice(self, choice: AnswerChoice) -> AnswerChoice:
        reasoning = choice.reasoning
        if reasoning is None or (self.shows_reasoning and self.signature == "as said"):
            return choice
        if not self.shows_reasoning:
            return dataclasses.replace(choice, reasoning=None)
        signature = None if self.signature == "never" else reasoning.signature or _signed(reasoning.text)
        return dataclasses.replace(choice, reasoning=Reasoning(reasoning.text, signature))

    def _choice_shown(self, choice: dict[str, Any]) -> dict[str, Any]:
        if self.logprobs_null or choice["logprobs"] is not None:
            return choice
        return {name: value for name, value in choice.items() if name != "logprobs"}


DRESSINGS: Mapping[DressName, Dressing] = {
    "plain": Dressing(),
    # Reasoning blocks and their signature: BerriAI/litellm, test_databricks_chat_transformation.py; in a stream each
    # delta has a signature, empty but for the last ("Query reasoning models", docs 2026-06-18). Usage with the counts
    # of the prompt cache: databricks-ai-bridge, langchain chat_models.py; on each chunk: "Use foundation models".
    "claude-like": Dressing(
        family="claude",
        stream_usage="every",
        signature="always",
        details={"cache_read_input_tokens": "cache_read", "cache_creation_input_tokens": "cache_creation"},
        logprobs_null=False,
    ),
    # Details of usage: databricks-fmapi-task-benchmark 2026-08 (reasoning is a part of the completion, and not shown),
    # databricks-ai-bridge, langchain chat_models.py (cached tokens). Usage in a last chunk: its unit tests.
    "gpt-like": Dressing(
        family="gpt",
        shows_reasoning=False,
        details={
            "prompt_tokens_details.cached_tokens": "cache_read",
            "completion_tokens_details.reasoning_tokens": "reasoning",
        },
        logprobs_null=False,
    ),
    # Blocks without a signature: BerriAI/litellm, test_transform_choices_without_signature. `reasoning_tokens` beside
    # the three counts: field table of the API reference.
    "gpt-oss-like": Dressing(
        family="gpt-oss",
        stream_usage="every",
        signature="never",
        details={"reasoning_tokens": "reasoning"},
        logprobs_null=False,
    ),
    # Nulls of a completion: BerriAI/litellm, test_databricks.py; but none in the message, since Databricks' own
    # provider for the AI SDK refuses `tool_calls: null` (fmapi-schema.ts). Streams: recordings of a live endpoint
    # (llama-stack).
    "llama-like": Dressing(
        family="llama",
        stream_usage="every",
        details={"completion_tokens_details": None, "prompt_tokens_details": None},
        nulls=("system_fingerprint",),
        bare_call_deltas=True,
    ),
    # An agent has shapes of its own: `agent_dialect.py`.
    "agent-like": Dressing(),
}


def _signed(text: str) -> str:
    """A signature in Claude's form, the same one for the same text."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()).decode()
