"""How does a conversation go on in either API's words?

A conversation may change its client at each turn, so its history holds what the other API said: reasoning items with
encrypted content, ``output_text`` blocks, tool calls as messages or as items. Here it is said in the words of the API
that carries the next turn. What that API has no word for is refused where the caller asks for it, and left out and
noted where it is the model's own (reasoning, signatures, calls inside an agent): live endpoints refuse unknown fields
("Extra inputs are not permitted").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from isochat.errors import UnsupportedParameterError

Report = Callable[[str, str], None]
"""Told of each thing that the API cannot carry: what it is, and why."""

# The fields of a reasoning block as Databricks writes it (ReasoningContent of the foundation-model API reference);
# OpenAI's reasoning items have an id, a status or encrypted_content beside them.
_REASONING_BLOCK = frozenset({"type", "summary"})
_TEXT_BLOCKS = ("text", "input_text", "output_text")
_REASONING_FIELDS = ("id", "encrypted_content")
# What an agent did inside its reply: items of the Responses API (function_call, web_search_call, mcp_call), messages
# and answered calls of a ChatAgent. Only the first kind can go back, and only to the Responses API.
_ITEM_ENDS = ("_call", "_call_output")
_CHAT_AGENT_ENDS = (" message", "tool_calls")
# What a model's message has beside what a caller may write.
_OF_THE_MODEL = ("reasoning_content", "annotations", "audio")
# The longest id of an item that the service takes back; it gives longer ones (databricks-openai cuts them to this too).
_LONGEST_ID = 64
# What a caller writes into a block, also into the model's.
_OF_THE_CALLER = ("cache_control",)
# Where an assistant's message says something beside its content.
_SAID_BESIDE_CONTENT = ("tool_calls", "refusal", "audio", "function_call")


def for_chat_completions(
    messages: Sequence[dict[str, Any]], left_out: Callable[[str], None], rewritten: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The messages as a chat-completions endpoint takes them; most pass as they are.

    Args:
        left_out: Told of what the model said that only the Responses API can take back.
        rewritten: Told of what says the same in another form.

    Raises:
        UnsupportedParameterError: nothing is left of a message that is not the model's own.
    """
    written = (
        _chat_message(message, f"messages[{index}]", left_out, rewritten) for index, message in enumerate(messages)
    )
    return _not_empty([message for message in written if message is not None])


def _chat_message(
    message: dict[str, Any], path: str, left_out: Callable[[str], None], rewritten: Callable[[str], None]
) -> dict[str, Any] | None:
    content = message.get("content")
    if message["role"] == "assistant" and content != "" and not any(_without(message, "role").values()):
        # An answer cut off while the model reasoned, say. Endpoints refuse null without calls.
        _nothing_left("assistant", path, left_out)
        return None
    if not isinstance(content, list):
        return message
    calls = [call.get("id") for call in message.get("tool_calls") or ()]
    blocks = [
        None if _names_call(block, calls) else _chat_block(block, f"{path}.content[{i}]", left_out)
        for i, block in enumerate(content)
    ]
    if all(new is old for new, old in zip(blocks, content, strict=True)):
        return message
    kept = [block for block in blocks if block is not None]
    if not kept:
        if any(message.get(name) for name in _SAID_BESIDE_CONTENT):
            return {**message, "content": None}
        _nothing_left(message["role"], path, left_out)
        return None
    if all(block.keys() == {"type", "text"} and block["type"] == "text" for block in kept):
        # Some endpoints take no lists (payload fact 33), and plain text says the same.
        texts = [block["text"] for block in kept if block["text"]]
        if len(texts) > 1:
            rewritten(f"{path}.content: its {len(texts)} texts became one, with an empty line between them")
        return {**message, "content": "\n\n".join(texts) or (None if message.get("tool_calls") else "")}
    return {**message, "content": kept}


def _nothing_left(role: str, path: str, left_out: Callable[[str], None]) -> None:
    """What the model said may go missing; what is asked of it may not, whatever was dropped before."""
    if role != "assistant":
        raise UnsupportedParameterError(
            f"the API of this backend carries nothing of {path}: the {role} message would be empty",
            remedy="Leave the message out, or use a backend whose API carries its content",
        )
    left_out(f"{path} (nothing else is in it)")


def _not_empty(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not said:
        raise UnsupportedParameterError(
            "the API of this backend carries nothing of messages: the conversation would be empty",
            remedy="Add what is asked, or use a backend whose API carries the messages",
        )
    return said


def _chat_block(block: Any, path: str, left_out: Callable[[str], None]) -> Any:
    match block.get("type"):
        case "reasoning" if not block.keys() <= _REASONING_BLOCK:
            left_out(f"{path} (reasoning of the Responses API)")
            return None
        case "output_text" | "input_text":
            for name in sorted(block.keys() - {"type", "text", "logprobs"}):
                if block[name]:
                    left_out(f"{path}.{name}")
            return {"type": "text", "text": block.get("text", "")}
        case "input_image":
            image = {"url": block.get("image_url"), **_without(block, "type", "image_url")}
            return {"type": "image_url", "image_url": image}
        case "input_file":
            return {"type": "file", "file": _without(block, "type")}
        case str() as kind if kind.startswith("mcp_") or kind.endswith((*_ITEM_ENDS, *_CHAT_AGENT_ENDS)):
            left_out(f"{path} ({kind!r} of an agent)")
            return None
    return block


def for_responses(
    messages: Sequence[Mapping[str, Any]],
    unsupported: Report,
    left_out: Callable[[str], None],
    rewritten: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The messages as ``input`` items of the Responses API.

    Args:
        unsupported: Told of fields and blocks that its items do not have.
        left_out: Told of what the model said that only a chat-completions endpoint can take back.
        rewritten: Told of what is said in another form.

    Raises:
        UnsupportedParameterError: nothing is left of a message that is not the model's own.
    """
    items: list[dict[str, Any]] = []
    custom = [call.get("id") for message in messages for call in message.get("tool_calls") or () if _is_custom(call)]
    for index, message in enumerate(messages):
        items.extend(_Items(f"messages[{index}]", custom, unsupported, left_out, rewritten).of(message))
    return _not_empty(items)


def _is_custom(call: Mapping[str, Any]) -> bool:
    return call.get("type") == "custom" and isinstance(call.get("custom"), Mapping)


class _Items:
    """Writes the items of one message; ``custom`` are the ids of all calls of custom tools."""

    def __init__(
        self,
        path: str,
        custom: Sequence[Any],
        unsupported: Report,
        left_out: Callable[[str], None],
        rewritten: Callable[[str], None],
    ) -> None:
        self.path = path
        self.custom = custom
        self.unsupported = unsupported
        self.left_out = left_out
        self.rewritten = rewritten

    def of(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        role, content = message["role"], message.get("content")
        self._check_fields(message, role)
        if role == "assistant":
            calls = message.get("tool_calls") or ()
            items = self._turn(content, message.get("refusal"), bool(calls))
            items += [
                self._call(call, f"{self.path}.tool_calls[{i}]")
                for i, call in enumerate(calls)
                if not any(_names_call(item, [call.get("id")]) for item in items)
            ]
            while items and items[-1].get("type") == "reasoning":
                # Cut off before it led to anything. The API takes it back only with what follows it.
                items.pop()
                self.left_out(f"{self.path}.content (reasoning that nothing follows)")
            if not items:
                _nothing_left(role, self.path, self.left_out)
            return items
        said = self._said(content, role)
        if content and not said:
            _nothing_left(role, self.path, self.left_out)
        if role == "tool":
            call_id = message.get("tool_call_id")
            kind = "custom_tool_call_output" if call_id in self.custom else "function_call_output"
            return [{"type": kind, "call_id": call_id, "output": said}]
        return [{"role": role, "content": said}]

    def _turn(self, content: Any, refusal: Any, has_calls: bool) -> list[dict[str, Any]]:
        """What the model said, in its order: messages, and between them the items that it takes back."""
        if isinstance(content, str) and not refusal:
            return [{"role": "assistant", "content": content}] if content or not has_calls else []
        items: list[dict[str, Any]] = []
        said: list[dict[str, Any]] = []
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or ()
        for index, block in enumerate(blocks):
            if _taken_back(block):
                if said:
                    items.append({"role": "assistant", "content": said})
                items.append(self._item(block, f"{self.path}.content[{index}]"))
                said = []
            elif (written := self._block(block, "assistant", f"{self.path}.content[{index}]")) is not None:
                said.append(written)
        if isinstance(refusal, str) and refusal:
            said.append({"type": "refusal", "refusal": refusal})
        return [*items, {"role": "assistant", "content": said}] if said else items

    def _item(self, block: Mapping[str, Any], path: str) -> dict[str, Any]:
        """An item as the service takes it back."""
        # A null `status` of reasoning is refused: BerriAI/litellm#13420.
        drop_null = block.get("type") == "reasoning"
        item = {name: value for name, value in block.items() if value is not None or not drop_null}
        if len(str(item.get("id") or "")) > _LONGEST_ID:
            item["id"] = str(item["id"])[:_LONGEST_ID]
            self.rewritten(f"{path}.id: cut to the {_LONGEST_ID} characters that the service takes back")
        return item

    def _check_fields(self, message: Mapping[str, Any], role: str) -> None:
        known = {"role", "content"}
        known |= {"tool": {"tool_call_id"}, "assistant": {"tool_calls", "refusal"}}.get(role, set())
        for name in sorted(message.keys() - known):
            if message[name] is None:
                continue
            if name in _OF_THE_MODEL and role == "assistant":
                if message[name]:  # OpenAI's models write "annotations": []
                    self.left_out(f"{self.path}.{name}")
            else:
                self.unsupported(f"{self.path}.{name}", "an input item has no such field")

    def _said(self, content: Any, role: str) -> Any:
        if not isinstance(content, list):
            return content
        blocks = [self._block(block, role, f"{self.path}.content[{index}]") for index, block in enumerate(content)]
        return [block for block in blocks if block is not None]

    def _block(self, block: Mapping[str, Any], role: str, path: str) -> dict[str, Any] | None:
        match block.get("type"):
            case "reasoning":
                item = any(name in block for name in _REASONING_FIELDS)
                whose = (
                    "a reasoning item without encrypted content" if item else "reasoning of a chat-completions endpoint"
                )
                self.left_out(f"{path} ({whose})")
                return None
            case kind if role == "assistant" and kind not in (*_TEXT_BLOCKS, "refusal"):
                self.left_out(f"{path} (type {kind!r} of a chat-completions endpoint)")
                return None
            case kind if kind in _TEXT_BLOCKS:
                for name in sorted(block.keys() - {"type", "text", "annotations", "citations", "logprobs"}):
                    if role == "assistant" and name not in _OF_THE_CALLER:
                        self.left_out(f"{path}.{name}")
                    else:
                        self.unsupported(f"{path}.{name}", "a text block has no such field")
                for name in ("citations", "annotations"):
                    if block.get(name):
                        self.left_out(f"{path}.{name}")
                return {"type": "output_text" if role == "assistant" else "input_text", "text": block.get("text", "")}
            case "image_url":
                image = block.get("image_url")
                self._check_beside(block, "image_url", path)
                if isinstance(image, Mapping):
                    return {"type": "input_image", "image_url": image.get("url"), **_without(image, "url")}
                return {"type": "input_image", "image_url": image}
            case "file":
                self._check_beside(block, "file", path)
                return {"type": "input_file", **(block.get("file") or {})}
            case "refusal":
                return {"type": "refusal", "refusal": block.get("refusal", "")}
            case str() as kind if kind.startswith("input_"):
                return dict(block)
        self.unsupported(f"{path} (type {block.get('type')!r})", "it has no such content block")
        return None

    def _check_beside(self, block: Mapping[str, Any], content: str, path: str) -> None:
        for name in sorted(block.keys() - {"type", content}):
            self.unsupported(f"{path}.{name}", f"an input_{content.removesuffix('_url')} block has no such field")

    def _call(self, call: Mapping[str, Any], path: str) -> dict[str, Any]:
        custom = call["custom"] if _is_custom(call) else None
        for name in sorted(call.keys() - {"id", "type", "index", "function" if custom is None else "custom"}):
            self.left_out(f"{path}.{name}")
        if custom is not None:
            named = {"name": custom.get("name"), "input": custom.get("input", "")}
            return {"type": "custom_tool_call", "call_id": call.get("id"), **named}
        function = call.get("function") or {}
        for name in sorted(function.keys() - {"name", "arguments"}):
            self.left_out(f"{path}.function.{name}")
        return {
            "type": "function_call",
            "call_id": call.get("id"),
            "name": function.get("name"),
            "arguments": function.get("arguments", ""),
        }


def _names_call(item: Mapping[str, Any], calls: Sequence[Any]) -> bool:
    """Whether ``item`` is one of the message's tool calls, told in its place among other items."""
    kinds = ("function_call", "custom_tool_call")
    return item.get("type") in kinds and (item.get("call_id") or item.get("id") or None) in [c for c in calls if c]


def _taken_back(block: Mapping[str, Any]) -> bool:
    # The service keeps no state (`store` is refused), so an item must bring along what it stands for.
    kind = str(block.get("type"))
    if kind == "reasoning":
        return bool(block.get("encrypted_content"))
    return kind.startswith("mcp_") or kind.endswith(_ITEM_ENDS)


def _without(mapping: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}
