"""What does ``isochat conformance`` say, on which stream, and with which exit code?"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from isochat_adapters.rest import Rest
from isochat_conformance import conformance_command
from isochat_conformance.case import load_cases
from isochat_conformance.conformance_command import conformance
from isochat_conformance.conformance_report import as_json_document, print_report
from isochat_conformance.engine import Bench, Outcome
from isochat_conformance.modes import MODES

CASES = {case.id: case for case in load_cases()}


class Unlucky(Rest):
    """Fails any case whose wire body is looked at."""

    def complete(self, request, wire):  # type: ignore[no-untyped-def]
        return super().complete(msgspec.structs.replace(request, body={"messages": []}), wire)


@pytest.fixture(scope="module")
def failed() -> Iterator[list[Outcome]]:
    with Bench() as bench:
        yield bench.run_all(Unlucky, [CASES["messages-string"], CASES["error-503"]], ["sync", "stream"])


def isochat(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it, with a home of its own and without settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ISOCHAT", "DATABRICKS"))}
    return subprocess.run(
        [sys.executable, "-c", "from isochat.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


def test_a_passing_backend_exits_0_with_nothing_on_stderr() -> None:
    done = isochat("conformance", "rest")
    assert (done.returncode, done.stderr) == (0, "")
    elsewhere = [case.id for case in CASES.values() if case.not_applicable("invocations")]
    assert done.stdout.splitlines()[-1].startswith(f"rest conforms: {len(CASES) - len(elsewhere)} cases in 4 modes, ")
    assert f"Not applicable, {len(elsewhere)} cases: the endpoint answers on responses alone" in done.stdout
    assert ", ".join(elsewhere) in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    for mode in MODES:
        asked = sum(mode in case.modes for case in CASES.values())
        aside = sum(mode in case.modes for case in CASES.values() if case.id in elsewhere)
        refused = sum(
            mode in case.modes and "chat-completions" not in case.carried_by
            for case in CASES.values()
            if case.id not in elsewhere
        )
        counts = [str(asked - aside), str(refused) if refused else "-", str(aside)]
        assert [mode, *counts] == next(row for row in rows if row[:1] == [mode])
    assert "\x1b" not in done.stdout


def test_json_is_one_document_with_every_case_and_the_loss_list() -> None:
    done = isochat("conformance", "databricks-sdk", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["backend"], told["api"], told["failed"]) == ("databricks-sdk", "chat-completions", 0)
    runs = [(case.id, mode) for case in CASES.values() for mode in case.modes]
    assert [(case["id"], case["mode"]) for case in told["cases"]] == runs
    assert sum(counts["passed"] for counts in told["modes"].values()) == told["passed"]
    assert list(told["modes"]) == list(MODES)
    assert any(loss["field"] == "choices[].finish_reason" for loss in told["losses"]["lost"])


def test_cases_can_be_chosen_by_id() -> None:
    chosen = ("--case", "param-stop-text", "--case", "finish-stop", "--mode", "async")
    done = isochat("conformance", "openai-responses", "--json", *chosen)
    told = json.loads(done.stdout)
    assert [(case["id"], case["mode"], case["carried"]) for case in told["cases"]] == [
        ("param-stop-text", "async", False),
        ("finish-stop", "async", True),
    ]
    assert told["modes"] == {"async": {"passed": 2, "failed": 0, "refused": 1, "not_applicable": 0}}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "there is no backend 'nonsense'"),
        (("rest", "--case", "finish-stopp"), "did you mean finish-stop"),
        (("rest", "--mode", "folded"), "'folded' is not one of"),
        (("rest", "--case", "stream-no-role", "--mode", "sync"), "none of these cases is asked in sync"),
        ((), "Missing argument"),
    ],
)
def test_wrong_usage_exits_2_and_names_the_remedy(arguments: tuple[str, ...], said: str) -> None:
    done = isochat("conformance", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_failing_case_gives_the_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance_command.plugins, "load_backend", lambda name: Unlucky)
    done = CliRunner().invoke(conformance, ["rest", "--case", "messages-string"], standalone_mode=False)
    assert done.return_value == 1
    assert "FAIL messages-string" in done.stdout


def test_a_failure_is_told_with_its_doc_and_findings(failed: list[Outcome]) -> None:
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        print_report(console, "rest", CASES, failed)
    told = console.export_text()
    assert "FAIL messages-string" in told
    assert "A string is one user message." in told
    assert "- in the body on the wire, messages is [], expected" in told
    assert told.count("FAIL messages-string  in sync") == 1
    assert "FAIL error-503  in sync" in told
    assert told.rstrip().splitlines()[-1].startswith("rest fails 2 of 2 cases in 2 modes")


def test_a_failure_in_json_has_its_findings(failed: list[Outcome]) -> None:
    document = as_json_document("rest", failed)
    assert (document["passed"], document["failed"]) == (2, 2)  # it is unlucky in plain calls alone
    assert document["modes"]["sync"]["failed"] == document["modes"]["stream"]["passed"] == 2
    assert all(case["findings"] for case in document["cases"] if case["mode"] == "sync")
    json.dumps(document)


def test_logging_is_as_before(tmp_path: Path) -> None:
    before = logging.root.manager.disable
    CliRunner().invoke(conformance, ["rest", "--case", "finish-stop"], standalone_mode=False)
    assert logging.root.manager.disable == before


def test_the_suite_imports_neither_pytest_nor_a_client_unless_asked() -> None:
    code = (
        "import sys, isochat_conformance, isochat_conformance.engine, isochat_conformance.conformance_command\n"
        "print([m for m in ('pytest', 'openai', 'mlflow', 'databricks.sdk', 'aiohttp') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
