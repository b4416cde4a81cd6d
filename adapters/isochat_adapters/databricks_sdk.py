"""The Databricks SDK: ``WorkspaceClient().serving_endpoints.query``, or ``api_client.do`` where that is too narrow.

``query`` carries text messages of three roles and the few parameters that its signature has (read from the
installed version). Everything else goes by the SDK's own ``api_client.do`` on the same path; ``meta.client_call``
says which call it was. Streams go the same two ways. ``query(stream=True)`` asks for a stream and cannot read one, so
the client is shown an empty object and the stream is read off the wire.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from isochat.backend import Backend, Capabilities, Reply, Setup
from isochat.hookspecs import hookimpl
from isochat.request import Request
from isochat_adapters.requests_adapter import carried_by, reply_over, workspace_client

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

# What query() has no argument for and isochat asks of every stream by itself; it must not decide which call is made.
_JOINED = "stream_options"
_DO_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}

# `name` is in the path; `extra_params` is sent as a nested object and so carries nothing of ours;
# `dataframe_split` has to be an object of the SDK's own.
_NOT_IN_BODY = frozenset({"self", "name", "stream", "extra_params", "dataframe_split"})


class DatabricksSDK(Backend):
    """``serving_endpoints.query`` of the Databricks SDK."""

    name: ClassVar[str] = "databricks-sdk"
    capabilities: ClassVar[Capabilities] = Capabilities(api="chat-completions", surface="invocations", streaming=True)
    options: ClassVar[frozenset[str]] = frozenset({"served_model", "api"})

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

        self._client = workspace_client(setup)
        self._message = ChatMessage
        self._roles = {role.value: role for role in ChatMessageRole}
        self._named = frozenset(inspect.signature(self._client.serving_endpoints.query).parameters) - _NOT_IN_BODY

    def complete(self, request: Request, wire: Wire) -> Reply:
        messages = self._typed_messages(request) if "messages" in request.body else None
        if messages is not None and self._takes(request.body):
            wire.client_call = "serving_endpoints.query"
            query = self._client.serving_endpoints.query
            return reply_over(wire, lambda: query(name=request.path, **{**request.body, "messages": messages}))
        wire.client_call = "api_client.do"
        path = f"/serving-endpoints/{request.path}/invocations"
        do = self._client.api_client.do
        return reply_over(wire, lambda: do("POST", path, headers=_DO_HEADERS, body=request.body))

    def stream(self, request: Request, wire: Wire) -> None:
        body = {name: value for name, value in request.body.items() if name != _JOINED}
        joined = {_JOINED: request.body[_JOINED]} if _JOINED in request.body else {}
        messages = self._typed_messages(request) if "messages" in body else None
        if messages is not None and self._takes(body):
            wire.client_call = "serving_endpoints.query"
            with carried_by(wire, joined):
                self._client.serving_endpoints.query(name=request.path, stream=True, **{**body, "messages": messages})
        else:
            wire.client_call = "api_client.do"
            with carried_by(wire):
                self._client.api_client.do(
                    "POST",
                    f"/serving-endpoints/{request.path}/invocations",
                    headers=_DO_HEADERS,
                    body={**request.body, "stream": True},
                )

    def _takes(self, body: Mapping[str, Any]) -> bool:
        # What it has an argument for it still changes: null is left out, one text of `stop` is cut into letters.
        return body.keys() <= self._named and None not in body.values() and not isinstance(body.get("stop"), str)

    def _typed_messages(self, request: Request) -> list[Any] | None:
        """The conversation as the SDK's own ``ChatMessage`` objects, if they can hold all of it."""
        typed = []
        for message in request.messages:
            role = self._roles.get(message["role"])
            if role is None or not isinstance(message.get("content"), str) or message.keys() != {"role", "content"}:
                return None
            typed.append(self._message(content=message["content"], role=role))
        return typed

    def held_by(self, native: Any) -> Mapping[str, Any] | None:
        held = native.as_dict() if hasattr(native, "as_dict") else native
        return held if isinstance(held, Mapping) else None

    def held_headers(self, native: Any, sent: Mapping[str, str]) -> Mapping[str, str] | None:
        served = getattr(native, "served_model_name", None)
        return None if served is None else {"served-model-name": served}


@hookimpl
def isochat_backend() -> type[Backend]:
    """What this module's entry point gives."""
    return DatabricksSDK
