"""How many tokens does a reply report? Four spellings of one account; what is not reported stays ``None``."""

from __future__ import annotations

from typing import Any

from isochat.results import Usage

# Each field with the places where it may stand, the first one present wins. OpenAI chat, OpenAI Responses,
# Claude on Databricks (top-level cache counts) and the documented top-level `reasoning_tokens`.
_PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "prompt_tokens": (("prompt_tokens",), ("input_tokens",)),
    "completion_tokens": (("completion_tokens",), ("output_tokens",)),
    "total_tokens": (("total_tokens",),),
    "cache_read_tokens": (
        ("cache_read_input_tokens",),
        ("prompt_tokens_details", "cached_tokens"),
        ("input_tokens_details", "cached_tokens"),
    ),
    "cache_creation_tokens": (
        ("cache_creation_input_tokens",),
        ("prompt_tokens_details", "cache_write_tokens"),
        ("input_tokens_details", "cache_write_tokens"),
    ),
    "reasoning_tokens": (
        ("reasoning_tokens",),
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
    ),
}


def read_usage(data: Any) -> Usage | None:
    """The token counts of ``data``; ``None`` where it reports none, and per field where it is no count."""
    if not isinstance(data, dict):
        return None
    return Usage(**{field: _first_count(data, places) for field, places in _PLACES.items()})


class UsageAccount:
    """The token counts of a stream, as they come: of each field the last value that is not null. Never a sum: providers
    repeat or grow it from chunk to chunk (payload facts 01 and 16; spiceai#6600 for the nulls).

    Attributes:
        wire: The account so far, in its wire form; ``None`` where there is none.
    """

    __slots__ = ("_last", "_read", "wire")

    def __init__(self) -> None:
        self.wire: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None
        self._read: Usage | None = None

    def take(self, more: dict[str, Any]) -> Usage | None:
        """Take what one event reports, and read it."""
        if more != self._last:  # many providers put the same account on each chunk
            plain = _read_plain(more)
            if plain is not None and (self.wire is None or self.wire.keys() == _PLAIN):
                self.wire, self._read = more, plain
            else:
                self.wire, self._read = _merged(self.wire, more), read_usage(more)
            self._last = more
        return self._read


# With nothing beside them: nearly all accounts, one on each chunk of a stream.
_PLAIN = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


def _read_plain(data: dict[str, Any]) -> Usage | None:
    if data.keys() == _PLAIN:
        prompt, completion, total = data["prompt_tokens"], data["completion_tokens"], data["total_tokens"]
        if type(prompt) is type(completion) is type(total) is int and prompt >= 0 <= completion and total >= 0:
            return Usage(prompt, completion, total)
    return None


def _merged(known: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    if not known:
        return more
    merged = dict(known)
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merged(merged[name], value)
        elif value is not None:
            merged[name] = value
    return merged


def _first_count(data: dict[str, Any], places: tuple[tuple[str, ...], ...]) -> int | None:
    for place in places:
        value: Any = data
        for key in place:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def write_usage(usage: Usage) -> dict[str, Any]:
    """The counts in the chat-completion shape; what is not reported is left out."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cache_creation_input_tokens": usage.cache_creation_tokens,
    }
    if usage.cache_read_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cache_read_tokens}
    if usage.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return {name: count for name, count in counts.items() if count is not None}
