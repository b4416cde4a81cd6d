"""Which of the workspace's routes does a call take, and what is its path?

``serving-endpoints`` takes a serving endpoint's name; ``ai-gateway`` takes the name of a model service, three parts
with dots between them (``system.ai.claude-sonnet-4-5``), on OpenAI-style paths alone. Source: the Databricks pages on
querying model services and the Unity gateway's quickstart.
"""

from __future__ import annotations

from isochat.errors import ConfigurationError

SERVING_ENDPOINTS, AI_GATEWAY, AUTO = "serving-endpoints", "ai-gateway", "auto"
PATHS = {SERVING_ENDPOINTS: "/serving-endpoints", AI_GATEWAY: "/ai-gateway/mlflow/v1"}
_DOTS_OF_A_MODEL_SERVICE = 2


def choose_route(route: str, endpoint: str | None) -> str:
    """``route``, or for ``auto`` the one that takes ``endpoint``."""
    if route != AUTO:
        return route
    return AI_GATEWAY if (endpoint or "").count(".") >= _DOTS_OF_A_MODEL_SERVICE else SERVING_ENDPOINTS


def check_route(route: str, routes: tuple[str, ...], backend: str, served_model: str | None) -> None:
    """Raises ConfigurationError unless ``backend``, which can take ``routes``, can take ``route``."""
    if route not in routes:
        raise ConfigurationError(
            f"the client of backend {backend!r} cannot take the route {route!r}",
            remedy="Use the backend rest, openai-chat or openai-responses for it",
        )
    if served_model is not None and route != SERVING_ENDPOINTS:
        raise ConfigurationError(
            f"served_model= has no place on the route {route!r}",
            remedy="Leave it out, or use route='serving-endpoints'",
        )
