"""What does one attempt send, and what comes back?

A :class:`Wire` carries one request, never a second one: whatever retry loop a client library has, the wire is
where it ends. It is also the tap: the bytes sent, the status, headers and body as they stood on the wire, and
the failure if there was one. Results and errors are read from here; what the client made of it is its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from isochat.errors import (
    ChatError,
    ChatTimeoutError,
    ConfigurationError,
    ConnectionLostError,
    Phase,
    ProtocolError,
    RedirectRefusedError,
    cleaned,
)
from isochat.redaction import Redactor
from isochat.transport import failures
from isochat.transport.connection import under_way
from isochat.transport.deadline import Deadline
from isochat.transport.limits import DEFAULT_LIMITS, Limits
from isochat.transport.reply import IncomingReply
from isochat.transport.request_headers import request_headers

if TYPE_CHECKING:
    from isochat.transport.pools import Pools


class Wire:
    """One attempt: its clock, its limits, and what went over the wire.

    Attributes:
        credentials: The headers that authenticate this attempt.
        method, url, request_headers, request_body: The request as it was sent.
        sent: The exact bytes given to the socket, in the order of sending.
        status, reason, headers, body: The reply; ``None`` until there is one. ``body`` is decompressed.
        failure: What broke the attempt below HTTP.
        client_call: The client's documented call under way, where the backend has said so.
        reused: Whether the connection had served a request before.
        times: When the attempt was ``begun``, handed to the ``client``, ``sent``, its reply's ``head`` and ``end``
            came, and the client ``returned``: seconds on the deadline's clock.
    """

    def __init__(
        self,
        pools: Pools,
        deadline: Deadline,
        *,
        idle: float = 120.0,
        credentials: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        product: str | None = None,
        secrets: Iterable[str] = (),
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._pools = pools
        self.deadline = deadline
        self.idle = idle
        self.credentials = credentials or {}
        self.own_headers = headers or {}
        self.product = product
        self._secrets = secrets
        self.limits = limits

        self.method = ""
        self.url = ""
        self.request_headers: dict[str, str] = {}
        self.request_body = b""
        self.sent: list[bytes] = []
        self.status: int | None = None
        self.reason = ""
        self.headers: list[tuple[str, str]] = []
        self.body: bytes | None = None
        self.failure: ChatError | None = None
        self.client_call = ""
        self.reused: bool | None = None
        self.times: dict[str, float] = {"begun": deadline.clock.monotonic()}

        # Kept by the connection while it works for this wire.
        self.phase: Phase = "connect"
        self.requested = False
        self.held: bytes | None = None
        self.head_bytes = 0
        self.body_bytes = 0

    def send(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> IncomingReply:
        """Send the one request of this attempt and wait for the reply's headers.

        Raises:
            ConfigurationError: this attempt has sent its request already.
            TransportError, ChatTimeoutError, ResponseTooLargeError: no usable reply came.
        """
        if self.method:
            raise ConfigurationError(
                f"a second request ({method} {urlsplit(url).path}) of one attempt was refused",
                remedy="The client's own retries must be off: report this with the client's version",
            )
        self.method, self.url, self.request_body = method, url, body
        self.mark("sent")
        self.request_headers = request_headers(headers, self.credentials, self.own_headers, self.product)
        token = under_way.set(self)
        try:
            raw = self._pools.urlopen(self)
            self.mark("head")
            if "transfer-encoding" in raw.headers and "content-length" in raw.headers:
                # RFC 9112 6.3 calls this an attack on message framing; aiohttp refuses it, urllib3 does not.
                raw.close()
                raw.release_conn()
                raise ProtocolError("the reply has both Content-Length and Transfer-Encoding")
        except BaseException as error:
            raise self.failed(error) from self.cause_of(error)
        finally:
            under_way.reset(token)
        self.phase = "body"
        reply = IncomingReply(raw, self)
        self.status, self.reason, self.headers = reply.status, reply.reason, reply.headers
        if 300 <= reply.status < 400:
            reply.close()
            location = raw.headers.get("location") or "no location"
            self.failure = RedirectRefusedError(
                f"the server answered {reply.status} with a redirect to {_shown(location)}",
                status_code=reply.status,
                remedy="Set host to the workspace's own URL; isochat never follows a redirect with a prompt",
            )
            raise self.failure
        return reply

    def exchange(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
        """Send the request and read the whole reply; the body also stays in :attr:`body`.

        The body of an error reply has the token blanked before any client or caller sees it.
        """
        reply = self.send(method, url, headers, body)
        pieces: list[bytes] = []
        try:
            for piece in reply.chunks():
                pieces.append(piece)
        except (ConnectionLostError, ProtocolError):
            if reply.status < 400:
                raise
            # The status has said what happened; an explanation that is cut or damaged does not change it.
            self.failure = None
        data = b"".join(pieces)
        self.mark("end")
        if reply.status >= 400:
            data = self.redactor.clean_bytes(data)
        self.body = data
        return data

    @property
    def redactor(self) -> Redactor:
        """Blanks what authenticates this attempt."""
        return Redactor(self._secrets)

    def header(self, name: str) -> str | None:
        """A header of the reply; the first one of that name."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)

    # -- asked by the connection while it works -----------------------------------------------------------

    def time_left(self) -> float | None:
        """What the next read or write may take, in seconds.

        Before the first byte only the connect timeout and the deadline count: a model may think for minutes.
        """
        match self.phase:
            case "connect":
                limit = self.limits.connect
            case "body":
                limit = self.idle
            case _:
                limit = math.inf
        return self.deadline.left(self.phase, limit)

    def out_of_time(self) -> ChatTimeoutError:
        """The error for a read or write that took longer than :meth:`time_left`."""
        if self.deadline.clock.monotonic() >= self.deadline.at:
            return self.deadline.passed(self.phase)
        if self.phase == "body":
            return ChatTimeoutError(
                f"the server fell silent for {self.idle:g} s in the middle of its reply",
                phase="idle",
                remedy="Allow longer silences with timeout=",
            )
        return ChatTimeoutError(
            f"no connection within {self.limits.connect:g} s",
            phase="connect",
            retryable=True,
            remedy="Check the host, the network and the proxy settings",
        )

    # -- what became of it --------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> BaseException:
        """Keep and return the isochat error for what broke this attempt; leave cancellation as it is."""
        if not isinstance(error, Exception):
            return error
        if self.failure is None:
            # A malformed reply is quoted in the message, and a server may echo anything.
            self.failure = cleaned(failures.transport_error(error, self.phase), self.redactor.clean)
        return self.failure

    def cause_of(self, error: BaseException) -> BaseException | None:
        """What to chain the failure to: the library's own exception, if it is not the failure itself."""
        return error if isinstance(error, Exception) and not isinstance(error, ChatError) else error.__cause__

    def mark(self, moment: str) -> None:
        """Note the time of ``moment``."""
        self.times[moment] = self.deadline.clock.monotonic()


def _shown(location: str) -> str:
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"[:200] if parts.hostname else repr(location[:200])
