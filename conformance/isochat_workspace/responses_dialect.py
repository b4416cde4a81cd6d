"""How does the Responses API say it? A Responses request to a Prompt, an Answer to a `response` object.

Shapes: OpenAI's Responses reference and the types of the `openai` package, which Databricks' passthrough
follows ("Query with the OpenAI Responses API", docs 2026-06-18).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from .http_reply import ServiceError
from .models import Answer, Prompt, ToolCall
from .request_fields import forced_tool, function_tool, mappings, number, whole_number


def read_responses(body: Mapping[str, Any]) -> Prompt:
    """Read a Responses request. Raises ServiceError 400 for a missing or misshapen field."""
    tools = [function_tool(tool) for tool in mappings(body, "tools") if tool.get("type") == "function"]
    choice = body.get("tool_choice")
    return Prompt(
        dialect="responses",
        messages=tuple(_messages(body)),
        max_tokens=whole_number(body, "max_output_tokens"),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        tools=tuple(tools),
        forced_tool=forced_tool(tools, choice, choice.get("name") if isinstance(choice, dict) else None),
        json_schema=_json_schema(body.get("text")),
        body=body,
    )


def write_responses(prompt: Prompt, answer: Answer, served_name: str) -> dict[str, Any]:
    """The response object. It holds the first choice: the API has no `n`."""
    body = prompt.body
    choice = answer.choices[0]
    cut = choice.finish_reason == "length"
    status = "incomplete" if cut else "completed"
    output: list[dict[str, Any]] = []
    if choice.text is not None:
        output.append(_message_item(choice.text, status))
    output.extend(_call_item(call) for call in choice.tool_calls)
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": prompt.max_tokens,
        "metadata": body.get("metadata") or {},
        "model": served_name,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "temperature": 1.0 if prompt.temperature is None else prompt.temperature,
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [_tool_as_echoed(tool) for tool in mappings(body, "tools")],
        "top_p": 1.0 if prompt.top_p is None else prompt.top_p,
        "text": body.get("text") or {"format": {"type": "text"}},
        "usage": {
            "input_tokens": answer.usage.prompt,
            # cache_write_tokens: openai 3.54 made it required, older releases ignore it.
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": answer.usage.completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.usage.total,
        },
    }


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


def _message_item(text: str, status: str) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def _call_item(call: ToolCall) -> dict[str, Any]:
    return {
        "id": f"fc_{uuid.uuid4().hex}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _tool_as_echoed(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as the answer repeats it: `strict` is required there and optional in the request."""
    return {"strict": None, **tool} if tool.get("type") == "function" else tool
