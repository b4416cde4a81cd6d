"""What is the engine asked? A Prompt as a request of its chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.models.model import Prompt, text_of
from isochat_workspace.smollm2.engine import CONTEXT_TOKENS
from isochat_workspace.smollm2.grammar import engine_grammar

_USUAL_MAX_TOKENS = 512
_USUAL_MAX_TOKENS_OF_JSON = 1024
"""More: its parts are bounded one by one, and half an object is of no use."""
_SEED = 1
_SEEDS = 2**32 - 1
"""Seeds of the engine are below this; this one itself stands for "any", and would make chance of it."""

_READABLE = frozenset(("text", "input_text", "output_text", "refusal", "reasoning", "thinking", "summary_text"))


def engine_request(prompt: Prompt, index: int, grammar: str | None) -> dict[str, Any]:
    """The request for one of the n choices. Raises ServiceError 400 for content that is no text.

    What the prompt leaves open is said: the engine's own defaults (a `top_k` of 40, a `min_p`) are not the
    service's. Stop sequences are not sent (see `stop_sequences.py`).
    """
    usual = _USUAL_MAX_TOKENS if grammar is None else _USUAL_MAX_TOKENS_OF_JSON
    request: dict[str, Any] = {
        "messages": [_message(message) for message in prompt.messages],
        "max_tokens": min(prompt.max_tokens or usual, CONTEXT_TOKENS),
        "temperature": prompt.temperature or 0.0,
        "top_p": 1.0 if prompt.top_p is None else prompt.top_p,
        "top_k": min(prompt.top_k or 0, 2**31 - 1),
        "min_p": 0.0,
        "frequency_penalty": prompt.frequency_penalty or 0.0,
        "presence_penalty": prompt.presence_penalty or 0.0,
        "repeat_last_n": CONTEXT_TOKENS,
        "logit_bias": dict(prompt.logit_bias),
        "seed": ((_SEED if prompt.seed is None else prompt.seed) + index) % _SEEDS,
    }
    if prompt.logprobs is not None:
        # With 0 the engine tells none at all.
        request |= {"logprobs": True, "top_logprobs": max(1, prompt.logprobs)}
    if grammar is not None:
        request["grammar"] = engine_grammar(grammar)
    return request


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the model's ChatML template takes it: plain text under one of its three roles."""
    role, content = message.get("role"), message.get("content")
    for part in content if isinstance(content, list) else ():
        kind = part.get("type", "text") if isinstance(part, Mapping) else None
        if kind not in _READABLE:
            raise _no_text(kind)
    text = text_of(content)
    if role == "tool":
        return {"role": "user", "content": f"Tool result: {text}"}
    calls = [call["function"] for call in message.get("tool_calls") or () if call.get("function")]
    told = [f"Tool call: {call.get('name')} {call.get('arguments')}" for call in calls]
    return {
        "role": "system" if role == "developer" else str(role),
        "content": "\n".join([text, *told] if text else told),
    }


def _no_text(kind: Any) -> ServiceError:
    """The refusal of an image or the like.

    No text of the service for an image sent to a text model is known; this is the form in which it refuses a
    content it does not take (run-llama/llama_index#17239, pasted), the rest of the words are ours.
    """
    message = f"Bad request: field 'messages.content' has an item of type '{kind}': this model reads text only"
    return ServiceError(400, "BAD_REQUEST", message)
