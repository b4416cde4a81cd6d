"""How does the OpenAI client's own object stay silent when its user dumps it?

The client builds its objects without validation and types them by OpenAI's service alone. What Databricks says beside
that (``content`` as a list of blocks, items of agents) makes pydantic warn at each ``model_dump()``, ``to_dict()`` or
``to_json()``, in the program of a user who did nothing wrong. The values are right; only the types are too narrow.

So each object gets a subclass of its own class whose fields are of any type. It was parsed by the client, holds what
the client read, and is an instance of the client's class; nothing of the client's modules changes.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any

_building = threading.Lock()


def without_warnings(parsed: Any) -> Any:
    """``parsed``, as the client gave it, with all pydantic objects in it of any-typed classes."""
    if isinstance(parsed, list):
        for item in parsed:
            without_warnings(item)
    elif isinstance(parsed, Mapping):
        for item in parsed.values():
            without_warnings(item)
    elif hasattr(parsed, "__pydantic_fields_set__"):  # no model of pydantic 1 has it, and none of those warns
        without_warnings(vars(parsed))
        without_warnings(parsed.__pydantic_extra__)
        model: Any = type(parsed)
        with _building:
            quiet = _any_typed(model)
        # pydantic's own __setattr__ takes fields alone.
        object.__setattr__(parsed, "__class__", quiet)
    return parsed


@functools.cache
def _any_typed(model: Any) -> Any:
    import pydantic

    fields: dict[str, Any] = {
        name: (Any, pydantic.Field(default=field.default, alias=field.alias))
        for name, field in model.model_fields.items()
    }
    quiet: Any = pydantic.create_model(model.__name__, __base__=model, __module__=model.__module__, **fields)
    quiet.model_rebuild(force=True)  # the client defers it; some versions of pydantic then dump no field of any type
    # Pickles as the client's own class: this one stands in no module from which it could be imported.
    quiet.__reduce_ex__ = lambda self, protocol: (model.__new__, (model,), self.__getstate__())
    return quiet
