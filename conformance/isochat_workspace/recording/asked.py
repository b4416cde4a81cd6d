"""What does a request ask, whichever client has written it?

Two requests ask the same where their endpoint, messages and parameters are the same, in either API's words: the model
in the path or in the body, streamed or not, tools nested or flat. A chat request is put into the words of the Responses
API by the mapping that isochat's own clients use, so what one client of isochat sends on chat another's on Responses
meets. Nothing that only labels a request counts: `client_request_id`, `stream_options`, `strict: false`, nulls.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from isochat.errors import ChatError
from isochat.parameters import ALIASES, BY_NAME
from isochat.request import build
from isochat_workspace.endpoints import model_service_name
from isochat_workspace.models.model import Dialect
from isochat_workspace.recording.exchange import Question
from isochat_workspace.serving.routes import Operation, find_route

_LABELS = frozenset({"model", "stream", "stream_options", "client_request_id"})
_TEXT_BLOCKS = ("text", "input_text", "output_text")
# What names or marks an item; chat completions have no words for it.
_OF_ITEMS = ("id", "status", "phase")
_ABSENT: Final = object()


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request to a model: the endpoint's `name` as it was written, and `endpoint` as it is compared; `served` the
    served model that its path names; `body` without its labels, in its own words.
    """

    operation: Operation
    name: str
    endpoint: str
    served: str | None
    api: Dialect
    streamed: bool
    with_options: bool
    body: Mapping[str, Any]

    @property
    def own_words(self) -> dict[str, Any]:
        """What is asked, in the words of the request's own API."""
        return _chat_words(self.body) if self.api == "chat" else _responses_words(self.body)

    @property
    def responses_words(self) -> dict[str, Any]:
        """The same in the words of the Responses API. Raises ChatError for what it has no words for."""
        if self.api == "responses":
            return self.own_words
        body = dict(self.body)
        params = {name: value for name, value in body.items() if ALIASES.get(name, name) in BY_NAME}
        extra = {name: value for name, value in body.items() if name not in params and name != "messages"}
        built = build("any", "responses", body.get("messages"), {**params, "extra_body": extra}, {})
        return _responses_words(built.body)

    @functools.cached_property
    def own_key(self) -> bytes:
        """A digest of `own_words`."""
        return digest([self.api, self.own_words])

    @functools.cached_property
    def responses_key(self) -> bytes | None:
        """A digest of `responses_words`; None where there are none."""
        try:
            return digest(self.responses_words)
        except ChatError:
            return None


def read_asked(question: Question) -> Asked | None:
    """What a request asks; None where it asks no model anything."""
    route = find_route(question.target.partition("?")[0])
    body = question.json if question.is_json else None
    if route is None or question.method != route.method or not isinstance(body, dict):
        return None
    match route.operation:
        case "invocations":
            # An agent's endpoint takes the words of the Responses API here; no task says which one this is.
            api: Dialect = "responses" if "input" in body and "messages" not in body else "chat"
            name: Any = route.endpoint
        case "chat":
            api, name = "chat", body.get("model")
        case "responses" | "open_responses":
            api, name = "responses", body.get("model")
        case _:
            return None
    if not isinstance(name, str):
        return None
    asked = {key: value for key, value in body.items() if key not in _LABELS and value is not None}
    in_gateway = route.surface != "workspace" or name.startswith("databricks-")
    return Asked(
        operation=route.operation,
        name=name,
        endpoint=model_service_name(name) if in_gateway else name,
        served=route.served,
        api=api,
        streamed=body.get("stream") is True,
        with_options=body.get("stream_options") is not None,
        body=asked,
    )


# ---------------------------------------------------------------------------------------------- words


def _chat_words(body: Mapping[str, Any]) -> dict[str, Any]:
    said = {ALIASES.get(name, name): value for name, value in body.items()}
    if isinstance(said.get("messages"), list):
        said["messages"] = [_message(one) for one in said["messages"]]
    return _common(said)


def _message(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    kept = {name: value for name, value in message.items() if value is not None}
    if "content" in kept:
        kept["content"] = _content(kept["content"])
    if kept.get("role") == "developer":
        kept["role"] = "system"
    return kept


def _responses_words(body: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in body.items() if value not in ([], {}) or name == "input"}
    given = said.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if isinstance(items, list):
        instructions = said.pop("instructions", None)
        first = [] if instructions is None else [{"role": "system", "content": instructions}]
        said["input"] = [_item(one) for one in (*first, *items) if not _is_reasoning(one)]
    if isinstance(said.get("include"), list):
        said["include"] = sorted(said["include"], key=str)
    return _common(said)


def _is_reasoning(item: Any) -> bool:
    # The model's own; whichever API told it first, the other cannot take it back.
    return isinstance(item, dict) and item.get("type") == "reasoning"


def _item(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    kept = {name: value for name, value in _message(item).items() if name not in _OF_ITEMS}
    if kept.get("type") == "message":
        del kept["type"]
    if "output" in kept:
        kept["output"] = _content(kept["output"])
    return kept


def _content(content: Any) -> Any:
    """One block of plain text is the text; blocks of text have one type, whoever speaks."""
    if not isinstance(content, list):
        return content
    blocks = [_block(block) for block in content]
    if len(blocks) == 1 and isinstance(blocks[0], dict) and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"] if blocks[0]["type"] == "text" else blocks
    return blocks


def _block(block: Any) -> Any:
    if not isinstance(block, dict) or block.get("type") not in _TEXT_BLOCKS:
        return block
    kept = {name: value for name, value in block.items() if value not in (None, [], {})}
    return {**kept, "type": "text"}


def _common(said: dict[str, Any]) -> dict[str, Any]:
    if isinstance(said.get("tools"), list):
        said["tools"] = [_tool(tool) for tool in said["tools"]]
    return said


def _tool(tool: Any) -> Any:
    """A tool without `strict` where it is not true: who says nothing on chat says false on Responses."""
    if not isinstance(tool, dict):
        return tool
    kept = {name: value for name, value in tool.items() if value is not None and (name != "strict" or value is True)}
    if isinstance(kept.get("function"), dict):
        kept["function"] = _tool(kept["function"])
    return kept


# ---------------------------------------------------------------------------------------------- comparing


def digest(value: Any) -> bytes:
    """A digest of canonical JSON: sorted keys, and 1.0 is 1."""
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def _canonical(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _canonical(item) for name, item in value.items()}
        case list():
            return [_canonical(item) for item in value]
    return value


def differences(here: Any, there: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each place in which two JSON values differ, with both; ABSENT for what one of them lacks."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in dict.fromkeys([*here, *there]):
            inner = f"{path}.{name}" if path else str(name)
            yield from differences(here.get(name, _ABSENT), there.get(name, _ABSENT), inner)
    elif isinstance(here, list) and isinstance(there, list):
        for index in range(max(len(here), len(there))):
            mine = here[index] if index < len(here) else _ABSENT
            other = there[index] if index < len(there) else _ABSENT
            yield from differences(mine, other, f"{path}[{index}]")
    elif here is _ABSENT or there is _ABSENT or _canonical(here) != _canonical(there) or _is_flag(here, there):
        yield path, here, there


def _is_flag(here: Any, there: Any) -> bool:
    return isinstance(here, bool) != isinstance(there, bool)  # True == 1 to Python


def shown(value: Any, longest: int = 60) -> str:
    """A value in a message: on one line, shortened."""
    if value is _ABSENT:
        return "absent"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 3] + "..."
