"""How is a value that costs something worked out, once and only if anybody asks?"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Once:
    """A value worked out when it is first asked for, once, whichever thread asks."""

    __slots__ = ("_compute", "_lock", "_value")

    def __init__(self, compute: Callable[[], Any] | None, value: Any = None) -> None:
        self._compute = compute
        self._value = value
        self._lock = threading.Lock()

    def get(self) -> Any:
        if self._compute is not None:
            with self._lock:
                if self._compute is not None:
                    self._value = self._compute()
                    self._compute = None
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        # What has been computed may be a client's own object, which need not pickle.
        return Once, (None, None)


class Later(Once):
    """A value in whose place this may stand: it equals what the value equals, and is pickled as the value."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return bool(self.get() == (other.get() if isinstance(other, Later) else other))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self.get(),)


def _itself(value: Any) -> Any:
    return value


NOTHING = Once(None)
