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
    from isochat.transport.wire import Wire

_HEADERS = (("Accept", "application/json"), ("Content-Type", "application/json"))


class Rest(Backend):
    """The wire itself, without a client library."""

    name: ClassVar[str] = "rest"
    capabilities: ClassVar[Capabilities] = Capabilities(
        api="chat-completions", surface="invocations", routes=("serving-endpoints", "ai-gateway")
    )
    options: ClassVar[frozenset[str]] = frozenset({"served_model", "api"})

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._encoder = msgspec.json.Encoder()

    def complete(self, request: Request, wire: Wire) -> Reply:
        if self.setup.route == "ai-gateway":  # it knows OpenAI-style paths alone
            path = "responses" if request.api == "responses" else "chat/completions"
            asked, wire.client_call = {"model": request.endpoint, **request.body}, f"POST {path}"
        else:
            path, asked = f"{request.path}/invocations", request.body
            wire.client_call = "POST invocations"
        body = wire.exchange("POST", f"{self.setup.api_base}/{path}", _HEADERS, self._encode(asked))
        return Reply(
            status=wire.status or 0,
            headers=wire.headers,
            body=body,
            native=lambda: decode(body),
            client_call=wire.client_call,
        )

    def held_headers(self, native: Any, sent: Mapping[str, str]) -> Mapping[str, str] | None:
        return sent

    def _encode(self, body: dict[str, Any]) -> bytes:
        try:
            return self._encoder.encode(body)
        except (TypeError, ValueError):  # subclasses of str and float, numbers beyond 64 bits
            return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@hookimpl
def isochat_backend() -> type[Backend]:
    """What this module's entry point gives."""
    return Rest
