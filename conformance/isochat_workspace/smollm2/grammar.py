"""How is the model held to a schema, or to a call? A grammar that leaves it no other words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.models.model import Prompt, Tool
from isochat_workspace.models.pieces import ToolCallPiece
from isochat_workspace.smollm2.schema_bounds import ANY_OBJECT, bounded

MOST_CALLS = 4
"""Calls that may be asked for at once, where the caller allows more than one."""

_HEAD = "%llguidance {}\n"
_MARK = "^^"
_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}
_TELLING = ("properties", "patternProperties", "additionalProperties", "required", "$ref", "anyOf", "oneOf", "allOf")
# One way of writing each value: a small model that may choose its blanks writes nothing else.
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def grammar_of(prompt: Prompt) -> str | None:
    """The rule `answer` in llguidance's dialect of Lark, or None where the model may say what it likes.

    A call is the tool's name, a blank and the arguments; calls stand on lines of their own, which no JSON without
    line breaks can contain. Raises ServiceError 400 for a schema that cannot be kept.
    """
    if prompt.must_call:
        return _calls(prompt)
    if prompt.json_schema is None:
        return None
    # {} asks for any object (`json_object`).
    return f"answer: {_json(bounded(prompt.json_schema) if prompt.json_schema else dict(ANY_OBJECT))}"


def engine_grammar(answer: str) -> str:
    """The grammar of a request."""
    return f"{_HEAD}start: answer\n{answer}"


def trial_request(answer: str) -> dict[str, Any]:
    """A completion of one token that tells whether the engine takes the grammar; `trial_passed` reads the reply.

    The engine says nothing about a grammar it cannot use, and answers without it. Here the answer has to begin
    with a mark that the model would not write by itself after that prompt.
    """
    grammar = f'{_HEAD}start: "{_MARK}" answer\n{answer}'
    return {"prompt": "a", "n_predict": 1, "temperature": 0, "cache_prompt": False, "grammar": grammar}


def trial_passed(completion: Mapping[str, Any]) -> bool:
    """Whether the engine kept to the grammar."""
    return str(completion.get("content")).startswith(_MARK[0])


def kept(text: str, prompt: Prompt) -> bool:
    """Whether a whole answer is what the grammar allows, as far as JSON goes.

    An engine that cannot go on by its grammar goes on without it, and does not say so.
    """
    parts = [line.partition(" ")[2] for line in text.split("\n")] if prompt.must_call else [text]
    try:
        for part in parts:
            json.loads(part)
    except ValueError:
        return False
    return True


def _calls(prompt: Prompt) -> str:
    for tool in prompt.must_call:
        if not tool.name or any(character.isspace() for character in tool.name):
            raise ServiceError(400, "BAD_REQUEST", f"Bad request: {tool.name!r} is no name of a function")
    alternatives = " | ".join(f"{json.dumps(tool.name + ' ')} {_json(_arguments(tool))}" for tool in prompt.must_call)
    more = f' ("\\n" call){{0,{MOST_CALLS - 1}}}' if prompt.parallel_tool_calls else ""
    return f"answer: call{more}\ncall: {alternatives}"


def _arguments(tool: Tool) -> dict[str, Any]:
    """Arguments are an object, also where the schema does not say so; one that says nothing has none."""
    schema = tool.parameters if any(key in tool.parameters for key in _TELLING) else _NO_ARGUMENTS
    if schema.get("type", "object") != "object":
        raise ServiceError(400, "BAD_REQUEST", f"Bad request: parameters of '{tool.name}' have to be of type 'object'")
    return bounded({"type": "object", **schema})


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({"x-guidance": _LAYOUT, **schema})


class CallReader:
    """Reads the calls that the grammar allows, bit by bit. `ids` gives the id of the call at a place."""

    def __init__(self, choice: int, id_of_place: Any) -> None:
        self._choice = choice
        self._id_of_place = id_of_place
        self._place = 0
        self._name: str | None = ""
        """What came of the name so far; None once the arguments have begun."""

    def add(self, text: str) -> Iterator[ToolCallPiece]:
        """The pieces a bit of text adds."""
        for number, part in enumerate(text.split("\n")):
            if number:
                self._place, self._name = self._place + 1, ""
            if self._name is not None:
                name, blank, part = (self._name + part).partition(" ")
                if not blank:
                    self._name = name
                    continue
                self._name = None
                yield ToolCallPiece(self._place, "", self._id_of_place(self._place), name, self._choice)
            if part:
                yield ToolCallPiece(self._place, part, choice=self._choice)
