"""Which parameters does chat() take, of what type, and where does each stand on either API's wire?

``PARAMETERS`` is the mapping between the two APIs, reviewed like a specification: one row a parameter, read by
one engine (:mod:`isochat.request`). Sources: the chat request tables of the foundation-model API reference, the
how-to pages on Responses and reasoning, OpenAI's reference for both APIs. Ranges are the endpoint's business:
they differ by model, and its refusal says more than a guess of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

Kind = Literal["integer", "number", "boolean", "text", "text or list of texts", "object", "list", "text or object"]


class NotCarried(NamedTuple):
    """Why the Responses API does not take a parameter."""

    reason: str


class Parameter(NamedTuple):
    """One row: the name (OpenAI's chat name, the same on that wire), its kind, its path in a Responses body."""

    name: str
    kind: Kind
    responses: str | NotCarried


_NOT_IN_API = NotCarried("the Responses API has no such parameter")
_NOT_MAPPED = NotCarried("isochat does not translate it to the Responses API yet")

PARAMETERS: tuple[Parameter, ...] = (
    Parameter("max_tokens", "integer", "max_output_tokens"),
    Parameter("temperature", "number", "temperature"),
    Parameter("top_p", "number", "top_p"),
    Parameter("top_k", "integer", _NOT_IN_API),
    Parameter("stop", "text or list of texts", _NOT_IN_API),
    Parameter("n", "integer", _NOT_IN_API),
    Parameter("tools", "list", _NOT_MAPPED),
    Parameter("tool_choice", "text or object", _NOT_MAPPED),
    Parameter("parallel_tool_calls", "boolean", "parallel_tool_calls"),
    Parameter("response_format", "object", _NOT_MAPPED),
    Parameter("reasoning_effort", "text", "reasoning.effort"),
    Parameter("thinking", "object", _NOT_IN_API),
    Parameter("logprobs", "boolean", _NOT_MAPPED),
    Parameter("top_logprobs", "integer", "top_logprobs"),
    Parameter("seed", "integer", _NOT_IN_API),
    Parameter("frequency_penalty", "number", _NOT_IN_API),
    Parameter("presence_penalty", "number", _NOT_IN_API),
    Parameter("logit_bias", "object", _NOT_IN_API),
    Parameter("user", "text", "user"),
    Parameter("client_request_id", "text", "client_request_id"),
    Parameter("usage_context", "object", "usage_context"),
    Parameter("databricks_options", "object", "databricks_options"),
    Parameter("custom_inputs", "object", "custom_inputs"),
)

BY_NAME: Mapping[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}
ALIASES: Mapping[str, str] = {"max_completion_tokens": "max_tokens"}
# Options of one call that are not part of the request's body.
CALL_OPTIONS = ("timeout", "deadline", "max_retries", "extra_body", "extra_headers")


class ChatParams(TypedDict, total=False):
    """The keyword arguments of :meth:`isochat.Client.chat`, all optional.

    ``None`` is as if not written (a target's value holds); :data:`isochat.UNSET` removes a target's value.
    ``timeout`` and ``deadline`` are seconds, ``math.inf`` for no limit.
    """

    max_tokens: int | None
    max_completion_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop: str | Sequence[str] | None
    n: int | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: Mapping[str, Any] | None
    reasoning_effort: str | None
    thinking: Mapping[str, Any] | None
    logprobs: bool | None
    top_logprobs: int | None
    seed: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Mapping[str, float] | None
    user: str | None
    client_request_id: str | None
    usage_context: Mapping[str, str] | None
    databricks_options: Mapping[str, Any] | None
    custom_inputs: Mapping[str, Any] | None
    timeout: float | None
    deadline: float | None
    max_retries: int | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None


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
        case "list":
            return isinstance(value, list | tuple)
        case "text or object":
            return isinstance(value, str | Mapping)
        case "text or list of texts":
            return isinstance(value, str) or (
                isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
            )
