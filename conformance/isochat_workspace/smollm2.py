"""How does a real model answer? SmolLM2-135M-Instruct, run by llama.cpp in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from .answers import Answer, AnswerChoice, FinishReason, TokenUsage, ToolCall
from .engine_client import EngineClient
from .engine_process import EngineError, EngineProcess
from .model_store import SERVED_NAME, ModelStore, default_store
from .models import Model, Prompt, Tool, text_of
from .pieces import FinishPiece, Piece, TextPiece, ToolCallPiece
from .schema_bounds import bounded

_MAX_TOKENS = 512
_SEED = 1


class SmolLM2(Model):
    """The real model. `isochat local install` has to have fetched it.

    One question has one answer: without a `temperature` it is 0, without a `seed` the seed is fixed, and
    questions are answered one after another. Where no limit is asked for, 512 tokens is the limit: a model
    of this size may repeat itself without end. A forced tool is called through a grammar made of its schema;
    of its own accord this model calls no tool. Images are not read.
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
            raise _configuration_error("the model smollm2 is not installed", "run: isochat local install")
        try:
            self._engine = await asyncio.to_thread(EngineProcess, self._store)
        except EngineError as error:
            raise _configuration_error(
                f"the engine of the model smollm2 did not start: {error}",
                "run: isochat local install --force",
            ) from error
        self._turn = asyncio.Lock()
        self._client = EngineClient(self._engine.url, self._engine.key)

    async def close(self) -> None:
        """End the engine."""
        if self._client is not None:
            await self._client.close()
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.to_thread(engine.stop)

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask the engine n times in turn. Raises ServiceError 400 for what it refuses, 503 if it is gone."""
        turn, client = self._opened()
        choices, prompt_tokens, completion_tokens = [], 0, 0
        async with turn:
            for index in range(prompt.n):
                reply = await client.ask(_engine_request(prompt, index))
                choices.append(_choice(reply["choices"][0], prompt, index))
                prompt_tokens = reply["usage"]["prompt_tokens"]
                completion_tokens += reply["usage"]["completion_tokens"]
        return Answer(tuple(choices), TokenUsage(prompt_tokens, completion_tokens))

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Token by token as the engine makes them. Raises as `answer` does.

        Closing this generator ends the engine's work and lets the next question in.
        """
        turn, client = self._opened()
        completion = 0
        async with turn:
            for index in range(prompt.n):
                made = _ChoiceInTheMaking(prompt, index, completion)
                async with aclosing(client.ask_stream(_engine_request(prompt, index))) as chunks:
                    async for chunk in chunks:
                        for piece in made.of_chunk(chunk):
                            yield piece
                for piece in made.end():
                    yield piece
                completion = made.usage.completion

    def _opened(self) -> tuple[asyncio.Lock, EngineClient]:
        if self._turn is None or self._client is None:
            raise RuntimeError("the model has not been opened")
        return self._turn, self._client


def _engine_request(prompt: Prompt, index: int) -> dict[str, Any]:
    request: dict[str, Any] = {
        "messages": [_message(message) for message in prompt.messages],
        "max_tokens": prompt.max_tokens or _MAX_TOKENS,
        "temperature": prompt.temperature or 0.0,
        "seed": (_SEED if prompt.seed is None else prompt.seed) + index,
    }
    if prompt.top_p is not None:
        request["top_p"] = prompt.top_p
    if prompt.stop:
        request["stop"] = list(prompt.stop)
    schema = prompt.forced_tool.parameters if prompt.forced_tool else prompt.json_schema
    if schema is not None:
        shape = bounded(schema) if schema else {"type": "object"}
        request["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": shape}}
    return request


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the model's ChatML template takes it: plain text under one of its three roles."""
    role, text = message.get("role"), text_of(message.get("content"))
    if role == "tool":
        return {"role": "user", "content": f"Tool result: {text}"}
    calls = [call.get("function", {}) for call in message.get("tool_calls") or () if isinstance(call, dict)]
    text += "".join(f"\nTool call: {call.get('name')} {call.get('arguments')}" for call in calls)
    return {"role": "system" if role == "developer" else str(role), "content": text}


def _choice(choice: Mapping[str, Any], prompt: Prompt, index: int) -> AnswerChoice:
    text = choice["message"].get("content") or ""
    reason = _finish_reason(choice["finish_reason"], prompt)
    if prompt.forced_tool is not None:
        return AnswerChoice(
            None, reason, (ToolCall(_call_id(prompt.forced_tool, index), prompt.forced_tool.name, text),)
        )
    return AnswerChoice(text, reason)


class _ChoiceInTheMaking:
    """One choice, from the engine's chunks to pieces. `usage` is what all choices so far have used."""

    def __init__(self, prompt: Prompt, index: int, completion_before: int) -> None:
        self._prompt = prompt
        self._index = index
        self._before = completion_before
        self._begun = False
        self._reason: FinishReason = "stop"
        self.usage = TokenUsage(0, completion_before)

    def of_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Piece]:
        """What a chunk adds, after the tokens used so far. The first one opens the call, or a text that may be ""."""
        if usage := chunk.get("usage"):
            self.usage = TokenUsage(usage["prompt_tokens"], self._before + usage["completion_tokens"])
        elif timings := chunk.get("timings"):
            self.usage = TokenUsage(timings["cache_n"] + timings["prompt_n"], self._before + timings["predicted_n"])
        if not self._begun:
            self._begun = True
            yield self.usage
            yield self._opening()
        for choice in chunk["choices"]:
            if choice["finish_reason"]:
                self._reason = _finish_reason(choice["finish_reason"], self._prompt)
            if text := choice["delta"].get("content"):
                yield self.usage
                if self._prompt.forced_tool is None:
                    yield TextPiece(text, self._index)
                else:
                    yield ToolCallPiece(0, text, choice=self._index)

    def end(self) -> Iterator[Piece]:
        """The whole usage, then the end of the choice."""
        yield self.usage
        yield FinishPiece(self._reason, self._index)

    def _opening(self) -> Piece:
        tool = self._prompt.forced_tool
        if tool is None:
            return TextPiece("", self._index)
        return ToolCallPiece(0, "", _call_id(tool, self._index), tool.name, self._index)


def _call_id(tool: Tool, index: int) -> str:
    return f"call_{tool.name}_{index + 1}"


def _finish_reason(engine_says: str, prompt: Prompt) -> FinishReason:
    if engine_says == "length":
        return "length"
    return "stop" if prompt.forced_tool is None else "tool_calls"


def _configuration_error(message: str, remedy: str) -> Exception:
    # At the time of the error: the workspace needs nothing of core while all is well.
    from isochat.errors import ConfigurationError

    return ConfigurationError(message, remedy=remedy)
