"""How does a client's own code run with a few globals of ours, and nobody else notice?

The same code object with a private set of global names: what the module holds for everybody else stays as it is. Used
where a client offers no argument for what it looks up, logs or swaps for the whole process.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any


def with_globals(function: Callable[..., Any], names: Mapping[str, Any]) -> Any:
    """The same code as ``function``, run with ``names`` in place of its module's globals of those names."""
    function = inspect.unwrap(function)  # MLflow 2 decorates some of them
    assert isinstance(function, FunctionType)
    copy = FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def unused(function: Callable[..., Any], names: Mapping[str, Any]) -> list[str]:
    """Those of ``names`` that the code of ``function`` does not use: the client has moved them."""
    function = inspect.unwrap(function)
    assert isinstance(function, FunctionType)
    return [name for name in names if name not in function.__code__.co_names]
