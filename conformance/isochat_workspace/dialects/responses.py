"""How does the Responses API ask? A Responses request to a Prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.models.model import Prompt
from isochat_workspace.serving.request_fields import (
    demanded_tools,
    flag,
    function_tool,
    mappings,
    number,
    top_logprobs,
    whole_number,
)


def read_responses(body: Mapping[str, Any]) -> Prompt:
    """Read a Responses request. Raises ServiceError 400 for a missing or misshapen field."""
    tools = [function_tool(tool) for tool in mappings(body, "tools") if tool.get("type") == "function"]
    reasoning = body.get("reasoning")
    return Prompt(
        dialect="responses",
        messages=tuple(_messages(body)),
        max_tokens=whole_number(body, "max_output_tokens"),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        logprobs=top_logprobs(body) if "message.output_text.logprobs" in (body.get("include") or ()) else None,
        tools=tuple(tools),
        must_call=demanded_tools(tools, body.get("tool_choice")),
        parallel_tool_calls=flag(body, "parallel_tool_calls"),
        json_schema=_json_schema(body.get("text")),
        # A summary is the only reasoning this API shows, and only on demand.
        reasoning=isinstance(reasoning, dict) and reasoning.get("summary") is not None,
        body=body,
    )


def _messages(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = body.get("input")
    if given is None:
        raise ServiceError(400, "BAD_REQUEST", "Missing required parameter: 'input'.")
    messages: list[Mapping[str, Any]] = []
    if isinstance(body.get("instructions"), str):
        messages.append({"role": "system", "content": body["instructions"]})
    if isinstance(given, str):
        messages.append({"role": "user", "content": given})
    else:
        messages.extend(_chat_messages(mappings(body, "input")))
    return messages


def _chat_messages(items: Sequence[dict[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Input items as chat messages; what has no counterpart there (reasoning items) is left out.

    Calls of one turn are items of their own here and one message there: they are put together, with the
    assistant's text before them, so that one conversation is the same Prompt in both dialects.
    """
    messages: list[dict[str, Any]] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item.get("role"), "content": item.get("content")})
        elif kind == "function_call":
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            messages[-1].setdefault("tool_calls", []).append(call)
        elif kind == "function_call_output":
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")})
    return messages


def _json_schema(text: Any) -> Mapping[str, Any] | None:
    form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict):
        return None
    if form.get("type") == "json_object":
        return {}
    schema = form.get("schema")
    return (schema if isinstance(schema, dict) else {}) if form.get("type") == "json_schema" else None
