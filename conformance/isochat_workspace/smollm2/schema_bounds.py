"""What may a small model write where a schema leaves it free? A schema with bounds, in words the engine knows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.smollm2.flat_schema import COMBINED, DEFINITIONS, NotFlatError, flattened

_LONGEST_TEXT = 60
_LARGEST_NUMBER = 1_000_000
_LONGEST_LIST = 5
_MOST_KEYS = 6
_LONGEST_ALLOWED = 300
"""Bounds wider than this are drawn in: a model of this size may repeat itself up to any bound."""
_LONGEST_DEMANDED = 2000
_ENDLESS = 1e300
_DEEPEST = 40
_LARGEST_SCHEMA = 300_000
_KEY = "^[A-Za-z_][A-Za-z0-9_ ]{0,29}$"

_FORMATS = frozenset(
    ("date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)  # fmt: skip
"""The formats the engine knows. Others are annotations, as JSON Schema has it, and left out."""

_ADDRESS = "^https?://[a-z0-9-]{1,20}\\.[a-z]{2,6}(/[A-Za-z0-9._-]{1,20}){0,3}$"
"""What the engine has no format `uri` for."""

_IMPOSSIBLE = (
    "not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "dependentRequired",
    "dependentSchemas", "dependencies", "propertyNames", "unevaluatedProperties", "unevaluatedItems",
)  # fmt: skip
"""Keywords that a grammar cannot keep. One that is left out would give an answer the schema forbids."""

_EXCLUSIVE = ("exclusiveMinimum", "exclusiveMaximum")
_NUMERIC = ("minimum", "maximum", *_EXCLUSIVE, "multipleOf")
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("object", ("properties", "required", "additionalProperties", "patternProperties", "minProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems")),
    ("string", ("minLength", "maxLength", "pattern", "format")),
    ("number", _NUMERIC),
)
_PLAIN = (
    "enum", "const", "$ref", "minLength", "maxLength", "pattern", "minItems", "maxItems", "minProperties",
    "maxProperties", "required", *_NUMERIC,
)  # fmt: skip

_SHAPES: tuple[tuple[str, type, str], ...] = (
    *((key, dict, "an object") for key in ("properties", "patternProperties", "$defs", "definitions")),
    *((key, list, "a list") for key in ("required", "enum", "anyOf", "oneOf", "allOf", "prefixItems")),
)

ANY_VALUE: Mapping[str, Any] = {
    "anyOf": [
        {"type": "string", "maxLength": _LONGEST_TEXT},
        {"type": "integer", "minimum": -_LARGEST_NUMBER, "maximum": _LARGEST_NUMBER},
        {"type": "boolean"},
        {"type": "null"},
    ]
}
ANY_OBJECT: Mapping[str, Any] = {
    "type": "object",
    "patternProperties": {_KEY: ANY_VALUE},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": _MOST_KEYS,
}


def bounded(schema: Any) -> dict[str, Any]:
    """The schema with bounds where it has none: each of its instances is one of the schema given.

    Needed: a 135M model under a grammar wrote an unbounded integer as 1111111111111111 and went on. Objects
    are closed where nothing says that they are open. Annotations and unknown keywords are left out. Raises
    ServiceError 400 for what is no schema or cannot be kept.
    """
    written = json.dumps(schema)
    if len(written) > _LARGEST_SCHEMA:
        _refuse("$", f"it is longer than {_LARGEST_SCHEMA} characters")
    return _bounded(schema, schema, "$", 0)


def _bounded(schema: Any, root: Any, place: str, depth: int) -> dict[str, Any]:
    if schema is True:
        return dict(ANY_VALUE)
    if not isinstance(schema, Mapping):
        _refuse(place, f"it is no schema: {json.dumps(schema)[:40]}")
    if depth > _DEEPEST:
        _refuse(place, f"it is nested more than {_DEEPEST} levels deep")
    for keyword in _IMPOSSIBLE:
        if schema.get(keyword) not in (None, False):
            _refuse(place, f"the keyword '{keyword}' cannot be kept")
    for key, kind, name in _SHAPES:
        if not isinstance(schema.get(key, kind()), kind):
            _refuse(place, f"'{key}' has to be {name}")
    try:
        flat = flattened(schema, root)
    except NotFlatError as error:
        _refuse(place, str(error))
    if flat is not schema:
        return _bounded(flat, root, place, depth + 1)

    def part(value: Any, *step: str) -> dict[str, Any]:
        return _bounded(value, root, ".".join((place, *step)), depth + 1)

    made: dict[str, Any] = {key: schema[key] for key in _PLAIN if key in schema}
    for key in (*DEFINITIONS, "properties", "patternProperties"):
        if key in schema:
            made[key] = {name: part(value, key, name) for name, value in schema[key].items()}
    for key in COMBINED:
        if key in schema:
            made[key] = [part(value, key, str(at)) for at, value in enumerate(schema[key])]
    if schema.get("format") in _FORMATS:
        made["format"] = schema["format"]
    elif schema.get("format") == "uri":
        made.setdefault("pattern", _ADDRESS)
    kinds = _kinds(schema)
    if "type" in schema and not kinds:
        _refuse(place, "'type' has to be the name of a type, or a list of names")
    if kinds:
        made["type"] = schema.get("type", kinds[0])
    elif not any(key in made for key in ("enum", "const", "$ref", *COMBINED)):
        return {**{key: made[key] for key in DEFINITIONS if key in made}, **ANY_VALUE}
    if "enum" in made or "const" in made:
        for value in (*made.get("enum", ()), made.get("const")):
            if isinstance(value, str) and len(value) > _LONGEST_DEMANDED:
                _refuse(place, f"a text of {len(value)} characters is more than this model can write")
        return made
    if "object" in kinds:
        _bound_object(made, schema, part, place)
    if "array" in kinds:
        _bound_list(made, schema, part)
    if "string" in kinds:
        made["maxLength"] = _drawn_in(made, "maxLength", "minLength", _LONGEST_TEXT, _LONGEST_ALLOWED, place)
    if "number" in kinds:
        return _with_bounded_numbers(made, kinds, place)
    if "integer" in kinds:
        _bound_integer(made, place)
    return made


def _kinds(schema: Mapping[str, Any]) -> tuple[str, ...]:
    given = schema.get("type")
    if isinstance(given, str):
        return (given,)
    if isinstance(given, list):
        return tuple(kind for kind in given if isinstance(kind, str))
    if any(key in schema for key in ("enum", "const", "$ref", *COMBINED)):
        return ()
    return next(((kind,) for kind, keywords in _KINDS if any(word in schema for word in keywords)), ())


def _bound_object(made: dict[str, Any], schema: Mapping[str, Any], part: Any, place: str) -> None:
    properties: dict[str, Any] = made.setdefault("properties", {})
    for name in made.get("required", ()):
        if not isinstance(name, str):
            _refuse(place, "'required' has to be a list of names")
        properties.setdefault(name, dict(ANY_VALUE))
    more = schema.get("additionalProperties", "properties" not in schema and "patternProperties" not in schema)
    least, most = _number(made, "minProperties", place) or 0, _number(made, "maxProperties", place)
    made["additionalProperties"] = False
    if more is not False:
        value = part(more, "additionalProperties") if isinstance(more, Mapping) else dict(ANY_VALUE)
        if not properties:
            made["patternProperties"] = {**made.get("patternProperties", {}), _KEY: value}
            made.setdefault("minProperties", 1 if made.get("maxProperties") != 0 else 0)
        elif least > len(properties):
            made["additionalProperties"] = value
    if "patternProperties" in made:
        made.setdefault("maxProperties", int(max(len(properties) + _MOST_KEYS, least)))
    elif made["additionalProperties"] is False:
        most = len(properties) if most is None else min(most, len(properties))
        # {} is the shortest way out, and too often the likeliest: the outermost object says something.
        _choose_properties(made, int(max(least, min(1, most) if place == "$" else 0)), int(most))


def _choose_properties(made: dict[str, Any], least: int, most: int) -> None:
    """How many properties there are, said by which: counting them costs the engine far more, and may be too much."""
    required = list(dict.fromkeys(made.pop("required", ())))
    names = [*required, *(name for name in made["properties"] if name not in required)]
    made["required"] = names[: max(least, len(required))]
    if len(made["required"]) <= most and least <= len(names):
        made["properties"] = {name: value for name, value in made["properties"].items() if name in names[:most]}
        made.pop("minProperties", None)
        made.pop("maxProperties", None)


def _bound_list(made: dict[str, Any], schema: Mapping[str, Any], part: Any) -> None:
    if "prefixItems" in schema:
        made["prefixItems"] = [part(value, "prefixItems", str(at)) for at, value in enumerate(schema["prefixItems"])]
    items = schema.get("items", "prefixItems" not in schema)
    made["items"] = items if items is False else part(items, "items")
    made["maxItems"] = _drawn_in(made, "maxItems", "minItems", _LONGEST_LIST, 4 * _LONGEST_LIST, "items")


def _drawn_in(made: Mapping[str, Any], most: str, least: str, usual: int, widest: int, place: str) -> int:
    """A bound in place of none or of one too wide, never below what the schema demands."""
    lowest, highest = _number(made, least, place) or 0, _number(made, most, place)
    if lowest > _LONGEST_DEMANDED:
        _refuse(place, f"'{least}' is more than this model can write")
    return int(max(lowest, usual)) if highest is None else int(max(min(highest, widest), min(lowest, highest)))


def _bound_integer(made: dict[str, Any], place: str) -> None:
    lowest, highest = _range(made, place)
    # The engine knows no negative multiples.
    made.setdefault("minimum", 0 if "multipleOf" in made and highest >= 0 else lowest)
    made.setdefault("maximum", highest)
    if "multipleOf" in made and highest < 0:
        _refuse(place, "'multipleOf' cannot be kept below zero")


def _with_bounded_numbers(made: dict[str, Any], kinds: tuple[str, ...], place: str) -> dict[str, Any]:
    """The schema with numbers in two parts: from zero up in steps, below zero whole ones.

    Without a step a fraction has no end, and the engine knows no negative steps.
    """
    lowest, highest = _range(made, place)
    numeric = {key: made.pop(key) for key in _NUMERIC if key in made}
    parts: list[dict[str, Any]] = []
    if others := [kind for kind in kinds if kind not in ("number", "integer")]:
        parts.append({**made, "type": others})
    if highest > 0 or (highest == 0 and numeric.get("exclusiveMaximum") != 0):
        from_zero = {"type": "number", "maximum": highest, "multipleOf": _step(max(lowest, 0), highest), **numeric}
        parts.append({**from_zero, "minimum": max(lowest, 0)})
    if lowest <= -1 and "multipleOf" not in numeric:
        below = {"type": "integer", "minimum": lowest, "maximum": min(highest, -1)}
        parts.append({**below, **{key: numeric[key] for key in _EXCLUSIVE if numeric.get(key, 0) < 0}})
    if not parts:
        _refuse(place, "fractions below zero cannot be kept")
    if len(parts) == 1:
        return {**made, **parts[0]}
    return {**{key: made[key] for key in DEFINITIONS if key in made}, "anyOf": parts}


def _step(lowest: float, highest: float) -> float:
    """A step that leaves a choice in a narrow range, too."""
    return float(10.0 ** min(-2, math.floor(math.log10(highest - lowest)) - 2) if highest > lowest else 0.01)


def _range(made: Mapping[str, Any], place: str) -> tuple[float, float]:
    """The lowest and the highest number, where nothing is said far enough from the other."""
    lowest = _number(made, "minimum", place, _number(made, "exclusiveMinimum", place))
    highest = _number(made, "maximum", place, _number(made, "exclusiveMaximum", place))
    if lowest is None:
        lowest = min(-_LARGEST_NUMBER, 2 * (highest or 0))
    return lowest, max(_LARGEST_NUMBER, 2 * lowest) if highest is None else highest


def _number(made: Mapping[str, Any], key: str, place: str, default: float | None = None) -> float | None:
    value = made.get(key, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        _refuse(place, f"'{key}' has to be a number")
    if value is not None and not -_ENDLESS < value < _ENDLESS:
        _refuse(place, f"'{key}' is too large")
    return value


def _refuse(place: str, reason: str) -> NoReturn:
    message = f"Bad request: the local model cannot keep to this JSON schema, at {place}: {reason}"
    raise ServiceError(400, "BAD_REQUEST", message)
