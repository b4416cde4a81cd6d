"""Which parameters have another shape in the Responses API than in chat completions? OpenAI's references for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Chat completions put what these are under a field of the type's name; the Responses API beside the type.
_NESTED = ("function", "custom", "grammar", "allowed_tools")


def flat_tools(tools: Sequence[Any]) -> list[Any]:
    """Functions and custom tools without their second level; tools of other types as they are.

    ``strict`` is sent as false where the caller gave none: the Responses API takes its absence for true, chat
    completions for false, and a strict schema refuses what the other accepts.
    """
    return [_flat_tool(tool) for tool in tools]


def added_strictness(tools: Sequence[Any]) -> str | None:
    """What :func:`flat_tools` says of the tools beyond what the caller said, for people; ``None`` for nothing."""
    silent = [f"tools[{index}]" for index, tool in enumerate(tools) if _says_nothing_of_strictness(tool)]
    if not silent:
        return None
    return f"strict: false to {', '.join(silent)}: the Responses API would be strict where chat completions is not"


def flat_tool_choice(choice: Any) -> Any:
    """The tool or tools named, without their second level; words as they are."""
    flat = _flat(choice)
    if flat is choice:
        return choice
    if isinstance(flat.get("tools"), list | tuple):
        return {**flat, "tools": [_flat(tool) for tool in flat["tools"]]}
    return {"type": flat["type"], "name": flat.get("name")}


def _flat_tool(tool: Any) -> Any:
    flat = _flat(tool)
    if flat is tool:
        return tool
    if _says_nothing_of_strictness(tool):
        return {**flat, "strict": False}
    return {**flat, "format": _flat(flat["format"])} if "format" in flat else flat


def _says_nothing_of_strictness(tool: Any) -> bool:
    flat = _flat(tool)
    return flat is not tool and flat["type"] == "function" and flat.get("strict") is None


def _flat(value: Any) -> Any:
    kind = value.get("type", "function") if isinstance(value, Mapping) else None
    inner = value.get(kind) if kind in _NESTED else None
    if not isinstance(inner, Mapping):
        return value
    return {**{name: item for name, item in value.items() if name != kind}, **inner, "type": kind}


def text_format(response_format: Mapping[str, Any]) -> Mapping[str, Any]:
    """A response format without its ``json_schema`` level."""
    schema = response_format.get("json_schema")
    if isinstance(schema, Mapping) and response_format.get("type") == "json_schema":
        return {"type": "json_schema", **schema}
    return response_format


def included_logprobs(wanted: bool) -> list[str] | None:
    """What a request asks to be included for log probabilities; ``None`` for nothing."""
    return ["message.output_text.logprobs"] if wanted else None
