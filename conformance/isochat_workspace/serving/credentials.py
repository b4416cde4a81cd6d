"""Is this caller let in? The service's check of the Authorization header: the workspace's token, or one of a login."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable

from isochat_workspace.http.http_reply import ServiceError


def check_credentials(authorization: str | None, token: str, issued: Callable[[str], bool]) -> None:
    """Accept `Bearer TOKEN` and `Basic base64(token:TOKEN)` (`curl -u token:TOKEN`, as the docs show).

    `issued` says of a token whether a login gave it out and it still holds.

    Raises ServiceError 401 where no credential of a known scheme was sent, 403 where one was sent and is
    wrong: the service makes this difference (surface notes: Codex probe 2026-07-28, n8n#38642).
    """
    scheme, _, value = (authorization or "").strip().partition(" ")
    value = value.strip()
    kind = scheme.lower()
    if kind not in ("bearer", "basic") or not value:
        raise ServiceError(401, 401, "Credential was not sent or was of an unsupported type for this API.")
    given = value if kind == "bearer" else _basic_password(value)
    if given is None or not (hmac.compare_digest(_bytes(given), _bytes(token)) or issued(given)):
        raise ServiceError(403, 403, "Invalid access token.")


def _bytes(text: str) -> bytes:
    """Header text back as bytes; undecodable ones of the wire come as surrogates."""
    return text.encode("utf-8", "surrogateescape")


def _basic_password(value: str) -> str | None:
    """The password of Basic credentials whose user is "token", else None."""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if user == "token" else None
