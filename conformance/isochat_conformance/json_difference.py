"""Where do two JSON values differ, in words?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_SHOWN = 160
_ABSENT = object()


def differences(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    """A line for each place in which ``found`` is not what was expected.

    As strict as the wire: ``true`` is not ``1``, ``1`` is not ``1.0``, a missing key is not ``null``. The order of an
    object's keys counts for nothing.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in dict.fromkeys([*expected, *found]):
            place = f"{path}.{key}" if path else str(key)
            yield from differences(expected.get(key, _ABSENT), found.get(key, _ABSENT), place)
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple) and len(expected) == len(found):
        for index, (wanted, got) in enumerate(zip(expected, found, strict=True)):
            yield from differences(wanted, got, f"{path}[{index}]")
    elif type(expected) is not type(found) or expected != found:
        yield f"{path or 'it'} is {shown(found)}, expected {shown(expected)}"


def without_empty(value: Any) -> Any:
    """``value`` without what says nothing: ``None``, empty lists and empty objects. An empty text says something."""
    if isinstance(value, Mapping):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if not _is_empty(item)} or None
    if isinstance(value, list | tuple):
        return [without_empty(item) for item in value] or None
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping | list) and not value)


def shown(value: Any) -> str:
    """``value`` on one line, shortened."""
    if value is _ABSENT:
        return "absent"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
