"""A Databricks workspace on loopback, for tests and for trying things out: any Databricks client runs against it.

from isochat_workspace import Workspace

with Workspace() as workspace:
    client = openai.OpenAI(api_key=workspace.token, base_url=workspace.url + "/serving-endpoints")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answers import Answer, AnswerChoice, Reasoning, TokenUsage, ToolCall
    from .cassette import Cassette
    from .cassette_file import CassetteError
    from .dials import Failures, Latency, RateLimit
    from .endpoints import Endpoint
    from .http_reply import HttpReply, ServiceError
    from .models import Model, Prompt, Tool
    from .oidc import ServicePrincipal
    from .pieces import FinishPiece, Piece, ReasoningPiece, TextPiece, ToolCallPiece
    from .proxy import Proxy
    from .records import RecordedRequest
    from .replay import Replay
    from .reply_source import ReplySource
    from .responder import Responder
    from .scripted import Scripted
    from .smollm2 import SmolLM2
    from .stream_reply import StreamReply
    from .workspace import Workspace

__all__ = [
    "Answer",
    "AnswerChoice",
    "Cassette",
    "CassetteError",
    "Endpoint",
    "Failures",
    "FinishPiece",
    "HttpReply",
    "Latency",
    "Model",
    "Piece",
    "Prompt",
    "Proxy",
    "RateLimit",
    "Reasoning",
    "ReasoningPiece",
    "RecordedRequest",
    "Replay",
    "ReplySource",
    "Responder",
    "Scripted",
    "ServiceError",
    "ServicePrincipal",
    "SmolLM2",
    "StreamReply",
    "TextPiece",
    "TokenUsage",
    "Tool",
    "ToolCall",
    "ToolCallPiece",
    "Workspace",
]

# Each name's module is loaded when the name is first asked for: `isochat --help` and pytest, which both import this
# package for their plugins, pay for nothing they do not use, and run where aiohttp is not installed.
_NAMES = {
    "answers": "Answer AnswerChoice Reasoning TokenUsage ToolCall",
    "cassette": "Cassette",
    "cassette_file": "CassetteError",
    "dials": "Failures Latency RateLimit",
    "endpoints": "Endpoint",
    "http_reply": "HttpReply ServiceError",
    "models": "Model Prompt Tool",
    "oidc": "ServicePrincipal",
    "pieces": "FinishPiece Piece ReasoningPiece TextPiece ToolCallPiece",
    "proxy": "Proxy",
    "records": "RecordedRequest",
    "replay": "Replay",
    "reply_source": "ReplySource",
    "responder": "Responder",
    "scripted": "Scripted",
    "smollm2": "SmolLM2",
    "stream_reply": "StreamReply",
    "workspace": "Workspace",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        if error.name not in ("aiohttp", "multidict"):
            raise
        message = f"{__name__}.{name} needs aiohttp, which is not installed: pip install 'isochat[local]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
