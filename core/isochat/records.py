"""How are the values of a result compared and shown? Field by field, but for what is no part of the answer."""

from __future__ import annotations

from typing import ClassVar

import msgspec

_REPR_LENGTH = 60


class Record(msgspec.Struct, frozen=True, eq=False):
    """One frozen value of a result: compared by its fields but for ``_not_compared``, and never hashable."""

    _not_compared: ClassVar[frozenset[str]] = frozenset()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        skip = self._not_compared
        return all(getattr(self, f) == getattr(other, f) for f in self.__struct_fields__ if f not in skip)

    def __ne__(self, other: object) -> bool:
        # msgspec's own would compare identities: Python inverts __eq__ only where no base has a __ne__.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __repr__(self) -> str:
        defaults = dict(zip(reversed(self.__struct_fields__), reversed(self.__struct_defaults__), strict=False))
        shown = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name.startswith("_") or name in self._not_compared or value == defaults.get(name, msgspec.NODEFAULT):
                continue
            text = repr(value)
            shown.append(f"{name}={text if len(text) <= _REPR_LENGTH else text[: _REPR_LENGTH - 3] + '...'}")
        return f"{type(self).__name__}({', '.join(shown)})"
