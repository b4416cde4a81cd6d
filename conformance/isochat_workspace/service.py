"""What does the service answer to a request? From path, headers and body to a reply, without a socket."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .agent_dialect import agent_events, write_agent
from .chat_dialect import read_chat, write_chat
from .chat_stream import chat_events
from .credentials import check_credentials
from .dials import slowed
from .dressings import StreamUsage
from .endpoints import Endpoint, describe, model_service_name
from .event_stream import CONTENT_TYPE, begin
from .http_reply import ServiceError, json_reply, new_request_id, service_headers
from .models import Dialect, Model, Prompt
from .records import RecordedRequest
from .refusals import check_refusals
from .reply_source import Reply, ReplySource
from .request_fields import flag, read_object, wants_usage
from .responder import Responder
from .response_object import write_responses
from .responses_dialect import read_responses
from .responses_stream import responses_events
from .routes import Route, find_route
from .stream_reply import StreamReply

logger = logging.getLogger("isochat.workspace")

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Payload limit of foundation model, external model and agent endpoints ("Model Serving limits" page)."""

_READ: Mapping[Dialect, Callable[[Mapping[str, Any]], Prompt]] = {
    "chat": read_chat,
    "responses": read_responses,
}
_API_TYPES: Mapping[Dialect, str] = {
    "chat": "mlflow/v1/chat/completions",
    "responses": "mlflow/v1/responses",
}


@dataclasses.dataclass(slots=True)
class Service:
    """The serving API over a set of endpoints. `url` is where the workspace is reached from outside.

    A `responder` answers in place of the endpoints, whatever the path; what it leaves is answered as ever.
    """

    endpoints: Mapping[str, Endpoint]
    token: str
    url: str = ""
    responder: Responder | None = None

    async def answer(self, request: RecordedRequest, *, too_large: bool = False) -> Reply:
        """Answer one request. Never raises: what goes wrong inside is a 500 in the service's shape."""
        request_id = new_request_id()
        try:
            return await self._answer(request, too_large, request_id)
        except ServiceError as refusal:
            return refusal.reply(request_id)
        except Exception:
            logger.exception("a model failed to answer")
            return ServiceError(500, "INTERNAL_ERROR", "Internal error").reply(request_id)

    async def _answer(self, request: RecordedRequest, too_large: bool, request_id: str) -> Reply:
        route = find_route(request.path)
        if route is not None and route.operation == "host_metadata":
            # Asked by the SDK before it has credentials.
            _check_method(request, route)
            return json_reply(200, self._host_metadata(), request_id)
        check_credentials(request.header("authorization"), self.token)
        if self.responder is not None and not too_large:
            reply = await self.responder.respond(request)
            if reply is not None:
                return reply
        if route is None:
            raise ServiceError(404, "ENDPOINT_NOT_FOUND", f"Invalid path: {request.path}")
        _check_method(request, route)
        if too_large:
            # No literal text of the service is known for this status.
            message = f"Request body is larger than {MAX_BODY_BYTES} bytes."
            raise ServiceError(413, "REQUEST_TOO_LARGE", message)
        match route.operation:
            case "list":
                listed = [describe(endpoint) for endpoint in self.endpoints.values()]
                return json_reply(200, {"endpoints": listed}, request_id)
            case "get":
                return json_reply(200, describe(self._endpoint_by_path(route)), request_id)
            case "invocations":
                endpoint = self._endpoint_by_path(route)
                dialect = endpoint.invocations_dialect
                return await self._query(endpoint, dialect, route, request, request_id)
            case "chat" | "responses" as named:
                model = read_object(request.body).get("model")
                endpoint = self._endpoint_by_model(model, route)
                return await self._query(endpoint, named, route, request, request_id)
            case "host_metadata":
                raise AssertionError("answered above")

    async def _query(
        self, endpoint: Endpoint, dialect: Dialect, route: Route, request: RecordedRequest, request_id: str
    ) -> Reply:
        """The reply as the endpoint's dials let it through. A limit and a failure come before the body is looked at."""
        if endpoint.rate_limit is not None:
            endpoint.rate_limit.let_in(endpoint.name, time.monotonic())
        cut_after = None
        if endpoint.failures is not None and endpoint.failures.next_fails():
            cut_after = endpoint.failures.cut_after
            if cut_after is None or not _asks_for_stream(request.body):
                await asyncio.sleep(endpoint.latency.first_byte)
                raise endpoint.failures.error()
        reply = await self._reply(endpoint, dialect, route, request, request_id)
        return await slowed(reply, endpoint.latency, cut_after)

    async def _reply(
        self, endpoint: Endpoint, dialect: Dialect, route: Route, request: RecordedRequest, request_id: str
    ) -> Reply:
        model = endpoint.model
        if isinstance(model, ReplySource):
            reply = await model.reply(dialect, request)
            if reply is None:
                raise _api_not_spoken(endpoint, dialect, route, model.speaks)
            return reply
        if dialect not in endpoint.speaks:
            raise _api_not_spoken(endpoint, dialect, route, endpoint.speaks)
        body = read_object(request.body)
        check_refusals(dialect, endpoint, body)
        prompt = dataclasses.replace(_READ[dialect](body), endpoint=endpoint.name)
        if flag(body, "stream"):
            return await self._stream(endpoint, model, prompt, route, request_id)
        answer = await model.answer(prompt)
        if endpoint.dress == "agent-like":
            dressed = write_agent(prompt, answer, request_id)
        elif dialect == "chat":
            dressed = write_chat(answer, endpoint.answers_as, endpoint.dressing)
        else:
            dressed = write_responses(prompt, answer, endpoint.answers_as)
        return json_reply(200, dressed, request_id, ("served-model-name", endpoint.served_name))

    async def _stream(
        self, endpoint: Endpoint, model: Model, prompt: Prompt, route: Route, request_id: str
    ) -> StreamReply:
        """The answer as events. It waits for the first piece: what the model refuses has a status of its own."""
        asked = wants_usage(prompt.body)
        pieces = await begin(model.stream(prompt))
        if endpoint.dress == "agent-like":
            events = agent_events(prompt, pieces)
        elif prompt.dialect == "chat":
            usage = _usage_of_stream(endpoint, asked)
            events = chat_events(pieces, endpoint.answers_as, usage, endpoint.dressing)
        else:
            as_agent = route.operation == "invocations"
            events = responses_events(prompt, pieces, endpoint.answers_as, as_agent=as_agent)
        headers = service_headers(CONTENT_TYPE, request_id, ("served-model-name", endpoint.served_name))
        return StreamReply(200, headers, events)

    def _endpoint_by_path(self, route: Route) -> Endpoint:
        """The endpoint a path names; the 404 is databricks-demos/dbdemos#220, pasted."""
        endpoint = self.endpoints.get(route.endpoint or "")
        if endpoint is None:
            message = f"Endpoint with name '{route.endpoint}' does not exist."
            raise ServiceError(404, "RESOURCE_DOES_NOT_EXIST", message, with_request_info=True)
        if route.served is not None and route.served not in (
            endpoint.served_name,
            endpoint.model.served_name,
        ):
            message = f"Served model with name '{route.served}' does not exist."
            raise ServiceError(404, "RESOURCE_DOES_NOT_EXIST", message, with_request_info=True)
        return endpoint

    def _endpoint_by_model(self, model: Any, route: Route) -> Endpoint:
        """The endpoint a body names: by endpoint name on the workspace, by any of its names on the gateway.

        `system.ai.X` is no endpoint name and a 404 on `/serving-endpoints` (seen live, surface notes).
        """
        if not isinstance(model, str):
            raise ServiceError(400, "INVALID_PARAMETER_VALUE", "Missing required parameter: 'model'")
        if route.surface == "workspace":
            if endpoint := self.endpoints.get(model):
                return endpoint
            raise ServiceError(
                404,
                "ENDPOINT_NOT_FOUND",
                "The given endpoint does not exist, please retry after checking the specified model"
                " and version deployment exists.",
            )
        wanted = model_service_name(model)
        for endpoint in self.endpoints.values():
            if endpoint.model_service == wanted:
                return endpoint
        raise ServiceError(404, "NOT_FOUND", f"Model service '{wanted}' does not exist")

    def _host_metadata(self) -> dict[str, Any]:
        """What databricks-sdk reads at `Config()` (`oauth.py`, HostMetadata); the ids are made up."""
        return {
            "oidc_endpoint": f"{self.url}/oidc",
            "account_id": "00000000-0000-0000-0000-000000000000",
            "workspace_id": "1234567890123456",
            "cloud": "AWS",
        }


def _asks_for_stream(raw: bytes) -> bool:
    try:
        return flag(read_object(raw), "stream")
    except ServiceError:
        return False


def _usage_of_stream(endpoint: Endpoint, asked: bool | None) -> StreamUsage:
    """Where this stream carries its usage: what the endpoint does, and what the request asked for."""
    style = endpoint.usage_in_streams
    if style == "last":
        return "never" if asked is False else "last"
    if style == "asked":
        return "last" if asked else "never"
    return style


def _check_method(request: RecordedRequest, route: Route) -> None:
    if request.method != route.method:
        message = f"Method {request.method} is not allowed here, use {route.method}."
        raise ServiceError(405, "METHOD_NOT_ALLOWED", message, headers=(("allow", route.method),))


def _api_not_spoken(endpoint: Endpoint, dialect: Dialect, route: Route, spoken: Collection[Dialect]) -> ServiceError:
    """The 400 for an API an endpoint lacks. Both texts are quoted from live workspaces.

    On the workspace's Responses path: maximhq/bifrost#6958. Elsewhere: Codex probe 2026-07-28, the api_type
    names as advertised by `serving-endpoints:foundation-models`.
    """
    if dialect == "responses" and route.surface == "workspace" and not isinstance(endpoint.model, ReplySource):
        message = f"Responses API passthrough is not supported for model {endpoint.name}."
    else:
        supported = ", ".join(_API_TYPES[one] for one in sorted(spoken))
        message = (
            f"API type '{_API_TYPES[dialect]}' is not supported by '{endpoint.name}'."
            f" Supported API types: [{supported}]."
        )
    return ServiceError(400, "BAD_REQUEST", message)
