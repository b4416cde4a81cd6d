"""Is a field of a request body what it has to be? Reads single fields; a wrong type is the service's 400."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.http.records import RecordedRequest
from isochat_workspace.models.model import Tool


def read_body(request: RecordedRequest) -> dict[str, Any]:
    """The body of a request as a JSON object.

    Raises ServiceError: 400 BAD_REQUEST if it is none, 415 if it is compressed. Whether the service takes a compressed
    body no source says; none of its clients sends one.
    """
    coding = (request.header("content-encoding") or "identity").strip()
    if coding.lower() not in ("identity", ""):
        message = f"Content-Encoding {coding[:40]!r} is not taken here: send the body as it is, not compressed"
        raise ServiceError(415, "UNSUPPORTED_MEDIA_TYPE", message)
    return read_object(request.body)


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
    return None if value is None else _finite(name, value)


def flag(body: Mapping[str, Any], name: str) -> bool:
    """True or false; false if absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        _invalid(name, "true or false", value)
    return bool(value)


def asks_for_stream(raw: bytes) -> bool:
    """Whether the body of a request asks for a stream. One that cannot be read asks for none."""
    try:
        return flag(read_object(raw), "stream")
    except ServiceError:
        return False


def wants_usage(body: Mapping[str, Any]) -> bool | None:
    """Whether `stream_options.include_usage` asks for the usage of a stream; None if the request does not say."""
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        _invalid("stream_options", "an object", options)
    return flag(options, "include_usage") if options and "include_usage" in options else None


def seed(body: Mapping[str, Any]) -> int | None:
    """The seed, or None if absent or null. A whole number is taken as it stands, of a fraction the whole part."""
    value = body.get("seed")
    return None if number(body, "seed") is None else int(value or 0)


def logit_bias(body: Mapping[str, Any]) -> Mapping[str, float]:
    """`logit_bias` maps ids of tokens to what is added to their logits; empty if absent or null."""
    value = body.get("logit_bias")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(token.isdecimal() for token in value):
        _invalid("logit_bias", "an object of token ids and numbers", value)
    return {token: _finite("logit_bias", bias) for token, bias in value.items()}


def top_logprobs(body: Mapping[str, Any]) -> int:
    """`top_logprobs` is between 0 and 20 (OpenAI's reference); 0 if absent or null."""
    value = body.get("top_logprobs") or 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 20:
        _invalid("top_logprobs", "an integer between 0 and 20", value)
    return value


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


def chat_messages(body: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """The messages of a chat request, whose tool calls have to be objects as well."""
    messages = mappings(body, "messages")
    for message in messages:
        for call in mappings(message, "tool_calls"):
            if not isinstance(call.get("function", {}), dict):
                _invalid("function", "an object", call["function"])
    return messages


def function_tool(function: Mapping[str, Any]) -> Tool:
    """A function definition, which chat nests under `function` and Responses keeps flat."""
    parameters = function.get("parameters")
    return Tool(str(function.get("name", "")), parameters if isinstance(parameters, dict) else {})


def demanded_tools(tools: Sequence[Tool], choice: Any) -> tuple[Tool, ...]:
    """The tools of which `tool_choice` demands one: all of them for "required", or those it names.

    Both APIs' shapes are read: chat nests names under `function` and `allowed_tools`, Responses keeps them flat.
    """
    if choice == "required":
        return tuple(tools)
    if not isinstance(choice, dict):
        return ()
    allowed = choice.get("allowed_tools", choice)
    if choice.get("type") == "allowed_tools" and isinstance(allowed, dict):
        if allowed.get("mode") != "required":
            return ()
        names = [_name_of(tool) for tool in mappings(allowed, "tools")]
    else:
        names = [_name_of(choice)]
    return tuple(tool for tool in tools if tool.name in names)


def _name_of(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return (function if isinstance(function, dict) else tool).get("name")


def _finite(name: str, value: Any) -> float:
    # 1e999 is JSON, and no number a model could use; an integer may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300:
        _invalid(name, "a number", value)
    return float(value)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"invalid literal {text}")


def _invalid(name: str, wanted: str, value: Any) -> NoReturn:
    shown = json.dumps(value)[:80]
    raise ServiceError(
        400,
        "INVALID_PARAMETER_VALUE",
        f"INVALID_PARAMETER_VALUE: '{name}' has to be {wanted}, got {shown}",
    )
