"""What can go wrong, as one tree.

::

    ChatError
      ConfigurationError              nothing was sent
        BackendNotFoundError
        BackendNotInstalledError
        PluginError
      InvalidInputError               nothing was sent
        UnsupportedParameterError
        UnsafeInputError
      TransportError
        ConnectError
        ConnectionLostError
        TLSError
        RedirectRefusedError
        ProtocolError
      ChatTimeoutError                phase: connect pool send first_byte body idle retry_wait auth
      BadResponseError
        ResponseTooLargeError
      StatusError                     408 and the 4xx not named below
        BadRequestError               400 422
          ContextLengthExceededError
          ContentFilteredError
        AuthenticationError           401
        PermissionDeniedError         403
        NotFoundError                 404
        ConflictError                 409
        RequestTooLargeError          413
        RateLimitError                429
        ServerError                   5xx
          OverloadedError             503 529
      StreamError
        StreamTruncatedError          partial kept
        StreamFailedError             partial kept
      OutputParseError
        ToolArgumentsError

The class, the retry verdict and ``partial`` depend on what happened on the wire, never on the backend
that carried the call. The client's own exception, where there was one, is the ``__cause__``.
Cancellation and ``KeyboardInterrupt`` are never wrapped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

Phase = Literal["connect", "pool", "send", "first_byte", "body", "idle", "retry_wait", "auth"]


class ChatError(Exception):
    """The root of everything isochat raises.

    Attributes:
        message: What happened, in one line, without the remedy.
        remedy: What to do about it, or ``None``.
        backend: Name of the backend that carried the call.
        endpoint: Name of the serving endpoint.
        status_code: HTTP status as it stood on the wire, or ``None`` when there was no reply.
        code: The service's own error code (``error_code`` or ``error.code``), as text.
        request_id: ``x-request-id`` of the reply.
        retry_after: Seconds the server asked to wait, or ``None``.
        attempts: Attempts made for this call; 0 when it was refused before the first.
        elapsed: Seconds from the start of the call.
        retryable: Whether the same call may be sent again without doubt about its effect.
        may_have_executed: Whether the model may have run (and been billed) all the same.
        body: The reply's body as text, shortened, the token blanked out.
        partial: What a stream had delivered before it broke.
    """

    retryable: bool = False
    may_have_executed: bool = False

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        backend: str | None = None,
        endpoint: str | None = None,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        attempts: int = 0,
        elapsed: float = 0.0,
        retryable: bool | None = None,
        may_have_executed: bool | None = None,
        body: str | None = None,
        partial: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.backend = backend
        self.endpoint = endpoint
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.attempts = attempts
        self.elapsed = elapsed
        if retryable is not None:
            self.retryable = retryable
        if may_have_executed is not None:
            self.may_have_executed = may_have_executed
        self.body = body
        self.partial = partial

    def __str__(self) -> str:
        facts = [
            f"{label} {value}"
            for label, value in (
                ("status", self.status_code),
                ("code", self.code),
                ("endpoint", self.endpoint),
                ("backend", self.backend),
                ("request id", self.request_id),
                ("retry after", None if self.retry_after is None else f"{self.retry_after:g} s"),
                ("attempts", self.attempts if self.attempts > 1 else None),
            )
            if value is not None
        ]
        text = self.message + (f" ({', '.join(facts)})" if facts else "")
        return f"{text}. {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[Any, ...]:
        # The cause stays behind: a client's exception often holds sockets and request objects.
        return _rebuild, (type(self), self.message, {k: v for k, v in self.__dict__.items() if k != "message"})


def _rebuild(cls: type[ChatError], message: str, state: dict[str, Any]) -> ChatError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.message = message
    error.__dict__.update(state)
    return error


class ConfigurationError(ChatError):
    """The client, its target or its environment is set up wrongly; nothing was sent."""


class BackendNotFoundError(ConfigurationError):
    """No installed distribution offers a backend of this name."""


class BackendNotInstalledError(ConfigurationError):
    """The backend is known, the client library it drives is not installed."""


class PluginError(ConfigurationError):
    """A plugin is broken, or two distributions claim one name; the others stay usable."""


class InvalidInputError(ChatError):
    """The messages or parameters cannot be a chat request; nothing was sent."""


class UnsupportedParameterError(InvalidInputError):
    """The parameter is unknown, or the backend's protocol cannot carry it."""


class UnsafeInputError(InvalidInputError):
    """A name, host, token, header or text would break out of its place on the wire."""


class TransportError(ChatError):
    """The request or its reply was lost or damaged on the way."""

    may_have_executed = True


class ConnectError(TransportError):
    """No connection came about; the request was not sent."""

    retryable = True
    may_have_executed = False


class ConnectionLostError(TransportError):
    """The connection ended after the request had begun to leave."""


class TLSError(TransportError):
    """The server's certificate or the TLS handshake was refused; the request was not sent."""

    may_have_executed = False


class RedirectRefusedError(TransportError):
    """The server answered a POST with a redirect; isochat never follows one with a prompt and a token."""

    may_have_executed = False


class ProtocolError(TransportError):
    """The peer does not speak HTTP as RFC 9112 has it."""


class ChatTimeoutError(ChatError):
    """Time ran out. ``phase`` says on what.

    Attributes:
        phase: ``connect``, ``pool``, ``send``, ``first_byte``, ``body``, ``idle`` (silence once the reply had
            begun), ``retry_wait`` or ``auth``.
    """

    def __init__(self, message: str, *, phase: Phase, **attributes: Any) -> None:
        attributes.setdefault("may_have_executed", phase in ("send", "first_byte", "body", "idle"))
        super().__init__(message, **attributes)
        self.phase: Phase = phase


class BadResponseError(ChatError):
    """The server said success, but what it sent is no chat answer."""

    may_have_executed = True


class ResponseTooLargeError(BadResponseError):
    """The reply's head, body or event is larger than its cap."""


class StatusError(ChatError):
    """The service answered with an error status."""


class BadRequestError(StatusError):
    """400 or 422: the service refused the request as it stands."""


class ContextLengthExceededError(BadRequestError):
    """The messages are longer than the model's context."""


class ContentFilteredError(BadRequestError):
    """A guardrail or content filter refused the request or its answer."""


class AuthenticationError(StatusError):
    """401: no credentials, or none that the service understands."""


class PermissionDeniedError(StatusError):
    """403: the token is wrong, expired or lacks the right to query this endpoint."""


class NotFoundError(StatusError):
    """404: no such endpoint or path in this workspace."""


class ConflictError(StatusError):
    """409."""


class RequestTooLargeError(StatusError):
    """413: the request's body is over the service's limit (4 MB for foundation models)."""


class RateLimitError(StatusError):
    """429: a rate limit of the workspace or the endpoint."""

    retryable = True


class ServerError(StatusError):
    """5xx: the service failed."""

    may_have_executed = True


class OverloadedError(ServerError):
    """503 or 529: the service takes no requests for now."""

    retryable = True
    may_have_executed = False


class StreamError(ChatError):
    """The stream broke after it had begun; ``partial`` holds what had come."""

    may_have_executed = True


class StreamTruncatedError(StreamError):
    """The stream ended before it was complete."""


class StreamFailedError(StreamError):
    """The service reported an error inside the stream."""


class OutputParseError(ChatError):
    """The answer is not of the shape that was asked for."""

    may_have_executed = True


class ToolArgumentsError(OutputParseError):
    """A tool call's arguments are not JSON."""


def cleaned(error: ChatError, clean: Callable[[str], str]) -> ChatError:
    """Blank secrets in what a server made it say, and keep its message to one line."""
    error.message = " ".join(clean(error.message).split())
    error.args = (error.message,)
    for name in ("request_id", "code", "body"):
        if (text := getattr(error, name)) is not None:
            setattr(error, name, clean(text))
    error.partial = _cleaned_value(error.partial, clean)
    return error


def _cleaned_value(value: Any, clean: Callable[[str], str]) -> Any:
    """``value`` with secrets blanked; itself where there is none, since it may be large."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        items = [_cleaned_value(item, clean) for item in value]
        changed = any(new is not old for new, old in zip(items, value, strict=True))
        return type(value)(items) if changed else value
    if isinstance(value, dict):
        # Not in the names of known fields, whatever the secret is.
        named = {
            name if _FIELD.fullmatch(name) else clean(name): _cleaned_value(item, clean) for name, item in value.items()
        }
        changed = named.keys() != value.keys() or any(named[name] is not item for name, item in value.items())
        return named if changed else value
    if isinstance(value, msgspec.Struct):
        told = {name: _cleaned_value(getattr(value, name), clean) for name in value.__struct_fields__}
        blanked = {name: item for name, item in told.items() if item is not getattr(value, name)}
        return msgspec.structs.replace(value, **blanked) if blanked else value
    return value


_FIELD = re.compile("[a-z_]{1,40}")


def located(error: ChatError, **facts: Any) -> ChatError:
    """Fill in what the place that raised could not know (backend, endpoint, attempts, elapsed)."""
    for name, value in facts.items():
        setattr(error, name, value)
    return error
