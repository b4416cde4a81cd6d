"""What does an agent endpoint say? ChatAgent replies: a list of messages in place of choices.

Shape: payload fact 22 and MLflow's ``ChatAgentResponse``. The reply tells the agent's whole turn: texts, the calls it
made and what its tools answered. ResponsesAgent replies are Responses objects; :mod:`isochat.wire_format.responses`
reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isochat.errors import BadResponseError
from isochat.results import ChatResult, Choice, Message, Meta, OtherPart, Part, ReasoningPart, RefusalPart, ToolCall
from isochat.wire_format.chat_completions import FINISH_REASONS, read_message
from isochat.wire_format.content import joined
from isochat.wire_format.json_text import type_name
from isochat.wire_format.usage import read_usage


def read_chat_agent(data: Mapping[str, Any], meta: Meta) -> ChatResult:
    """The normalised result of a ChatAgent reply.

    ``content`` is the last assistant text. Calls that the reply itself answers are the agent's own affair: they stay in
    ``parts``, and only unanswered ones are ``tool_calls``.

    Raises:
        BadResponseError: no list of messages, or a message of the wrong shape; the message names the path.
    """
    messages = data.get("messages")
    if not isinstance(messages, list | tuple) or not messages:
        raise BadResponseError(f"messages is {type_name(messages)}; expected a list with at least one message")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadResponseError(f"messages[{index}] is {type_name(message)}; expected a message")
    told = [message.get("tool_call_id") for message in messages if message.get("role") == "tool"]
    answered = {call_id for call_id in told if isinstance(call_id, str)}
    parts: list[Part] = []
    calls: list[ToolCall] = []
    content: str | None = None
    for index, message in enumerate(messages):
        if message.get("role") != "assistant":
            parts.append(OtherPart(f"{message.get('role')} message", _without_role(message)))
            continue
        said = read_message(message, f"messages[{index}]")
        parts.extend(said.parts)
        content = content if said.content is None else said.content
        open_calls = [call for call in said.tool_calls if call.id not in answered]
        calls.extend(open_calls)
        if len(open_calls) < len(said.tool_calls):
            parts.append(OtherPart("tool_calls", {"tool_calls": message.get("tool_calls")}))
        if message.get("attachments"):
            parts.append(OtherPart("attachments", {"attachments": message["attachments"]}))
    reason, reply_id = data.get("finish_reason"), data.get("id")
    answer = Message(
        content=content,
        reasoning=joined(parts, ReasoningPart),
        tool_calls=tuple(calls),
        refusal=joined(parts, RefusalPart),
        parts=tuple(parts),
    )
    return ChatResult(
        id=reply_id if isinstance(reply_id, str) else None,
        choices=(
            Choice(
                message=answer,
                finish_reason=None if reason is None else FINISH_REASONS.get(str(reason), "unknown"),
                raw_finish_reason=None if reason is None else str(reason),
            ),
        ),
        usage=read_usage(data.get("usage")),
        meta=meta,
    )


def _without_role(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "role"}
