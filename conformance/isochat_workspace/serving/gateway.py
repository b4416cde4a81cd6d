"""What does the gateway say that is not there? The states of `/ai-gateway` on a workspace, as data with one engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from isochat_workspace.http.http_reply import ServiceError

GatewayState = Literal["on", "disabled", "absent", "not-implemented"]

# "disabled": databricks/unity-gateway#53 (the text and its details; the status is that of a sister text). "absent":
# LiteLLM PR#31213 (seen live). "not-implemented": LiteLLM and the SDK know the status 501; no source shows its body.
_REFUSED: Mapping[GatewayState, tuple[int, str, str, bool]] = {
    "disabled": (404, "FEATURE_DISABLED", "AI Gateway is not available for this workspace.", True),
    "absent": (404, "ENDPOINT_NOT_FOUND", "Invalid path", False),
    "not-implemented": (501, "NOT_IMPLEMENTED", "Not implemented", False),
}


def check_gateway(path: str, state: GatewayState) -> None:
    """Raise what each path below `/ai-gateway/` gets while the gateway is not "on"; else let it through."""
    if path.startswith("/ai-gateway/") and state != "on":
        status, code, message, with_request_info = _REFUSED[state]
        raise ServiceError(status, code, message, with_request_info=with_request_info)


def unknown_path(path: str) -> ServiceError:
    """The error for a path that no route has. Texts: a gateway note of 2026-08-27, anthropics/claude-code#14007."""
    if path.startswith("/ai-gateway/"):
        message = (
            f"Request path '{path}' doesn't match any known API type and is classified as an unmanaged api request. Set"
            " the Databricks-Model-Provider-Service header to the name of the model provider service to forward this"
            " request to."
        )
        return ServiceError(400, "BAD_REQUEST", message)
    if path.startswith("/serving-endpoints/"):
        message = (
            "Path must be of form /serving-endpoints/<endpoint_name>/invocations or"
            " /serving-endpoints/<endpoint_name>/served-models/<served_model_name>/invocations"
        )
        return ServiceError(404, "ENDPOINT_NOT_FOUND", message)
    return ServiceError(404, "ENDPOINT_NOT_FOUND", f"Invalid path: {path}")
