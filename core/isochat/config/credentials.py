"""Who may talk to which workspace, and with which headers?

One owner of credentials for every backend. ``host`` and ``token`` need nothing but themselves; a profile, OAuth,
Azure and a notebook go through the Databricks SDK's unified ``Config``, whose logins have no clock of their own
and therefore run under the call's deadline.

A token goes only to the host of its own source: one from the environment goes to a host that somebody named in
code or in a file only if the environment names the same host.
"""

from __future__ import annotations

import base64
import configparser
import os
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from isochat.config.settings import ARGUMENT, DEFAULT, ENVIRONMENT, FILE, Settings, Source
from isochat.errors import (
    AuthenticationError,
    BackendNotInstalledError,
    ChatError,
    ChatTimeoutError,
    ConfigurationError,
)
from isochat.foreign_errors import cleaned_chain
from isochat.redaction import Environment, Redactor, Secret, hidden, hidden_login, hidden_values, names_a_secret
from isochat.text_safety import check_host, check_token
from isochat.transport.deadline import Deadline
from isochat.transport.key_log import named_as_culprit

T = TypeVar("T")


class Credentials(ABC):
    """What authenticates one client's calls."""

    @property
    @abstractmethod
    def host(self) -> str:
        """The workspace's URL that these credentials are for."""

    workspace_id: str | None = None

    @abstractmethod
    def headers(self, deadline: Deadline) -> Mapping[str, str]:
        """The headers that authenticate a request, before ``deadline``."""

    def renew(self, refused: Mapping[str, str], deadline: Deadline) -> bool:
        """Log in again after the workspace has ``refused`` these headers; whether there are others now to try."""
        return False

    _redactor: tuple[Mapping[str, str], tuple[str, ...], Redactor] | None = None

    def redactor(self, headers: Mapping[str, str], also: tuple[str, ...] = ()) -> Redactor:
        """Blanks what must never be shown: whatever is secret in ``headers``, and behind them, and ``also`` these."""
        kept = self._redactor
        if kept is None or kept[0] != headers or kept[1] != also:
            kept = self._redactor = (headers, also, Redactor([*self._secrets(headers), *also]))
        return kept[2]

    def _secrets(self, headers: Mapping[str, str]) -> Iterator[str]:
        for value in headers.values():
            scheme, _, secret = value.partition(" ")
            yield Secret(secret or value)
            if scheme == "Basic":
                with suppress(ValueError):
                    login = base64.b64decode(secret).decode()
                    yield from (Secret(login), Secret(login.partition(":")[2]))


class StaticToken(Credentials):
    """A personal access token, or any other that the caller keeps fresh."""

    def __init__(self, host: str, token: str, scheme: str = "bearer") -> None:
        self._host = host
        token = self._token = Secret(token)
        if scheme == "basic":
            # What `curl -u token:$DATABRICKS_TOKEN` sends, as the documentation's REST examples do.
            value = Secret("Basic " + base64.b64encode(f"token:{token}".encode()).decode())
        else:
            value = Secret(f"Bearer {token}")
        self._headers = {"Authorization": value}

    @property
    def host(self) -> str:
        return self._host

    def headers(self, deadline: Deadline) -> Mapping[str, str]:
        return self._headers

    def _secrets(self, headers: Mapping[str, str]) -> Iterator[str]:
        yield self._token
        yield from super()._secrets(headers)

    def __repr__(self) -> str:
        return f"StaticToken(host={self._host!r})"


class UnifiedConfig(Credentials):
    """The Databricks SDK's unified authentication: profiles, OAuth, Azure, notebooks.

    Args:
        profile: A section of ``~/.databrickscfg``; ``None`` lets the SDK look around.
        host: Only for the check that it is the same as the one the SDK finds.
        environment: Whether the SDK may take ``DATABRICKS_*`` and its like into account. Not with a profile, whose
            secrets it would send to the environment's host, nor with a host that the environment does not name.
        config_file: The file that holds the profiles, if it is not ``~/.databrickscfg``.
        likely_host: What the SDK will find, as far as anybody can tell; for the words of an error.
    """

    def __init__(
        self,
        profile: str | None,
        host: str | None,
        allow_insecure: bool,
        *,
        environment: bool = True,
        config_file: str | None = None,
        likely_host: str | None = None,
    ) -> None:
        try:
            with named_as_culprit():
                from databricks.sdk.core import Config
        except ImportError as error:
            raise BackendNotInstalledError(
                "no token is given, and other credentials need the Databricks SDK",
                remedy="Pass host= and token=, set DATABRICKS_HOST and DATABRICKS_TOKEN, or "
                "pip install 'isochat[databricks-sdk]'",
            ) from error
        self._make = Config if environment else _without_environment(Config)
        self._options: dict[str, Any] = {"profile": profile, "config_file": config_file} if profile else {"host": host}
        self._expected_host = host
        self._allow_insecure = allow_insecure
        self._lock = threading.Lock()
        self._config: Any = None
        self._current: Mapping[str, str] = {}
        self._host = host
        self._likely_host = likely_host

    @property
    def host(self) -> str:
        if self._host is None:
            raise ConfigurationError("the workspace's host is not known before the first call")
        return self._host

    def connect(self, deadline: Deadline) -> None:
        """Find the credentials, once; whoever comes meanwhile waits for the same search.

        Raises:
            ConfigurationError: there are none, or they are for another host.
            ChatTimeoutError: the search took longer than the deadline (phase ``auth``).
        """
        if self._config is not None:
            return
        with self._one_at_a_time(deadline):
            if self._config is None:
                self._connect(deadline)

    @contextmanager
    def _one_at_a_time(self, deadline: Deadline) -> Iterator[None]:
        wait = deadline.left("auth")
        if not self._lock.acquire(timeout=-1 if wait is None else wait):
            raise deadline.passed("auth")
        try:
            yield
        finally:
            self._lock.release()

    def renew(self, refused: Mapping[str, str], deadline: Deadline) -> bool:
        """As :class:`Credentials` has it; of many calls that are refused at once, one logs in.

        The SDK hands out a token until it expires, whatever the workspace thinks of it, so a Config is made anew.
        """
        with self._one_at_a_time(deadline):
            if self._current == refused:
                self._connect(deadline)
                self._current = self._authenticate(deadline)
            return self._current != refused

    def _connect(self, deadline: Deadline) -> None:
        try:
            config = self._run(lambda: self._make(**self._options), deadline)
        except ChatError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"no credentials for a Databricks workspace: {self._said(error)}",
                remedy="Pass host= and token=, set DATABRICKS_HOST and DATABRICKS_TOKEN, or name a profile=",
            ) from error
        host = check_host(config.host or "", self._allow_insecure)
        if self._expected_host and host != self._expected_host:
            raise ConfigurationError(
                f"host is {self._expected_host}, but the credentials found are for {host}",
                remedy="Leave host out, or name the profile of that workspace",
            )
        self._config, self._host = config, host
        self.workspace_id = getattr(config, "workspace_id", None) or None

    def _run(self, work: Callable[[], T], deadline: Deadline) -> T:
        """Do a part of the login, which knows no clock; who waits in vain is told for whom."""
        try:
            return deadline.run(work, "auth")
        except ChatTimeoutError as error:
            profile = self._options.get("profile")
            where = (
                self._host or self._likely_host or (f"the host of profile {profile!r}" if profile else "a workspace")
            )
            raise ChatTimeoutError(
                f"the Databricks SDK's login to {where} did not end within {deadline.seconds:g} s (phase 'auth')",
                phase="auth",
                remedy="Check the host's name and that it can be reached, or pass token= and no login is needed",
            ) from error

    def headers(self, deadline: Deadline) -> Mapping[str, str]:
        self.connect(deadline)
        config = self._config
        headers = self._authenticate(deadline)
        if config is self._config:  # no other call has logged in anew meanwhile
            self._current = headers
        return headers

    def _authenticate(self, deadline: Deadline) -> Mapping[str, str]:
        try:
            # All headers: Azure adds two of its own beside Authorization.
            headers: Mapping[str, str] = self._run(lambda: hidden_values(self._config.authenticate()), deadline)
        except ChatError:
            raise
        except Exception as error:
            raise AuthenticationError(
                f"the login to {self._host} failed: {self._said(error)}",
                remedy="Check the profile's client id, secret and rights",
            ) from error
        return headers

    def _said(self, error: Exception) -> str:
        """What the SDK says in ``error``; it quotes what a server answers, which may be the secret that it was sent."""
        clean = Redactor(self._login_secrets()).clean
        cleaned_chain(error, clean)
        return clean((str(error).splitlines() or [type(error).__name__])[0])[:300]

    def _secrets(self, headers: Mapping[str, str]) -> Iterator[str]:
        yield from super()._secrets(headers)
        yield from self._login_secrets()

    def _login_secrets(self) -> Iterator[str]:
        """What the SDK logs in with: of its Config; before there is one, of the environment."""
        variables = Environment(os.environ)
        found = {name: variables.secret(name) for name in variables if name.startswith(_LOGIN_VARIABLES)}
        if self._config is not None:
            found |= {attribute.name: getattr(self._config, attribute.name) for attribute in self._config.attributes()}
        known = {name: value for name, value in found.items() if isinstance(value, str) and names_a_secret(name)}
        yield from (Secret(value) for name, value in known.items() if not name.lower().endswith("auth_type"))
        if (client := found.get("client_id")) and (secret := known.get("client_secret")):
            # What an OAuth login sends.
            yield Secret(base64.b64encode(f"{client}:{secret}".encode()).decode())


def _without_environment(config: Any) -> Any:
    class ConfigOfItsArguments(config):  # type: ignore[misc]
        @classmethod
        def attributes(cls) -> Any:
            # Config collects them from the class it is called on, where a subclass has none.
            return config.attributes()

        def _load_from_env(self) -> None:
            pass

    return ConfigOfItsArguments


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


# What the SDK's unified authentication starts from, beside DATABRICKS_*: Azure, Google and the CI systems' tokens.
_LOGIN_VARIABLES = ("DATABRICKS_", "ARM_", "GOOGLE_", "ACTIONS_ID_TOKEN_", "AZURE_")
_LOGIN_PROGRAMS = ("databricks", "az", "gcloud")


def _could_log_in(variables: Environment, environment: bool) -> bool:
    """Whether there is anything that the SDK could log in with; if not, asking it only asks the network in vain."""
    if environment:
        hints = [name for name in variables if name.startswith(_LOGIN_VARIABLES) and variables.secret(name)]
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
