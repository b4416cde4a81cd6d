"""The OpenAI client's ``chat.completions.create``, on ``/serving-endpoints``."""

from __future__ import annotations

from typing import Any, ClassVar

from isochat.backend import Backend, Capabilities
from isochat.hookspecs import hookimpl
from isochat_adapters.openai_client import OpenAIBackend


class OpenAIChat(OpenAIBackend):
    """``OpenAI(...).chat.completions.create``."""

    name: ClassVar[str] = "openai-chat"
    capabilities: ClassVar[Capabilities] = Capabilities(
        api="chat-completions",
        surface="chat/completions",
        routes=("serving-endpoints", "ai-gateway"),
        streaming=True,
        asynchronous="native",
    )
    client_call: ClassVar[str] = "chat.completions.create"

    @staticmethod
    def api_of(client: Any) -> Any:
        return client.chat.completions


@hookimpl
def isochat_backend() -> type[Backend]:
    """What this module's entry point gives."""
    return OpenAIChat
