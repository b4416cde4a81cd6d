"""How does the Responses API answer? An Answer as a `response` object, and the parts a stream builds it from.

Shapes: OpenAI's Responses reference and the types of the `openai` package, which Databricks' passthrough
follows ("Query with the OpenAI Responses API", docs 2026-06-18).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from isochat_workspace.dialects.chat import write_logprob
from isochat_workspace.models.answers import Answer, FinishReason, TokenLogprob, TokenUsage, ToolCall
from isochat_workspace.models.model import Prompt
from isochat_workspace.serving.request_fields import mappings

Status = Literal["in_progress", "completed", "incomplete", "failed"]

INCOMPLETE: Mapping[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Ends that leave a response incomplete, in its own words."""


def write_responses(prompt: Prompt, answer: Answer, served_name: str) -> dict[str, Any]:
    """The response object. It holds the first choice: the API has no `n`."""
    choice = answer.choices[0]
    status: Status = "incomplete" if choice.finish_reason in INCOMPLETE else "completed"
    output: list[dict[str, Any]] = []
    if choice.reasoning is not None:
        output.append(reasoning_item(new_id("rs"), [choice.reasoning.text]))
    if choice.text is not None:
        # What was cut off is the last item.
        cut = status if not choice.tool_calls else "completed"
        output.append(message_item(new_id("msg"), cut, [text_part(choice.text, choice.logprobs)]))
    output.extend(call_item(new_id("fc"), "completed", call) for call in choice.tool_calls)
    return {
        **response_frame(prompt, served_name),
        **response_state(status, output, answer.usage, reason=choice.finish_reason),
    }


def response_frame(prompt: Prompt, served_name: str) -> dict[str, Any]:
    """What is the same in a response from its first event to its last; `response_state` fills in the rest."""
    body = prompt.body
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        **response_state("in_progress", [], None),
        "instructions": body.get("instructions"),
        "max_output_tokens": prompt.max_tokens,
        "metadata": body.get("metadata") or {},
        "model": served_name,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "temperature": 1.0 if prompt.temperature is None else prompt.temperature,
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [_tool_as_echoed(tool) for tool in mappings(body, "tools")],
        "top_p": 1.0 if prompt.top_p is None else prompt.top_p,
        "text": body.get("text") or {"format": {"type": "text"}},
    }


def response_state(
    status: Status,
    output: Sequence[dict[str, Any]],
    usage: TokenUsage | None,
    error: dict[str, Any] | None = None,
    reason: FinishReason = "stop",
) -> dict[str, Any]:
    """What changes in a response while it is made; `reason` is why the answer ended."""
    return {
        "status": status,
        "error": error,
        "incomplete_details": {"reason": INCOMPLETE[reason]} if status == "incomplete" else None,
        "output": list(output),
        "usage": None if usage is None else _usage(usage),
    }


def new_id(prefix: str) -> str:
    """An id in the form of OpenAI's."""
    return f"{prefix}_{uuid.uuid4().hex}"


def message_item(item_id: str, status: Status, content: list[dict[str, Any]]) -> dict[str, Any]:
    """An assistant's message."""
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def text_part(text: str, logprobs: Sequence[TokenLogprob] | None = None) -> dict[str, Any]:
    """Text within a message."""
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    return part if logprobs is None else {**part, "logprobs": [write_logprob(one) for one in logprobs]}


def call_item(item_id: str, status: Status, call: ToolCall) -> dict[str, Any]:
    """A call of a function."""
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def reasoning_item(item_id: str, texts: list[str]) -> dict[str, Any]:
    """Reasoning, of which the API shows summaries."""
    return {"id": item_id, "type": "reasoning", "summary": [summary_part(text) for text in texts]}


def summary_part(text: str) -> dict[str, Any]:
    """A summary within reasoning."""
    return {"type": "summary_text", "text": text}


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        # cache_write_tokens: openai 3.54 made it required, older releases ignore it.
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_creation},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _tool_as_echoed(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as the answer repeats it: `strict` is required there and optional in the request."""
    return {"strict": None, **tool} if tool.get("type") == "function" else tool
