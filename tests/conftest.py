"""For all tests: the canary, which looks for leaked tokens in whatever they bring about, and what most rooms share."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import isochat
from isochat_workspace import Workspace

pytest_plugins = ["canary"]

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
FOREIGN = ("ISOCHAT_", "DATABRICKS_", "OPENAI_", "MLFLOW_", "ARM_", "SSL_CERT_", "REQUESTS_CA_")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment that names no workspace, and an empty home folder; gives the folder."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name.lower() in PROXIES:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each of the five backends in turn."""
    return str(request.param)


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace() as running:
        yield running


@pytest.fixture
def nobody() -> Iterator[SimpleNamespace]:
    """An address where nobody listens; its port is held, so that nobody else is given it in the meantime."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield SimpleNamespace(url=f"http://127.0.0.1:{held.getsockname()[1]}", token="dapi-of-the-test")


@pytest.fixture
def make_client() -> Iterator[Callable[..., isochat.Client]]:
    """Make a client, as `make_client(backend, server, **arguments)`; it is closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(backend: str | None, server: Any, **arguments: Any) -> isochat.Client:
            given = {
                "host": server.url,
                "token": server.token,
                "endpoint": getattr(server, "default_endpoint", "any"),
                **arguments,
            }
            return stack.enter_context(isochat.Client(backend, **given))

        yield make
