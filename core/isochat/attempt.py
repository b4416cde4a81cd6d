"""How does one attempt end: in a result, or in which error?

The wire is the truth. Whatever the client returned or raised, the status and bytes that stood on the wire decide;
the client's object becomes ``meta.native``, its exception the ``__cause__``.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import msgspec

from isochat.backend import Backend, Reply, StreamReply
from isochat.errors import BadResponseError, ChatError, PluginError, TransportError, cleaned
from isochat.foreign_code import (
    blamed,
    check_error,
    check_reply,
    check_stream,
    is_its_own,
    own_copy,
    said,
    translated,
)
from isochat.foreign_errors import cleaned_chain
from isochat.once import NOTHING, Once
from isochat.request import Request
from isochat.results import ChatResult, Meta
from isochat.status_errors import error_under_200, status_error
from isochat.streaming.kept import check_result
from isochat.wire_format.content import room_for_joining
from isochat.wire_format.json_text import decode
from isochat.wire_format.json_weight import room_beside
from isochat.wire_format.replies import read_reply

if TYPE_CHECKING:
    from isochat.transport.async_wire import AsyncWire
    from isochat.transport.exchange import Exchange
    from isochat.transport.wire import Wire


def carry(backend: Backend, request: Request, wire: Wire) -> Reply | Mapping[str, Any]:
    """Let ``backend`` send ``request`` over ``wire`` and give its successful reply.

    Raises:
        ChatError: whatever kept it from succeeding, with the client's own exception as ``__cause__``.
    """
    with _Asking(backend, wire) as asking:
        asking.reply = backend.complete(own_copy(backend, request), wire)
    return _replied(backend, wire, asking.reply, asking.raised)


async def acarry(backend: Backend, request: Request, wire: AsyncWire) -> Reply | Mapping[str, Any]:
    """As :func:`carry`, on the event loop."""
    with _Asking(backend, wire) as asking:
        asking.reply = await backend.acomplete(own_copy(backend, request), wire)
    return _replied(backend, wire, asking.reply, asking.raised)


def open_stream(backend: Backend, request: Request, wire: Wire) -> Opened:
    """Let ``backend`` ask for a stream over ``wire``; returns when its status is known.

    Raises:
        ChatError: as :func:`carry`.
    """
    with _Asking(backend, wire) as asking:
        asking.reply = backend.stream(own_copy(backend, request), wire)
    return _opened(backend, wire, asking.reply, asking.raised)


async def aopen_stream(backend: Backend, request: Request, wire: AsyncWire) -> Opened:
    """As :func:`open_stream`, on the event loop."""
    with _Asking(backend, wire) as asking:
        asking.reply = await backend.astream(own_copy(backend, request), wire)
    return _opened(backend, wire, asking.reply, asking.raised)


class _Asking:
    """While the backend asks: what it returned, or what it or its client raised.

    Cancellation, an interrupt and the host's own exit pass.
    """

    __slots__ = ("_backend", "_wire", "raised", "reply")

    def __init__(self, backend: Backend, wire: Exchange) -> None:
        self._backend = backend
        self._wire = wire
        self.reply: Any = None
        self.raised: Exception | None = None

    def __enter__(self) -> Self:
        self._wire.mark("client")
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if isinstance(error, ChatError) and error is not self._wire.failure:
            self.raised = check_error(self._backend, error)
        elif isinstance(error, Exception):
            self.raised = error
        elif error is not None and is_its_own(self._backend, error):
            what = "would end the interpreter" if isinstance(error, SystemExit) else "raises what nobody catches"
            self.raised = blamed(self._backend, what, error)
        elif error is not None and self._wire.incoming is not None:
            self._wire.incoming.close()
        return self.raised is not None


class Opened(msgspec.Struct, frozen=True, eq=False):
    """A stream whose status is known: its head, and where its body is read."""

    status: int
    headers: Mapping[str, str]
    source: Any
    client_call: str


def _opened(backend: Backend, wire: Exchange, reply: StreamReply | Reply | None, raised: Exception | None) -> Opened:
    if wire.incoming is not None and wire.failure is None:
        # Whatever the client made of the empty body it was shown: the stream is there.
        wire.mark("returned")
        return Opened(wire.status or 0, lower_headers(wire.headers), wire.incoming, wire.client_call)
    from isochat.streaming.sources import AsyncPieces, Pieces

    translate = functools.partial(_unsent, backend, wire)
    in_time = functools.partial(wire.deadline.left, "body")
    if not isinstance(reply, StreamReply) or wire.failure is not None or wire.body is not None:
        whole = _replied(backend, wire, None if isinstance(reply, StreamReply) else reply, raised)
        if isinstance(whole, Reply):  # a success, and no stream
            headers = lower_headers(whole.headers)
            return Opened(whole.status, headers, Pieces([whole.body], True, translate, in_time), whole.client_call)
        raise PluginError(
            f"backend {backend.name!r} asked for a stream and opened none",
            remedy="Report this to the backend's author: stream() goes over the wire, or returns a StreamReply",
        )
    reply = check_stream(backend, reply)
    wire.mark("returned")
    if reply.status >= 400:
        raise status_error(reply.status, lower_headers(reply.headers), b"")
    if isinstance(reply.pieces, AsyncIterable):
        source: Any = AsyncPieces(reply.pieces, reply.delimited, translate, in_time)
    else:
        source = Pieces(reply.pieces, reply.delimited, translate, in_time)
    return Opened(reply.status, lower_headers(reply.headers), source, reply.client_call)


def _replied(backend: Backend, wire: Exchange, reply: Any, raised: Exception | None) -> Reply | Mapping[str, Any]:
    wire.mark("returned")
    if wire.failure is not None:
        if raised is None or raised is wire.failure:
            raise wire.failure
        raise wire.failure from raised
    if wire.body is None:
        if raised is not None:
            raise _unsent(backend, wire, raised) from (None if isinstance(raised, ChatError) else raised)
        handed = check_reply(backend, reply)
        if isinstance(handed, Reply) and handed.status >= 400:
            # A backend with a transport of its own: what it hands over is all there is.
            body = wire.redactor.clean_bytes(handed.body)
            raise cleaned(status_error(handed.status, lower_headers(handed.headers), body), wire.redactor.clean)
        return handed
    if wire.status is not None and wire.status >= 400:
        failed = status_error(wire.status, lower_headers(wire.headers), wire.body)
        raise cleaned(failed, wire.redactor.clean) from raised
    if isinstance(raised, ChatError):
        raise _answered(raised)  # of the backend or the wire (a second request), not of the client
    if raised is not None:
        # The client could not read a reply that the service calls a success; isochat reads it all the same.
        return _unread(backend, wire, raised)
    try:
        return check_reply(backend, reply)
    except ChatError as error:
        raise _answered(error)  # noqa: B904 the same error


def _answered(error: ChatError) -> ChatError:
    """``error`` of a backend after the service has answered with success: whatever it says, the model has run."""
    error.may_have_executed, error.retryable = True, False
    return error


def read_result(reply: Reply | Mapping[str, Any], request: Request, meta: Meta, wire: Exchange) -> ChatResult:
    """The normalised result of a reply.

    Raises:
        BadResponseError: it is no chat answer.
        StatusError: it is an error under a success status.
    """
    if not isinstance(reply, Reply):
        meta = msgspec.structs.replace(meta, client_call=wire.client_call, _raw=reply, _native=Once(None, reply))
        try:
            return read_reply(reply, request.api, meta)
        except ChatError:
            raise
        except Exception as error:  # of a mapping that is none
            raise PluginError(
                f"backend {meta.backend!r} returned a mapping that cannot be read: {said(error)}",
                remedy="Report this to the backend's author",
            ) from error
    try:
        return _read(reply, request, meta)
    except ChatError as error:
        too_long = len(reply.body) > wire.limits.error
        if too_long or not wire.redactor.finds(reply.body):
            if too_long:  # cleaning takes longer than reading did
                error.body = None
            raise cleaned(error, wire.redactor.clean) from None
    # The error quotes the body: let it quote the one without the token.
    clean = wire.redactor.clean_bytes(reply.body)
    return _read(msgspec.structs.replace(reply, body=clean), request, meta)


def _read(reply: Reply, request: Request, meta: Meta) -> ChatResult:
    headers = lower_headers(reply.headers)
    try:
        data = decode(reply.body, headers.get("content-type"))
        failed = error_under_200(data, reply.status, headers, reply.body)
        if failed is not None:
            raise failed
        check_result(data, reply.body)
        with room_for_joining(room_beside(reply.body)):
            return read_reply(data, request.api, _completed(meta, data, reply, headers))
    except BadResponseError as error:
        error.status_code = reply.status
        error.request_id = headers.get("x-request-id")
        error.body = reply.body[:2000].decode("utf-8", "replace")
        raise


def _completed(meta: Meta, data: Any, reply: Reply, headers: Mapping[str, str]) -> Meta:
    return msgspec.structs.replace(
        meta,
        client_call=reply.client_call,
        request_id=headers.get("x-request-id"),
        served_model=headers.get("served-model-name"),
        status_code=reply.status,
        headers=headers,
        _raw=data,
        _native=NOTHING if reply.native is None else Once(_readable(reply.native, reply.client_call)),
    )


def _readable(native: Callable[[], Any], client_call: str) -> Callable[[], Any]:
    def parse() -> Any:
        try:
            return native()
        except ChatError:
            raise
        except (Exception, SystemExit) as error:
            raise BadResponseError(
                f"{client_call} cannot read this reply itself: {type(error).__name__}: {error}"
            ) from error

    return parse


def _unread(backend: Backend, wire: Exchange, raised: Exception) -> Reply:
    def native() -> Any:
        raise raised

    return Reply(
        status=wire.status or 0,
        headers=wire.headers,
        body=wire.body or b"",
        native=native,
        client_call=wire.client_call or backend.name,
    )


def _unsent(backend: Backend, wire: Exchange, error: BaseException) -> ChatError:
    # A client quotes what it sends, too: its headers, say.
    cleaned_chain(error, wire.redactor.clean)
    return cleaned(_untold(backend, error), wire.redactor.clean)


def _untold(backend: Backend, error: BaseException) -> ChatError:
    if isinstance(error, ChatError):
        return error
    if not isinstance(error, Exception) and not is_its_own(backend, error):
        raise error
    known = translated(backend, error) if isinstance(error, Exception) else None
    if known is None and backend.capabilities.own_transport:
        # Nothing is known of how far its request came.
        return TransportError(
            f"backend {backend.name!r} failed: {said(error)}",
            remedy="Report this to the backend's author: translate_error() should say what it means",
        )
    return known or blamed(backend, "failed before anything was sent", error)


def lower_headers(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name; a repeated one is joined with commas, as RFC 9110 5.3 allows."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined
