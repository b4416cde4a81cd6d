"""How does a conversation go on in the words of the Responses API?

A conversation may change its client at each turn, so its history holds what chat completions said: tool calls as
messages, reasoning blocks with signatures, content blocks of many types. Here it becomes ``input`` items. What has no
item is refused where the caller asks for it, and left out and noted where it is the model's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isochat.notes import Notes
from isochat.wire_format.content import arguments_text
from isochat.wire_format.turn_items import is_item, names_call, without

_TEXT_BLOCKS = ("text", "input_text", "output_text")
_REASONING_FIELDS = ("id", "encrypted_content")
# The longest id of an item that the service takes back; it gives longer ones (databricks-openai cuts them to this too).
_LONGEST_ID = 64
# What a caller writes into a block, also into the model's.
_OF_THE_CALLER = ("cache_control",)
# And into a message of the model's. Whatever else stands there beside the known fields came with an answer: reasoning
# in one of its many forms, annotations. A call in the older form may not go missing.
_ASKED_OF_THE_MODEL = ("name", "function_call", *_OF_THE_CALLER)


def for_responses(messages: Sequence[Mapping[str, Any]], notes: Notes) -> list[dict[str, Any]]:
    """The messages as ``input`` items of the Responses API.

    Raises:
        UnsupportedParameterError: a caller's field or block has no item, or nothing is left of a message that is not
            the model's own.
    """
    items: list[dict[str, Any]] = []
    custom = [call.get("id") for message in messages for call in message.get("tool_calls") or () if _is_custom(call)]
    for index, message in enumerate(messages):
        items.extend(_Items(f"messages[{index}]", custom, notes).of(message))
    return notes.check_not_empty(items)


def _is_custom(call: Mapping[str, Any]) -> bool:
    return call.get("type") == "custom" and isinstance(call.get("custom"), Mapping)


class _Items:
    """Writes the items of one message; ``custom`` are the ids of all calls of custom tools."""

    def __init__(self, path: str, custom: Sequence[Any], notes: Notes) -> None:
        self.path = path
        self.custom = custom
        self.notes = notes

    def of(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        role, content = message["role"], message.get("content")
        self._check_fields(message, role)
        if role == "assistant":
            calls = message.get("tool_calls") or ()
            items = self._turn(content, message.get("refusal"), bool(calls))
            items += [
                self._call(call, f"{self.path}.tool_calls[{i}]")
                for i, call in enumerate(calls)
                if not any(names_call(item, [call.get("id")]) for item in items)
            ]
            while items and items[-1].get("type") == "reasoning":
                # Cut off before it led to anything. The API takes it back only with what follows it.
                items.pop()
                self.notes.left_out(f"{self.path}.content (reasoning that nothing follows)")
            if not items:
                self.notes.nothing_left(role, self.path)
            return items
        said = self._said(content, role)
        if content and not said:
            self.notes.nothing_left(role, self.path)
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
        message: dict[str, Any] | None = None  # the one under way
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or ()
        for index, block in enumerate(blocks):
            path = f"{self.path}.content[{index}]"
            if _taken_back(block):
                items.append(self._item(block, path))
                message = None
            elif (written := self._block(without(block, "phase"), "assistant", path)) is not None:
                if message is None or message.get("phase") != block.get("phase"):
                    message = {"role": "assistant", "content": [], **_phase(block)}
                    items.append(message)
                message["content"].append(written)
        if isinstance(refusal, str) and refusal:
            if message is None:
                message = {"role": "assistant", "content": []}
                items.append(message)
            message["content"].append({"type": "refusal", "refusal": refusal})
        return items

    def _item(self, block: Mapping[str, Any], path: str) -> dict[str, Any]:
        """An item as the service takes it back."""
        # A null `status` of reasoning is refused: BerriAI/litellm#13420.
        drop_null = block.get("type") == "reasoning"
        item = {name: value for name, value in block.items() if value is not None or not drop_null}
        if len(str(item.get("id") or "")) > _LONGEST_ID:
            item["id"] = str(item["id"])[:_LONGEST_ID]
            self.notes.rewritten(f"{path}.id: cut to the {_LONGEST_ID} characters that the service takes back")
        return item

    def _check_fields(self, message: Mapping[str, Any], role: str) -> None:
        known = {"role", "content"}
        known |= {"tool": {"tool_call_id"}, "assistant": {"tool_calls", "refusal"}}.get(role, set())
        for name in sorted(message.keys() - known):
            if message[name] is None:
                continue
            if role == "assistant" and name not in _ASKED_OF_THE_MODEL:
                if message[name]:  # OpenAI's models write "annotations": []
                    self.notes.left_out(f"{self.path}.{name}")
            elif (role, name) == ("tool", "name"):  # the call has it, which `tool_call_id` names; LangChain writes both
                self.notes.left_out(f"{self.path}.name")
            else:
                self.notes.unsupported(f"{self.path}.{name}", "an input item has no such field")

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
                self.notes.left_out(f"{path} ({whose})")
                return None
            case kind if role == "assistant" and kind not in (*_TEXT_BLOCKS, "refusal"):
                self.notes.left_out(f"{path} (type {kind!r} of a chat-completions endpoint)")
                return None
            case kind if kind in _TEXT_BLOCKS:
                for name in sorted(block.keys() - {"type", "text", "annotations", "citations", "logprobs"}):
                    if role == "assistant" and name not in _OF_THE_CALLER:
                        self.notes.left_out(f"{path}.{name}")
                    else:
                        self.notes.unsupported(f"{path}.{name}", "a text block has no such field")
                for name in ("citations", "annotations"):
                    if block.get(name):
                        self.notes.left_out(f"{path}.{name}")
                return {"type": "output_text" if role == "assistant" else "input_text", "text": block.get("text", "")}
            case "image_url":
                image = block.get("image_url")
                self._check_beside(block, "image_url", path)
                if isinstance(image, Mapping):
                    return {"type": "input_image", "image_url": image.get("url"), **without(image, "url")}
                return {"type": "input_image", "image_url": image}
            case "file":
                self._check_beside(block, "file", path)
                return {"type": "input_file", **(block.get("file") or {})}
            case "refusal":
                return {"type": "refusal", "refusal": block.get("refusal", "")}
            case str() as kind if kind.startswith("input_"):
                for name in _OF_THE_CALLER:
                    if block.get(name) is not None:
                        self.notes.unsupported(f"{path}.{name}", f"an {kind} block has no such field")
                return without(block, *_OF_THE_CALLER)
        self.notes.unsupported(f"{path} (type {block.get('type')!r})", "it has no such content block")
        return None

    def _check_beside(self, block: Mapping[str, Any], content: str, path: str) -> None:
        for name in sorted(block.keys() - {"type", content}):
            self.notes.unsupported(f"{path}.{name}", f"an input_{content.removesuffix('_url')} block has no such field")

    def _call(self, call: Mapping[str, Any], path: str) -> dict[str, Any]:
        custom = call["custom"] if _is_custom(call) else None
        known = {"id", "type", "index", "function" if custom is None else "custom"}
        for name in sorted(name for name in call.keys() - known if call[name] is not None):
            if name in _OF_THE_CALLER:
                self.notes.unsupported(f"{path}.{name}", "a function_call item has no such field")
            else:
                self.notes.left_out(f"{path}.{name}")
        if custom is not None:
            named = {"name": custom.get("name"), "input": custom.get("input", "")}
            return {"type": "custom_tool_call", "call_id": call.get("id"), **named}
        function = call.get("function") or {}
        for name in sorted(function.keys() - {"name", "arguments"}):
            self.notes.left_out(f"{path}.function.{name}")
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            self.notes.rewritten(f"{path}.function.arguments: the API takes JSON text alone")
        named = {"name": function.get("name"), "arguments": arguments_text(arguments)}
        return {"type": "function_call", "call_id": call.get("id"), **named}


def _phase(block: Mapping[str, Any]) -> dict[str, Any]:
    return {"phase": block["phase"]} if block.get("phase") is not None else {}


def _taken_back(block: Mapping[str, Any]) -> bool:
    # The service keeps no state (`store` is refused), so an item must bring along what it stands for.
    kind = str(block.get("type"))
    if kind == "reasoning":
        return bool(block.get("encrypted_content"))
    return is_item(kind)
