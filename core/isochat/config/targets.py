"""What does the isochat.toml say about a target?

Read only when somebody asks: ``config_file=``, a target, ``ISOCHAT_CONFIG``. A mistake in the file is an error
that names the file, the key and the nearest valid one; nothing in it is guessed or skipped.
"""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from isochat.errors import ConfigurationError, InvalidInputError
from isochat.redaction import hidden, hidden_login, hidden_values

_TOP_LEVEL = ("default_target", "targets")
_BESIDES = ("extends", "params", "options")


class Target(NamedTuple):
    """One section, with what it inherits: client settings, chat parameters, backend options."""

    name: str
    file: str
    settings: Mapping[str, Any]
    params: Mapping[str, Any]
    options: Mapping[str, Any]

    def where(self, key: str) -> str:
        """The key's place for people."""
        return f"{self.file} [targets.{self.name}] {key}"


def user_file() -> Path:
    """``isochat.toml`` in the user's config folder (XDG, or the platform's)."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin" and not os.environ.get("XDG_CONFIG_HOME"):
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "isochat" / "isochat.toml"


def find(name: str | None, config_file: str | os.PathLike[str] | None, *, default_needed: bool = True) -> Target | None:
    """The target called ``name``, or the file's default one; ``None`` when neither is asked for.

    Args:
        default_needed: Whether a file that names no default is a mistake where no ``name`` is given.

    Raises:
        ConfigurationError: no such file or target, a mistake in the file, a circle of ``extends``.
    """
    if name is None and config_file is None:
        return None
    if config_file is not None and not isinstance(config_file, str | os.PathLike):
        raise ConfigurationError(f"config_file is {config_file!r:.80}", remedy="Pass a path")
    path = Path(config_file).expanduser() if config_file is not None else user_file()
    data = _read(path)
    name = name or data.get("default_target")
    if name is None:
        if not default_needed:
            return None
        raise ConfigurationError(
            f"{path} names no default_target, and no target is asked for",
            remedy=f"Name a target: {', '.join(data.get('targets', {})) or 'the file has none yet'}",
        )
    return _assemble(str(name), data, str(path))


def names(path: str) -> list[str]:
    """The targets of a file.

    Raises:
        ConfigurationError: a mistake in the file.
    """
    return list(_read(Path(path)).get("targets", {}))


def names_default(path: str) -> bool:
    """Whether the file says which target to take where none is asked for.

    Raises:
        ConfigurationError: a mistake in the file.
    """
    return "default_target" in _read(Path(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = _without_secrets(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no file {path}", remedy="Write the target there, or name another file with config_file="
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}", remedy="Correct the file") from None
    if path.name == "pyproject.toml":
        tool = data.get("tool")
        section = tool.get("isochat") if isinstance(tool, dict) else None
        data = section if isinstance(section, dict) else {}
    _known(data, _TOP_LEVEL, str(path), "")
    sections = data.get("targets", {})
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise ConfigurationError(f"targets in {path} is no table of tables", remedy="Write [targets.NAME]")
    if not isinstance(data.get("default_target", ""), str):
        raise ConfigurationError(f"default_target in {path} is no text", remedy='Write default_target = "NAME"')
    return data


def _without_secrets(data: dict[str, Any]) -> dict[str, Any]:
    """``data`` with each token in it hidden, wherever it stands: a frame below would show it with its tables."""
    for key, value in data.items():
        if key in ("headers", "extra_headers"):
            data[key] = hidden_values(value)
        elif isinstance(value, dict):
            _without_secrets(value)
        elif key == "token":
            data[key] = hidden(value)
        elif key == "host":
            data[key] = hidden_login(value)
    return data


def _assemble(name: str, data: Mapping[str, Any], file: str) -> Target:
    from isochat.config.settings import BY_NAME

    sections: Mapping[str, Any] = data.get("targets", {})
    chain: list[str] = []
    settings: dict[str, Any] = {}
    params: dict[str, Any] = {}
    options: dict[str, Any] = {}
    current: Any = name
    while current is not None:
        if current in chain:
            circle = " -> ".join([*chain, current])
            raise ConfigurationError(
                f"the targets of {file} extend each other in a circle: {circle}", remedy="Take one of the extends out"
            )
        if not isinstance(current, str):
            raise ConfigurationError(
                f"extends in [targets.{chain[-1]}] of {file} is no text", remedy='Write extends = "NAME"'
            )
        if current not in sections:
            close = difflib.get_close_matches(str(current), sections, n=1)
            by = f", which [targets.{chain[-1]}] extends" if chain else ""
            raise ConfigurationError(
                f"there is no target {current!r} in {file}{by}",
                remedy=(f"Did you mean {close[0]!r}? " if close else "")
                + (f"It has: {', '.join(sections)}" if sections else "It has no targets"),
            )
        section = sections[current]
        where = f"[targets.{current}] of {file}"
        _known(section, (*BY_NAME, *_BESIDES), file, f"[targets.{current}] ")
        _falls_back_on_others(section, current, where)
        for table, into in (("params", params), ("options", options)):
            inherited = section.get(table, {})
            if not isinstance(inherited, dict):
                raise ConfigurationError(f"{table} in {where} is no table", remedy=f"Write [targets.{current}.{table}]")
            if table == "params":
                inherited = _checked_params(inherited, file, current)
            into.update({key: value for key, value in inherited.items() if key not in into})
        for key, value in section.items():
            if key not in _BESIDES and key not in settings:
                settings[key] = value
        chain.append(current)
        current = section.get("extends")
    return Target(name, file, settings, params, options)


def _falls_back_on_others(section: Mapping[str, Any], name: str, where: str) -> None:
    # Of one section alone: where either is inherited, the list is right and names somebody who is not needed.
    fallback = section.get("fallback")
    if not isinstance(fallback, list):
        return
    for own in (f"target:{name}", section.get("backend")):
        if own in fallback:
            raise ConfigurationError(f"fallback in {where} names {own!r}, its own", remedy="Take it out of the list")


def _checked_params(params: Mapping[str, Any], file: str, target: str) -> dict[str, Any]:
    from isochat.parameters import ALIASES, BY_NAME, CALL_OPTIONS
    from isochat.request import check_parameter

    where = f"[targets.{target}.params] "
    _known(params, (*BY_NAME, *ALIASES, *CALL_OPTIONS), file, where)
    checked: dict[str, Any] = {}
    for key, value in params.items():
        name = ALIASES.get(key, key)
        if name in checked:
            raise ConfigurationError(f"{key} and {name} are one parameter, in {where}{file}", remedy="Keep one of them")
        try:
            check_parameter(name, value)
        except InvalidInputError as error:
            raise ConfigurationError(
                f"in {where}{file}: {error.message}", remedy=error.remedy or "Correct the file"
            ) from None
        checked[name] = value
    return checked


def _known(table: Mapping[str, Any], keys: tuple[str, ...], file: str, where: str) -> None:
    for key in table:
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            raise ConfigurationError(
                f"unknown key {key!r} in {where}{file}",
                remedy=f"Did you mean {close[0]!r}?" if close else f"Keys are: {', '.join(keys)}",
            )
