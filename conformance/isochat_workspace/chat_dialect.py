"""How does the chat API say it? A chat request body to a Prompt, an Answer to a `chat.completion`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from .answers import Answer, AnswerChoice
from .dressings import DRESSINGS, Dressing
from .http_reply import ServiceError
from .models import Prompt
from .request_fields import (
    forced_tool,
    function_tool,
    mappings,
    number,
    seed,
    stop_sequences,
    whole_number,
)


def read_chat(body: Mapping[str, Any]) -> Prompt:
    """Read a chat request. Raises ServiceError 400 for a missing or misshapen field.

    Source of the text for a missing `messages`: anomalyco/opencode#4698 (pasted from a live workspace).
    """
    if body.get("messages") is None:
        raise ServiceError(
            400,
            "INVALID_PARAMETER_VALUE",
            "INVALID_PARAMETER_VALUE: Missing required Chat parameter: 'messages'",
        )
    tools = [
        function_tool(tool["function"]) for tool in mappings(body, "tools") if isinstance(tool.get("function"), dict)
    ]
    choice = body.get("tool_choice")
    thinking = body.get("thinking")
    named = choice.get("function") if isinstance(choice, dict) else None
    return Prompt(
        dialect="chat",
        messages=tuple(mappings(body, "messages")),
        max_tokens=whole_number(body, "max_tokens") or whole_number(body, "max_completion_tokens"),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        seed=seed(body),
        stop=stop_sequences(body),
        # "an integer between 1 and 5 with a default of 1" (databricks-sdk, serving.py, on `n`)
        n=whole_number(body, "n", largest=5) or 1,
        tools=tuple(tools),
        forced_tool=forced_tool(tools, choice, named.get("name") if isinstance(named, dict) else None),
        json_schema=_json_schema(body.get("response_format")),
        reasoning=isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive"),
        body=body,
    )


def write_chat(answer: Answer, served_name: str, dressing: Dressing = DRESSINGS["plain"]) -> dict[str, Any]:
    """The completion object in a dress; id form and `logprobs` as recorded of a live Llama endpoint (llama-stack)."""
    answer = dressing.answer(answer)
    completion = {
        "id": f"chatcmpl_{uuid.uuid4()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": served_name,
        "choices": [_choice(index, choice) for index, choice in enumerate(answer.choices)],
    }
    return dressing.completion(completion, answer.usage)


def reasoning_block(text: str, signature: str | None) -> dict[str, Any]:
    """A content block of reasoning (BerriAI/litellm, databricks-ai-bridge fixtures); gpt-oss has no signature."""
    summary = {"type": "summary_text", "text": text}
    return {"type": "reasoning", "summary": [summary if signature is None else {**summary, "signature": signature}]}


def _choice(index: int, choice: AnswerChoice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.reasoning is not None:
        text = [] if choice.text is None else [{"type": "text", "text": choice.text}]
        message["content"] = [reasoning_block(choice.reasoning.text, choice.reasoning.signature), *text]
    if choice.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in choice.tool_calls
        ]
    return {"index": index, "message": message, "finish_reason": choice.finish_reason, "logprobs": None}


def _json_schema(response_format: Any) -> Mapping[str, Any] | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        return {}
    if response_format.get("type") != "json_schema":
        return None
    holder = response_format.get("json_schema")
    schema = holder.get("schema") if isinstance(holder, dict) else None
    return schema if isinstance(schema, dict) else {}
