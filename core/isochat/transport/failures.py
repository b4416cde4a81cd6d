"""Which error is a failure below HTTP?

The one place where the exceptions of urllib3, http.client, ssl and zlib become isochat's.
"""

from __future__ import annotations

import http.client
import ssl
import zlib

import urllib3.exceptions as u3

from isochat.errors import (
    ChatError,
    ChatTimeoutError,
    ConnectError,
    ConnectionLostError,
    Phase,
    ProtocolError,
    ResponseTooLargeError,
    TLSError,
)

CUT_IN_HEAD = "the connection ended inside the reply's head"
CUT_SHORT = "the connection ended inside the reply"
NO_REPLY = "the server closed the connection without a reply"


def transport_error(error: Exception, phase: Phase) -> ChatError:
    """The isochat error for ``error``, raised by the transport in ``phase``; a ChatError passes as it is."""
    if isinstance(error, ChatError):
        return error
    if isinstance(error, u3.EmptyPoolError):
        return pool_is_busy()
    if isinstance(error, u3.NameResolutionError):
        return ConnectError(str(error), remedy="Check the host name and the resolver")
    if phase != "connect" and isinstance(error, u3.SSLError) and "ALERT" not in str(error):
        # Damaged or cut after the handshake. An alert is the peer's refusal, e.g. of a client without certificate.
        return ConnectionLostError(f"the TLS connection broke in phase {phase!r}: {_innermost(error)}")
    if isinstance(_innermost(error), ssl.SSLEOFError):
        return ConnectError(f"the connection ended inside the TLS handshake: {_innermost(error)}")
    if isinstance(error, u3.SSLError | u3.ProxySchemeUnknown) or _caused_by(error, u3.SSLError):
        return TLSError(
            f"the TLS connection was refused: {_innermost(error)}",
            remedy="Check the host, or name the certificate authority with ca_bundle=",
        )
    if isinstance(error, u3.ProxyError):
        return ConnectError(
            f"no connection through the proxy: {_innermost(error)}", remedy="Check HTTPS_PROXY and NO_PROXY"
        )
    for cause in (error, error.__cause__, error.__context__):
        if isinstance(cause, http.client.LineTooLong) or "got more than" in str(cause):
            return ResponseTooLargeError("the reply's head has too many or too long lines")
    if isinstance(error, u3.InvalidHeader):
        return ProtocolError(f"the reply's framing is ambiguous: {error}")
    if isinstance(error, zlib.error | u3.DecodeError):
        return ProtocolError(f"the compressed body is damaged: {error}")
    if phase == "connect":
        return ConnectError(
            f"no connection: {_innermost(error)}", remedy="Check the host, the network and the proxy settings"
        )
    cause = _innermost(error)
    if isinstance(cause, http.client.IncompleteRead):
        return ConnectionLostError(CUT_SHORT)
    if isinstance(error, u3.IncompleteRead | u3.InvalidChunkLength) or phase == "body":
        return ConnectionLostError(f"{CUT_SHORT}: {cause}")
    if isinstance(cause, http.client.RemoteDisconnected):
        return ConnectionLostError(NO_REPLY)
    if isinstance(cause, http.client.HTTPException):
        return ProtocolError(f"the server's reply is not HTTP: {type(cause).__name__}: {cause}")
    if isinstance(error, OSError | u3.HTTPError | http.client.HTTPException):
        return ConnectionLostError(f"the connection was lost in phase {phase!r}: {cause}")
    return ProtocolError(f"the reply could not be read: {type(error).__name__}: {error}")


def pool_is_busy() -> ChatTimeoutError:
    """The error for a deadline that passed in the queue for a connection."""
    return ChatTimeoutError(
        "every connection of the pool was busy until the deadline",
        phase="pool",
        remedy="Raise max_connections=, or close streams that are no longer read",
    )


def _caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    reason = getattr(error, "reason", None) or getattr(error, "original_error", None)
    return isinstance(reason, kind)


def _innermost(error: BaseException) -> BaseException:
    while True:
        inner = next((a for a in reversed(error.args) if isinstance(a, BaseException)), None)
        inner = inner or getattr(error, "original_error", None)
        if inner is None or inner is error:
            return error
        error = inner
