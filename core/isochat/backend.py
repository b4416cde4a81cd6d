"""What must a backend do? The seam between isochat and the client that carries a call.

A backend is one module with a class and a hook::

    class MyBackend(Backend):
        name = "mine"
        capabilities = Capabilities(api="chat-completions", surface="invocations")

        def complete(self, request, wire):
            body = wire.exchange("POST", self.setup.host + "/...", headers, payload)
            return Reply(
                status=wire.status,
                headers=wire.headers,
                body=body,
                native=lambda: json.loads(body),
                client_call="mine.send",
            )

    @hookimpl
    def isochat_backend():
        return MyBackend

It holds no retry, reads no environment and assembles no result. It imports its client in ``__init__``, never at
module level: the module must import without it.

``complete`` is all that it must have. ``stream`` asks for a stream; ``acomplete`` and ``astream`` do the same on an
event loop, over the wire of that loop. A backend without these two serves ``achat`` from bounded threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from isochat.errors import ChatError
from isochat.request import Api, Request

if TYPE_CHECKING:
    from isochat.transport.async_wire import AsyncWire
    from isochat.transport.wire import Wire

Surface = Literal["invocations", "chat/completions", "responses"]
"""The service's paths for chat, by their last part. Models answer on all that their API has; agents on some."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do, as data.

    Attributes:
        api: The dialect it speaks.
        surface: The path that it asks on the route ``serving-endpoints``. ``None`` leaves open which kinds of endpoint
            it reaches: a ChatAgent endpoint, say, answers on ``invocations`` alone.
        routes: The workspace's routes that its client can take.
        own_transport: Whether it sends by itself and leaves the wire alone.
        streaming: Whether it can stream.
        asynchronous: How it serves ``achat``: ``native`` on the event loop, or in bounded ``threads``.
    """

    api: Api
    surface: Surface | None = None
    routes: tuple[str, ...] = ("serving-endpoints",)
    own_transport: bool = False
    streaming: bool = False
    asynchronous: Literal["native", "threads"] = "threads"


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend is told when a client is made.

    Attributes:
        host: The workspace's URL, without path or trailing slash.
        route: ``serving-endpoints`` or ``ai-gateway``.
        api_base: ``host`` with the route's path, e.g. ``https://.../serving-endpoints``.
        workspace_id: The workspace's numeric id, where the credentials know it.
        options: What the user gave beyond isochat's own arguments.
    """

    host: str
    route: str
    api_base: str
    workspace_id: str | None = None
    options: Mapping[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a call gave back.

    Attributes:
        body: The reply's bytes, as read off the wire.
        native: Gives the client's own object, parsed by the client from the same bytes; called once, when
            ``meta.native`` is read. The conformance suite compares it with the result and fails without it.
        client_call: The documented call that was made, e.g. ``chat.completions.create``.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    native: Callable[[], Any] | None = None
    client_call: str = ""

    def __repr__(self) -> str:
        return f"Reply(status={self.status}, {len(self.body)} bytes)"  # a server may echo the token in it


class StreamReply(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a streaming call gave back, from a backend with a transport of its own.

    Attributes:
        pieces: The body's bytes as they come, or chat-completion chunks as mappings; asynchronous from ``astream``.
            Leaving early calls their ``close`` or ``aclose``.
        delimited: Whether the end of ``pieces`` proves that nothing was cut off.
    """

    status: int
    headers: list[tuple[str, str]]
    pieces: Iterable[bytes | Mapping[str, Any]] | AsyncIterable[bytes | Mapping[str, Any]]
    delimited: bool = True
    client_call: str = ""

    def __repr__(self) -> str:
        return f"StreamReply(status={self.status})"


class Backend(ABC):
    """Carries chat requests through one client library."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    options: ClassVar[frozenset[str]] = frozenset()
    """Names of the client arguments this backend takes beyond isochat's own."""

    def __init__(self, setup: Setup) -> None:
        """Import the client and make its object; open no socket.

        Raises:
            ImportError: the client is not installed; isochat turns it into the ``pip install`` line.
        """
        self.setup = setup

    @abstractmethod
    def complete(self, request: Request, wire: Wire) -> Reply | Mapping[str, Any]:
        """Send ``request`` over ``wire``, once, by the client's documented call.

        A backend with a transport of its own says so in its capabilities, leaves ``wire`` alone and gives a ``Reply``
        too, or a bare chat-completion mapping, which has no status, headers or request id.
        Exceptions of the client may pass: what stands on the wire decides, they become the ``__cause__``.
        """

    def stream(self, request: Request, wire: Wire) -> StreamReply | Reply | None:
        """Ask for a stream, once, by the client's documented streaming call; only where the capabilities say so.

        It returns as soon as the reply's status is known. Over the wire, whose ``streaming`` is set, the successful
        reply stays open as ``wire.incoming`` and nothing is returned: isochat reads it. A backend with a transport of
        its own gives a ``StreamReply``, or a ``Reply`` where the status is an error. Exceptions as in ``complete``.
        """
        raise NotImplementedError(f"the backend {self.name!r} says that it streams, and has no stream()")

    async def acomplete(self, request: Request, wire: AsyncWire) -> Reply | Mapping[str, Any]:
        """As :meth:`complete`, on the running event loop; only where ``asynchronous`` is ``native``."""
        raise NotImplementedError(f"the backend {self.name!r} says that it is asynchronous, and has no acomplete()")

    async def astream(self, request: Request, wire: AsyncWire) -> StreamReply | Reply | None:
        """As :meth:`stream`, on the running event loop; only where ``asynchronous`` is ``native``."""
        raise NotImplementedError(f"the backend {self.name!r} says that it streams on a loop, and has no astream()")

    def translate_error(self, error: Exception) -> ChatError | None:
        """The isochat error for what the client raised where the wire says nothing, if it is known: before anything was
        sent, or anything at all of a backend with a transport of its own.
        """
        return None

    def held_by(self, native: Any) -> Mapping[str, Any] | None:
        """What the client's own object holds, as JSON of the backend's API; the proof compares it to the result."""
        return native if isinstance(native, Mapping) else None

    def held_headers(self, native: Any, sent: Mapping[str, str]) -> Mapping[str, str] | None:
        """Which of the reply's headers the client's own object holds, by lower-case name; ``None`` for none at all.

        Args:
            sent: All of them, as they stood on the wire. A backend that is raw HTTP hands over these.
        """
        return None

    def close(self) -> None:
        """Release what the client holds. The wire is isochat's."""
