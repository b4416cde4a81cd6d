"""Which operation does a path name? The paths of the service as a table; the body never decides."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from typing import Literal

Operation = Literal["invocations", "chat", "responses", "list", "get", "host_metadata"]
Surface = Literal["workspace", "gateway"]

_NAME = "(?P<name>[^/]+)"

# method, path pattern, operation, surface. First match wins. Sources: serving API reference and SDK
# (`/serving-endpoints/...`, `/api/2.0/...`), llama-stack recording (the `/v1/` form), Unity Gateway
# quickstart (`/ai-gateway/mlflow/v1/...`), databricks-sdk `oauth.py` (`/.well-known/...`).
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
    ("GET", r"/api/2\.0/serving-endpoints", "list", "workspace"),
    ("GET", rf"/api/2\.0/serving-endpoints/{_NAME}", "get", "workspace"),
    ("GET", r"/\.well-known/databricks-config", "host_metadata", "workspace"),
)
_ROUTES: tuple[tuple[str, re.Pattern[str], Operation, Surface], ...] = tuple(
    (method, re.compile(path), op, surface) for method, path, op, surface in _TABLE
)


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for. `endpoint` and `served` are percent-decoded and None where the path has none."""

    method: str
    operation: Operation
    surface: Surface
    endpoint: str | None
    served: str | None


def find_route(path: str) -> Route | None:
    """The route of a raw path (no query), or None. Whether the method fits is the caller's question."""
    for method, pattern, operation, surface in _ROUTES:
        if match := pattern.fullmatch(path):
            parts = {key: urllib.parse.unquote(value) for key, value in match.groupdict().items()}
            return Route(method, operation, surface, parts.get("name"), parts.get("served"))
    return None
