"""The command line: run in this process, or on a terminal of its own. Arguments in, exit code and both streams out."""

import sys
from typing import NamedTuple

import pytest

from isochat.cli import main
from isochat_workspace import Workspace

from .stage import Stage
from .terminal import Terminal


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def isochat_cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["isochat", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ran(ended.value.code, out, err)

    return run


@pytest.fixture
def workspace(monkeypatch):
    with Workspace() as ws:
        monkeypatch.setenv("DATABRICKS_HOST", ws.url)
        monkeypatch.setenv("DATABRICKS_TOKEN", ws.token)
        yield ws


@pytest.fixture
def terminal(workspace, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    opened = []

    def start(*arguments, **options):
        opened.append(Terminal(arguments, **options))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def stage(workspace):
    stage = Stage(workspace)
    yield stage
    for _ in range(100):
        stage.pass_on()
