"""A Databricks workspace on loopback, for tests and for trying things out: any Databricks client runs against it.

from isochat_workspace import Workspace

with Workspace() as workspace:
    client = openai.OpenAI(api_key=workspace.token, base_url=workspace.url + "/serving-endpoints")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isochat_workspace.endpoints import Endpoint
    from isochat_workspace.http.http_reply import HttpReply, ServiceError
    from isochat_workspace.http.records import RecordedRequest
    from isochat_workspace.http.stream_reply import StreamReply
    from isochat_workspace.models.answers import Answer, AnswerChoice, Reasoning, TokenUsage, ToolCall
    from isochat_workspace.models.model import Model, Prompt, Tool
    from isochat_workspace.models.pieces import FinishPiece, Piece, ReasoningPiece, TextPiece, ToolCallPiece
    from isochat_workspace.models.replay import Replay
    from isochat_workspace.models.reply_source import ReplySource
    from isochat_workspace.models.scripted import Scripted
    from isochat_workspace.recording.cassette import Cassette
    from isochat_workspace.recording.cassette_file import CassetteError
    from isochat_workspace.recording.proxy import Proxy
    from isochat_workspace.serving.dials import Failures, Latency, RateLimit
    from isochat_workspace.serving.oidc import ServicePrincipal
    from isochat_workspace.serving.responder import Responder
    from isochat_workspace.smollm2.model import SmolLM2
    from isochat_workspace.workspace import Workspace

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
    "models.answers": "Answer AnswerChoice Reasoning TokenUsage ToolCall",
    "recording.cassette": "Cassette",
    "recording.cassette_file": "CassetteError",
    "serving.dials": "Failures Latency RateLimit",
    "endpoints": "Endpoint",
    "http.http_reply": "HttpReply ServiceError",
    "models.model": "Model Prompt Tool",
    "serving.oidc": "ServicePrincipal",
    "models.pieces": "FinishPiece Piece ReasoningPiece TextPiece ToolCallPiece",
    "recording.proxy": "Proxy",
    "http.records": "RecordedRequest",
    "models.replay": "Replay",
    "models.reply_source": "ReplySource",
    "serving.responder": "Responder",
    "models.scripted": "Scripted",
    "smollm2.model": "SmolLM2",
    "http.stream_reply": "StreamReply",
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
