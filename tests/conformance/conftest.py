"""Which of the suite's many runs are quick? All cases, each whole in a thread and streamed on a loop; some faults.

The other two modes of each case are run by `isochat conformance BACKEND --mode async --mode stream`, as `.ci/run` does,
or by `pytest -m long`. So is the whole fault table: `pytest -m "long or not long" tests/conformance/test_faults.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from isochat_conformance.modes import MODES

_LATER = ("-async]", "-stream]")
# A row or two of each theme, none that waits.
_QUICK_FAULTS = (
    "refused", "closed-in-headers", "stale-connection-closed", "smuggled-reply", "body-short", "length-negative",
    "header-without-colon", "early-hints", "redirect-307-elsewhere", "retry-after-99999", "status-401-echo",
    "status-429-then-answered", "error-code", "json-html", "json-deep", "content-number", "gzip-cut",
    "stream-cut-in-event", "fails-error-code", "events-comments", "endpoint-dots", "token-crlf",
)  # fmt: skip
_QUICK = {f"{name}-{mode}]" for name in _QUICK_FAULTS for mode in MODES}


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if "test_faults.py" in item.nodeid and "test_fault[" in item.nodeid:
            if item.nodeid.partition("[")[2] not in _QUICK:
                item.add_marker(pytest.mark.long)
            continue
        if "test_backends.py" not in item.nodeid or "test_case[" not in item.nodeid:
            continue
        if item.nodeid.endswith(_LATER) and not item.nodeid.endswith("-async-stream]"):
            item.add_marker(pytest.mark.long)
