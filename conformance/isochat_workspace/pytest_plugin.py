"""How does a test get a workspace? Two fixtures, which pytest finds by itself where isochat is installed.

Nothing is loaded and nothing listens until a test asks for one of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from isochat_workspace.workspace import Workspace


@pytest.fixture
def databricks_workspace() -> Iterator[Workspace]:
    """A running workspace of this test's own, on a free port: `url`, `token`, `requests`, `add(Endpoint(...))`.

    It sets nothing in the environment; `databricks_environment` does. Starting one takes less than a
    millisecond, so that no test sees the requests of another, in parallel runs neither.
    """
    from isochat_workspace import Workspace

    with Workspace() as workspace:
        yield workspace


@pytest.fixture
def databricks_environment(databricks_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same workspace, where every Databricks client of this process finds it by itself.

    For the length of the test `DATABRICKS_HOST` and `DATABRICKS_TOKEN` name it, and no other `DATABRICKS_*`
    variable is set: a profile or a second way to log in would win over the token, or be refused beside it.
    """
    for name in [name for name in os.environ if name.startswith("DATABRICKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_HOST", databricks_workspace.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", databricks_workspace.token)
    # A developer's proxy does not lead to this machine's loopback. Clients differ in which spelling they read.
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join(filter(None, ("127.0.0.1", os.environ.get(name)))))
    return databricks_workspace
