"""What is one message made of? Text, reasoning, tool calls, and the parts in which all of it came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from isochat.errors import ToolArgumentsError
from isochat.records import Record


class TextPart(Record, frozen=True, eq=False):
    """A run of text, with the citations that the model gave for it."""

    text: str
    citations: tuple[Any, ...] = ()
    wire: Any = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"wire"})


class ReasoningPart(Record, frozen=True, eq=False):
    """Reasoning as text, or as ``encrypted`` data when the provider withholds it."""

    text: str = ""
    signature: str | None = None
    encrypted: str | None = None
    wire: Any = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"wire"})


class ImagePart(Record, frozen=True, eq=False):
    """An image in the answer: an https or data URL."""

    url: str
    wire: Any = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"wire"})


class RefusalPart(Record, frozen=True, eq=False):
    """The model's own words of refusal."""

    text: str
    wire: Any = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"wire"})


class OtherPart(Record, frozen=True, eq=False):
    """A block of a type that isochat has no name for, kept as it came."""

    type: str
    data: Any = None
    wire: Any = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"wire"})


Part = TextPart | ReasoningPart | ImagePart | RefusalPart | OtherPart


class Function(Record, frozen=True, eq=False):
    """The function that a tool call names; ``arguments`` is the JSON text as the model wrote it."""

    name: str
    arguments: str = ""


class ToolCall(Record, frozen=True, eq=False, kw_only=True):
    """One call the model asks for. ``extra`` keeps unknown fields (thought signatures) for the next turn."""

    id: str | None = None
    type: str = "function"
    function: Function
    extra: Mapping[str, Any] = {}

    def parse(self) -> Any:
        """The arguments as an object.

        Raises:
            ToolArgumentsError: they are not JSON; the text stays in ``function.arguments``.
        """
        try:
            return json.loads(self.function.arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise ToolArgumentsError(
                f"the arguments of tool call {self.function.name!r} are not JSON: {error}",
                remedy="Read them as text from function.arguments, or ask the model again",
            ) from None


class Message(Record, frozen=True, eq=False):
    """A message, as answered by the model or as given to :meth:`Client.chat`."""

    role: str = "assistant"
    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    parts: tuple[Part, ...] = ()
