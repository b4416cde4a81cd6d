"""How is a case file, or a body on the wire, read without mercy?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec


class CaseData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a case file: a key that no field names is an error."""


def strict_json(text: str | bytes) -> Any:
    """JSON read without mercy.

    Raises:
        ValueError: it is none, or an object has a key twice, which readers resolve in different ways.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        twice = sorted({name for name, _ in pairs if [key for key, _ in pairs].count(name) > 1})
        raise ValueError(f"an object has {', '.join(map(repr, twice))} twice")
    return read


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
