"""How does a schema keep a small model from talking without end? Every open string, number and list gets a bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONGEST_TEXT = 60
_LARGEST_NUMBER = 1_000_000
_LONGEST_LIST = 5


def bounded(schema: Any) -> Any:
    """The schema with bounds where it has none.

    Needed: a 135M model under a grammar wrote an unbounded integer as 1111111111111111 and went on.
    """
    if isinstance(schema, list):
        return [bounded(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = {key: _part(key, value) for key, value in schema.items()}
    match copy.get("type"):
        case "string" if "enum" not in copy and "const" not in copy:
            copy.setdefault("maxLength", _LONGEST_TEXT)
        case "integer":
            copy.setdefault("minimum", -_LARGEST_NUMBER)
            copy.setdefault("maximum", _LARGEST_NUMBER)
        case "array":
            copy.setdefault("maxItems", max(_LONGEST_LIST, int(copy.get("minItems", 0))))
    return copy


def _part(key: str, value: Any) -> Any:
    if key in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
        return {name: bounded(part) for name, part in value.items()}
    if key in ("items", "anyOf", "oneOf", "allOf", "additionalProperties", "prefixItems"):
        return bounded(value)
    return value
