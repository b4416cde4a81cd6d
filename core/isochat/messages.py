"""What may be said in a conversation?

A string is one user message; otherwise a sequence of OpenAI-shaped mappings and :class:`isochat.Message` objects.
Shape is checked here, meaning is the endpoint's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isochat.errors import InvalidInputError
from isochat.results import Message
from isochat.wire_format.chat_completions import ROLES, write_message
from isochat.wire_format.json_text import check_sendable, type_name

Messages = str | Sequence[Mapping[str, Any] | Message]


def read_messages(messages: Any) -> tuple[dict[str, Any], ...]:
    """The messages as plain chat-completion mappings.

    Raises:
        InvalidInputError: empty, not a sequence of messages, an unknown role, or a value that JSON cannot carry.
        UnsafeInputError: text that is not whole Unicode.
    """
    if isinstance(messages, str):
        messages = ({"role": "user", "content": messages},)
    if isinstance(messages, Mapping | bytes | Message) or not isinstance(messages, Sequence):
        raise InvalidInputError(
            f"messages is {_kind(messages)}; expected a string or a sequence of messages",
            remedy="Pass a string, or a list of {'role': ..., 'content': ...}",
        )
    if not messages:
        raise InvalidInputError("messages is empty", remedy="Pass at least one message")
    return tuple(_read_message(message, f"messages[{i}]") for i, message in enumerate(messages))


def _read_message(message: Any, path: str) -> dict[str, Any]:
    if isinstance(message, Message):
        message = write_message(message)
    if not isinstance(message, Mapping):
        raise InvalidInputError(
            f"{path} is {_kind(message)}; expected a message", remedy="Pass {'role': ..., 'content': ...}"
        )
    role = message.get("role")
    if role not in ROLES:
        raise InvalidInputError(
            f"{path} has the role {role!r}" if "role" in message else f"{path} has no role",
            remedy=f"Roles are {', '.join(ROLES)}",
        )
    plain = dict(message)
    content = plain.get("content")
    if isinstance(content, tuple):
        content = plain["content"] = list(content)
    if isinstance(content, list):
        for index, block in enumerate(content):
            _check_block(block, f"{path}.content[{index}]")
    elif not isinstance(content, str) and not (content is None and role == "assistant"):
        raise InvalidInputError(
            f"{path}.content is {_kind(content)}; expected text or a list of content blocks"
            if "content" in plain
            else f"{path} has no content",
            remedy="Pass the text as a string",
        )
    _check_tool_calls(plain.get("tool_calls"), f"{path}.tool_calls")
    check_sendable(plain, path)
    return plain


def _check_block(block: Any, path: str) -> None:
    if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
        raise InvalidInputError(
            f"{path} is {_kind(block)}; expected a content block",
            remedy="Pass {'type': 'text', 'text': ...} or another block that has a type",
        )
    if block["type"] == "file" and not isinstance(block.get("file"), Mapping):
        raise InvalidInputError(f"{path}.file is {_kind(block.get('file'))}; expected an object")
    if block["type"] == "text" and not isinstance(block.get("text"), str):
        raise InvalidInputError(
            f"{path}.text is {_kind(block.get('text'))}; expected text", remedy="Pass {'type': 'text', 'text': ...}"
        )


def _check_tool_calls(calls: Any, path: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list | tuple):
        raise InvalidInputError(f"{path} is {_kind(calls)}; expected a list of tool calls")
    for index, call in enumerate(calls):
        if not isinstance(call, Mapping) or not isinstance(call.get("function", {}), Mapping):
            raise InvalidInputError(
                f"{path}[{index}] is no tool call",
                remedy="Pass {'id': ..., 'type': 'function', 'function': {'name': ..., 'arguments': ...}}",
            )


def _kind(value: Any) -> str:
    return "a mapping without a type" if isinstance(value, Mapping) else type_name(value)
