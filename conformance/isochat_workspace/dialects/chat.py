"""How does the chat API say it? A chat request body to a Prompt, an Answer to a `chat.completion`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from isochat_workspace.dialects.dressings import DRESSINGS, Dressing
from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.models.answers import Answer, AnswerChoice, TokenLogprob
from isochat_workspace.models.model import Prompt
from isochat_workspace.serving.request_fields import (
    chat_messages,
    demanded_tools,
    flag,
    function_tool,
    logit_bias,
    mappings,
    number,
    seed,
    stop_sequences,
    top_logprobs,
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
    thinking = body.get("thinking")
    return Prompt(
        dialect="chat",
        messages=tuple(chat_messages(body)),
        max_tokens=whole_number(body, "max_tokens") or whole_number(body, "max_completion_tokens"),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        top_k=whole_number(body, "top_k"),
        frequency_penalty=number(body, "frequency_penalty"),
        presence_penalty=number(body, "presence_penalty"),
        logit_bias=logit_bias(body),
        logprobs=top_logprobs(body) if flag(body, "logprobs") else None,
        seed=seed(body),
        stop=stop_sequences(body),
        # "an integer between 1 and 5 with a default of 1" (databricks-sdk, serving.py, on `n`)
        n=whole_number(body, "n", largest=5) or 1,
        tools=tuple(tools),
        must_call=demanded_tools(tools, body.get("tool_choice")),
        parallel_tool_calls=flag(body, "parallel_tool_calls"),
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


def write_logprob(one: TokenLogprob) -> dict[str, Any]:
    """A token's log probability, as OpenAI's reference has it; both APIs share the shape."""
    alone = {"token": one.token, "logprob": one.logprob, "bytes": list(one.token.encode())}
    return {**alone, "top_logprobs": [_alternative(other) for other in one.top]}


def _alternative(other: TokenLogprob) -> dict[str, Any]:
    return {"token": other.token, "logprob": other.logprob, "bytes": list(other.token.encode())}


def choice_logprobs(tokens: tuple[TokenLogprob, ...] | None) -> dict[str, Any] | None:
    """The `logprobs` of a choice; null where they were not asked for."""
    return None if tokens is None else {"content": [write_logprob(one) for one in tokens], "refusal": None}


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
    logprobs = choice_logprobs(choice.logprobs)
    return {"index": index, "message": message, "finish_reason": choice.finish_reason, "logprobs": logprobs}


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
