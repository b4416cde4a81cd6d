"""What does a call give back?

``ChatResult`` and everything below it: frozen, slotted, without behaviour beyond reading. ``==`` holds between
two readings of one answer: it ignores ``meta``, ``raw_finish_reason`` and the wire forms that parts keep for
:meth:`ChatResult.to_message`. Answers to two separate requests are compared by :func:`isochat.diff`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import msgspec

from isochat.errors import ToolArgumentsError
from isochat.output_types import Parsing

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error", "unknown"]

_REPR_LENGTH = 60
# Why a text may be no whole object.
_UNFINISHED = {
    "length": "It was cut off: raise max_tokens",
    "content_filter": "A content filter cut it off: reword the request",
}


class Record(msgspec.Struct, frozen=True, eq=False):
    """One frozen value of a result: compared by its fields but for ``_not_compared``, and never hashable."""

    _not_compared: ClassVar[frozenset[str]] = frozenset()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        skip = self._not_compared
        return all(getattr(self, f) == getattr(other, f) for f in self.__struct_fields__ if f not in skip)

    def __ne__(self, other: object) -> bool:
        # msgspec's own would compare identities: Python inverts __eq__ only where no base has a __ne__.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __repr__(self) -> str:
        defaults = dict(zip(reversed(self.__struct_fields__), reversed(self.__struct_defaults__), strict=False))
        shown = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name.startswith("_") or name in self._not_compared or value == defaults.get(name, msgspec.NODEFAULT):
                continue
            text = repr(value)
            shown.append(f"{name}={text if len(text) <= _REPR_LENGTH else text[: _REPR_LENGTH - 3] + '...'}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Once:
    """A value worked out when it is first asked for, once, whichever thread asks."""

    __slots__ = ("_compute", "_lock", "_value")

    def __init__(self, compute: Callable[[], Any] | None, value: Any = None) -> None:
        self._compute = compute
        self._value = value
        self._lock = threading.Lock()

    def get(self) -> Any:
        if self._compute is not None:
            with self._lock:
                if self._compute is not None:
                    self._value = self._compute()
                    self._compute = None
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        # What has been computed may be a client's own object, which need not pickle.
        return Once, (None, None)


NOTHING = Once(None)


# ---------------------------------------------------------------------------------------------- parts


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


# ---------------------------------------------------------------------------------------------- answer


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


class Choice(Record, frozen=True, eq=False, kw_only=True):
    """One of ``n`` answers; ``raw_finish_reason`` is the word that stood on the wire."""

    index: int = 0
    message: Message
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    logprobs: Any = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"raw_finish_reason"})


class Usage(Record, frozen=True, eq=False):
    """Token counts as the service reported them; ``None`` means not reported, never 0."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    reasoning_tokens: int | None = None


_READ_FIELDS = frozenset(
    {"id", "object", "created", "created_at", "model", "choices", "output", "messages", "usage", "finish_reason"}
)


class Meta(Record, frozen=True, eq=False):
    """How the call went.

    Attributes:
        backend, endpoint, route: Which client asked, whom, over which of the workspace's routes.
        client_call: The client's own call that carried it, e.g. ``chat.completions.create``.
        request_id: ``x-request-id`` of the reply.
        served_model: The ``served-model-name`` header of the reply.
        status_code, headers: The reply's status and headers (names in lower case).
        elapsed: Seconds for the whole call, retries and waiting included.
        attempts: Attempts made, by all who carried the call; 1 when the first one succeeded.
        warnings: Whatever was dropped, added or rewritten on the way: each begins with ``dropped``, ``left out``,
            ``rewrote`` or, where nothing is lost by it, ``added``; before them stands, as ``fell back``, who of a
            ``fallback`` carried the call on and why. Of a stream also ``completion_unproven`` (an
            agent's, whose end only the connection's clean end proves), ``usage_missing`` (token counts were asked for
            and did not come) and ``not_streamed`` (the endpoint answered with a whole reply).
    """

    backend: str = ""
    endpoint: str = ""
    route: str = ""
    client_call: str = ""
    request_id: str | None = None
    served_model: str | None = None
    status_code: int | None = None
    headers: Mapping[str, str] = {}
    elapsed: float = 0.0
    attempts: int = 0
    warnings: tuple[str, ...] = ()
    _raw: Any = None
    _native: Once = NOTHING
    _parsing: Parsing | None = None
    _extra: Mapping[str, Any] | None = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"_native", "_parsing"})

    @property
    def extra(self) -> Mapping[str, Any]:
        """Fields at the top of the reply that a result has no place for, e.g. ``custom_outputs`` of agents; of a
        stream, those of its events.
        """
        if self._extra is not None:
            return self._extra
        raw = self._raw if isinstance(self._raw, Mapping) else {}
        return {name: value for name, value in raw.items() if name not in _READ_FIELDS and value is not None}

    @property
    def raw(self) -> Any:
        """The reply as it came, decoded from JSON; ``None`` for a folded stream."""
        return self._raw

    @property
    def native(self) -> Any:
        """What the client itself returned, parsed by the client from the same bytes; not pickled."""
        return self._native.get()


class ChatResult(Record, frozen=True, eq=False):
    """The normalised answer. ``str()`` of it is the text of its first choice."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    meta: Meta = Meta()
    _not_compared: ClassVar[frozenset[str]] = frozenset({"meta"})

    def __str__(self) -> str:
        return self.text

    @property
    def message(self) -> Message:
        """The first choice's message; an empty one while a stream has brought none."""
        return self.choices[0].message if self.choices else Message()

    @property
    def text(self) -> str:
        """The first choice's text; ``""`` when it has none."""
        return self.message.content or ""

    @property
    def reasoning(self) -> str | None:
        """The first choice's reasoning, if the model gave any."""
        return self.message.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The first choice's tool calls."""
        return self.message.tool_calls

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the first choice ended; ``None`` where the wire does not say."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def parsed(self) -> Any:
        """The first choice's text as an object of the type that ``response_format`` asked for; ``None`` where it was no
        type.

        Raises:
            OutputParseError: the text spells no such object; the message says where it differs.
        """
        if self.meta._parsing is None:
            return None
        return self.meta._parsing.parse(self.text, self._why_no_object())

    def _why_no_object(self) -> str | None:
        if self.message.refusal:
            return "The model refused; its words are in result.message.refusal"
        if self.tool_calls:
            return "The model calls tools first: answer result.tool_calls and ask again"
        return _UNFINISHED.get(self.finish_reason or "")

    def to_message(self) -> dict[str, Any]:
        """The first choice's message in the shape that a following request takes."""
        from isochat.wire_format.chat_completions import write_message

        return write_message(self.message)

    def to_dict(self) -> dict[str, Any]:
        """The answer in OpenAI's chat-completion shape; :meth:`from_dict` reads it back."""
        from isochat.wire_format.chat_completions import write_completion

        return write_completion(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChatResult:
        """Read what :meth:`to_dict` wrote, or any chat completion.

        Raises:
            BadResponseError: ``data`` is not a chat completion; the message names the path.
        """
        from isochat.wire_format.chat_completions import read_completion

        return read_completion(data)
