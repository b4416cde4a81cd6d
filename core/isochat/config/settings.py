"""Which settings has a client, and which source wins?

``SETTINGS`` is the table: one row an argument of :class:`isochat.Client`. For each, the first of these that has a
value wins: the argument, ``ISOCHAT_<ARGUMENT>``, the target in the file, the default. Host and token have two
more sources, Databricks' environment and profiles; see :mod:`isochat.config.credential_sources`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from isochat.config import targets
from isochat.errors import ConfigurationError
from isochat.parameters import fits
from isochat.redaction import Environment, hidden_login, hidden_values
from isochat.routes import AI_GATEWAY, AUTO, SERVING_ENDPOINTS

Kind = Literal["text", "secret", "seconds", "count", "positive count", "boolean", "object", "names", "plugins"]


class Setting(NamedTuple):
    """One row: the argument's name, its kind, its default and, for some, the words it may be."""

    name: str
    kind: Kind
    default: Any = None
    choices: tuple[str, ...] = ()


SETTINGS: tuple[Setting, ...] = (
    Setting("backend", "text"),
    Setting("endpoint", "text"),
    Setting("host", "text"),
    Setting("token", "secret"),
    Setting("profile", "text"),
    Setting("route", "text", SERVING_ENDPOINTS, (SERVING_ENDPOINTS, AI_GATEWAY, AUTO)),
    Setting("timeout", "seconds", 120.0),
    Setting("deadline", "seconds", 300.0),
    Setting("max_retries", "count", 2),
    Setting("retry_after_execution", "boolean", False),
    Setting("on_unsupported", "text", "raise", ("raise", "warn", "drop")),
    Setting("headers", "object", {}),
    Setting("trust_env", "boolean", True),
    Setting("ca_bundle", "text"),
    Setting("max_connections", "positive count"),
    Setting("auth_scheme", "text", "bearer", ("bearer", "basic")),
    Setting("allow_insecure", "boolean", False),
    Setting("product", "text"),
    Setting("fallback", "names", ()),
    Setting("observers", "plugins", ()),
)
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}

# What says who asks. One source says all of it, so that no part goes where the rest is not for.
LOGIN = ("host", "token", "profile", "auth_scheme", "allow_insecure", "headers")

ARGUMENT, ENVIRONMENT, FILE, DEFAULT = "argument", "environment", "file", "default"


class Source(NamedTuple):
    """Where a value came from: the kind of source, and its name for people."""

    kind: str
    name: str


class Settings(msgspec.Struct, frozen=True):
    """The settings in force: ``values`` and, for each, its ``sources``; ``params`` of the target; its ``options``.

    ``in_file`` is what the target says, also where something nearer overrides it.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, Source]
    params: Mapping[str, Any]
    options: Mapping[str, Any]
    target: str | None
    file: str | None
    in_file: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Settings(target={self.target!r}, file={self.file!r})"  # the values may hold a token

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def given(self, name: str) -> bool:
        """Whether anybody set ``name``, or the default holds."""
        return self.sources[name].kind != DEFAULT


def resolve(
    arguments: Mapping[str, Any],
    *,
    target: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Work out the settings of one client.

    Args:
        arguments: What the caller passed; ``None`` counts as not passed.
        options: Arguments that are not isochat's own, for the backend.

    Raises:
        ConfigurationError: an unknown key, a wrong type, an unknown target; the message names the source.
    """
    variables = Environment(os.environ if environ is None else environ)
    del environ
    target = target or variables.get("ISOCHAT_TARGET")
    listed = arguments.get("fallback")
    if listed is None:
        listed = (variables.get("ISOCHAT_FALLBACK") or "").split(",")
    section = targets.find(
        target, config_file or variables.get("ISOCHAT_CONFIG"), default_needed=not _name_a_target(listed)
    )

    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for setting in SETTINGS:
        variable = f"ISOCHAT_{setting.name.upper()}"
        if arguments.get(setting.name) is not None:
            value, source = arguments[setting.name], Source(ARGUMENT, f"{setting.name}=")
        elif setting.kind == "secret" and (found := variables.secret(variable)):
            value, source = found, Source(ENVIRONMENT, variable)
        elif text := variables.secret(variable) if setting.kind == "object" else variables.get(variable):
            value, source = _from_text(text, setting, variable), Source(ENVIRONMENT, variable)
        elif section is not None and setting.name in section.settings:
            value, source = section.settings[setting.name], Source(FILE, section.where(setting.name))
        else:
            value, source = setting.default, Source(DEFAULT, "default")
        if setting.name == "host":
            value = hidden_login(value)
        if source.kind != DEFAULT:
            value = _checked(value, setting, source)
        values[setting.name], sources[setting.name] = value, source
    return Settings(
        values,
        sources,
        section.params if section else {},
        {**(section.options if section else {}), **(options or {})},
        section.name if section else None,
        section.file if section else None,
        section.settings if section else {},
    )


def of_target(settings: Settings, section: targets.Target) -> Settings:
    """What holds for the target ``section`` where it carries on for the client of ``settings``.

    What it says; and what it leaves open is as for the client. But the login is one: a target that names any of it
    says all of it.
    """
    values, sources = dict(settings.values), dict(settings.sources)
    for setting in SETTINGS:
        if setting.name in section.settings:
            source = Source(FILE, section.where(setting.name))
            value = _checked(section.settings[setting.name], setting, source)
        elif setting.name in LOGIN and names_login(section):
            value, source = setting.default, Source(DEFAULT, "default")
        else:
            continue
        values[setting.name], sources[setting.name] = value, source
    return Settings(values, sources, section.params, section.options, section.name, section.file, section.settings)


def names_login(section: targets.Target) -> bool:
    """Whether a target says for itself which workspace is asked, or as whom."""
    return any(name in section.settings for name in ("host", "token", "profile"))


def _name_a_target(listed: Any) -> bool:
    return isinstance(listed, list | tuple) and any(str(name).strip().startswith("target:") for name in listed)


def _from_text(text: str, setting: Setting, variable: str) -> Any:
    try:
        match setting.kind:
            case "seconds":
                return float(text)
            case "count" | "positive count":
                return int(text)
            case "boolean":
                return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
            case "object":
                return hidden_values(json.loads(text))
            case "names" | "plugins":
                return tuple(name for part in text.split(",") if (name := part.strip()))
    except (ValueError, KeyError):
        raise ConfigurationError(
            f"{variable} is {_shown(text, setting)}; expected {_EXPECTED[setting.kind]}",
            remedy=f"Correct or unset {variable}",
        ) from None
    return text


_EXPECTED: Mapping[str, str] = {
    "text": "text",
    "secret": "text",
    "seconds": "seconds above 0",
    "count": "a whole number from 0 up",
    "positive count": "a whole number from 1 up",
    "boolean": "true or false",
    "object": "a table of texts",
    "names": 'a list such as ["rest", "target:NAME"]',
    "plugins": "a list of names or plugin objects",
}


def _checked(value: Any, setting: Setting, source: Source) -> Any:
    right = _is(value, setting.kind)
    if not right:
        raise ConfigurationError(
            f"{setting.name} ({source.name}) is {_shown(value, setting)}; expected {_EXPECTED[setting.kind]}",
            remedy=f"Correct {source.name}",
        )
    if setting.choices and value not in setting.choices:
        raise ConfigurationError(
            f"{setting.name} ({source.name}) is {value!r}", remedy=f"It may be {' or '.join(setting.choices)}"
        )
    match setting.kind:
        case "seconds":
            return float(value)
        case "names" | "plugins":
            return tuple(value)
    return value


def _shown(value: Any, setting: Setting) -> str:
    """The value for an error; what may hold a secret is not shown."""
    return "of the wrong type" if setting.kind in ("secret", "object") else repr(value)[:80]


def _is(value: Any, kind: Kind) -> bool:
    match kind:
        case "text":
            return isinstance(value, str) and bool(value)
        case "secret":
            return isinstance(value, str)
        case "seconds":
            return fits(value, "number") and not math.isnan(value) and value > 0
        case "count":
            return fits(value, "integer") and value >= 0
        case "positive count":
            return fits(value, "integer") and value >= 1
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, Mapping)
        case "names":
            return isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)
        case "plugins":
            return isinstance(value, list | tuple)
