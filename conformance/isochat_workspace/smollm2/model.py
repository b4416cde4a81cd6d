"""How does a real model answer? SmolLM2-135M-Instruct, run by llama.cpp in a process of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.models.answers import Answer, FinishReason, TokenLogprob, TokenUsage
from isochat_workspace.models.model import Model, Prompt
from isochat_workspace.models.pieces import FinishPiece, Piece, TextPiece, put_together
from isochat_workspace.smollm2.engine_client import EngineClient, EngineGone
from isochat_workspace.smollm2.engine_process import EngineError, EngineProcess
from isochat_workspace.smollm2.engine_request import engine_request
from isochat_workspace.smollm2.grammar import CallReader, grammar_of, kept, trial_passed, trial_request
from isochat_workspace.smollm2.model_store import SERVED_NAME, ModelStore, default_store
from isochat_workspace.smollm2.stop_sequences import Said, StopSequences

logger = logging.getLogger("isochat.workspace")


class SmolLM2(Model):
    """The real model. `isochat local install` has to have fetched it.

    One question has one answer: without a `temperature` it is 0, without a `seed` the seed is fixed, and
    questions are answered one after another. Where no limit is asked for, 512 tokens is the limit (1024 under a
    schema): a model of this size may repeat itself without end. A forced tool is called through a grammar made
    of its schema; of its own accord this model calls no tool. Images are not read. An engine that has died is
    started again by the next question.
    """

    served_name = SERVED_NAME

    def __init__(self, store: ModelStore | None = None) -> None:
        self._store = store or default_store()
        self._engine: EngineProcess | None = None
        self._client: EngineClient | None = None
        self._turn: asyncio.Lock | None = None

    @property
    def engine(self) -> EngineProcess:
        """The running engine. Raises RuntimeError while the model is not open."""
        if self._engine is None:
            raise RuntimeError("the model has not been opened")
        return self._engine

    async def open(self) -> None:
        """Start the engine and wait until it answers (1 to 8 s). Raises ConfigurationError."""
        if not self._store.installed:
            raise _configuration_error("the model smollm2 is not installed", "Run: isochat local install")
        try:
            await self._start()
        except EngineError as error:
            raise _configuration_error(
                f"the engine of the model smollm2 did not start: {error}",
                "Run: isochat local install --force",
            ) from error
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """End the engine."""
        if self._client is not None:
            await self._client.close()
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.to_thread(engine.stop)

    @property
    def endpoint_name(self) -> str:
        return "smollm2"

    async def answer(self, prompt: Prompt) -> Answer:
        """The stream put together. Raises ServiceError: 400 for what is refused, 503 where the engine has died."""
        return put_together([piece async for piece in self.stream(prompt)])

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Token by token as the engine makes them, the n choices in turn. Raises as `answer` does.

        Closing this generator ends the engine's work and lets the next question in.
        """
        if self._turn is None:
            raise RuntimeError("the model has not been opened")
        grammar = grammar_of(prompt)
        requests = [engine_request(prompt, index, grammar) for index in range(prompt.n)]
        usage = TokenUsage(0, 0)
        async with self._turn:
            try:
                client = await self._running()
                if grammar is not None and not trial_passed(await client.complete(trial_request(grammar))):
                    raise ServiceError(400, "BAD_REQUEST", _NO_GRAMMAR)
                for index, request in enumerate(requests):
                    choice = _ChoiceInTheMaking(prompt, index, usage.completion)
                    async with aclosing(client.chat_stream(request)) as chunks:
                        async for chunk in chunks:
                            for piece in choice.of_chunk(chunk):
                                yield piece
                            if choice.stopped:
                                break
                    if grammar is not None and choice.complete and not kept(choice.said, prompt):
                        raise ServiceError(500, "INTERNAL_ERROR", _LEFT_GRAMMAR)
                    for piece in choice.end():
                        yield piece
                    usage = choice.usage
            except EngineGone as error:
                if self._engine is not None:  # whatever ails it: one that broke off is started anew
                    await asyncio.to_thread(self._engine.stop)
                message = f"The engine of the local model does not answer: {error}. The next request starts it again."
                raise ServiceError(503, "TEMPORARILY_UNAVAILABLE", message) from error

    async def _start(self) -> EngineClient:
        self._engine = await asyncio.to_thread(EngineProcess, self._store)
        self._client = EngineClient(self._engine.url, self._engine.key)
        return self._client

    async def _running(self) -> EngineClient:
        """The client of the engine, which is started anew where it has ended. Raises EngineGone."""
        if self._engine is not None and self._client is not None and self._engine.ended is None:
            return self._client
        if self._engine is None or self._client is None:
            raise ServiceError(503, "TEMPORARILY_UNAVAILABLE", "The workspace is being stopped.")
        logger.warning("the engine of the local model ended by itself (%s): it is started again", self._engine.ended)
        await self._client.close()
        await asyncio.to_thread(self._engine.stop)
        try:
            return await self._start()
        except EngineError as error:
            raise EngineGone(f"it did not start: {error}") from error


class _ChoiceInTheMaking:
    """One choice, from the engine's chunks to pieces. `usage` is what all choices so far have used."""

    def __init__(self, prompt: Prompt, index: int, completion_before: int) -> None:
        self._index = index
        self._before = completion_before
        self._logprobs = prompt.logprobs
        self._begun = False
        self._reason: FinishReason = "stop"
        self.said = ""
        self.usage = TokenUsage(0, completion_before)
        self._calls: CallReader | None = None
        # A stop sequence within the arguments of a call would leave no call.
        self._stops = StopSequences(() if prompt.must_call else prompt.stop)
        if prompt.must_call:
            self._reason = "tool_calls"
            turn = len(prompt.messages)  # makes ids unlike those of the calls in the conversation so far
            self._calls = CallReader(index, lambda place: f"call_{turn}_{index + 1}_{place + 1}")

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence has been said."""
        return self._stops.stopped

    @property
    def complete(self) -> bool:
        """Whether the model came to the end of what it had to say."""
        return self._reason != "length" and not self.stopped

    def of_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Piece]:
        """What a chunk adds, after the tokens used so far. The first one opens the text, which may stay ""."""
        if usage := chunk.get("usage"):
            self.usage = TokenUsage(usage["prompt_tokens"], self._before + usage["completion_tokens"])
        elif timings := chunk.get("timings"):
            self.usage = TokenUsage(timings["cache_n"] + timings["prompt_n"], self._before + timings["predicted_n"])
        if not self._begun:
            self._begun = True
            yield self.usage
            if self._calls is None:
                yield TextPiece("", self._index, None if self._logprobs is None else ())
        for choice in chunk["choices"]:
            if choice["finish_reason"] == "length":
                self._reason = "length"
            if text := choice["delta"].get("content"):
                self.said += text
                yield self.usage
                for said in self._stops.add(Said(text, _logprob(choice, self._logprobs))):
                    yield from self._pieces(said)

    def end(self) -> Iterator[Piece]:
        """What had waited, the whole usage, then the end of the choice."""
        for said in self._stops.end():
            yield from self._pieces(said)
        yield self.usage
        yield FinishPiece(self._reason, self._index)

    def _pieces(self, said: Said) -> Iterator[Piece]:
        if self._calls is not None:
            yield from self._calls.add(said.text)
        else:
            logprobs = None if self._logprobs is None else () if said.logprob is None else (said.logprob,)
            yield TextPiece(said.text, self._index, logprobs)


def _logprob(choice: Mapping[str, Any], wanted: int | None) -> TokenLogprob | None:
    """The log probability of a chunk's token. Of a character made of several tokens the engine tells the last."""
    if wanted is None or not (choice.get("logprobs") or {}).get("content"):
        return None
    told = choice["logprobs"]["content"][-1]
    top = tuple(TokenLogprob(other["token"], other["logprob"]) for other in told["top_logprobs"][:wanted])
    return TokenLogprob(told["token"], told["logprob"], top)


_LEFT_GRAMMAR = "The engine of the local model did not keep to the JSON schema; try a simpler one."
_NO_GRAMMAR = (
    "Bad request: the local model cannot keep to this JSON schema: its engine makes no grammar of it"
    " (nothing satisfies it, or it says what a grammar cannot)"
)


def _configuration_error(message: str, remedy: str) -> Exception:
    # At the time of the error: the workspace needs nothing of core while all is well.
    from isochat.errors import ConfigurationError

    return ConfigurationError(message, remedy=remedy)
