"""Do the five built-in backends pass the suite? They prove it the way everybody does."""

from __future__ import annotations

from isochat_conformance import BackendConformance


class TestRest(BackendConformance):
    backend = "rest"


class TestOpenAIChat(BackendConformance):
    backend = "openai-chat"


class TestOpenAIResponses(BackendConformance):
    backend = "openai-responses"


class TestMlflow(BackendConformance):
    backend = "mlflow"


class TestDatabricksSDK(BackendConformance):
    backend = "databricks-sdk"
