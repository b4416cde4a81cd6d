"""How does a service principal log in? OAuth for machines: discovery, and a token for client id and secret.

Shapes: databricks-sdk `oauth.py` (`OidcEndpoints`, `retrieve_token`), "Authorize service principal access with OAuth".
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hmac
import secrets
import time
import urllib.parse
from collections import OrderedDict

from isochat_workspace.http.http_reply import HttpReply, json_reply
from isochat_workspace.http.records import RecordedRequest

_MOST_TOKENS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """Who may fetch tokens, and for how many seconds they hold (the service: one hour)."""

    client_id: str
    client_secret: str
    token_seconds: int = 3600

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret or self.token_seconds < 1:
            raise ValueError("a service principal has a client_id, a client_secret and token_seconds above 0")

    def __repr__(self) -> str:
        return f"ServicePrincipal(client_id={self.client_id!r}, token_seconds={self.token_seconds})"


class TokenIssuer:
    """Gives out tokens and knows them again until they expire; of the last thousand, the oldest go first."""

    def __init__(self, principal: ServicePrincipal | None) -> None:
        self._principal = principal
        self._expiry: OrderedDict[str, float] = OrderedDict()

    def knows(self, token: str) -> bool:
        """Whether this token was given out and still holds."""
        return self._expiry.get(token, 0.0) > time.monotonic()

    def discovery(self, url: str, request_id: str) -> HttpReply:
        """Where to fetch a token."""
        endpoints = {"authorization_endpoint": f"{url}/oidc/v1/authorize", "token_endpoint": f"{url}/oidc/v1/token"}
        return json_reply(200, {"issuer": f"{url}/oidc", **endpoints}, request_id)

    def answer(self, request: RecordedRequest, request_id: str) -> HttpReply:
        """The answer to a token request: a form, with the credentials in it or as Basic."""
        try:
            form = dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True, max_num_fields=100))
        except ValueError:
            return _refused(400, "invalid_request", "The body is no form", request_id)
        if form.get("grant_type") != "client_credentials":
            message = "Only the grant type client_credentials is known here"
            return _refused(400, "unsupported_grant_type", message, request_id)
        given = _basic(request.header("authorization")) or (form.get("client_id", ""), form.get("client_secret", ""))
        known = self._principal
        if known is None or not (_same(given[0], known.client_id) and _same(given[1], known.client_secret)):
            return _refused(401, "invalid_client", "Client authentication failed", request_id)
        token = secrets.token_urlsafe(48)
        self._expiry[token] = time.monotonic() + known.token_seconds
        while len(self._expiry) > _MOST_TOKENS:
            self._expiry.popitem(last=False)
        granted = {"token_type": "Bearer", "expires_in": known.token_seconds, "scope": form.get("scope", "all-apis")}
        return json_reply(200, {"access_token": token, **granted}, request_id)


def _refused(status: int, error: str, message: str, request_id: str) -> HttpReply:
    return json_reply(status, {"error": error, "error_description": message}, request_id)


def _basic(authorization: str | None) -> tuple[str, str] | None:
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return urllib.parse.unquote(user), urllib.parse.unquote(password)


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())
