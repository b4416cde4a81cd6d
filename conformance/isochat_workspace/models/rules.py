"""When does a scripted model say what? Rules from a file: if the request looks like this, the answer is that.

[[rules]]
when.contains = "weather"
when.tools = ["get_weather"]
answer.tool_calls = [{ name = "get_weather", arguments = { city = "Paris" } }]

[[rules]]
when.last_role = "tool"
answer.chunks = ["It is ", "20 degrees."]
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from isochat.errors import ConfigurationError
from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.models.answers import Answer, AnswerChoice, FinishReason, Reasoning, TokenUsage, ToolCall
from isochat_workspace.models.model import Dialect, Prompt, text_of
from isochat_workspace.strict_table import read_table, read_toml


@dataclasses.dataclass(frozen=True, slots=True)
class When:
    """What a request has to look like; all that is given must hold, and nothing given is any request.

    `text` is the last user message to the letter, `contains` a part of it (or several), `matches` a regular
    expression found in it. `system` is a part of the system prompt, `tool_result` one of the last tool message.
    `last_role` is the role of the last message, `turn` the number of user messages. `tools` names tools that must be
    offered (true: some, false: none), `forced_tool` the one that `tool_choice` demands. `body` are fields of the
    request with their values; a table in it is looked into.
    """

    text: str | None = None
    contains: str | list[str] | None = None
    matches: str | None = None
    system: str | None = None
    tool_result: str | None = None
    last_role: Literal["system", "developer", "user", "assistant", "tool"] | None = None
    turn: int | None = None
    tools: bool | list[str] | None = None
    forced_tool: str | None = None
    endpoint: str | None = None
    api: Dialect | None = None
    stream: bool | None = None
    body: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.matches is not None:
            try:
                re.compile(self.matches)
            except re.error as error:
                raise ValueError(f"matches is no regular expression: {error}") from None

    @property
    def is_any(self) -> bool:
        """Whether it holds for each request."""
        return self == When()

    def holds(self, prompt: Prompt) -> bool:
        """Whether the request looks like this."""
        asked = _texts(prompt, "user")
        last = asked[-1] if asked else None
        parts = [self.contains] if isinstance(self.contains, str) else self.contains or []
        offered = {tool.name for tool in prompt.tools}
        checks = (
            self.text is None or last == self.text,
            all(last is not None and part in last for part in parts),
            self.matches is None or (last is not None and re.search(self.matches, last) is not None),
            self.system is None or self.system in " ".join(_texts(prompt, "system", "developer")),
            self.tool_result is None or self.tool_result in "".join(_texts(prompt, "tool")[-1:]),
            self.last_role is None or [message.get("role") for message in prompt.messages[-1:]] == [self.last_role],
            self.turn is None or len(asked) == self.turn,
            offered.issuperset(self.tools) if isinstance(self.tools, list) else self.tools in (None, bool(offered)),
            self.forced_tool is None or [tool.name for tool in prompt.must_call] == [self.forced_tool],
            self.endpoint in (None, prompt.endpoint),
            self.api in (None, prompt.dialect),
            self.stream in (None, prompt.body.get("stream") is True),
            self.body is None or _within(self.body, prompt.body),
        )
        return all(checks)


@dataclasses.dataclass(frozen=True, slots=True)
class RuledCall:
    """A tool call; `arguments` is a table, or a text that goes out as it stands, also where it is no JSON."""

    name: str
    arguments: dict[str, Any] | str = dataclasses.field(default_factory=dict)
    id: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class RuledUsage:
    """Token counts to report in place of counted words."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class RuledError:
    """An error of the service. `after_chunks` lets a stream begin and has the error come in it, after so many texts."""

    status: int
    error_code: str = "BAD_REQUEST"
    message: str = "Bad request"
    retry_after: int | None = None
    after_chunks: int | None = None

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ValueError("status has to be between 400 and 599")

    def error(self) -> ServiceError:
        """The error to raise."""
        headers = () if self.retry_after is None else (("retry-after", str(self.retry_after)),)
        return ServiceError(self.status, self.error_code, self.message, headers=headers)


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """The answer, given as it stands: `max_tokens` and `stop` do not cut it.

    `chunks` is the text in the pieces in which it is streamed; a `text` is streamed word by word. Beside
    `tool_calls` there may be no text. `finish_reason` follows from what is said if it is not given.
    """

    text: str | None = None
    chunks: list[str] | None = None
    reasoning: str | None = None
    signature: str | None = None
    tool_calls: tuple[RuledCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: RuledUsage | None = None
    error: RuledError | None = None

    def __post_init__(self) -> None:
        if self.text is not None and self.chunks is not None:
            raise ValueError("text and chunks are two ways to say one thing: give one of them")
        if self.signature is not None and self.reasoning is None:
            raise ValueError("a signature needs a reasoning")
        if self.error is not None and self.error.after_chunks and self.text is None and self.chunks is None:
            raise ValueError("an error after_chunks needs text or chunks to come before it")
        if not (self.error or self.tool_calls or self.reasoning) and self.text is None and self.chunks is None:
            raise ValueError("nothing is said: give text, chunks, tool_calls, reasoning or error")

    def choice(self) -> AnswerChoice:
        """What is said, without its dialect."""
        calls = tuple(
            ToolCall(
                call.id or f"call_{call.name}_{at}",
                call.name,
                call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False),
            )
            for at, call in enumerate(self.tool_calls, 1)
        )
        return AnswerChoice(
            self.text if self.chunks is None else "".join(self.chunks),
            self.finish_reason or ("tool_calls" if calls else "stop"),
            calls,
            None if self.reasoning is None else Reasoning(self.reasoning, self.signature),
        )

    def with_usage(self, answer: Answer) -> Answer:
        """The answer with the usage that the rule reports, if it reports one."""
        if self.usage is None:
            return answer
        return dataclasses.replace(answer, usage=TokenUsage(*dataclasses.astuple(self.usage)))


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    answer: Said
    when: When = dataclasses.field(default_factory=When)


@dataclasses.dataclass(frozen=True, slots=True)
class _Rules:
    rules: tuple[Rule, ...]


def read_rules(file: Path) -> tuple[Rule, ...]:
    """The rules of a file; the first one that holds counts.

    Raises:
        ConfigurationError: the file cannot be read or has a mistake; the message names file, rule and key. Also for a
            rule that can never be reached, as the one before it holds for each request.
    """
    rules = read_table(_Rules, read_toml(file), str(file)).rules
    for number, rule in enumerate(rules[:-1], 1):
        if rule.when.is_any:
            raise ConfigurationError(
                f"rule {number + 1} in {file} is never reached: rule {number} holds for each request",
                remedy=f"Give rule {number} a when, or put it last",
            )
    return rules


def _texts(prompt: Prompt, *roles: str) -> list[str]:
    return [text_of(message.get("content")) for message in prompt.messages if message.get("role") in roles]


def _within(wanted: Any, found: Any) -> bool:
    """Whether each field wanted is there with its value; 1 and 1.0 are one number, true is none."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and _within(value, found[key]) for key, value in wanted.items()
        )
    return isinstance(wanted, bool) == isinstance(found, bool) and bool(wanted == found)
