"""What does a table of a TOML file say? Read into a dataclass without mercy: no key is guessed or skipped.

A field of the dataclass is a key. A field without a default is a key that must be there. A field whose type is
another dataclass is a table of its own, a tuple of dataclasses a list of tables.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import msgspec

from isochat.errors import ConfigurationError
from isochat.redaction import hidden

T = TypeVar("T")
SECRETS = ("token", "client_secret")


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables, each secret in them with a blank repr.

    Raises:
        ConfigurationError: there is no such file, or it is no TOML; the message names the line.
    """
    try:
        return _without_secrets(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {path}", remedy="Name a file that exists") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}", remedy="Correct the file") from None


def read_table(kind: type[T], table: Any, where: str, **given: Any) -> T:
    """Read ``table`` into ``kind``. ``given`` are fields that the caller knows; they are no keys.

    Args:
        where: the table's place for people, the file first: ``workspace.toml [endpoints.x]``.

    Raises:
        ConfigurationError: an unknown key (the nearest one is named), a missing one, a wrong type or value.
    """
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{where} is no table", remedy="Write it as one")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init and f.name not in given}  # type: ignore[arg-type]
    check_keys(table, fields, where)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _read_value(hints[name], table[name], where, name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigurationError(f"the key {name!r} is missing in {where}", remedy=f"Write {name} = ...")
    try:
        return kind(**values, **given)
    except ValueError as error:
        raise ConfigurationError(f"in {where}: {error}", remedy="Correct the file") from None


def check_keys(table: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise ConfigurationError for the first key that is not known; the message names the nearest that is."""
    known = list(known)
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise ConfigurationError(
                f"unknown key {key!r} in {where}",
                remedy=f"Did you mean {close[0]!r}?" if close else f"Keys are: {', '.join(known)}",
            )


def _read_value(hint: Any, value: Any, where: str, name: str) -> Any:
    for kind in _alternatives(hint):
        if dataclasses.is_dataclass(kind):
            table: Any = kind
            return read_table(table, value, f"{where} {name}")
        if typing.get_origin(kind) is tuple and dataclasses.is_dataclass(typing.get_args(kind)[0]):
            if not isinstance(value, list):
                raise ConfigurationError(f"{name} in {where} is no list of tables", remedy="Write it as one")
            row: Any = typing.get_args(kind)[0]
            return tuple(read_table(row, one, f"{where} {name} {at}") for at, one in enumerate(value, 1))
        _check_word(kind, value, where, name)
        if typing.get_origin(kind) is tuple and isinstance(value, list):
            for at, word in enumerate(value):
                _check_word(typing.get_args(kind)[0], word, where, f"{name}[{at}]")
    try:
        return msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError as error:
        _refuse(str(error), where, name)


def _check_word(kind: Any, value: Any, where: str, name: str) -> None:
    """Raise ConfigurationError where `kind` is a choice of words and `value` another word."""
    words = (
        [word for word in typing.get_args(kind) if isinstance(word, str)] if typing.get_origin(kind) is Literal else []
    )
    if words and isinstance(value, str) and value not in words:
        close = difflib.get_close_matches(value, words, n=1)
        raise ConfigurationError(
            f"{name} in {where} is {value!r:.80}",
            remedy=f"Did you mean {close[0]!r}?" if close else f"It can be: {', '.join(words)}",
        )


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _refuse(reason: str, where: str, name: str) -> NoReturn:
    what, _, at = reason.partition(" - at ")
    what = what.replace(" | null", "")  # TOML has none
    place = name + at.strip("`").removeprefix("$")
    raise ConfigurationError(f"{place} in {where}: {what[:1].lower()}{what[1:]}", remedy="Correct the file")


def _without_secrets(data: dict[str, Any]) -> dict[str, Any]:
    for key, value in data.items():
        if isinstance(value, dict):
            _without_secrets(value)
        elif key in SECRETS:
            data[key] = hidden(value)
    return data
