"""Which client sent a request? Its name and version, from what it says of itself in its headers."""

from __future__ import annotations

import re

from isochat_workspace.http.records import RecordedRequest

# In order; the first that is found names the client. mlflow sends through the Databricks SDK and says so elsewhere.
_PATTERNS: tuple[tuple[re.Pattern[str], dict[str, str]], ...] = (
    (re.compile(r"\b(?:Async)?(\w+)/(?:Python|JS) (\S+)"), {"OpenAI": "openai"}),
    (re.compile(r"\b(databricks-sdk)-\w+/(\S+)"), {}),
    (re.compile(r"([^\s/]+)/(\S+)"), {}),
)


def client_name(request: RecordedRequest) -> str:
    """`openai 3.54.0`, `mlflow 3.17.2`, `curl 8.5.0`: name and version, or "unknown".

    What isochat drives is told as `isochat mlflow`: the versions of both would not fit on a line.
    """
    agent = request.header("user-agent") or ""
    name = _name(agent, request.header("x-mlflow-client-version"))
    return f"isochat {name.split(' ')[0]}" if "isochat/" in agent and not name.startswith("isochat") else name


def _name(agent: str, mlflow_version: str | None) -> str:
    if mlflow_version:
        return f"mlflow {mlflow_version}"
    for pattern, names in _PATTERNS:
        if match := pattern.search(agent):
            return f"{names.get(match[1], match[1])} {match[2]}"
    return agent or "unknown"
