"""Does a reply under a success status answer, or does it fail?

``status`` is the word of the Responses API for success and failure, and ``failed`` its only word for failure: a reply
that says otherwise and has output is an answer, as one with choices is, unless an ``error`` stands beside them and one
of them has the finish reason ``error`` (as routers before several providers tell of a failure), or none says anything.
ChatAgents, and ResponsesAgents that leave it
out, give no verdict; their fields beyond the answer are their author's, and an ``error`` may tell of one tool. What the
caller asked for is the model's word: where it was said it is not thrown away (the error stands in ``meta.raw`` and is
warned of), and where none was said, the error is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# With one of these as its status, a Responses object tells no failure, whatever else it holds.
_NOT_FAILED = ("completed", "incomplete")


def fails(data: Mapping[str, Any]) -> bool:
    """Whether a reply is an error."""
    if data.get("choices"):
        return breaks_off(data)
    return data.get("status") == "failed" or (names_error(data) and not _has_answer(data))


def breaks_off(data: Mapping[str, Any]) -> bool:
    """Whether a reply or a chunk with choices tells of a failure that ended them, or that came in their place."""
    if not names_error(data):
        return False
    choices = data.get("choices")
    told = [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list | tuple) else []
    return any(choice.get("finish_reason") == "error" for choice in told) or not any(map(_says_a_word, told))


def names_error(data: Mapping[str, Any]) -> bool:
    """Whether a reply has an error in it: many have a field for one that is null, empty, or an object of nulls."""
    return _says_something(data.get("error_code")) or _says_something(data.get("error"))


def _has_answer(data: Mapping[str, Any]) -> bool:
    said = data.get("output") or data.get("messages")
    if not isinstance(said, list | tuple):
        return False
    if data.get("status") in _NOT_FAILED:
        return bool(said)
    return any(isinstance(item, Mapping) and _is_answer(item) for item in said)


def _is_answer(item: Mapping[str, Any]) -> bool:
    of_assistant = item.get("role", "assistant") == "assistant" and item.get("type", "message") == "message"
    return of_assistant and _says_something(item.get("content"))


def _says_a_word(choice: Mapping[str, Any]) -> bool:
    said = choice.get("delta") or choice.get("message")
    beside_role = {name: value for name, value in said.items() if name != "role"} if isinstance(said, Mapping) else said
    return bool(choice.get("finish_reason")) or _says_something(beside_role)


def _says_something(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_says_something(item) for item in value.values())
    return bool(value) and not (isinstance(value, str) and value.isspace())
