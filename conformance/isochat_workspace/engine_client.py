"""How is the engine asked? Its chat completions over loopback, whole or token by token, its errors as refusals."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from .http_reply import ServiceError

_PATH = "/v1/chat/completions"
_DATA = b"data: "


class EngineClient:
    """A session with a running engine. Both ways of asking raise ServiceError: 400 refused, 503 it is gone."""

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

    async def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The whole completion."""
        async with self._answered(body) as response:
            completion: dict[str, Any] = json.loads(await response.read())
        return completion

    async def ask_stream(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Each chunk as the engine makes it, the last one with the usage.

        Closing this generator closes the connection, and with it the engine ends its work.
        """
        options = {"stream": True, "stream_options": {"include_usage": True}, "timings_per_token": True}
        async with self._answered({**body, **options}) as response:
            async for line in response.content:
                if line.startswith(_DATA + b"{"):
                    chunk = json.loads(line.removeprefix(_DATA))
                    if "error" in chunk:
                        raise _refusal(500, chunk["error"])
                    yield chunk

    @asynccontextmanager
    async def _answered(self, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session.closed:
            raise ServiceError(503, "TEMPORARILY_UNAVAILABLE", "The workspace is being stopped.")
        try:
            response = await self._session.post(_PATH, json=body)
            try:
                if response.status != 200:
                    raise _refusal(response.status, json.loads(await response.read()).get("error") or {})
                yield response
            finally:
                response.close()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"The engine of the local model does not answer: {error or type(error).__name__}"
            raise ServiceError(503, "TEMPORARILY_UNAVAILABLE", message) from error


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
