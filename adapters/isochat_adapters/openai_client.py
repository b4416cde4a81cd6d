"""How is the OpenAI client made and asked? Shared by its two APIs, which differ in one attribute.

Asked by ``with_raw_response.create``: building and sending are the same code as ``create``, and the client's typed
object is parsed from the same bytes when ``meta.native`` is read. A stream is asked for by ``create(stream=True)``
itself, which returns before it reads: its stream object is dropped unread, the bytes are isochat's to read.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from isochat.backend import Backend, Reply, Setup
from isochat.request import Request
from isochat_adapters.httpx_transport import async_client_over_the_wire, carried_by, client_over_the_wire
from isochat_adapters.openai_objects import without_warnings

if TYPE_CHECKING:
    from isochat.transport.async_wire import AsyncWire
    from isochat.transport.exchange import Exchange
    from isochat.transport.wire import Wire

# Arguments of create() that are no part of the body.
_NOT_IN_BODY = frozenset({"self", "model", "stream", "timeout", "extra_body", "extra_headers", "extra_query"})


def _openai_module() -> Any:
    """The module ``openai``; what ``OPENAI_LOG`` has it do to the host's logging when it is imported is undone."""
    if "openai" in sys.modules or not os.environ.get("OPENAI_LOG"):
        import openai

        return openai
    handlers = list(logging.root.handlers)
    levels = {name: logging.getLogger(name).level for name in ("openai", "httpx")}
    import openai

    for handler in [handler for handler in logging.root.handlers if handler not in handlers]:
        logging.root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    return openai


class OpenAIBackend(Backend):
    """One API of ``openai.OpenAI``."""

    client_call: ClassVar[str]

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        openai = _openai_module()
        self._client = self._own(openai.OpenAI, client_over_the_wire(openai))
        api = self.api_of(self._client)
        self._create = api.with_raw_response.create
        self._create_stream = api.create
        self._named = frozenset(inspect.signature(api.create).parameters) - _NOT_IN_BODY
        self._lock = threading.Lock()
        self._async_api: Any = None

    def _own(self, client_class: type[Any], http_client: Any) -> Any:
        client = client_class(
            # Never sent: the wire authenticates. A placeholder keeps OPENAI_API_KEY from being read in its place.
            api_key="isochat",
            base_url=self.setup.api_base,
            max_retries=0,
            timeout=None,
            http_client=http_client,
        )
        # OPENAI_CUSTOM_HEADERS belongs to another service; no argument keeps the constructor from reading it. This
        # client is isochat's alone.
        client._custom_headers = {}
        return client

    def _asynchronous(self) -> Any:
        """The API of an ``AsyncOpenAI``. It is bound to no loop: connections are the wire's."""
        if self._async_api is None:
            openai = _openai_module()
            with self._lock:
                if self._async_api is None:
                    client = self._own(openai.AsyncOpenAI, async_client_over_the_wire(openai))
                    # It would look for the platform's name, a header, in a thread of the loop's executor.
                    client._platform = self._client.platform_headers().get("X-Stainless-OS")
                    self._async_api = self.api_of(client)
        return self._async_api

    @staticmethod
    @abstractmethod
    def api_of(client: Any) -> Any:
        """The client's attribute that speaks this API."""

    def complete(self, request: Request, wire: Wire) -> Reply:
        with carried_by(wire):
            raw = self._create(**self._asked(request, wire))
        return self._reply(wire, raw.parse)

    def stream(self, request: Request, wire: Wire) -> None:
        with carried_by(wire):
            self._create_stream(**self._asked(request, wire), stream=True)

    async def acomplete(self, request: Request, wire: AsyncWire) -> Reply:
        create: Callable[..., Awaitable[Any]] = self._asynchronous().with_raw_response.create
        with carried_by(wire):
            raw = await create(**self._asked(request, wire))
        return self._reply(wire, raw.parse)

    async def astream(self, request: Request, wire: AsyncWire) -> None:
        create: Callable[..., Awaitable[Any]] = self._asynchronous().create
        with carried_by(wire):
            await create(**self._asked(request, wire), stream=True)

    def _asked(self, request: Request, wire: Exchange) -> dict[str, Any]:
        """The arguments of ``create``."""
        wire.client_call = self.client_call
        named = {name: value for name, value in request.body.items() if name in self._named}
        # What create() has no argument for goes in by its documented way, extra_body.
        extra = {name: value for name, value in request.body.items() if name not in self._named}
        return {"model": request.endpoint, **named, "extra_body": extra or None}

    def _reply(self, wire: Exchange, parse: Callable[[], Any]) -> Reply:
        return Reply(
            status=wire.status or 0,
            headers=wire.headers,
            body=wire.body or b"",
            native=lambda: without_warnings(parse()),
            client_call=self.client_call,
        )

    def held_by(self, native: Any) -> Mapping[str, Any] | None:
        if not hasattr(native, "model_dump"):
            return native if isinstance(native, Mapping) else None
        # Without the None fields that the models invent.
        held: Mapping[str, Any] = native.model_dump(mode="json", exclude_unset=True, warnings=False)
        return held

    def held_headers(self, native: Any, sent: Mapping[str, str]) -> Mapping[str, str] | None:
        request_id = getattr(native, "_request_id", None)
        return None if request_id is None else {"x-request-id": request_id}

    def close(self) -> None:
        self._client.close()
