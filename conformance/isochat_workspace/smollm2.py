"""How does a real model answer? SmolLM2-135M-Instruct, run by llama.cpp in a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from .answers import Answer, AnswerChoice, TokenUsage, ToolCall
from .engine_process import EngineError, EngineProcess
from .http_reply import ServiceError
from .model_store import SERVED_NAME, ModelStore, default_store
from .models import Model, Prompt, text_of
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
        self._session: aiohttp.ClientSession | None = None
        self._turn: asyncio.Lock | None = None

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
        self._session = aiohttp.ClientSession(
            self._engine.url,
            headers={"Authorization": f"Bearer {self._engine.key}"},
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        """End the engine."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.to_thread(engine.stop)

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask the engine n times in turn. Raises ServiceError 400 for what it refuses, 503 if it is gone."""
        if self._turn is None:
            raise RuntimeError("the model has not been opened")
        choices, prompt_tokens, completion_tokens = [], 0, 0
        async with self._turn:
            for index in range(prompt.n):
                reply = await self._ask(_engine_request(prompt, index))
                choices.append(_choice(reply["choices"][0], prompt, index))
                prompt_tokens = reply["usage"]["prompt_tokens"]
                completion_tokens += reply["usage"]["completion_tokens"]
        return Answer(tuple(choices), TokenUsage(prompt_tokens, completion_tokens))

    async def _ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._session is None:
            raise ServiceError(503, "TEMPORARILY_UNAVAILABLE", "The workspace is being stopped.")
        try:
            async with self._session.post("/v1/chat/completions", json=body) as response:
                reply: dict[str, Any] = json.loads(await response.read())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"The engine of the local model does not answer: {error or type(error).__name__}"
            raise ServiceError(503, "TEMPORARILY_UNAVAILABLE", message) from error
        if response.status != 200:
            raise _refusal(response.status, reply.get("error") or {})
        return reply


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
    cut = choice["finish_reason"] == "length"
    tool = prompt.forced_tool
    if tool is not None:
        call = ToolCall(f"call_{tool.name}_{index + 1}", tool.name, text)
        return AnswerChoice(None, "length" if cut else "tool_calls", (call,))
    return AnswerChoice(text, "length" if cut else "stop")


def _refusal(status: int, error: Mapping[str, Any]) -> ServiceError:
    """An error of the engine in the service's words.

    The service's text for too long a prompt begins "Bad request: prompt token count" (seen on a live
    workspace, the rest is not known).
    """
    if error.get("type") == "exceed_context_size_error":
        asked, room = error.get("n_prompt_tokens"), error.get("n_ctx")
        message = f"Bad request: prompt token count ({asked}) exceeds the maximum context length of {room} tokens."
        return ServiceError(400, "BAD_REQUEST", message)
    if status < 500 and status not in (401, 403):
        return ServiceError(400, "BAD_REQUEST", f"Bad request: {error.get('message')}")
    return ServiceError(500, "INTERNAL_ERROR", f"The engine of the local model failed: {error.get('message')}")


def _configuration_error(message: str, remedy: str) -> Exception:
    # At the time of the error: the workspace needs nothing of core while all is well.
    from isochat.errors import ConfigurationError

    return ConfigurationError(message, remedy=remedy)
