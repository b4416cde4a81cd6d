"""Which parameters does chat() take, of what type, and where does each stand on either API's wire?

``PARAMETERS`` is the mapping between the two APIs, reviewed like a specification: one row a parameter, read by
one engine (:mod:`isochat.request`). Sources: the chat request tables of the foundation-model API reference, the
how-to pages on Responses and reasoning, OpenAI's reference for both APIs. Ranges are the endpoint's business:
they differ by model, and its refusal says more than a guess of ours.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypedDict

from isochat.output_types import is_type
from isochat.wire_format.parameter_shapes import (
    added_strictness,
    flat_tool_choice,
    flat_tools,
    included_logprobs,
    text_format,
)

Kind = Literal[
    "integer",
    "number",
    "boolean",
    "text",
    "text or list of texts",
    "object",
    "list",
    "text or object",
    "object or type",
]


class NotCarried(NamedTuple):
    """Why the Responses API does not take a parameter."""

    reason: str


class Reshaped(NamedTuple):
    """Where a parameter stands in a Responses body, and what it looks like there; a shape of ``None`` is left out.

    ``lacks`` is a field of its items that the Responses API does not have. ``adds`` tells what ``shape`` says beyond
    what the caller said, ``None`` for nothing.
    """

    path: str
    shape: Callable[[Any], Any]
    lacks: str | None = None
    adds: Callable[[Any], str | None] | None = None


class Parameter(NamedTuple):
    """One row: the name (OpenAI's chat name, the same on that wire), its kind, its path in a Responses body."""

    name: str
    kind: Kind
    responses: str | Reshaped | NotCarried


_NOT_IN_API = NotCarried("the Responses API has no such parameter")

PARAMETERS: tuple[Parameter, ...] = (
    Parameter("max_tokens", "integer", "max_output_tokens"),
    Parameter("temperature", "number", "temperature"),
    Parameter("top_p", "number", "top_p"),
    Parameter("top_k", "integer", _NOT_IN_API),
    Parameter("stop", "text or list of texts", _NOT_IN_API),
    Parameter("n", "integer", _NOT_IN_API),
    Parameter("tools", "list", Reshaped("tools", flat_tools, lacks="cache_control", adds=added_strictness)),
    Parameter("tool_choice", "text or object", Reshaped("tool_choice", flat_tool_choice)),
    Parameter("parallel_tool_calls", "boolean", "parallel_tool_calls"),
    Parameter("response_format", "object or type", Reshaped("text.format", text_format)),
    Parameter("reasoning_effort", "text", "reasoning.effort"),
    Parameter("thinking", "object", _NOT_IN_API),
    Parameter("logprobs", "boolean", Reshaped("include", included_logprobs)),
    Parameter("top_logprobs", "integer", "top_logprobs"),
    Parameter("seed", "integer", _NOT_IN_API),
    Parameter("frequency_penalty", "number", _NOT_IN_API),
    Parameter("presence_penalty", "number", _NOT_IN_API),
    Parameter("logit_bias", "object", _NOT_IN_API),
    Parameter("user", "text", "user"),
    Parameter("stream_options", "object", _NOT_IN_API),
    Parameter("client_request_id", "text", "client_request_id"),
    Parameter("usage_context", "object", "usage_context"),
    Parameter("databricks_options", "object", "databricks_options"),
    Parameter("custom_inputs", "object", "custom_inputs"),
)

BY_NAME: Mapping[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}
ALIASES: Mapping[str, str] = {"max_completion_tokens": "max_tokens"}
# Options of one call that are not part of the request's body.
CALL_OPTIONS = ("timeout", "deadline", "max_retries", "extra_body", "extra_headers")


class Unset(enum.Enum):
    """The type of :data:`isochat.UNSET`; an enumeration, so that a copied or unpickled one is still the same."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "isochat.UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset.UNSET
"""As a parameter: remove the value that the target has for it."""


class ChatParams(TypedDict, total=False):
    """The keyword arguments of :meth:`isochat.Client.chat`, all optional.

    ``None`` is as if not written (a target's value holds); :data:`isochat.UNSET` removes a target's value.
    ``timeout`` and ``deadline`` are seconds, ``math.inf`` for no limit. ``response_format`` may be a type (a pydantic
    model, a dataclass, a ``TypedDict``, a ``msgspec.Struct``): :attr:`isochat.ChatResult.parsed` is an object of it.
    """

    max_tokens: int | Unset | None
    max_completion_tokens: int | Unset | None
    temperature: float | Unset | None
    top_p: float | Unset | None
    top_k: int | Unset | None
    stop: str | Sequence[str] | Unset | None
    n: int | Unset | None
    tools: Sequence[Mapping[str, Any]] | Unset | None
    tool_choice: str | Mapping[str, Any] | Unset | None
    parallel_tool_calls: bool | Unset | None
    response_format: Mapping[str, Any] | type[Any] | Unset | None
    reasoning_effort: str | Unset | None
    thinking: Mapping[str, Any] | Unset | None
    logprobs: bool | Unset | None
    top_logprobs: int | Unset | None
    seed: int | Unset | None
    frequency_penalty: float | Unset | None
    presence_penalty: float | Unset | None
    logit_bias: Mapping[str, float] | Unset | None
    user: str | Unset | None
    stream_options: Mapping[str, Any] | Unset | None
    client_request_id: str | Unset | None
    usage_context: Mapping[str, str] | Unset | None
    databricks_options: Mapping[str, Any] | Unset | None
    custom_inputs: Mapping[str, Any] | Unset | None
    timeout: float | Unset | None
    deadline: float | Unset | None
    max_retries: int | Unset | None
    extra_body: Mapping[str, Any] | Unset | None
    extra_headers: Mapping[str, str] | Unset | None


def fits(value: Any, kind: Kind) -> bool:
    """Whether ``value`` is of ``kind``; a boolean is no number."""
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "text":
            return isinstance(value, str)
        case "object":
            return isinstance(value, Mapping)
        case "object or type":
            return isinstance(value, Mapping) or is_type(value)
        case "list":
            return isinstance(value, list | tuple)
        case "text or object":
            return isinstance(value, str | Mapping)
        case "text or list of texts":
            return isinstance(value, str) or (
                isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
            )
