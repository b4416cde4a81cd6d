"""How does a Python type become a ``response_format``, and an answer an object of that type?

Types are pydantic models, dataclasses, ``TypedDict`` and ``msgspec.Struct``. pydantic is used for its own types alone,
and only where the program has it; msgspec reads the others.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import re
import threading
import typing
from typing import Any

import msgspec

from isochat.errors import InvalidInputError, OutputParseError
from isochat.output_schema import endpoint_schema

_KINDS = "a pydantic model, a dataclass, a TypedDict or a msgspec.Struct"
# The documented alphabet and length of a schema's name.
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64
_TOLD = 3


def is_type(value: Any) -> bool:
    """Whether ``value`` is a class, or a generic one with its parameters."""
    return isinstance(value, type) or isinstance(typing.get_origin(value), type)


class OutputType:
    """A type that an answer is to have.

    One object serves every client that asks for the type, and plugins are given it: nothing of it can be changed.
    """

    def __init__(self, kind: Any) -> None:
        self._name = str(getattr(kind, "__name__", kind))
        self._kind = kind
        self._pydantic = _pydantic_adapter(kind)
        self._asked = self._response_format()

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def response_format(self) -> dict[str, Any]:
        """The parameter that asks for it, in a copy that is the caller's own."""
        return copy.deepcopy(self._asked)

    def _response_format(self) -> dict[str, Any]:
        try:
            schema = self._pydantic.json_schema() if self._pydantic is not None else msgspec.json.schema(self._kind)
        except Exception as error:
            raise InvalidInputError(
                f"response_format: {self.name} has no JSON schema: {_in_one_line(error)}",
                remedy="Give its fields types that JSON can carry, or pass the schema as a mapping",
            ) from error
        told, strict = endpoint_schema(schema)
        name = _NO_NAME.sub("_", self.name)[:_LONGEST_NAME]
        return {"type": "json_schema", "json_schema": {"name": name, "schema": told, "strict": strict}}

    def read(self, text: str) -> Any:
        """The object that ``text`` spells.

        Raises:
            ValueError: it spells none; the message says why, in one line.
        """
        if self._pydantic is not None:
            try:
                return self._pydantic.validate_json(text)
            except ValueError as error:
                raise ValueError(_pydantic_reasons(error)) from error
        try:
            return msgspec.json.decode(text, type=self._kind)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ValueError(_in_one_line(error)) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return _found_again, (getattr(self._kind, "__module__", ""), getattr(self._kind, "__qualname__", self.name))


class LostType:
    """An output type that this program does not have: its result was pickled in another one, or it is local there."""

    def __init__(self, module: str, name: str) -> None:
        self.name = f"{module}.{name}"
        self._place = (module, name)

    def read(self, text: str) -> Any:
        """Raises ValueError."""
        raise ValueError("the result was unpickled where there is no such type")

    def __reduce__(self) -> tuple[Any, ...]:
        return _found_again, self._place


class Parsing:
    """The answer of one call as an object of the type that was asked for, read once for each text."""

    __slots__ = ("_lock", "_read", "_type")

    def __init__(self, kind: OutputType | LostType) -> None:
        self._type = kind
        self._lock = threading.Lock()
        self._read: tuple[str, Any] | None = None

    def parse(self, text: str, why_not: str | None) -> Any:
        """The object; ``why_not`` says what may be the matter where there is none.

        Raises:
            OutputParseError: ``text`` spells no such object.
        """
        with self._lock:
            if self._read is None or self._read[0] != text:
                try:
                    self._read = text, self._type.read(text)
                except ValueError as error:
                    raise OutputParseError(
                        f"the answer is no {self._type.name}: {error}",
                        remedy=why_not or "Read it as result.text, or ask the model again",
                    ) from error.__cause__
            return self._read[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return Parsing, (self._type,)


def output_type(kind: Any) -> OutputType:
    """What is known of ``kind``, worked out once.

    Raises:
        InvalidInputError: it is of no kind that can be asked for.
    """
    origin = typing.get_origin(kind) or kind
    known = dataclasses.is_dataclass(origin) or _is_typed_dict(origin) or issubclass(origin, msgspec.Struct)
    if not known and not _is_pydantic(kind):
        raise InvalidInputError(
            f"response_format is the type {getattr(kind, '__name__', kind)}; expected {_KINDS}",
            remedy="Wrap it in a dataclass: endpoints answer with an object",
        )
    return _worked_out(kind)


@functools.lru_cache(maxsize=64)
def _worked_out(kind: Any) -> OutputType:
    return OutputType(kind)


def _is_typed_dict(kind: Any) -> bool:
    """Of ``typing``, or of ``typing_extensions``, whose ``TypedDict`` is one of its own before Python 3.13."""
    return typing.is_typeddict(kind) or (issubclass(kind, dict) and hasattr(kind, "__required_keys__"))


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "__pydantic_core_schema__")  # of version 2


def _pydantic_adapter(kind: Any) -> Any:
    if not _is_pydantic(kind):
        return None
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _pydantic_reasons(error: ValueError) -> str:
    found = getattr(error, "errors", None)
    if found is None:
        return _in_one_line(error)
    reasons = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in found(include_url=False)]
    more = f" (and {len(reasons) - _TOLD} more)" if len(reasons) > _TOLD else ""
    return "; ".join(reasons[:_TOLD]) + more


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _found_again(module: str, name: str) -> OutputType | LostType:
    """The type of an unpickled result, by name, as pickle itself would find it."""
    try:
        kind: Any = importlib.import_module(module)
        for part in name.split("."):
            kind = getattr(kind, part)
        return output_type(kind)
    except (ImportError, AttributeError, InvalidInputError, TypeError, ValueError):
        return LostType(module, name)
