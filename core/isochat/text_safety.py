"""May this name, host, token or header go into a URL or a request head?

Refused here, before anything is sent: a name with ``../`` reaches another path of the workspace with the
caller's token (seen with the Databricks SDK and MLflow), a line break in a token ends the header.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from isochat.errors import ConfigurationError, InvalidInputError, UnsafeInputError

# The documented alphabet of endpoint names; model services add dots: system.ai.claude-sonnet-4-5.
_ENDPOINT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")
_ENDPOINT_LENGTH = 255
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Headers that isochat or the HTTP layer must own.
_OWNED = frozenset(
    {"authorization", "host", "content-length", "transfer-encoding", "connection", "accept-encoding", "cookie"}
    | {"proxy-authorization", "proxy-connection", "upgrade", "te", "trailer", "keep-alive", "expect"}
    | {"content-encoding"}
)


def check_endpoint(name: Any, what: str = "endpoint") -> str:
    """``name`` as it may stand in a URL's path.

    Raises:
        UnsafeInputError: it could leave its place in the path.
        InvalidInputError: it is no text, or empty.
    """
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"{what} is {name!r}; expected the name of a serving endpoint")
    if len(name) > _ENDPOINT_LENGTH or not _ENDPOINT.fullmatch(name):
        raise UnsafeInputError(
            f"{what} {name[:80]!r} is not a serving endpoint's name",
            remedy="Names have letters, digits, '-' and '_', and dots between the parts of a model service's name",
        )
    return name


def check_token(token: Any) -> str:
    """``token`` as it may stand in a header. The message never shows it.

    Raises:
        UnsafeInputError: it holds a line break, a blank, a control or a non-ASCII character.
        ConfigurationError: it is empty.
    """
    if not isinstance(token, str) or not token:
        raise ConfigurationError("the token is empty", remedy="Pass token=, or set DATABRICKS_TOKEN")
    if not token.isascii() or not token.isprintable() or " " in token:
        where = next(i for i, c in enumerate(token) if not c.isascii() or not c.isprintable() or c == " ")
        raise UnsafeInputError(
            f"the token has a character at position {where} of {len(token)} that cannot stand in a header",
            remedy="Strip the line break or blank that came with it from its file or variable",
        )
    return token


def check_headers(headers: Any, what: str) -> dict[str, str]:
    """The caller's own headers, checked by RFC 9110's grammar.

    Raises:
        UnsafeInputError: a name or value would break the request's head.
        InvalidInputError: not a mapping of texts, or a header that is not the caller's to set.
    """
    if not isinstance(headers, Mapping):
        raise InvalidInputError(f"{what} is {type(headers).__name__}; expected a mapping of names to values")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInputError(f"{what} has {name!r} with {type(value).__name__}; expected text for both")
        if not _HEADER_NAME.fullmatch(name):
            raise UnsafeInputError(
                f"{what} has the name {name!r}, which is not a header's name",
                remedy="Names have ASCII letters, digits and hyphens, without blanks or a colon",
            )
        if not value.isascii() or any(c != "\t" and not c.isprintable() for c in value):
            raise UnsafeInputError(
                f"{what}[{name!r}] has a line break, a control or a non-ASCII character",
                remedy="Remove it, or encode the value as percent or base64 text",
            )
        if name.lower() in _OWNED:
            raise InvalidInputError(
                f"{what} may not set {name}",
                remedy="Credentials come from token=, profile= or the environment; the rest belongs to HTTP",
            )
    return dict(headers)


def check_host(host: Any, allow_insecure: bool = False) -> str:
    """The workspace's URL without path: scheme, name and port.

    A pasted browser URL (``/?o=123``, ``/serving-endpoints``) is cleaned; plain http is for loopback only.

    Raises:
        UnsafeInputError: it names a user, a foreign path, or would send a token in clear text.
        ConfigurationError: it is no host at all.
    """
    if not isinstance(host, str) or not host.strip():
        raise ConfigurationError("the host is empty", remedy="Pass host=, or set DATABRICKS_HOST")
    if not host.isascii() or not host.isprintable():
        raise UnsafeInputError(
            f"host {host[:80]!r} has a control or non-ASCII character",
            remedy="Write it as https://NAME, internationalised names in their xn-- form",
        )
    if "@" in host:
        # Wherever it stands: a password may have a "/" or a "?" in it. Before it is taken apart, so that neither a
        # message nor a frame that shows its variables shows a part of it.
        raise UnsafeInputError("the host holds an '@', perhaps behind a user name or password", remedy=_HOST_REMEDY)
    text = host.strip()
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        port, name = url.port, url.hostname or ""
    except ValueError as error:
        raise ConfigurationError(f"host {text[:80]!r} is not a URL: {error}", remedy=_HOST_REMEDY) from None
    if url.scheme not in ("https", "http"):
        raise ConfigurationError(f"host {text[:80]!r} has the scheme {url.scheme!r}", remedy=_HOST_REMEDY)
    if port == 0:  # an empty port's default would be another place than the one that is written
        raise ConfigurationError(f"host {text[:80]!r} has the port 0", remedy=_HOST_REMEDY)
    if not _is_host(name):
        raise UnsafeInputError(f"host {text[:80]!r} does not name a host", remedy=_HOST_REMEDY)
    authority = (f"[{name}]" if ":" in name else name) + (f":{port}" if port else "")
    clean = f"{url.scheme}://{authority}"
    if url.path.rstrip("/") not in ("", "/serving-endpoints", "/ai-gateway/mlflow/v1", "/login.html"):
        raise UnsafeInputError("host has a path", remedy=f"Use the workspace's URL alone: {clean}")
    if url.scheme == "http" and not allow_insecure and not is_loopback(name):
        raise UnsafeInputError(
            f"host {clean} would carry the token in clear text",
            remedy=f"Use https://{authority}, or pass allow_insecure=True if the network is yours",
        )
    return clean


_HOST_REMEDY = "Write it as https://NAME.cloud.databricks.com"


def _is_host(name: str) -> bool:
    """Whether ``name`` is an address as everybody reads it, or a name that can be looked up."""
    if _address(name) is not None:
        return "%" not in name
    if not _HOST_NAME.fullmatch(name) or name in ("http", "https"):  # the scheme, written twice or with one slash
        return False
    labels = name.split(".")
    # Resolvers read 127.1, 2130706433 and 0x7f.1 as addresses, each in its own way.
    return len(name) <= 253 and max(map(len, labels)) <= 63 and not _NUMBER.fullmatch(labels[-1])


def is_loopback(name: str) -> bool:
    """Whether ``name`` is this machine, without asking a resolver."""
    address = _address(name)
    if address is None:
        return name == "localhost"
    # Whether ::ffff:127.0.0.1 is, the versions of Python do not agree upon.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
