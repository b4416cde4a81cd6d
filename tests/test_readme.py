"""Is what the README shows true?"""

import doctest
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import isochat
from isochat.streaming.reading import COMPLETION_UNPROVEN, USAGE_MISSING, WHOLE_REPLY
from isochat_conformance.case import load_cases
from isochat_conformance.engine import Bench
from isochat_workspace import Workspace

README = Path(__file__).parent.parent / "README.md"
STREAMS = README.with_name("docs") / "streams.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_lines_of_use_print_what_the_readme_says():
    test = doctest.DocTestParser().get_doctest(blocks("python")[0], {}, "README", str(README), 0)
    runner = doctest.DocTestRunner(verbose=False)
    said = []

    runner.run(test, out=said.append, clear_globs=False)
    test.globs["ws"].stop()

    assert "".join(said) == ""
    assert len(test.examples) == 14


def test_two_commands_and_each_is_one_line():
    commands = blocks("sh")

    assert [command.count("\n") for command in commands] == [1, 1]


def test_the_comparison_prints_what_the_readme_shows(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    asked = ["compare", "--local", "--model", "scripted", "What is a mixture of experts model?"]
    told = subprocess.run([sys.executable, "-m", "isochat", *asked], capture_output=True, text=True, check=True)
    printed = told.stdout.splitlines()

    (shown,) = blocks("text")

    assert [line for line in shown.splitlines() if not any(real.startswith(line) for real in printed)] == []


def test_the_table_of_backends_is_the_registry():
    rows = re.findall(
        r"^\| `([a-z-]+)` \|.*\| `(pip install [^`]+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE
    )

    assert dict(rows) == {
        name: info.install for name, info in isochat.backends().items() if info.distribution == "isochat"
    }


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_the_configuration_of_the_readme_is_valid(target, tmp_path, monkeypatch):
    text = next(block for block in blocks("toml") if "targets" in block)
    (tmp_path / "isochat.toml").write_text(text, encoding="utf-8")
    with Workspace() as ws:
        (tmp_path / "profiles").write_text(f"[DEFAULT]\nhost = {ws.url}\ntoken = {ws.token}\n", encoding="utf-8")
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "profiles"))
        with isochat.Client(target=target, config_file=tmp_path / "isochat.toml") as client:
            result = client.chat("Hello")
        sent = ws.requests[-1].json()

    assert result.meta.backend == tomllib.loads(text)["targets"][target]["backend"]
    assert sent.get("temperature") == {"dev": None, "prod": 0.1}[target]


def test_the_backend_of_the_readme_passes_the_suite():
    code = next(block for block in blocks("python") if "class Mine" in block)
    names = {"my_encode": lambda body: json.dumps(body).encode(), "my_decode": json.loads}
    exec(compile(code, "README", "exec"), names)

    with Bench() as bench:
        outcomes = bench.run_all(names["isochat_backend"](), load_cases())

    assert {outcome.case: outcome.findings for outcome in outcomes if not outcome.passed} == {}


def test_the_names_of_the_warnings_of_a_stream_are_those_of_the_docs():
    names = re.findall(r"^\| `([a-z_]+)` \|", STREAMS.read_text(encoding="utf-8"), re.MULTILINE)

    assert names == [COMPLETION_UNPROVEN, USAGE_MISSING, WHOLE_REPLY]
