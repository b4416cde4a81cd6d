"""What does a JSON Schema say in one place? `allOf`, and what stands beside a `$ref` or alternatives, put together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

COMBINED = ("anyOf", "oneOf")
DEFINITIONS = ("$defs", "definitions")
_NEST = ("properties", "patternProperties")
_ANNOTATIONS = frozenset(
    ("$schema", "$id", "$comment", "title", "description", "default", "examples", "example", "deprecated", "readOnly",
     "writeOnly", "discriminator", "strict", *DEFINITIONS)
)  # fmt: skip
_TIGHTER: Mapping[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
_MOST_STEPS = 32


class NotFlatError(ValueError):
    """The parts of a schema contradict each other, or point nowhere."""


def flattened(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without `allOf`, in which `$ref`, `anyOf` or `oneOf` stand alone; only its own level is looked at.

    A grammar cannot take what two places say at once. `root` is where local references lead. Raises NotFlatError.
    """
    if schema.get("allOf"):
        merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        for one in schema["allOf"]:
            merged = _both(merged, _without_reference(one, root))
        return flattened(merged, root)
    said = [key for key in schema if key not in _ANNOTATIONS]
    if "$ref" in said:
        target = _without_reference(schema, root)
        return schema if len(said) == 1 else flattened(target, root)
    for key in COMBINED:
        if key in said and len(said) > 1:
            beside = {name: value for name, value in schema.items() if name != key and name not in DEFINITIONS}
            definitions = {name: schema[name] for name in DEFINITIONS if name in schema}
            return {**definitions, key: [_both(beside, _without_reference(one, root)) for one in schema[key]]}
    return schema


def _without_reference(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a local `$ref` leads to, together with what stands beside it."""
    for _ in range(_MOST_STEPS):
        if not isinstance(schema, Mapping):
            raise NotFlatError(f"it is no schema: {json.dumps(schema)[:40]}")
        if "$ref" not in schema:
            return schema
        target: Any = root
        for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, Mapping) and name else target
        if not isinstance(target, Mapping):
            raise NotFlatError(f"nothing is at '{schema['$ref']}'")
        schema = _both({key: value for key, value in schema.items() if key != "$ref"}, target)
    raise NotFlatError("its references lead in a circle")


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that holds where both hold."""
    merged = dict(one)
    for key, value in other.items():
        mine = merged.setdefault(key, value)
        if mine == value or key in _ANNOTATIONS:
            continue
        if key in _NEST and isinstance(mine, Mapping) and isinstance(value, Mapping):
            twice = {name: {"allOf": [mine[name], value[name]]} for name in mine if name in value}
            merged[key] = {**mine, **value, **twice}
        elif key in ("required", "allOf") and isinstance(mine, list) and isinstance(value, list):
            merged[key] = [*mine, *value]
        elif key == "enum" and isinstance(mine, list) and isinstance(value, list):
            merged[key] = [item for item in mine if item in value]
        elif key in _TIGHTER and isinstance(mine, int | float) and isinstance(value, int | float):
            merged[key] = _TIGHTER[key](mine, value)
        else:
            raise NotFlatError(f"two things are said of '{key}'")
    return merged
