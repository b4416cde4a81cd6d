"""Whose credentials does a client get, and for which workspace?

A token goes only to the host of its own source: one from the environment goes to a host that somebody named in
code or in a file only if the environment names the same host.
"""

from __future__ import annotations

import configparser
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from isochat.config.credentials import LOGIN_VARIABLES, Credentials, StaticToken, UnifiedConfig
from isochat.config.settings import ARGUMENT, DEFAULT, ENVIRONMENT, FILE, Settings, Source
from isochat.errors import ConfigurationError
from isochat.redaction import Environment, hidden, hidden_login
from isochat.text_safety import check_host, check_token


def check_credentials(settings: Settings) -> None:
    """Raises as :func:`find_credentials` does, without importing the Databricks SDK for it."""
    find_credentials(settings, unified=lambda *_, **__: None)


def find_credentials(
    settings: Settings, environ: Mapping[str, str] | None = None, *, unified: Callable[..., Any] = UnifiedConfig
) -> Credentials:
    """The owner of a client's credentials; opens no socket.

    Args:
        unified: Makes that of the SDK's unified authentication.

    Raises:
        ConfigurationError: none are given, or the token belongs to another host.
        UnsafeInputError: host or token cannot stand on the wire.
    """
    variables = Environment(os.environ if environ is None else environ)
    del environ
    insecure = settings["allow_insecure"]
    host: str | None = check_host(settings["host"], insecure) if settings.given("host") else None
    token, source = settings["token"], settings.sources["token"]
    if settings.given("profile"):
        # Whichever stands nearer to the call: an argument counts more than the file's profile.
        nearer = _NEARNESS.index(source.kind) - _NEARNESS.index(settings.sources["profile"].kind)
        if nearer == 0:
            raise ConfigurationError("profile and token are both given", remedy="Keep one of them")
        if nearer > 0:
            return _from_profile(settings["profile"], host, settings, variables, unified)
    if token is None and (found := variables.secret("DATABRICKS_TOKEN")):
        token, source = found, Source(ENVIRONMENT, "DATABRICKS_TOKEN")
    own = _host_of_source(source, settings, variables, insecure)
    if token is None:
        environment = host in (None, own)
        if not _could_log_in(variables, environment):
            raise ConfigurationError(
                f"there are no credentials for {host}" if host else "there are no host and no credentials",
                remedy="Pass host= and token=, set DATABRICKS_HOST and DATABRICKS_TOKEN, or name a profile=",
            )
        likely = own if environment else None
        return unified(None, host, insecure, environment=environment, likely_host=likely)  # type: ignore[no-any-return]
    token = check_token(token)
    if host is None:
        if own is None:
            raise ConfigurationError(
                f"there is a token ({source.name}) and no host", remedy="Pass host=, or set DATABRICKS_HOST"
            )
        host = own
    elif source.kind != ARGUMENT and host != own:
        raise ConfigurationError(
            f"the token of {source.name} is not for {host} ({settings.sources['host'].name}): beside it stands "
            + (own or "no host"),
            remedy="Pass the token together with the host, or name the same host where the token stands",
        )
    return StaticToken(host, token, settings["auth_scheme"])


# Programs that the SDK logs in by.
_LOGIN_PROGRAMS = ("databricks", "az", "gcloud")


def _could_log_in(variables: Environment, environment: bool) -> bool:
    """Whether there is anything that the SDK could log in with; if not, asking it only asks the network in vain."""
    if environment:
        hints = [name for name in variables if name.startswith(LOGIN_VARIABLES) and variables.secret(name)]
        if set(hints) - {"DATABRICKS_HOST", "DATABRICKS_CONFIG_FILE"}:
            return True
        if Path(variables.get("DATABRICKS_CONFIG_FILE") or Path.home() / ".databrickscfg").expanduser().is_file():
            return True
    return any(shutil.which(program) for program in _LOGIN_PROGRAMS)


_NEARNESS = (ARGUMENT, ENVIRONMENT, FILE, DEFAULT)


def _host_of_source(source: Source, settings: Settings, variables: Environment, insecure: bool) -> str | None:
    """The host that stands beside a token of ``source``; for an argument and for none, the environment's."""
    if source.kind == FILE:
        text = settings.in_file.get("host")
    else:
        names = ("ISOCHAT_HOST", "DATABRICKS_HOST")
        if source.name == "DATABRICKS_TOKEN":
            names = names[::-1]
        text = hidden_login(variables.get(names[0]) or variables.get(names[1]))
    return check_host(text, insecure) if text else None


def _from_profile(
    profile: str, host: str | None, settings: Settings, variables: Environment, unified: Callable[..., Any]
) -> Credentials:
    insecure = settings["allow_insecure"]
    section = _read_profile(profile, variables)
    if section is None or not section.host or not section.token:
        file = variables.get("DATABRICKS_CONFIG_FILE")
        return unified(profile, host, insecure, environment=False, config_file=file)  # type: ignore[no-any-return]
    own = check_host(section.host, insecure)
    if host is not None and host != own:
        raise ConfigurationError(
            f"host is {host}, but the profile {profile!r} is for {own}", remedy="Leave host out, or change the profile"
        )
    return StaticToken(own, check_token(section.token), settings["auth_scheme"])


class _Profile(NamedTuple):
    host: str | None
    token: str | None


def _read_profile(name: str, variables: Environment) -> _Profile | None:
    """Host and token of a profile with a personal access token, which needs no SDK; ``None`` for other kinds."""
    path = Path(variables.get("DATABRICKS_CONFIG_FILE") or Path.home() / ".databrickscfg").expanduser()
    # Without a default section: one profile's token must not be read into another, which may be for another host.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, ValueError, configparser.Error) as error:
        # Not the error's own text: a parsing error quotes the line, and the line may hold the token.
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__})", remedy="Correct the file") from None
    if not parser.has_section(name):
        if not path.exists():
            raise ConfigurationError(
                f"there is no file {path} with the profile {name!r}", remedy="Run: databricks configure"
            )
        known = ", ".join(parser.sections()) or "no profiles"
        raise ConfigurationError(f"there is no profile {name!r} in {path}", remedy=f"It has: {known}")
    values = parser[name]
    if values.get("auth_type", "pat") != "pat":
        return None
    return _Profile(hidden_login(values.get("host")), hidden(values.get("token")))
