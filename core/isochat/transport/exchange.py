"""What went over the wire in one attempt, and what became of it?

An :class:`Exchange` is one request and its reply, never two: whatever retry loop a client library has, this is where it
ends. It is also the tap: the bytes sent, the status, headers and body as they stood on the wire, and the failure if
there was one. Results and errors are read from here; what the client made of it is its own. How bytes move is said by
its two kinds: :class:`~isochat.transport.wire.Wire` over urllib3, :class:`~isochat.transport.async_wire.AsyncWire` over
aiohttp.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from isochat.errors import (
    BadResponseError,
    ChatError,
    ConfigurationError,
    ConnectionLostError,
    ProtocolError,
    RedirectRefusedError,
    cleaned,
)
from isochat.foreign_errors import cleaned_chain
from isochat.redaction import Redactor
from isochat.transport import failures
from isochat.transport.deadline import Deadline
from isochat.transport.head import Head, HeadReader
from isochat.transport.limits import DEFAULT_LIMITS, Limits
from isochat.transport.reply_body import explanation, success
from isochat.transport.request_headers import request_headers
from isochat.transport.timeouts import Timeouts


class Exchange(Timeouts):
    """One attempt: its clock, its limits, and what went over the wire.

    Attributes:
        streaming: Whether a successful reply is left open, as :attr:`incoming`, to be read as a stream.
        credentials: The headers that authenticate this attempt.
        method, url, request_headers, request_body: The request as it was sent.
        status, reason, headers, body: The reply; ``None`` until there is one. ``body`` is decompressed.
        redactor: Blanks what authenticates this attempt.
        incoming: The reply of a stream, its body still on the connection.
        failure: What broke the attempt below HTTP.
        client_call: The client's documented call under way, where the backend has said so.
        reused: Whether the connection had served a request before.
        times: When the attempt was ``begun``, handed to the ``client``, ``sent``, its reply's ``head``, the ``first``
            event of a stream and the ``end`` came, and the client ``returned``: seconds on the deadline's clock.
    """

    def __init__(
        self,
        deadline: Deadline,
        *,
        streaming: bool = False,
        idle: float = 120.0,
        credentials: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        product: str | None = None,
        redactor: Redactor | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(deadline, idle, limits)
        self.streaming = streaming
        # Read-only: they are the client's, and a backend may not change those of later calls.
        self.credentials: Mapping[str, str] = MappingProxyType(credentials or {})
        self.own_headers: Mapping[str, str] = MappingProxyType(headers or {})
        self.product = product
        self.redactor = redactor or Redactor(())

        self.method = ""
        self.url = ""
        self.request_headers: dict[str, str] = {}
        self.request_body = b""
        self._sent: list[bytes] = []
        self.status: int | None = None
        self.reason = ""
        self.headers: list[tuple[str, str]] = []
        self.body: bytes | None = None
        self.incoming: Any = None
        self.failure: ChatError | None = None
        self.client_call = ""
        self.reused: bool | None = None
        self.times: dict[str, float] = {"begun": deadline.clock.monotonic()}

        # Kept by the connection while it works for this exchange.
        self.heads = HeadReader(limits.head)

    @property
    def sent(self) -> list[bytes]:
        """The exact bytes given to the socket, in the order of sending."""
        return self._sent

    def mark(self, moment: str) -> None:
        """Note the time of ``moment``."""
        self.times[moment] = self.deadline.clock.monotonic()

    def abort(self) -> None:
        """End the attempt from another thread, whatever it waits for."""
        self.aborted = True

    # -- the request and its reply ------------------------------------------------------------------------

    def begin(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Note the one request of this attempt.

        Raises:
            ConfigurationError: this attempt has sent its request already.
        """
        if self.method:
            raise ConfigurationError(
                f"a second request ({method} {urlsplit(url).path}) of one attempt was refused",
                remedy="The client's own retries must be off: report this with the client's version",
            )
        self.method, self.url, self.request_body = method, url, body
        self.mark("sent")
        self.request_headers = request_headers(headers, self.credentials, self.own_headers, self.product)

    def take_head(self, head: Head) -> None:
        """Note the reply's head.

        Raises:
            RedirectRefusedError: it is a redirect, which isochat never follows.
        """
        self.mark("head")
        self.phase = "body"
        self.status = status = head.status
        # Whatever the server echoes: a reason or a request id ends up in logs and messages.
        self.reason, self.headers = self.redactor.clean(head.reason), self.redactor.clean_headers(head.fields)
        if 300 <= status < 400:
            location = self.redactor.clean(head.first("location") or "no location")
            raise RedirectRefusedError(
                f"the server answered {status} with a redirect to {_shown(location)}",
                status_code=status,
                remedy="Set host to the workspace's own URL; isochat never follows a redirect with a prompt",
            )

    def body_cap(self, status: int) -> int:
        """Bytes that the body of a reply with ``status`` may have."""
        if status >= 400:
            return self.limits.error
        return self.limits.stream if self.streaming else self.limits.body

    @property
    def left_open(self) -> bool:
        """Whether the reply that has begun is to be read as a stream."""
        return self.streaming and self.status is not None and self.status < 300

    def take_body(self, data: bytes) -> bytes:
        """Note the whole body, as clients may see it.

        Raises:
            ResponseTooLargeError: its values would take more memory than there is room for, whoever reads them.
            BadResponseError: it is far too long for what is no answer.
        """
        self.mark("end")
        if (self.status or 0) >= 400:
            self.body = explanation(data, self.redactor)
            return self.body
        named = {name.lower(): value for name, value in self.headers}
        try:
            self.body = success(data, named.get("content-type"), self.limits, self.redactor)
        except BadResponseError as error:
            self.failure = error
            error.status_code, error.request_id = self.status, named.get("x-request-id")
            raise
        return self.body

    def forgives(self, error: BaseException) -> bool:
        """Whether a reply cut by ``error`` says enough: of an error reply the status has said what happened, and an
        explanation that is cut or damaged does not change it.
        """
        forgiven = isinstance(error, ConnectionLostError | ProtocolError) and (self.status or 0) >= 400
        if forgiven:
            self.failure = None
        return forgiven

    # -- what became of it --------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> BaseException:
        """Keep and return the isochat error for what broke this attempt; leave cancellation as it is."""
        if not isinstance(error, Exception):
            return error
        if self.failure is None:
            # A malformed reply is quoted in the message, and a server may echo anything.
            # So may the library's own exception, which the client may log.
            cleaned_chain(error, self.redactor.clean)
            self.failure = failure = cleaned(self.translated(error), self.redactor.clean)
            if self.reused and not self.heads.count and isinstance(failure, ConnectionLostError) and not self.aborted:
                # The server had most likely closed it before the request came, as servers do with idle connections.
                failure.retryable = True
                self.drop_idle_connections()
        return self.failure

    def drop_idle_connections(self) -> None:
        """Have the next attempt open a new connection: what else is idle may be as stale as this one was."""

    def translated(self, error: Exception) -> ChatError:
        """The isochat error for an exception of the transport."""
        return failures.transport_error(error, self.phase)

    def cause_of(self, error: BaseException) -> BaseException | None:
        """What to chain the failure to: the library's own exception, if it is not the failure itself."""
        return error if isinstance(error, Exception) and not isinstance(error, ChatError) else error.__cause__


def _shown(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return repr(location[:200])
    return f"{parts.scheme}://{parts.hostname}{parts.path}"[:200] if parts.hostname else repr(location[:200])
