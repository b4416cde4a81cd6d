"""How is the OpenAI client made and asked? Shared by its two APIs, which differ in one attribute.

Asked by ``with_raw_response.create``: building and sending are the same code as ``create``, and the client's typed
object is parsed from the same bytes when ``meta.native`` is read.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from isochat.backend import Backend, Reply, Setup
from isochat.request import Request
from isochat_adapters.httpx_transport import carried_by, client_over_the_wire
from isochat_adapters.openai_objects import without_warnings

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

# Arguments of create() that are no part of the body.
_NOT_IN_BODY = frozenset({"self", "model", "stream", "timeout", "extra_body", "extra_headers", "extra_query"})


class OpenAIBackend(Backend):
    """One API of ``openai.OpenAI``."""

    client_call: ClassVar[str]

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        import openai

        self._client = openai.OpenAI(
            # Never sent: the wire authenticates. A placeholder keeps OPENAI_API_KEY from being read in its place.
            api_key="isochat",
            base_url=setup.api_base,
            max_retries=0,
            timeout=None,
            http_client=client_over_the_wire(openai),
        )
        # OPENAI_CUSTOM_HEADERS belongs to another service; no argument keeps the constructor from reading it. This
        # client is isochat's alone.
        self._client._custom_headers = {}
        api = self.api_of(self._client)
        self._create = api.with_raw_response.create
        self._named = frozenset(inspect.signature(api.create).parameters) - _NOT_IN_BODY

    @staticmethod
    @abstractmethod
    def api_of(client: Any) -> Any:
        """The client's attribute that speaks this API."""

    def complete(self, request: Request, wire: Wire) -> Reply:
        named = {name: value for name, value in request.body.items() if name in self._named}
        # What create() has no argument for goes in by its documented way, extra_body.
        extra = {name: value for name, value in request.body.items() if name not in self._named}
        wire.client_call = self.client_call
        with carried_by(wire):
            raw = self._create(model=request.endpoint, **named, extra_body=extra or None)
        return Reply(
            status=wire.status or 0,
            headers=wire.headers,
            body=wire.body or b"",
            native=lambda: without_warnings(raw.parse()),
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
