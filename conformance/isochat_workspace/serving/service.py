"""What does the service answer to a request? From path, headers and body to a reply, without a socket."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, Literal

from isochat_workspace.endpoints import Endpoint, describe, describe_foundation_model, model_service_name
from isochat_workspace.http.http_reply import ServiceError, json_reply, new_request_id
from isochat_workspace.http.records import RecordedRequest
from isochat_workspace.models.model import Dialect
from isochat_workspace.models.reply_source import Reply
from isochat_workspace.serving.credentials import check_credentials
from isochat_workspace.serving.gateway import GatewayState, check_gateway, unknown_path
from isochat_workspace.serving.oidc import TokenIssuer
from isochat_workspace.serving.query import answer_query
from isochat_workspace.serving.request_fields import read_body
from isochat_workspace.serving.responder import Responder
from isochat_workspace.serving.routes import Route, find_route

logger = logging.getLogger("isochat.workspace")

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Payload limit of foundation model, external model and agent endpoints ("Model Serving limits" page)."""


@dataclasses.dataclass(slots=True)
class Service:
    """The serving API over a set of endpoints. `url` is where the workspace is reached from outside.

    A `responder` answers in place of the endpoints, whatever the path; what it leaves is answered as ever.
    """

    endpoints: Mapping[str, Endpoint]
    token: str
    url: str = ""
    responder: Responder | None = None
    gateway: GatewayState = "on"
    issuer: TokenIssuer = dataclasses.field(default_factory=lambda: TokenIssuer(None))

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
        if route is not None and route.operation in ("host_metadata", "oidc_discovery", "oidc_token"):
            # Asked by a client that has no token yet.
            _check_method(request, route)
            if route.operation == "oidc_token":
                return self.issuer.answer(request, request_id)
            if route.operation == "oidc_discovery":
                return self.issuer.discovery(self.url, request_id)
            return json_reply(200, self._host_metadata(), request_id)
        check_credentials(request.header("authorization"), self.token, self.issuer.knows)
        if self.responder is not None and not too_large:
            reply = await self.responder.respond(request)
            if reply is not None:
                return reply
        check_gateway(request.path, self.gateway)
        if route is None:
            raise unknown_path(request.path)
        _check_method(request, route)
        if too_large:
            # No literal text of the service is known for this status.
            message = f"Request body is larger than {MAX_BODY_BYTES} bytes."
            raise ServiceError(413, "REQUEST_TOO_LARGE", message)
        match route.operation:
            case "list":
                return json_reply(200, {"endpoints": [describe(one) for one in self._visible()]}, request_id)
            case "foundation_models":
                models = [describe_foundation_model(one) for one in self._visible() if one.task == "llm/v1/chat"]
                return json_reply(200, {"endpoints": models}, request_id)
            case "get":
                endpoint = self._endpoint_by_path(route)
                _check_permission(endpoint, "View")
                return json_reply(200, describe(endpoint), request_id)
            case "invocations":
                endpoint = self._endpoint_by_path(route)
                _check_permission(endpoint, "Query")
                return await answer_query(endpoint, endpoint.invocations_dialect, route, request, request_id)
            case "chat" | "responses" | "open_responses" as named:
                endpoint = self._endpoint_by_model(read_body(request).get("model"), route)
                _check_permission(endpoint, "Query")
                dialect: Dialect = "chat" if named == "chat" else "responses"
                return await answer_query(endpoint, dialect, route, request, request_id)
            case "host_metadata" | "oidc_discovery" | "oidc_token":
                raise AssertionError("answered above")

    def _visible(self) -> list[Endpoint]:
        return [endpoint for endpoint in self.endpoints.values() if endpoint.permission != "NONE"]

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


def _check_permission(endpoint: Endpoint, wanted: Literal["View", "Query"]) -> None:
    """The 403 is databricks-demos/dbdemos#218, pasted for 'View'."""
    if endpoint.permission == "NONE" or (wanted == "Query" and endpoint.permission == "CAN_VIEW"):
        message = f"User does not have permission '{wanted}' on Endpoint {endpoint.name}"
        raise ServiceError(403, "PERMISSION_DENIED", message, with_request_info=True)


def _check_method(request: RecordedRequest, route: Route) -> None:
    if request.method != route.method:
        message = f"Method {request.method} is not allowed here, use {route.method}."
        raise ServiceError(405, "METHOD_NOT_ALLOWED", message, headers=(("allow", route.method),))
