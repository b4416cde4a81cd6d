"""Raw HTTP: ``POST /serving-endpoints/{endpoint}/invocations`` with a Bearer or Basic token.

What ``curl -u token:$DATABRICKS_TOKEN`` does in the documentation's REST examples, on isochat's own wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from isochat.backend import Backend, Capabilities, Reply, Setup
from isochat.hookspecs import hookimpl
from isochat.request import Request
from isochat.wire_format.json_text import decode

if TYPE_CHECKING:
    from isochat.transport.async_wire import AsyncWire
    from isochat.transport.exchange import Exchange
    from isochat.transport.wire import Wire

_HEADERS = (("Accept", "application/json"), ("Content-Type", "application/json"))
_STREAM_HEADERS = (("Accept", "text/event-stream"), ("Content-Type", "application/json"))


class Rest(Backend):
    """The wire itself, without a client library."""

    name: ClassVar[str] = "rest"
    capabilities: ClassVar[Capabilities] = Capabilities(
        api="chat-completions",
        surface="invocations",
        routes=("serving-endpoints", "ai-gateway"),
        streaming=True,
        asynchronous="native",
    )
    options: ClassVar[frozenset[str]] = frozenset({"served_model", "api"})

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._encoder = msgspec.json.Encoder()

    def complete(self, request: Request, wire: Wire) -> Reply:
        url, body = self._asked(request, wire)
        return _reply(wire, wire.exchange("POST", url, _HEADERS, self._encode(body)))

    def stream(self, request: Request, wire: Wire) -> None:
        url, body = self._asked(request, wire)
        wire.exchange("POST", url, _STREAM_HEADERS, self._encode({**body, "stream": True}))

    async def acomplete(self, request: Request, wire: AsyncWire) -> Reply:
        url, body = self._asked(request, wire)
        return _reply(wire, await wire.exchange("POST", url, _HEADERS, self._encode(body)))

    async def astream(self, request: Request, wire: AsyncWire) -> None:
        url, body = self._asked(request, wire)
        await wire.exchange("POST", url, _STREAM_HEADERS, self._encode({**body, "stream": True}))

    def _asked(self, request: Request, wire: Exchange) -> tuple[str, Mapping[str, Any]]:
        if self.setup.route == "ai-gateway":  # it knows OpenAI-style paths alone
            path = "responses" if request.api == "responses" else "chat/completions"
            wire.client_call = f"POST {path}"
            return f"{self.setup.api_base}/{path}", {"model": request.endpoint, **request.body}
        wire.client_call = "POST invocations"
        return f"{self.setup.api_base}/{request.path}/invocations", request.body

    def held_headers(self, native: Any, sent: Mapping[str, str]) -> Mapping[str, str] | None:
        return sent

    def _encode(self, body: Mapping[str, Any]) -> bytes:
        try:
            return self._encoder.encode(body)
        except (TypeError, ValueError):  # subclasses of str and float, numbers beyond 64 bits
            return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _reply(wire: Exchange, body: bytes) -> Reply:
    return Reply(
        status=wire.status or 0,
        headers=wire.headers,
        body=body,
        native=lambda: decode(body),
        client_call=wire.client_call,
    )


@hookimpl
def isochat_backend() -> type[Backend]:
    """What this module's entry point gives."""
    return Rest
