"""Does `isochat conformance BACKEND --faults` judge a backend, in words and in JSON?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner

from isochat_conformance import conformance_command
from isochat_conformance.conformance_command import conformance
from isochat_conformance.fault_bench import FaultBench, FaultOutcome
from isochat_conformance.fault_row import Fault


def said(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(conformance, arguments, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value), done.output


def test_it_says_what_holds_and_what_does_not_apply() -> None:
    code, text = said("openai-responses", "--faults", "--case", "refused", "--case", "choices-empty")

    assert code == 0
    assert "Not applicable, 1 fault: " in text
    assert "openai-responses conforms: 1 fault in 4 modes" in text


def test_one_mode_in_json() -> None:
    code, text = said("rest", "--faults", "--case", "status-429", "--mode", "async", "--json")
    told = json.loads(text)
    (row,) = told.pop("faults")

    assert (code, told["passed"], told["failed"]) == (0, 1, 0)
    assert row | {"seconds": 0} == {
        "id": "status-429", "mode": "async", "passed": True, "not_applicable": None, "findings": [], "seconds": 0,
        "said": "RateLimitError", "requests": 3,
    }  # fmt: skip


def test_what_fails_is_said_by_row_and_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(FaultBench):
        def run(self, backend: Any, fault: Fault, modes: Sequence[Any] | None = None) -> list[FaultOutcome]:
            return [FaultOutcome(fault=fault.id, backend="rest", mode="sync", findings=("it hangs",))]

    monkeypatch.setattr(conformance_command, "FaultBench", Failing)
    code, text = said("rest", "--faults", "--case", "refused")

    assert code == 1
    assert "FAIL refused  in sync" in text
    assert "- it hangs" in text
    assert "rest fails 1 of 1 fault in 1 mode" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--case", "refusde"), "there is no fault 'refusde'; did you mean refused"),
        (("--case", "json-null", "--mode", "stream"), "none of these faults is asked in stream"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(Exception, match=words):
        said("rest", "--faults", *arguments)
