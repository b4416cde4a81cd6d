"""How is the JSON schema of a Python type told so that serving endpoints take it?

Databricks' structured outputs know no ``$ref``, nor ``anyOf``: a value that may be null has a list of types
(documentation on structured outputs and function calling). OpenAI's strict mode wants every object closed and all of
its properties required, as its own client writes them. What cannot be said so is said as it is, without ``strict``: the
endpoint's refusal says more than a guess of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Of a Python class or field, and of no use to a model; `discriminator` points at definitions that are gone.
_DROPPED = ("title", "default", "discriminator", "$defs")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_TYPE_NAMES: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}

_Node = dict[str, Any]


def endpoint_schema(schema: _Node) -> tuple[_Node, bool]:
    """``schema`` as endpoints take it, and whether it holds in strict mode."""
    definitions: _Node = schema.get("$defs", {})
    try:
        told = _told(schema, definitions, ())
    except _RecursiveError:
        # A type that contains itself has no form without references.
        told = _told_with_references(schema, definitions)
    if not _can_close(told):
        return told, False
    return _each(told, _closed), True


class _RecursiveError(Exception):
    pass


def _told(node: _Node, definitions: _Node, within: tuple[str, ...]) -> _Node:
    """``node`` with its references replaced by what they name."""
    name = _referred(node)
    if name is not None:
        if name in within:
            raise _RecursiveError
        node = {**definitions[name], **{key: value for key, value in node.items() if key != "$ref"}}
        within = (*within, name)
    return _nullable(_typed(_children(_plain(node), lambda child: _told(child, definitions, within))))


def _told_with_references(schema: _Node, definitions: _Node) -> _Node:
    root = _referred(schema)
    top = schema if root is None else definitions[root]

    def told(node: _Node) -> _Node:
        return _nullable(_typed(_children(_plain(node), told)))

    return {**told(top), "$defs": {name: told(node) for name, node in definitions.items()}}


def _referred(node: _Node) -> str | None:
    reference = node.get("$ref")
    return None if reference is None else str(reference).rpartition("/")[2]


def _plain(node: _Node) -> _Node:
    """``node`` without what is of no use to a model, which fills every property: defaults are the program's."""
    plain = {key: value for key, value in node.items() if key not in _DROPPED}
    return {**plain, "required": list(node["properties"])} if isinstance(node.get("properties"), dict) else plain


def _typed(node: _Node) -> _Node:
    """An enumeration of one type with its name, which msgspec leaves out."""
    values = node.get("enum")
    if not values or "type" in node:
        return node
    kinds = {type(value) for value in values}
    kind = _TYPE_NAMES.get(kinds.pop()) if len(kinds) == 1 else None
    return node if kind is None else {"type": kind, **node}


def _nullable(node: _Node) -> _Node:
    """A value that may be null by a list of types in place of ``anyOf``."""
    choices = node.get("anyOf") or node.get("oneOf")
    if not isinstance(choices, list) or len(choices) != 2 or {"type": "null"} not in choices:
        return node
    (other,) = [choice for choice in choices if choice != {"type": "null"}]
    if not isinstance(other.get("type"), str):
        return node
    beside = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf")}
    enumerated = {"enum": [*other["enum"], None]} if "enum" in other else {}
    return {**other, **beside, **enumerated, "type": [other["type"], "null"]}


def _can_close(node: _Node) -> bool:
    """Whether strict mode holds: no object with names that are not known, no value of any type, no tuple."""
    if not node or "prefixItems" in node:
        return False
    if _is_object(node) and ("properties" not in node or node.get("additionalProperties")):
        return False
    found: list[bool] = []

    def look(child: _Node) -> _Node:
        found.append(_can_close(child))
        return child

    _children(node, look)
    return all(found)


def _closed(node: _Node) -> _Node:
    return {**node, "additionalProperties": False} if _is_object(node) else node


def _is_object(node: _Node) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _each(node: _Node, change: Callable[[_Node], _Node]) -> _Node:
    return change(_children(node, lambda child: _each(child, change)))


def _children(node: _Node, change: Callable[[_Node], _Node]) -> _Node:
    """``node`` with each schema directly within it changed."""
    changed = dict(node)
    for key in ("properties", "$defs"):
        if isinstance(node.get(key), dict):
            changed[key] = {name: change(child) for name, child in node[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            changed[key] = change(node[key])
    for key in _LISTS:
        if isinstance(node.get(key), list):
            changed[key] = [change(child) for child in node[key]]
    return changed
