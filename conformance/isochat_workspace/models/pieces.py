"""What does a model say bit by bit? The pieces of a streamed answer, and a whole answer cut into them.

A stream is any number of pieces in the order in which they are said. For each choice: its ReasoningPieces, its
TextPieces, its ToolCallPieces, one FinishPiece. A TokenUsage may stand anywhere before the last FinishPiece and
says what was counted so far; the last one counts for the whole answer. The pieces of a choice, put together,
are its AnswerChoice.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from isochat_workspace.models.answers import (
    Answer,
    AnswerChoice,
    FinishReason,
    Reasoning,
    TokenLogprob,
    TokenUsage,
    ToolCall,
)

_WORD_WITH_BLANKS = re.compile(r"\s*\S+|\s+$")


@dataclasses.dataclass(frozen=True, slots=True)
class TextPiece:
    """Text to append. One empty piece makes the text of a choice "" and not None.

    `logprobs` are of the tokens the text is made of, where they were asked for: () then, where there are none.
    """

    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ReasoningPiece:
    """Reasoning to append; the signature comes with the last one."""

    text: str
    signature: str | None = None
    choice: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """Arguments to append to the call at place `call` of a choice. Its first piece carries `id` and `name`."""

    call: int
    arguments: str
    id: str | None = None
    name: str | None = None
    choice: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class FinishPiece:
    """The end of a choice."""

    reason: FinishReason
    choice: int = 0


SaidPiece = TextPiece | ReasoningPiece | ToolCallPiece | FinishPiece
Piece = SaidPiece | TokenUsage


def cut_into_pieces(
    answer: Answer, count: Callable[[str], int] | None = None, texts: Sequence[str] | None = None
) -> Iterator[Piece]:
    """A whole answer as pieces of one word each; put together they are that answer to the letter.

    `texts` are the pieces of a text that is to be cut otherwise. `count` tells the tokens of a piece of text; with it
    the usage grows from piece to piece, without it the completion's tokens are told once, before the last choice ends.
    """
    completion = 0
    yield TokenUsage(answer.usage.prompt, 0)
    for index, choice in enumerate(answer.choices):
        for said, piece in _pieces_of(choice, index, texts):
            if isinstance(piece, FinishPiece) and index == len(answer.choices) - 1:
                yield answer.usage
            elif count is not None and (tokens := count(said)):
                completion += tokens
                yield TokenUsage(answer.usage.prompt, completion)
            yield piece


def put_together(pieces: Iterable[Piece]) -> Answer:
    """The answer the pieces are of."""
    usage = TokenUsage(0, 0)
    choices: dict[int, tuple[AnswerChoice, dict[int, ToolCall]]] = {}
    for piece in pieces:
        if isinstance(piece, TokenUsage):
            usage = piece
        else:
            said, calls = choices.setdefault(piece.choice, (AnswerChoice(None, "stop"), {}))
            choices[piece.choice] = _with_piece(said, calls, piece), calls
    return Answer(
        tuple(dataclasses.replace(said, tool_calls=tuple(calls.values())) for said, calls in choices.values()), usage
    )


def _with_piece(said: AnswerChoice, calls: dict[int, ToolCall], piece: SaidPiece) -> AnswerChoice:
    match piece:
        case TextPiece():
            logprobs = None if piece.logprobs is None else (*(said.logprobs or ()), *piece.logprobs)
            return dataclasses.replace(said, text=(said.text or "") + piece.text, logprobs=logprobs)
        case ReasoningPiece():
            before = said.reasoning or Reasoning("")
            reasoning = Reasoning(before.text + piece.text, piece.signature or before.signature)
            return dataclasses.replace(said, reasoning=reasoning)
        case ToolCallPiece():
            call = calls.get(piece.call) or ToolCall(piece.id or "", piece.name or "", "")
            calls[piece.call] = dataclasses.replace(call, arguments=call.arguments + piece.arguments)
            return said
        case FinishPiece():
            return dataclasses.replace(said, finish_reason=piece.reason)


def _pieces_of(choice: AnswerChoice, index: int, texts: Sequence[str] | None) -> Iterator[tuple[str, Piece]]:
    """Pieces of a choice, each with the text a model would have made for it."""
    if choice.reasoning is not None:
        for word in _words(choice.reasoning.text):
            yield word, ReasoningPiece(word, None, index)
        if choice.reasoning.signature is not None:
            yield "", ReasoningPiece("", choice.reasoning.signature, index)
    if choice.text is not None:
        for word in (_words(choice.text) if texts is None else texts) or [""]:
            yield word, TextPiece(word, index)
    for place, call in enumerate(choice.tool_calls):
        yield call.name, ToolCallPiece(place, "", call.id, call.name, index)
        for word in _words(call.arguments):
            yield word, ToolCallPiece(place, word, choice=index)
    yield "", FinishPiece(choice.finish_reason, index)


def _words(text: str) -> list[str]:
    """The text cut before each run of blanks; nothing is lost."""
    return _WORD_WITH_BLANKS.findall(text)
