"""Which value satisfies this JSON Schema? One deterministic instance, the same for the same schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEEPEST = 12


def instance_of(schema: Mapping[str, Any]) -> Any:
    """An instance with every property present, for the keywords the service's structured outputs accept.

    Reads type, enum, const, default, properties, items, minItems, string and number bounds, anyOf, oneOf,
    allOf and local `$ref`; `pattern` and `format` are not satisfied. A schema that contains itself is cut
    off after 12 levels.
    """
    return _instance(schema, schema, "value", 0)


def _instance(schema: Any, root: Mapping[str, Any], name: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return name if depth <= _DEEPEST else None
    if "const" in schema:
        return schema["const"]
    for alternatives in ("enum", "examples"):
        if schema.get(alternatives):
            return schema[alternatives][0]
    if isinstance(schema.get("$ref"), str):
        return _instance(_resolve(schema["$ref"], root), root, name, depth + 1)
    for combined in ("anyOf", "oneOf"):
        if schema.get(combined):
            return _instance(schema[combined][0], root, name, depth + 1)
    if schema.get("allOf"):
        return _instance(_merged(schema), root, name, depth + 1)
    return _by_type(schema, root, name, depth)


def _by_type(schema: Mapping[str, Any], root: Mapping[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            return {key: _instance(part, root, key, depth + 1) for key, part in properties.items()}
        case "array":
            if depth >= _DEEPEST // 2 and not schema.get("minItems"):
                return []
            count = max(1, int(schema.get("minItems", 1)))
            return [_instance(schema.get("items", {}), root, name, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return _number(schema, kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
        case _:
            text = name.ljust(int(schema.get("minLength", 0)), ".")
            return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _number(schema: Mapping[str, Any], whole: bool) -> int | float:
    step = 1 if whole else 0.5
    lowest = schema.get("minimum")
    if lowest is None and "exclusiveMinimum" in schema:
        lowest = schema["exclusiveMinimum"] + step
    highest = schema.get("maximum")
    if highest is None and "exclusiveMaximum" in schema:
        highest = schema["exclusiveMaximum"] - step
    value = lowest if lowest is not None else 1 if whole else 1.5
    if highest is not None and value > highest:
        value = highest
    return int(value) if whole else float(value)


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    part: Any = root
    for key in reference.removeprefix("#").strip("/").split("/"):
        if key:
            part = part.get(key.replace("~1", "/").replace("~0", "~"), {}) if isinstance(part, Mapping) else {}
    return part


def _merged(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        if isinstance(part, Mapping):
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            merged.update(part)
            if properties:
                merged["properties"] = properties
    return merged
