"""How do chat-completion chunks become the completion that a plain call gives?

Chunks are gathered into the wire form of a plain reply, and the one reader of plain replies reads it: so folding a
stream and asking without one give the same result. Shapes: payload facts 01, 02, 08, 11, 14 to 16 and 18.
"""

from __future__ import annotations

from typing import Any

from isochat.errors import ResponseTooLargeError
from isochat.results import ChatResult, Function, Meta
from isochat.streaming.blocks import Content
from isochat.streaming.chunks import NOTHING_SAID, ChatChunk, ToolCallChunk
from isochat.streaming.pieces import Pieces
from isochat.streaming.text_events import TextEvents
from isochat.streaming.tool_calls import ToolCalls
from isochat.wire_format.chat_completions import FINISH_REASONS, read_completion
from isochat.wire_format.content import arguments_text
from isochat.wire_format.usage import UsageAccount, read_usage

_ONCE = ("id", "model", "created", "object")  # the first that is not null holds
_MOST_CHOICES = 4096  # each takes a hundred times the memory of its letters
_REREAD = frozenset({"choices", "usage", "delta"})
_SETTLED = _KNOWN = _REREAD.union(_ONCE)


class ChatFold:
    """One chat completion, growing.

    Attributes:
        extra: Fields of the chunks themselves that a result has no place for, e.g. ``custom_outputs``.
    """

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._settled = _REREAD  # names of which nothing more is to be learnt here
        self._choices: dict[int, _ChoiceFold] = {}
        self._texts = TextEvents()
        self._account = UsageAccount()
        self._bare_delta = False
        self.extra: dict[str, Any] = {}

    @property
    def usage(self) -> dict[str, Any] | None:
        """The token counts so far, in their wire form."""
        return self._account.wire

    @property
    def appeared(self) -> int:
        """How many choices have appeared."""
        return len(self._choices)

    @property
    def complete(self) -> bool:
        """Whether every choice that appeared has said why it ended."""
        return bool(self._choices) and all(choice.finish_reason is not None for choice in self._choices.values())

    @property
    def agentic(self) -> bool:
        """Whether it is told as agents tell it, who give no finish reason (payload fact 18)."""
        return self._bare_delta

    def add(self, data: dict[str, Any]) -> list[ChatChunk]:
        """Take one event; gives a chunk for each choice in it, and one for an event without any."""
        fields, usage = self._fields, None
        if not data.keys() <= self._settled:
            for name, value in data.items():
                if name in _ONCE:
                    if fields.get(name) is None:
                        fields[name] = value
                elif name not in _KNOWN and value is not None:
                    self.extra[name] = value
            settled = _REREAD.union(name for name in _ONCE if fields.get(name) is not None)
            self._settled = _SETTLED if settled == _SETTLED else settled
        if isinstance(data.get("usage"), dict):
            usage = self._account.take(data["usage"])
        choices = data.get("choices")
        if not choices and isinstance(data.get("delta"), dict):
            self._bare_delta = True
            choices = [{"delta": data["delta"], "finish_reason": data.get("finish_reason")}]
        chunks = []
        for position, choice in enumerate(choices if isinstance(choices, list) else ()):
            if not isinstance(choice, dict):
                continue
            index = choice.get("index")
            if not isinstance(index, int) or isinstance(index, bool):
                index = position
            chunks.append(self._choice(index).add(choice, usage, data))
        return chunks or [ChatChunk(usage=usage, _raw=data)]

    def add_text(self, data: bytes) -> ChatChunk | None:
        """Take the event that ``data`` spells if it brings a piece of text and nothing else, as nearly all do: to read
        it as such takes half as long. Gives its chunk, or ``None`` where :meth:`add` has to look at it.
        """
        if self._settled is not _SETTLED or not self._texts.likely or (event := self._texts.read(data)) is None:
            return None
        (choice,) = event.choices
        usage = None if event.usage is None else self._account.take(event.usage)
        return self._choice(choice.index).add_text(choice.delta.content, choice.delta.role, usage, data)

    def _choice(self, index: int) -> _ChoiceFold:
        fold = self._choices.get(index)
        if fold is None:
            if len(self._choices) == _MOST_CHOICES:
                raise ResponseTooLargeError(f"the stream tells more than {_MOST_CHOICES} choices")
            fold = self._choices[index] = _ChoiceFold(index)
        return fold

    def reply(self, *, whole: bool = True) -> dict[str, Any]:
        """The completion so far, as a plain call would have brought it.

        Args:
            whole: Also what a reader would refuse, e.g. a tool call without a name.
        """
        choices = [self._choices[index].reply(whole) for index in sorted(self._choices)]
        return {**self._fields, "object": "chat.completion", "choices": choices, "usage": self.usage}

    def result(self, meta: Meta, *, whole: bool = True) -> ChatResult:
        """The result so far; raises BadResponseError where a plain reply of that content would."""
        if not self._choices and not whole:
            return ChatResult(usage=read_usage(self.usage), meta=meta)
        return read_completion(self.reply(whole=whole), meta)


class _ChoiceFold:
    __slots__ = (
        "_annotations", "_arguments", "_audio", "_call", "_content", "_index", "_logprobs", "_reasoning", "_refusal",
        "_role", "_spoken", "_tool_calls", "finish_reason",
    )  # fmt: skip

    def __init__(self, index: int) -> None:
        self._index = index
        self._role: str | None = None
        self._content = Content()
        self._reasoning = Pieces()
        self._refusal = Pieces()
        self._tool_calls: ToolCalls | None = None
        self._annotations: list[Any] = []
        self._audio: dict[str, Any] | None = None
        self._call: dict[str, Any] | None = None
        self._arguments = Pieces()  # of that call
        self._spoken: dict[str, Pieces] = {}  # of the audio
        self._logprobs: dict[str, Any] | None = None
        self.finish_reason: Any = None

    def add(self, choice: dict[str, Any], usage: Any, raw: Any) -> ChatChunk:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            # Some servers put the whole message where a delta belongs.
            delta = choice["message"] if isinstance(choice.get("message"), dict) else {}
        text, reasoning, calls = NOTHING_SAID
        for name, value in delta.items():
            if value is None:
                continue
            match name:
                case "content":
                    text, thought = self._content.add(value)
                    reasoning = thought if reasoning is None else reasoning + (thought or "")
                case "role":
                    self._role = self._role or value
                case "reasoning_content" | "reasoning":
                    if name == "reasoning" and delta.get("reasoning_content"):
                        continue
                    if isinstance(value, str):
                        self._reasoning.append(value)
                        reasoning = value if reasoning is None else reasoning + value
                case "tool_calls":
                    self._tool_calls = self._tool_calls or ToolCalls()
                    calls = self._tool_calls.add(value)
                case "function_call":
                    calls = self._take_call(value)
                case _:
                    self._take_rare(name, value)
        if isinstance(choice.get("logprobs"), dict):
            self._take_logprobs(choice["logprobs"])
        reason = choice.get("finish_reason") or None  # some servers write "" where there is none yet
        if reason is not None:
            self.finish_reason = reason
            reason = FINISH_REASONS.get(str(reason), "unknown")
        return ChatChunk(
            index=self._index,
            text=text,
            reasoning=reasoning,
            tool_calls=calls,
            finish_reason=reason,
            usage=usage,
            _raw=raw,
        )

    def add_text(self, text: str, role: str | None, usage: Any, raw: bytes) -> ChatChunk:
        """As :meth:`add`, of a delta that is known to bring nothing else."""
        self._role = self._role or role
        self._content.add(text)
        return ChatChunk(index=self._index, text=text, usage=usage, _raw=raw)

    def _take_call(self, value: Any) -> tuple[ToolCallChunk, ...]:
        """A piece of the older form of a tool call, which has no id."""
        if not isinstance(value, dict):
            return ()
        name: Any = value.get("name")
        text = arguments_text(value.get("arguments"))
        known = self._call or {}
        said = {key: item for key, item in value.items() if item is not None}
        self._call = {**known, **said, "arguments": ""}
        self._arguments.append(text)
        if not isinstance(name, str) or name == known.get("name"):
            name = ""
        return (ToolCallChunk(function=Function(name, text)),)

    def _take_rare(self, name: str, value: Any) -> None:
        match name:
            case "refusal" if isinstance(value, str):
                self._refusal.append(value)
            case "annotations" if isinstance(value, list):
                self._annotations.extend(value)
            case "audio" if isinstance(value, dict):
                # Its data and its transcript come in pieces, the rest once.
                self._audio = self._audio or {}
                for key, item in value.items():
                    if isinstance(item, str) and key in ("data", "transcript"):
                        self._spoken.setdefault(key, Pieces()).append(item)
                    elif item is not None:
                        self._audio[key] = item

    def _take_logprobs(self, logprobs: dict[str, Any]) -> None:
        if self._logprobs is None:
            self._logprobs = {}
        for name, value in logprobs.items():
            known = self._logprobs.get(name)
            if isinstance(known, list) and isinstance(value, list):
                known.extend(value)
            elif value is not None or name not in self._logprobs:
                self._logprobs[name] = list(value) if isinstance(value, list) else value

    def reply(self, whole: bool) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": self._role or "assistant",
            "content": self._content.value(whole=whole),
        }
        if self._annotations:
            message["annotations"] = list(self._annotations)
        if self._audio is not None:
            message["audio"] = {**self._audio, **{name: said.text() for name, said in self._spoken.items()}}
        if self._reasoning:
            message["reasoning_content"] = self._reasoning.text()
        if self._refusal:
            message["refusal"] = self._refusal.text()
            # The empty text that opens every stream stands for no text here.
            message["content"] = message["content"] or None
        if self._tool_calls is not None:
            message["tool_calls"] = self._tool_calls.value(whole=whole)
        if self._call is not None and (whole or self._call.get("name")):
            message["function_call"] = {**self._call, "arguments": self._arguments.text()}
        return {
            "index": self._index,
            "message": message,
            "finish_reason": self.finish_reason,
            "logprobs": self._logprobs,
        }
