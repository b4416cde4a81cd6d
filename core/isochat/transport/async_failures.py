"""Which error is a failure below HTTP, on an event loop?

The one place where aiohttp's exceptions become isochat's: the same fault gives the same error as on the sync wire
(:mod:`isochat.transport.failures`).
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Iterator

import aiohttp
from aiohttp.http_exceptions import ContentLengthError, LineTooLong, TransferEncodingError

from isochat.errors import (
    ChatError,
    ConnectError,
    ConnectionLostError,
    Phase,
    ProtocolError,
    ResponseTooLargeError,
    TLSError,
)
from isochat.transport.failures import CUT_IN_HEAD, CUT_SHORT, NO_REPLY


def transport_error(error: Exception, phase: Phase, *, begun: bool = False) -> ChatError:
    """The isochat error for ``error``, raised by the transport in ``phase``; a ChatError passes as it is.

    Args:
        begun: Whether a part of the reply had come.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ChatError):
            return cause
    if isinstance(error, zlib.error):
        return ProtocolError(f"the compressed body is damaged: {error}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectError(
            f"the name {error.host} was not found: {error.os_error}", remedy="Check the host name and the resolver"
        )
    broken = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if broken is not None and phase not in ("connect", "pool") and "ALERT" not in str(broken):
        # Damaged or cut after the handshake. An alert is the peer's refusal, e.g. of a client without certificate.
        return ConnectionLostError(f"the TLS connection broke in phase {phase!r}: {broken}")
    if broken is not None or isinstance(error, aiohttp.ClientSSLError):
        return TLSError(
            f"the TLS connection was refused: {causes[-1]}",
            remedy="Check the host, or name the certificate authority with ca_bundle=",
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        answer = f"it answered {error.status}" if isinstance(error, aiohttp.ClientHttpProxyError) else causes[-1]
        return ConnectError(f"no connection through the proxy: {answer}", remedy="Check HTTPS_PROXY and NO_PROXY")
    if phase in ("connect", "pool"):
        return ConnectError(f"no connection: {causes[-1]}", remedy="Check the host, the network and the proxy settings")
    for cause in causes:
        if isinstance(cause, LineTooLong) or "Too many headers" in str(cause):
            return ResponseTooLargeError("the reply's head has too many or too long lines")
    if any(isinstance(cause, ContentLengthError | TransferEncodingError) for cause in causes):
        return ConnectionLostError(CUT_SHORT)
    if phase == "body":
        return ConnectionLostError(f"{CUT_SHORT}: {_in_words(causes)}")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return ConnectionLostError(CUT_IN_HEAD if begun else NO_REPLY)
    if isinstance(error, aiohttp.ClientResponseError):
        return ProtocolError(f"the server's reply is not HTTP: {_in_words(causes)}")
    if isinstance(error, aiohttp.ClientError | OSError):
        return ConnectionLostError(f"the connection was lost in phase {phase!r}: {_in_words(causes)}")
    return ProtocolError(f"the reply could not be read: {type(error).__name__}: {error}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, aiohttp's wrapping last undone."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _in_words(causes: list[BaseException]) -> str:
    """The first line of what went wrong; aiohttp quotes the reply over several."""
    said = getattr(causes[-1], "message", None) or str(causes[-1])
    text = str(said).strip().partition("\n")[0]
    if isinstance(causes[-1], OSError):
        return text
    return f"{type(causes[-1]).__name__}: {text}" if text else type(causes[-1]).__name__
