"""Does a request go through a proxy, and how does it log in there? The same on both kinds of wire."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from isochat.errors import ConfigurationError
from isochat.redaction import Secret

_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


class Proxy(NamedTuple):
    """A proxy, its login kept out of its URL: URLs are shown in messages."""

    url: str
    headers: Mapping[str, str]


class Proxies:
    """The proxies that the environment names.

    Args:
        trust_env: Read ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, once.
    """

    def __init__(self, trust_env: bool) -> None:
        found = getproxies_environment() if trust_env else {}
        self._named: Mapping[str, str] = {scheme: Secret(url) for scheme, url in found.items()}
        self.secrets: tuple[Secret, ...] = tuple(secret for url in self._named.values() for secret in _secrets(url))
        """What a proxy might send back and nobody may see."""

    def way_to(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        """The proxy on the way to ``host``, or ``None`` for straight.

        Raises:
            ConfigurationError: what the environment names is no proxy's URL.
        """
        # Plain http goes to loopback only (or is allowed by name), where a proxy has no business.
        if scheme != "https" or not self._named:
            return None
        if proxy_bypass_environment(f"{host}:{port}" if port else host, dict(self._named)):
            return None
        named = self._named.get("https") or self._named.get("all")
        return _read(named) if named else None


def _read(named: str) -> Proxy:
    try:
        url = urlsplit(named if "://" in named else f"http://{named}")
        # urlsplit drops line ends, and what stands behind them would count.
        host = _HOST.fullmatch(url.hostname or "") if named.isprintable() else None
        if url.scheme not in ("http", "https") or host is None or url.port == 0:
            raise ValueError
    except ValueError:
        # Not its own text: the URL may hold a password.
        raise ConfigurationError(
            "HTTPS_PROXY (or ALL_PROXY) is not a proxy's URL",
            remedy="Write it as http://HOST:PORT, or set trust_env=False",
        ) from None
    login = _login(named)
    headers = {} if login is None else {"proxy-authorization": _basic(login)}
    return Proxy(f"{url.scheme}://{url.netloc.rpartition('@')[2]}", headers)


def _login(named: str) -> Secret | None:
    """``USER:PASSWORD`` of a proxy's URL, also of one that is wrong."""
    authority = re.split(r"[/?#]", named.rpartition("://")[2], maxsplit=1)[0]
    before, at, _ = authority.rpartition("@")
    user, _, password = before.partition(":")
    return Secret(f"{unquote(user)}:{unquote(password)}") if at else None


def _basic(login: Secret) -> Secret:
    return Secret(f"Basic {base64.b64encode(login.encode()).decode()}")


def _secrets(named: str) -> Iterator[Secret]:
    login = _login(named)
    if login is not None:
        yield login
        yield Secret(login.partition(":")[2])
        yield Secret(_basic(login).partition(" ")[2])
