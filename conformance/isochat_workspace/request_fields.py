"""Is a field of a request body what it has to be? Reads single fields; a wrong type is the service's 400."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from .http_reply import ServiceError
from .models import Tool


def read_object(raw: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises ServiceError 400 BAD_REQUEST if it is none."""
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise ServiceError(400, "BAD_REQUEST", f"Bad request: invalid JSON body: {reason}") from None
    if not isinstance(body, dict):
        raise ServiceError(400, "BAD_REQUEST", "Bad request: the JSON body has to be an object")
    return body


def whole_number(body: Mapping[str, Any], name: str, *, largest: int | None = None) -> int | None:
    """A positive integer (`max_tokens` > 0: foundation model REST API reference), or None if absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        _invalid(name, "a positive integer", value)
    if largest is not None and value > largest:
        _invalid(name, f"an integer between 1 and {largest}", value)
    return value


def number(body: Mapping[str, Any], name: str) -> float | None:
    """A number, or None if absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _invalid(name, "a number", value)
    return float(value)


def flag(body: Mapping[str, Any], name: str) -> bool:
    """True or false; false if absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        _invalid(name, "true or false", value)
    return bool(value)


def wants_usage(body: Mapping[str, Any]) -> bool | None:
    """Whether `stream_options.include_usage` asks for the usage of a stream; None if the request does not say."""
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        _invalid("stream_options", "an object", options)
    return flag(options, "include_usage") if options and "include_usage" in options else None


def seed(body: Mapping[str, Any]) -> int | None:
    """The seed, or None if absent or null."""
    value = number(body, "seed")
    return None if value is None else int(value)


def stop_sequences(body: Mapping[str, Any]) -> tuple[str, ...]:
    """`stop` is a string or a list of strings."""
    value = body.get("stop")
    given = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if value is not None and not (isinstance(value, str | list) and all(isinstance(s, str) for s in given)):
        _invalid("stop", "a string or a list of strings", value)
    return tuple(s for s in given if s)


def mappings(body: Mapping[str, Any], name: str) -> Sequence[dict[str, Any]]:
    """A list of objects; empty if absent or null."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        _invalid(name, "a list of objects", value)
    return value


def function_tool(function: Mapping[str, Any]) -> Tool:
    """A function definition, which chat nests under `function` and Responses keeps flat."""
    parameters = function.get("parameters")
    return Tool(str(function.get("name", "")), parameters if isinstance(parameters, dict) else {})


def forced_tool(tools: Sequence[Tool], choice: Any, name: Any) -> Tool | None:
    """The tool that `tool_choice` demands: the named one, or the first where it says "required"."""
    if choice == "required":
        return tools[0] if tools else None
    return next((tool for tool in tools if tool.name == name), None) if isinstance(name, str) else None


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"invalid literal {text}")


def _invalid(name: str, wanted: str, value: Any) -> NoReturn:
    shown = json.dumps(value)[:80]
    raise ServiceError(
        400,
        "INVALID_PARAMETER_VALUE",
        f"INVALID_PARAMETER_VALUE: '{name}' has to be {wanted}, got {shown}",
    )
