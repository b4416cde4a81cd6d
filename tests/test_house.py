"""Does the house keep its own rules?"""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import isochat

ROOT = Path(__file__).parent.parent
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
# Put together here, so that this file passes its own rule.
HOSTS = re.compile("|".join(("pypi" + r"\.org", "python" + "hosted", "npm" + r"js\.", "registry" + r"\.npm")))


def test_public_names_are_sorted_and_exist():
    assert isochat.__all__ == sorted(isochat.__all__)
    assert [name for name in isochat.__all__ if not hasattr(isochat, name)] == []


def test_every_module_says_which_question_it_answers():
    # The proof of a foreign plugin is the three lines that the README shows.
    modules = [path for path in TRACKED if path.endswith(".py") and not path.startswith("tests/third_party_plugin/")]

    silent = [path for path in modules if not (ROOT / path).read_text(encoding="utf-8").startswith('"""')]

    assert silent == []


@pytest.mark.parametrize("path", [path for path in TRACKED if not path.endswith((".png", ".svg"))])
def test_no_file_names_a_package_registry(path):
    assert HOSTS.findall((ROOT / path).read_text(encoding="utf-8")) == []


def test_every_dependency_has_a_lower_bound_and_the_constraints_pin_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    required = [*project["dependencies"], *(r for rs in project["optional-dependencies"].values() for r in rs)]
    foreign = [r for r in required if not r.startswith("isochat[")]

    assert [r for r in foreign if ">=" not in r] == []
    assert {re.match(r"[\w.-]+", r)[0].lower().replace("_", "-") for r in foreign} <= pinned
