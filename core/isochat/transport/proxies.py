"""Does a request go through a proxy, and how does it log in there? The same on both kinds of wire."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from isochat.errors import ConfigurationError
from isochat.redaction import Secret


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
        if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
            raise ValueError
    except ValueError:
        # Not its own text: the URL may hold a password.
        raise ConfigurationError(
            "HTTPS_PROXY (or ALL_PROXY) is not a proxy's URL",
            remedy="Write it as http://HOST:PORT, or set trust_env=False",
        ) from None
    headers = {}
    if url.username is not None:
        login = f"{unquote(url.username)}:{unquote(url.password or '')}"
        headers["proxy-authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return Proxy(f"{url.scheme}://{url.netloc.rpartition('@')[2]}", headers)
