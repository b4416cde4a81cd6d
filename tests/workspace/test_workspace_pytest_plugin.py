"""Do the fixtures for other people's tests work, and do the examples of docs/testing.md?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"
PLUGIN = "isochat_workspace.pytest_plugin"
EXAMPLES = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S))


def run(folder: Path, *command: str, **environment: str) -> str:
    """The output of a program of its own, which has to succeed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DATABRICKS_")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_pytest(folder: Path, *options: str, **environment: str) -> str:
    # Named, for environments where isochat was installed before it had a plugin; twice is as good as once.
    return run(folder, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-W", "error", *options, **environment)


def test_the_page_shows_examples() -> None:
    assert list(EXAMPLES) == ["test_summary.py", "test_once.py", "plain.py", "test_answers.py", "test_overload.py"]


def test_the_examples_pass_in_parallel(tmp_path: Path) -> None:
    for name, code in EXAMPLES.items():
        if name.startswith("test_"):
            (tmp_path / name).write_text(code, encoding="utf-8")

    said = run_pytest(tmp_path, "-q", "-n", "2", "--strict-markers", DATABRICKS_CONFIG_PROFILE="nobody")

    assert "6 passed" in said


def test_the_example_without_pytest_prints_what_the_page_says(tmp_path: Path) -> None:
    code = EXAMPLES["plain.py"]
    without = "import sys; sys.modules['pytest'] = None; "

    said = run(tmp_path, "-c", without + f"exec({code!r})")

    assert said.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", code, re.M)


FIXTURES = """
import os, sys

import pytest

NAMES = {"DATABRICKS_HOST", "DATABRICKS_TOKEN"}


def databricks_names():
    return {name for name in os.environ if name.startswith("DATABRICKS_")}


def test_nothing_was_loaded_for_a_test_that_asks_for_nothing():
    assert not {"aiohttp", "isochat_workspace.workspace", "isochat", "click", "rich"} & set(sys.modules)


def test_the_workspace_alone_sets_nothing(databricks_workspace):
    assert databricks_names() == {"DATABRICKS_CLIENT_ID", "DATABRICKS_CONFIG_PROFILE"}
    assert databricks_workspace.requests == []


def test_the_environment_names_this_workspace_and_no_other_way_in(databricks_environment, databricks_workspace):
    assert databricks_environment is databricks_workspace
    assert databricks_names() == NAMES
    assert os.environ["DATABRICKS_HOST"] == databricks_workspace.url
    assert os.environ["DATABRICKS_TOKEN"] == databricks_workspace.token
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "127.0.0.1,internal"


def test_afterwards_the_environment_is_as_before():
    assert databricks_names() == {"DATABRICKS_CLIENT_ID", "DATABRICKS_CONFIG_PROFILE"}
    assert os.environ["NO_PROXY"] == "internal"


SEEN = []


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_its_own(databricks_workspace, turn):
    assert databricks_workspace.url not in SEEN
    SEEN.append(databricks_workspace.url)
"""


def test_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_fixtures.py").write_text(FIXTURES, encoding="utf-8")

    said = run_pytest(
        tmp_path, "-q", "-p", "no:randomly",
        DATABRICKS_CLIENT_ID="someone", DATABRICKS_CONFIG_PROFILE="nobody", NO_PROXY="internal", no_proxy="internal",
    )  # fmt: skip

    assert "6 passed" in said


def test_pytest_finds_the_plugin_by_itself_where_isochat_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


@pytest.mark.parametrize("name", ["Workspace", "Endpoint", "Answer", "Replay"])
def test_the_package_loads_what_is_asked_for(name: str, tmp_path: Path) -> None:
    code = f"""
import sys
import isochat_workspace
before = [module for module in sys.modules if module.startswith("isochat_workspace.")]
assert before == [], before
assert set(isochat_workspace.__all__) <= set(dir(isochat_workspace))
assert isochat_workspace.{name}.__name__ == {name!r}
assert isochat_workspace.{name} is vars(isochat_workspace)[{name!r}]
"""
    run(tmp_path, "-c", code)


def test_every_public_name_is_there() -> None:
    import isochat_workspace

    assert [name for name in isochat_workspace.__all__ if not hasattr(isochat_workspace, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = isochat_workspace.Nothing


CODE_UNDER_TEST = """
import os
import urllib3


def summary(text):
    url = os.environ["DATABRICKS_HOST"] + "/serving-endpoints/databricks-gpt-5/invocations"
    headers = {"Authorization": "Bearer " + os.environ["DATABRICKS_TOKEN"]}
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 50}
    return urllib3.request("POST", url, headers=headers, json=body).json()["choices"][0]["message"]["content"]
"""


def test_the_example_of_the_readme_passes(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    [example] = [code for code in re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S) if "my_code" in code]
    (tmp_path / "my_code.py").write_text(CODE_UNDER_TEST, encoding="utf-8")
    (tmp_path / "test_example.py").write_text("import my_code\n\n\n" + example, encoding="utf-8")

    assert "1 passed" in run_pytest(tmp_path, "-q", "--import-mode=prepend")
