"""Fixtures of the adapter tests."""

from __future__ import annotations

from pathlib import Path

import pytest

CHAT_BACKENDS = ("rest", "openai-chat", "mlflow", "databricks-sdk")


@pytest.fixture(autouse=True)
def clean_environment(clean_environment: Path) -> Path:
    """For each test here."""
    return clean_environment


@pytest.fixture(params=CHAT_BACKENDS)
def chat_backend(request: pytest.FixtureRequest) -> str:
    """Each of the four backends that speak chat completions."""
    return str(request.param)
