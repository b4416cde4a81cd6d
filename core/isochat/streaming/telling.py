"""In which dialect does a stream tell its answer, and what has it told so far?

Chat completions, Responses and agents each have a fold of their own; the first event that only one of them can have
sent decides. A whole reply may come in place of a stream, or as one event of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from isochat.errors import BadResponseError
from isochat.results import ChatResult, Meta
from isochat.streaming.agent_fold import AgentFold
from isochat.streaming.chat_fold import ChatFold
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.completion import Fold
from isochat.streaming.kept import MOST, Kept
from isochat.streaming.responses_fold import ResponsesFold
from isochat.streaming.stream_errors import StreamErrors, bytes_of
from isochat.streaming.whole_reply import chunks_of, is_whole_reply, read_answer
from isochat.wire_format.content import room_for_joining

_EARLY = 15


class Telling:
    """An answer under way.

    Attributes:
        fold: What gathers it, once the dialect is known.
        answer: The whole reply that came in place of a stream.
        chat: The fold, where it is a chat completion's.
    """

    __slots__ = ("_api", "_early", "_errors", "answer", "chat", "fold")

    def __init__(self, api: str, errors: StreamErrors) -> None:
        self._api = api
        self._errors = errors
        self._early: list[dict[str, Any]] = []  # what came before an event that tells the dialect
        self.fold: Fold | None = None
        self.chat: ChatFold | None = None
        self.answer: ChatResult | None = None

    def take(self, told: dict[str, Any], data: bytes | None) -> Iterable[ChatChunk]:
        """Take one event of the answer; gives its chunks.

        Args:
            data: The event's bytes, where there are any.

        Raises:
            StatusError, BadResponseError: it holds a whole reply that is none.
        """
        if self.fold is not None:
            return self.fold.add(told)
        if self.answer is not None:
            return (ChatChunk(_raw=told),)
        fold = _fold_for(told)
        if fold is not None:
            for early in self._early:
                fold.add(early)
            self.fold, self._early = fold, []
            self.chat = fold if isinstance(fold, ChatFold) else None
            return fold.add(told)
        if is_whole_reply(told):
            body = bytes_of(told) if data is None else data
            return self.take_whole(told, read_answer(told, body, self._api, self._errors))
        self._early = [*self._early[-_EARLY:], told]
        return (ChatChunk(_raw=told),)

    def measure(self, kept: Kept) -> None:
        """Raises ResponseTooLargeError if what it keeps takes too much memory."""
        kept.measure(self.fold, self._early)

    def take_whole(self, told: Any, answer: ChatResult) -> Iterable[ChatChunk]:
        """Take the whole reply ``told``; gives its chunks."""
        self.answer = answer
        return chunks_of(answer, told)

    @property
    def extra(self) -> dict[str, Any]:
        """Fields of the events that a result has no place for."""
        return self.fold.extra if self.fold is not None else {}

    def result(self, meta: Meta) -> ChatResult | None:
        """The whole answer; ``None`` where none has come.

        Raises:
            BadResponseError: what was streamed is no answer, e.g. a tool call without a name.
        """
        if self.answer is not None:
            return msgspec.structs.replace(self.answer, meta=meta)
        with room_for_joining(MOST):
            return None if self.fold is None else self.fold.result(meta)

    def partial(self, meta: Meta) -> ChatResult:
        """What has come so far; never raises."""
        if self.answer is not None:
            return msgspec.structs.replace(self.answer, meta=meta)
        try:
            with room_for_joining(MOST):
                return ChatResult(meta=meta) if self.fold is None else self.fold.result(meta, whole=False)
        except BadResponseError:  # a field of the wrong type; the error under way says more
            return ChatResult(meta=meta)

    def reply(self) -> dict[str, Any] | None:
        """What a plain call would have brought, in its wire form; ``None`` where no event of an answer came."""
        return None if self.fold is None else {**self.extra, **self.fold.reply()}


def _fold_for(told: dict[str, Any]) -> Fold | None:
    if "choices" in told or told.get("object") == "chat.completion.chunk":
        return ChatFold()
    if isinstance(told.get("type"), str):
        return ResponsesFold()
    if isinstance(told.get("delta"), dict):
        return AgentFold()
    return None
