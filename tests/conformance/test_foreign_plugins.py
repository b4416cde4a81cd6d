"""Can somebody else's distribution bring a backend, prove it, and be broken without harm to the others?

The plugin is a real distribution, built and installed by pip into a folder of its own; whatever runs it is another
process that has this folder on its path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent.parent / "third_party_plugin"
BUILT_IN = {"rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the foreign distribution."""
    folder = tmp_path_factory.mktemp("plugin")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(PLUGIN)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def run(path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def python(path: Path, code: str) -> str:
    done = run(path, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def distribution(folder: Path, name: str, entry_points: str, modules: Mapping[str, str]) -> None:
    """Lay an installed distribution into ``folder``, as an installer leaves it."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[isochat.backends]\n{entry_points}\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)


def test_it_is_listed_beside_the_built_in_ones(installed: Path) -> None:
    code = "import isochat, json; print(json.dumps({n: b.distribution for n, b in isochat.backends().items()}))"
    listed = json.loads(python(installed, code))
    assert listed["http-client"] == "isochat-http-client"
    assert set(listed) == BUILT_IN | {"http-client"}


def test_the_command_proves_it(installed: Path) -> None:
    done = run(installed, "-c", "from isochat.cli import main; main()", "conformance", "http-client", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3000:]
    told = json.loads(done.stdout)
    assert (told["failed"], told["passed"]) == (0, len(told["cases"]) - told["not_applicable"])
    assert {case["client_call"] for case in told["cases"]} == {None, "HTTPConnection.request"}


def test_its_own_three_line_test_proves_it(installed: Path) -> None:
    test = PLUGIN / "test_http_client.py"
    lines = [line for line in test.read_text().splitlines() if line]
    assert len(lines) == 3
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "--import-mode=importlib", "--rootdir", str(PLUGIN))
    options += ("--confcutdir", str(PLUGIN))  # an author of a plugin has no tests of isochat around
    done = run(installed, "-B", "-m", "pytest", *options, "-c", os.devnull, str(test))
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
    assert "failed" not in done.stdout


BROKEN = {
    "does not import": "raise RuntimeError('half installed')",
    "has no hook": "x = 1",
    "gives no class": "import isochat\n@isochat.hookimpl\ndef isochat_backend():\n    return 'mine'\n",
    "ends the interpreter": "raise SystemExit(3)",
    "misspells the hook": "import isochat\n@isochat.hookimpl\ndef isochat_backendd():\n    return None\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_named_and_harms_nobody(tmp_path: Path, text: str) -> None:
    distribution(tmp_path, "isochat-broken", "broken = isochat_broken", {"isochat_broken": text})
    code = (
        "import isochat, json\n"
        "try:\n"
        "    isochat.Client('broken', endpoint='e', host='http://127.0.0.1:9', token='t')\n"
        "except isochat.PluginError as error:\n"
        "    said = str(error)\n"
        "isochat.Client('rest', endpoint='e', host='http://127.0.0.1:9', token='t').close()\n"
        "info = isochat.backends(load=True)\n"
        "print(json.dumps([said, info['broken'].problem, [n for n, b in info.items() if b.problem]]))\n"
    )
    said, problem, with_a_problem = json.loads(python(tmp_path, code))
    assert "isochat-broken" in said
    assert "isochat-broken" in problem
    assert with_a_problem == ["broken"]


def test_a_name_claimed_twice_is_an_error_that_names_both_and_harms_nobody(tmp_path: Path) -> None:
    module = (
        "import isochat\nfrom isochat_adapters.rest import Rest\n"
        "class Mine(Rest):\n    name = 'mlflow'\n"
        "@isochat.hookimpl\ndef isochat_backend():\n    return Mine\n"
    )
    distribution(tmp_path, "isochat-usurper", "mlflow = isochat_usurper", {"isochat_usurper": module})
    code = (
        "import isochat, json\n"
        "try:\n"
        "    isochat.Client('mlflow', endpoint='e', host='http://127.0.0.1:9', token='t')\n"
        "except isochat.PluginError as error:\n"
        "    said = str(error)\n"
        "isochat.Client('rest', endpoint='e', host='http://127.0.0.1:9', token='t').close()\n"
        "info = isochat.backends(load=True)\n"
        "print(json.dumps([said, [n for n, b in info.items() if b.problem]]))\n"
    )
    said, with_a_problem = json.loads(python(tmp_path, code))
    assert "isochat and isochat-usurper" in said
    assert with_a_problem == ["mlflow"]
