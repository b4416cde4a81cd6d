"""Which operation does a path name? The paths of the service as a table; the body never decides."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from typing import Literal

Operation = Literal[
    "invocations",
    "chat",
    "responses",
    "open_responses",
    "list",
    "get",
    "foundation_models",
    "host_metadata",
    "oidc_discovery",
    "oidc_token",
]
Surface = Literal["workspace", "gateway", "native_gateway"]

_NAME = "(?P<name>[^/]+)"

# method, path pattern, operation, surface. First match wins. Sources: serving API reference and SDK
# (`/serving-endpoints/...`, `/api/2.0/...`), llama-stack recording (the `/v1/` form), Unity Gateway
# quickstart (`/ai-gateway/mlflow/v1/...`), Codex probe 2026-07-28 (`/ai-gateway/openai/v1/...`), "Query Open Responses
# models" (`/open-responses`), databricks/unity-gateway#53 (`:foundation-models`), databricks-sdk `oauth.py` (the rest).
_TABLE: tuple[tuple[str, str, Operation, Surface], ...] = (
    (
        "POST",
        rf"/serving-endpoints/{_NAME}/served-models/(?P<served>[^/]+)/invocations",
        "invocations",
        "workspace",
    ),
    ("POST", rf"/serving-endpoints/{_NAME}/invocations", "invocations", "workspace"),
    ("POST", r"/serving-endpoints/(?:v1/)?chat/completions", "chat", "workspace"),
    ("POST", r"/serving-endpoints/(?:v1/)?responses", "responses", "workspace"),
    ("POST", r"/ai-gateway/mlflow/v1/chat/completions", "chat", "gateway"),
    ("POST", r"/ai-gateway/mlflow/v1/responses", "responses", "gateway"),
    ("POST", r"/serving-endpoints/open-responses", "open_responses", "workspace"),
    ("POST", r"/ai-gateway/openai/v1/chat/completions", "chat", "native_gateway"),
    ("POST", r"/ai-gateway/openai/v1/responses", "responses", "native_gateway"),
    ("GET", r"/api/2\.0/serving-endpoints/?", "list", "workspace"),  # MLflow writes the slash
    ("GET", r"/api/2\.0/serving-endpoints:foundation-models", "foundation_models", "workspace"),
    ("GET", rf"/api/2\.0/serving-endpoints/{_NAME}", "get", "workspace"),
    ("GET", r"/\.well-known/databricks-config", "host_metadata", "workspace"),
    ("GET", r"/oidc/\.well-known/oauth-authorization-server", "oidc_discovery", "workspace"),
    ("POST", r"/oidc/v1/token", "oidc_token", "workspace"),
)
_ROUTES: tuple[tuple[str, re.Pattern[str], Operation, Surface], ...] = tuple(
    (method, re.compile(path), op, surface) for method, path, op, surface in _TABLE
)


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for. `endpoint` and `served` are percent-decoded and None where the path has none.

    `api_type` is the gateway's word for the API, None off the gateway.
    """

    method: str
    operation: Operation
    surface: Surface
    endpoint: str | None
    served: str | None
    api_type: str | None = None


def find_route(path: str) -> Route | None:
    """The route of a raw path (no query), or None. Whether the method fits is the caller's question."""
    for method, pattern, operation, surface in _ROUTES:
        if match := pattern.fullmatch(path):
            parts = {key: urllib.parse.unquote(value) for key, value in match.groupdict().items()}
            api_type = None if surface == "workspace" else path.removeprefix("/ai-gateway/")
            return Route(method, operation, surface, parts.get("name"), parts.get("served"), api_type)
    return None
