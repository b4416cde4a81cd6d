"""Are two answers the same, and what does a client's own object lack?

The one comparator: of ``isochat compare``, of the conformance suite and of users.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from isochat.results import ChatResult, Meta

# Fields that one of the two protocols, or one of two endpoints, does not report. Missing on one side only, they
# are listed as not reported and are no difference.
_OPTIONAL = (
    ".logprobs",
    "usage",
    "usage.prompt_tokens",
    "usage.completion_tokens",
    "usage.total_tokens",
    "usage.cache_read_tokens",
    "usage.cache_creation_tokens",
    "usage.reasoning_tokens",
)
_IGNORED = ("id", "created", "model")
# In what an agent did inside its reply: the fields that say which call is meant.
_CALL_IDS = ("call_id", "tool_call_id", "tool_use_id", "approval_request_id")


class Difference(NamedTuple):
    """One field in which two results differ."""

    path: str
    left: Any
    right: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.left!r} != {self.right!r}"


class Diff(list[Difference]):
    """The differences between two results; empty means the same.

    Attributes:
        not_reported: Paths that only one side reports, which is no difference.
    """

    def __init__(self) -> None:
        super().__init__()
        self.not_reported: list[str] = []

    def __str__(self) -> str:
        return "; ".join(map(str, self)) if self else "the same"


def diff(a: ChatResult, b: ChatResult) -> Diff:
    """Compare the answers to two requests.

    Ignores ``id``, ``created`` and ``model``, numbers tool-call ids by their order, and takes a field that only one
    protocol reports (token details, logprobs) as no difference.
    """
    found = Diff()
    left, right = dict(_leaves(_comparable(a), "")), dict(_leaves(_comparable(b), ""))
    for path in dict.fromkeys([*left, *right]):
        x, y = left.get(path), right.get(path)
        if x == y:
            continue
        optional = path.endswith(_OPTIONAL[0]) or path in _OPTIONAL
        if optional and (x is None or y is None):
            found.not_reported.append(path)
        else:
            found.append(Difference(path, x, y))
    return found


def losses(result: ChatResult, held: ChatResult | None) -> tuple[list[str], Diff]:
    """What a client's own object lacks of ``result``, and where the two contradict each other.

    Args:
        held: The same answer read from what the client's object holds; ``None`` if it holds no answer at all.

    Returns:
        The paths of ``result`` that ``held`` lacks, and the contradictions, which should be none: fields in which both
        say something else, and what ``held`` says and ``result`` does not.
    """
    lost: list[str] = []
    contradictions = Diff()
    mine = dict(_leaves(_parts_by_type(result), ""))
    theirs = {} if held is None else dict(_leaves(_parts_by_type(held), ""))
    for path in dict.fromkeys([*mine, *theirs]):
        value, other = mine.get(path), theirs.get(path)
        if other is None and value is not None:
            lost.append(path)
        elif value != other and (value, other) != (None, ""):  # an empty text says no more than none does
            contradictions.append(Difference(path, value, other))
    return lost, contradictions


def _comparable(result: ChatResult) -> Any:
    plain = _plain(result)
    for name in _IGNORED:
        plain.pop(name)
    order: dict[Any, str] = {}
    for choice in plain["choices"]:
        if isinstance(choice["logprobs"], Mapping):  # chat completions says null for what there is none of
            choice["logprobs"] = {name: value for name, value in choice["logprobs"].items() if value is not None}
        for part in choice["message"]["parts"]:
            if isinstance(part.get("data"), Mapping):
                part["data"] = _with_numbered_ids(part["data"], str(part["type"]), order)
        for call in choice["message"]["tool_calls"]:
            call["id"] = _number(call["id"], order)
    return plain


def _with_numbered_ids(data: Mapping[str, Any], kind: str, order: dict[Any, str]) -> dict[str, Any]:
    """An item of an agent's turn with its call ids numbered, and without the id that only names the item."""
    told = dict(data)
    if not kind.endswith(("_call", "tool_use")) or "call_id" in told:
        told.pop("id", None)
    for name in ("id", *_CALL_IDS):
        if name in told:
            told[name] = _number(told[name], order)
    calls = told.get("tool_calls")
    if isinstance(calls, list | tuple):
        told["tool_calls"] = [
            {**call, "id": _number(call["id"], order)} if isinstance(call, Mapping) and "id" in call else call
            for call in calls
        ]
    return told


def _number(call_id: Any, order: dict[Any, str]) -> Any:
    return order.setdefault(call_id, f"call {len(order) + 1}") if isinstance(call_id, str) else call_id


def _plain(value: Any) -> Any:
    """Records as dicts of what counts for equality."""
    if isinstance(value, Meta):
        return None
    if isinstance(value, msgspec.Struct):
        skip: frozenset[str] = getattr(value, "_not_compared", frozenset())
        return {f: _plain(getattr(value, f)) for f in value.__struct_fields__ if f not in skip}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _parts_by_type(result: ChatResult) -> Any:
    """As :func:`_plain`, with the parts counted by type: a part that is lacking must not shift the others."""
    plain = _plain(result)
    for choice, read in zip(plain["choices"], result.choices, strict=True):
        counted: dict[str, list[Any]] = {}
        for part, value in zip(read.message.parts, choice["message"]["parts"], strict=True):
            counted.setdefault(type(part).__name__, []).append(value)
        choice["message"]["parts"] = counted
    return plain


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value and not path.endswith(("logprobs", ".data", ".extra")):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    elif isinstance(value, list | Mapping) and not value:
        yield path, None
    else:
        yield path, value
