"""Which of the suite's many runs are quick? All cases, each whole in a thread and streamed on a loop.

The other two modes of each case are run by `isochat conformance BACKEND --mode async --mode stream`, as `.ci/run` does,
or by `pytest -m long`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

_LATER = ("-async]", "-stream]")


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if "test_backends.py" not in item.nodeid or "test_case[" not in item.nodeid:
            continue
        if item.nodeid.endswith(_LATER) and not item.nodeid.endswith("-async-stream]"):
            item.add_marker(pytest.mark.long)
