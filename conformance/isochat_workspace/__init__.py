"""A Databricks workspace on loopback, for tests and for trying things out: any Databricks client runs against it.

from isochat_workspace import Workspace

with Workspace() as workspace:
    client = openai.OpenAI(api_key=workspace.token, base_url=workspace.url + "/serving-endpoints")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .answers import Answer, AnswerChoice, Reasoning, TokenUsage, ToolCall
from .dials import Failures, Latency, RateLimit
from .endpoints import Endpoint
from .http_reply import HttpReply, ServiceError
from .models import Model, Prompt, Tool
from .pieces import FinishPiece, Piece, ReasoningPiece, TextPiece, ToolCallPiece
from .records import RecordedRequest
from .replay import Replay
from .reply_source import ReplySource
from .scripted import Scripted
from .stream_reply import StreamReply

if TYPE_CHECKING:
    from .smollm2 import SmolLM2 as SmolLM2
    from .workspace import Workspace as Workspace

__all__ = [
    "Answer",
    "AnswerChoice",
    "Endpoint",
    "Failures",
    "FinishPiece",
    "HttpReply",
    "Latency",
    "Model",
    "Piece",
    "Prompt",
    "RateLimit",
    "Reasoning",
    "ReasoningPiece",
    "RecordedRequest",
    "Replay",
    "ReplySource",
    "Scripted",
    "ServiceError",
    "SmolLM2",
    "StreamReply",
    "TextPiece",
    "TokenUsage",
    "Tool",
    "ToolCall",
    "ToolCallPiece",
    "Workspace",
]

# These two need the extra `local`. The rest must load without it: the commands `isochat local install` and
# `isochat --help` import this package in environments that have no aiohttp.
_NEEDS_AIOHTTP = {"Workspace": "workspace", "SmolLM2": "smollm2"}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_AIOHTTP:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        module = importlib.import_module(f"{__name__}.{_NEEDS_AIOHTTP[name]}")
    except ModuleNotFoundError as error:
        if error.name not in ("aiohttp", "multidict"):
            raise
        message = f"{__name__}.{name} needs aiohttp, which is not installed: pip install 'isochat[local]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    value = getattr(module, name)
    globals()[name] = value
    return value
