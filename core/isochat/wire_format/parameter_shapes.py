"""Which parameters have another shape in the Responses API than in chat completions? OpenAI's references for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def flat_tools(tools: Sequence[Any]) -> list[Any]:
    """Tools without their ``function`` level; tools of other types as they are.

    ``strict`` is sent as false where the caller gave none: the Responses API takes its absence for true, chat
    completions for false, and a strict schema refuses what the other accepts.
    """
    flat: list[Any] = []
    for tool in tools:
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping) and tool.get("type") == "function":
            beside = {name: value for name, value in tool.items() if name != "function"}
            flat.append({**beside, **function, "strict": function.get("strict") or False})
        else:
            flat.append(tool)
    return flat


def flat_tool_choice(choice: Any) -> Any:
    """A function named without its ``function`` level; words as they are."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    return {"type": "function", "name": function.get("name")} if isinstance(function, Mapping) else choice


def text_format(response_format: Mapping[str, Any]) -> Mapping[str, Any]:
    """A response format without its ``json_schema`` level."""
    schema = response_format.get("json_schema")
    if isinstance(schema, Mapping) and response_format.get("type") == "json_schema":
        return {"type": "json_schema", **schema}
    return response_format


def included_logprobs(wanted: bool) -> list[str] | None:
    """What a request asks to be included for log probabilities; ``None`` for nothing."""
    return ["message.output_text.logprobs"] if wanted else None
