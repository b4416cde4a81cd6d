"""Do the five built-in backends give the fault table's verdicts? They prove it the way everybody does."""

from __future__ import annotations

from isochat_conformance import FaultConformance


class TestRest(FaultConformance):
    backend = "rest"


class TestOpenAIChat(FaultConformance):
    backend = "openai-chat"


class TestOpenAIResponses(FaultConformance):
    backend = "openai-responses"


class TestMlflow(FaultConformance):
    backend = "mlflow"


class TestDatabricksSDK(FaultConformance):
    backend = "databricks-sdk"
