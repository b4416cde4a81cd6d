"""The OpenAI client's ``responses.create``, on ``/serving-endpoints``."""

from __future__ import annotations

from typing import Any, ClassVar

from isochat.backend import Backend, Capabilities
from isochat.hookspecs import hookimpl
from isochat_adapters.openai_client import OpenAIBackend


class OpenAIResponses(OpenAIBackend):
    """``OpenAI(...).responses.create``."""

    name: ClassVar[str] = "openai-responses"
    capabilities: ClassVar[Capabilities] = Capabilities(
        api="responses",
        surface="responses",
        routes=("serving-endpoints", "ai-gateway"),
        streaming=True,
        asynchronous="native",
    )
    client_call: ClassVar[str] = "responses.create"

    @staticmethod
    def api_of(client: Any) -> Any:
        return client.responses


@hookimpl
def isochat_backend() -> type[Backend]:
    """What this module's entry point gives."""
    return OpenAIResponses
