"""Which blocks of an assistant's message are items of its turn: what an agent did, and calls told in their place?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What an agent did inside its reply: items of the Responses API (function_call, web_search_call, mcp_call), messages,
# answered calls and attachments of a ChatAgent. Only the first kind can go back, and only to the Responses API.
_ITEM_ENDS = ("_call", "_call_output")
_CHAT_AGENT_ENDS = (" message", "tool_calls", "attachments")


def is_item(kind: str) -> bool:
    """Whether a block of that type is an item of the Responses API."""
    return kind.startswith("mcp_") or kind.endswith(_ITEM_ENDS)


def is_of_agent(kind: str) -> bool:
    """Whether a block of that type tells what an agent did, in whichever of the agents' forms."""
    return is_item(kind) or kind.endswith(_CHAT_AGENT_ENDS)


def names_call(item: Mapping[str, Any], calls: Sequence[Any]) -> bool:
    """Whether ``item`` is one of the tool calls with these ids, told in its place among other items."""
    kinds = ("function_call", "custom_tool_call")
    return item.get("type") in kinds and (item.get("call_id") or item.get("id") or None) in [c for c in calls if c]


def without(mapping: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """``mapping`` without the fields of these names."""
    return {name: value for name, value in mapping.items() if name not in names}
