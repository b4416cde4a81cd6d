"""How does a request reach a real workspace, and its reply come back piece by piece?

One connection for each request: it ends with its exchange, also where the client leaves, and no request meets a
connection that the other side has closed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING

import aiohttp
import yarl
from multidict import CIMultiDict

from isochat.config.credentials import Credentials
from isochat.errors import ChatError, ChatTimeoutError, ConfigurationError
from isochat.redaction import Redactor
from isochat.text_safety import check_host
from isochat.transport.deadline import Deadline, SystemClock
from isochat.transport.proxies import Proxies
from isochat.transport.tls import trusting
from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.http.stream_reply import Framing

if TYPE_CHECKING:
    from isochat_workspace.http.records import RecordedRequest

CONNECT_S = 10.0
LOGIN_S = 30.0
SILENCE_S = 600.0
"""Above the service's own longest limit for a request, 597 s ("Model Serving limits" page)."""

_LONGEST_LINE = 65536
_REMEDY = "Give --upstream-token (or token=), set DATABRICKS_HOST and DATABRICKS_TOKEN, or name a profile"
# Of one connection (RFC 9110, 7.6.1), or replaced on the way: the other side has its own.
_NOT_SENT = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
    | {"host", "content-length", "authorization", "proxy-authorization", "cookie", "accept-encoding"}
)
# Cookies, and the id of the customer's workspace: nothing that a client of the API needs, and not to be passed round.
_NOT_PASSED = frozenset(
    {"connection", "keep-alive", "proxy-connection", "trailer", "transfer-encoding", "upgrade", "content-length"}
    | {"set-cookie", "set-cookie2", "x-databricks-org-id"}
)


class UpstreamReply:
    """A reply that is coming in: its head, then its body by `pieces()`, once."""

    def __init__(self, response: aiohttp.ClientResponse, redactor: Redactor, local: Redactor) -> None:
        self._response = response
        self.redactor = redactor
        self.status = response.status
        pairs = [(_text(name), _text(value)) for name, value in response.raw_headers]
        passed = [(name, value) for name, value in pairs if name.lower() not in _NOT_PASSED]
        self.headers = tuple(local.clean_headers(redactor.clean_headers(passed)))
        self.framing: Framing = "close"
        if response.headers.get("Transfer-Encoding", "").lower() == "chunked":
            self.framing = "chunked"
        elif response.content_length is not None or response.method == "HEAD" or response.status in (204, 304):
            self.framing = "content-length"
        self.length = 0 if response.method == "HEAD" else response.content_length or 0

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The pieces of the body as they come; of a chunked one each is a chunk, or a part of a large one.

        Raises:
            aiohttp.ClientError, TimeoutError: the body broke off.
        """
        content = self._response.content
        # Not by iter_chunks(): aiohttp has one object for all empty bodies, and only its first reader finds an end.
        while not content.at_eof():
            data, _ = await content.readchunk()
            if data:
                yield data

    def close(self) -> None:
        """End it and its connection, whatever is still to come."""
        self._response.close()


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Upstream:
    """A real workspace, and who may ask it.

    Args:
        credentials: What authenticates there; their host is where requests go. A client's own token stays here.
        ca_bundle: A file or folder of certificate authorities, in place of those of the system or the environment.

    Raises:
        ConfigurationError: the certificates cannot be used.
    """

    def __init__(self, credentials: Credentials, *, ca_bundle: str | None = None) -> None:
        self._credentials = credentials
        self._tls = trusting(ca_bundle, trust_env=True)
        self._proxies = Proxies(trust_env=True)
        self._session: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        """The workspace's URL."""
        return self._credentials.host

    async def open(self) -> None:
        """Log in, and make ready on the running event loop.

        Raises ConfigurationError where there are no credentials, or they are not taken.
        """
        try:
            await self._authenticate()
        except ChatError as error:
            reason, remedy = error.message.rstrip("."), _REMEDY
            if isinstance(error, ChatTimeoutError):
                remedy = f"Check the host's name and that it can be reached, or {_REMEDY[:1].lower()}{_REMEDY[1:]}"
            raise ConfigurationError(f"no login to the upstream workspace: {reason}", remedy=remedy) from None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_connect=CONNECT_S, sock_read=SILENCE_S),
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, request: RecordedRequest, local: Redactor) -> UpstreamReply:
        """Pass a request on and wait for the head of its reply.

        Args:
            local: Knows the workspace's own token, which is not passed on in any header.

        Raises:
            ServiceError: 502 or 504, with the reason, where no reply comes; 400 for a target that is no path.
        """
        if self._session is None:
            raise ServiceError(502, "BAD_GATEWAY", "The proxy is not open yet.")
        target = request.path_and_query
        if not target.startswith("/"):
            raise ServiceError(400, "BAD_REQUEST", f"The proxy passes on paths, and {target[:80]!r} is none.")
        try:
            credentials = await self._authenticate()
            host = yarl.URL(check_host(self.host, allow_insecure=True))
            # All of it as the path: of a query that is empty the question mark would be lost.
            url = yarl.URL.build(scheme=host.scheme, host=host.host or "", port=host.port, path=target, encoded=True)
            way = self._proxies.way_to(host.scheme, host.host or "", host.explicit_port)
            response = await self._session.request(
                request.method,
                url,
                headers=_headers(request, credentials, local),
                data=request.body or None,
                allow_redirects=False,
                proxy=way.url if way else None,
                proxy_headers=way.headers if way else None,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, ChatError) as error:
            raise self._failure(error) from None
        return UpstreamReply(response, self._credentials.redactor(credentials), local)

    async def _authenticate(self) -> Mapping[str, str]:
        deadline = Deadline(LOGIN_S, SystemClock())
        # A login may ask the network, or run a program.
        return await asyncio.to_thread(self._credentials.headers, deadline)

    def _failure(self, error: Exception) -> ServiceError:
        with contextlib.suppress(ChatError):  # the host is known only after the login
            where = self.host
            return _failure(error, where)
        return _failure(error, "the upstream workspace")


def _failure(error: Exception, where: str) -> ServiceError:
    match error:
        case ChatError():
            return ServiceError(502, "BAD_GATEWAY", f"{where} was not asked: {error.message}")
        case aiohttp.ConnectionTimeoutError():
            return ServiceError(504, "DEADLINE_EXCEEDED", f"{where} could not be reached within {CONNECT_S:g} s.")
        case TimeoutError():
            return ServiceError(504, "DEADLINE_EXCEEDED", f"{where} was silent for {SILENCE_S:g} s.")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return ServiceError(502, "BAD_GATEWAY", f"The certificate of {where} was not accepted: {error}")
    return ServiceError(502, "BAD_GATEWAY", f"{where} gave no reply: {str(error) or type(error).__name__}")


def _headers(request: RecordedRequest, credentials: Mapping[str, str], local: Redactor) -> CIMultiDict[str]:
    """The client's own headers without those of its connection and those with its token, and what authenticates."""
    named = {name.strip().lower() for name in (request.header("connection") or "").split(",")}
    headers = CIMultiDict(
        (name, value)
        for name, value in request.headers
        if name.lower() not in _NOT_SENT | named and local.clean(value) == value
    )
    # Compressed bytes would hide from whoever reads the cassette what was said.
    headers["Accept-Encoding"] = "identity"
    headers.update({name: str(value) for name, value in credentials.items()})
    return headers
