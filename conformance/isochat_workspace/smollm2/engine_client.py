"""How is the engine asked? Its HTTP API over loopback, whole or token by token, its errors as refusals."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from isochat_workspace.http.http_reply import ServiceError

_DATA = b"data: "


class EngineGone(Exception):
    """The engine does not answer, or no longer; the message says what was seen."""


class EngineClient:
    """A session with a running engine. Both ways of asking raise ServiceError for a refusal, and EngineGone."""

    def __init__(self, url: str, key: str) -> None:
        self._session = aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {key}"},
            # The engine closes a connection after a stream without announcing it: none is used twice.
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        """End the session; whoever asks from now on is told that the workspace is being stopped."""
        await self._session.close()

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The whole completion of a bare prompt, without the chat template."""
        async with self._answered("/completion", body) as response:
            completion: dict[str, Any] = json.loads(await response.read())
        return completion

    async def chat_stream(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Each chunk of a chat completion as the engine makes it, the last one with the usage.

        Closing this generator closes the connection, and with it the engine ends its work.
        """
        options = {"stream": True, "stream_options": {"include_usage": True}, "timings_per_token": True}
        async with self._answered("/v1/chat/completions", {**body, **options}) as response:
            async for line in response.content:
                if line.startswith(_DATA + b"{"):
                    chunk = json.loads(line.removeprefix(_DATA))
                    if "error" in chunk:
                        raise _refusal(500, chunk["error"])
                    yield chunk
                elif line.startswith(_DATA + b"[DONE]"):
                    return
            raise EngineGone("it closed the connection in the middle of an answer")

    @asynccontextmanager
    async def _answered(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session.closed:
            raise ServiceError(503, "TEMPORARILY_UNAVAILABLE", "The workspace is being stopped.")
        try:
            response = await self._session.post(path, json=body)
            try:
                if response.status != 200:
                    raise _refusal(response.status, json.loads(await response.read()).get("error") or {})
                yield response
            finally:
                response.close()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise EngineGone(str(error) or type(error).__name__) from error


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
