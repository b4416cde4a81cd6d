"""What stands behind an endpoint? The neutral question, and the class a model is made of."""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from isochat_workspace.models.answers import Answer
from isochat_workspace.models.pieces import Piece, cut_into_pieces

Dialect = Literal["chat", "responses"]


@dataclasses.dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is a JSON Schema."""

    name: str
    parameters: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """A request without its dialect: one question is the same Prompt over chat and over Responses.

    `messages` are chat-shaped (role, content, tool_calls, tool_call_id). `must_call` are the tools of which
    `tool_choice` demands one, by name or by "required"; none leaves it to the model. `json_schema` is what the
    text has to satisfy; an empty mapping stands for "any JSON object". `logprobs` is the number of likeliest
    tokens to tell beside each token's own log probability; None asks for neither. `reasoning` says that the
    caller wants to see what the model thinks. `body` is the request as it came, `endpoint` the name of the endpoint
    it came to.
    """

    dialect: Dialect
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Mapping[str, float] = dataclasses.field(default_factory=dict)
    logprobs: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    tools: tuple[Tool, ...] = ()
    must_call: tuple[Tool, ...] = ()
    parallel_tool_calls: bool = False
    json_schema: Mapping[str, Any] | None = None
    reasoning: bool = False
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    endpoint: str = ""

    @property
    def forced_tool(self) -> Tool | None:
        """The tool to call where one has to be called and nothing else tells which: the first."""
        return self.must_call[0] if self.must_call else None


class Model(abc.ABC):
    """A model behind one or more endpoints. All methods run on the workspace's event loop."""

    served_name: str
    """The internal name: the service puts it into the answer's `model`, where a caller of
    `databricks-meta-llama-3-3-70b-instruct` reads `meta-llama-3.3-70b-instruct-121024` (llama-stack recording)."""

    @property
    def endpoint_name(self) -> str:
        """The endpoint under its own name, in a workspace for which no endpoints are named."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.served_name).strip("-") or "model"

    @abc.abstractmethod
    async def answer(self, prompt: Prompt) -> Answer:
        """Answer one prompt. Raises ServiceError for what the model refuses (a context overflow, say)."""

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Answer one prompt bit by bit; see `pieces.py` for the order. Raises as `answer` does.

        A client that leaves closes this generator where it stands. This one cuts the whole answer into words:
        a model that can do better overrides it.
        """
        for piece in cut_into_pieces(await self.answer(prompt)):
            yield piece

    async def open(self) -> None:
        """Make ready; called once before the first prompt."""
        return

    async def close(self) -> None:
        """Give everything back; called once, after the last prompt."""
        return


def text_of(content: Any) -> str:
    """The text of a message's content: the string, or the text parts of a list joined without a separator."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""
