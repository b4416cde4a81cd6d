"""With which headers does a client authenticate, and how are they renewed?

One owner of credentials for every backend. ``host`` and ``token`` need nothing but themselves; a profile, OAuth,
Azure and a notebook go through the Databricks SDK's unified ``Config``, whose logins have no clock of their own
and therefore run under the call's deadline. Which of them a client gets is said in
:mod:`isochat.config.credential_sources`.
"""

from __future__ import annotations

import base64
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from isochat.errors import (
    AuthenticationError,
    BackendNotInstalledError,
    ChatError,
    ChatTimeoutError,
    ConfigurationError,
)
from isochat.foreign_errors import cleaned_chain
from isochat.redaction import Environment, Redactor, Secret, hidden_values, names_a_secret
from isochat.text_safety import check_host
from isochat.transport.deadline import Deadline
from isochat.transport.key_log import named_as_culprit

T = TypeVar("T")

# What the SDK's unified authentication starts from, beside DATABRICKS_*: Azure, Google and the CI systems' tokens.
LOGIN_VARIABLES = ("DATABRICKS_", "ARM_", "GOOGLE_", "ACTIONS_ID_TOKEN_", "AZURE_")


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
        found = {name: variables.secret(name) for name in variables if name.startswith(LOGIN_VARIABLES)}
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
