"""The door for clients on httpx or httpx2: transports of their own classes that send over isochat's wires.

``http_client=`` is a public argument of the OpenAI client, and ``transport=`` one of httpx's. OpenAI 1 and 2 sit on
httpx, 3 on httpx2; a client of the one module given to the other fails, so the classes are made for whichever module
the installed OpenAI uses.

Of a stream the client is shown an empty body: isochat reads ``wire.incoming``, and the client's own stream object is
never read.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any

from isochat.errors import ChatError, ChatTimeoutError, ConfigurationError, ConnectError, PluginError, TransportError

if TYPE_CHECKING:
    from isochat.transport.exchange import Exchange

_wire: ContextVar[Exchange | None] = ContextVar("isochat_httpx_wire", default=None)

# The wire has decompressed and unframed the body already.
_UNFRAMED = frozenset({"content-encoding", "content-length", "transfer-encoding"})
# A client keeps cookies and sends them on its next call; isochat keeps none.
_HIDDEN = _UNFRAMED | {"set-cookie"}


@contextmanager
def carried_by(wire: Exchange) -> Iterator[None]:
    """Inside, requests of :func:`client_over_the_wire` and its asynchronous twin go over ``wire``."""
    token = _wire.set(wire)
    try:
        yield
    finally:
        _wire.reset(token)


def client_over_the_wire(openai: ModuleType) -> Any:
    """An HTTP client of the module that this ``openai`` sits on; its requests go over the wire of :func:`carried_by`.

    Raises:
        PluginError: the installed version keeps its HTTP client elsewhere.
    """
    http = _http_module(openai)
    return http.Client(transport=_transport_class(http)(), trust_env=False, timeout=None)


def async_client_over_the_wire(openai: ModuleType) -> Any:
    """The same for an event loop. It holds no connection, so one serves all loops and needs no closing."""
    http = _http_module(openai)
    return http.AsyncClient(transport=_async_transport_class(http)(), trust_env=False, timeout=None)


def _http_module(openai: ModuleType) -> ModuleType:
    for cls in openai.DefaultHttpxClient.__mro__:
        module = cls.__module__.partition(".")[0]
        if module in ("httpx", "httpx2"):
            return importlib.import_module(module)
    raise PluginError(
        f"openai {openai.__version__} keeps its HTTP client where isochat does not find it",
        remedy="pip install 'isochat[openai]' for a version that is known to work",
    )


def _transport_class(http: ModuleType) -> Any:
    class Transport(http.BaseTransport):  # type: ignore[misc, name-defined]
        """Carries a request of this httpx over isochat's wire."""

        def handle_request(self, request: Any) -> Any:
            wire: Any = _carrying()
            try:
                body = wire.exchange(request.method, str(request.url), _headers_of(request), request.read())
            except ChatError as error:
                raise _in_their_words(error, http) from error
            return http.Response(wire.status, headers=_shown(wire), content=body)

    return Transport


def _async_transport_class(http: ModuleType) -> Any:
    class AsyncTransport(http.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        """Carries a request of this httpx over isochat's wire of the running loop."""

        async def handle_async_request(self, request: Any) -> Any:
            wire: Any = _carrying()
            content = await request.aread()
            try:
                body = await wire.exchange(request.method, str(request.url), _headers_of(request), content)
            except ChatError as error:
                raise _in_their_words(error, http) from error
            return http.Response(wire.status, headers=_shown(wire), content=body)

    return AsyncTransport


def _carrying() -> Exchange:
    wire = _wire.get()
    if wire is None:
        raise ConfigurationError("a request outside a call was refused")
    return wire


def _headers_of(request: Any) -> list[tuple[str, str]]:
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw]


def _shown(wire: Exchange) -> list[tuple[str, str]]:
    return [(name, value) for name, value in wire.headers if name.lower() not in _HIDDEN]


def _in_their_words(error: ChatError, http: ModuleType) -> Exception:
    """httpx's own exception, so that the client raises the one its users know; the wire keeps ours."""
    message = error.message
    match error:
        case ChatTimeoutError(phase="connect"):
            return http.ConnectTimeout(message)  # type: ignore[no-any-return]
        case ChatTimeoutError():
            return http.ReadTimeout(message)  # type: ignore[no-any-return]
        case ConnectError():
            return http.ConnectError(message)  # type: ignore[no-any-return]
        case TransportError():
            return http.RemoteProtocolError(message)  # type: ignore[no-any-return]
    return http.RequestError(message)  # type: ignore[no-any-return]
