"""What does importing isochat bring with it? No SDK, no socket; a backend brings its own client and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

CLIENTS = ("openai", "httpx", "httpx2", "mlflow", "databricks", "requests", "aiohttp", "pydantic", "urllib3")

WATCH = """
import sys, json
opened, connected = [], []
def hook(event, arguments):
    if event in ("socket.__new__", "socket.bind", "socket.getaddrinfo"):
        opened.append(event)
    elif event == "socket.connect":
        connected.append(list(arguments[1]))
sys.addaudithook(hook)
refused = set(json.loads(sys.argv[1]))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""
REPORT = "print(json.dumps({'modules': sorted(sys.modules), 'opened': opened, 'connected': connected}))"


def run(code: str, *refused: str) -> Any:
    """What a new interpreter prints as JSON on its last line, with the modules ``refused`` not installed."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH + code, json.dumps(refused)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def clients_among(modules: list[str]) -> set[str]:
    return {name for name in CLIENTS if name in modules}


@pytest.fixture(scope="module")
def after_import() -> Any:
    return run(f"import isochat; {REPORT}")


def test_import_brings_no_client(after_import: Any) -> None:
    assert clients_among(after_import["modules"]) == set()


def test_import_opens_no_socket(after_import: Any) -> None:
    assert (after_import["opened"], after_import["connected"]) == ([], [])


def test_listing_the_backends_imports_none(after_import: Any) -> None:
    report = run(f"import isochat; isochat.backends(); isochat.backends(load=True); {REPORT}")

    assert clients_among(report["modules"]) == set()


BROUGHT = {
    "rest": set(),
    "openai-chat": {"openai"},
    "openai-responses": {"openai"},
    "mlflow": {"mlflow", "databricks", "requests"},
    "databricks-sdk": {"databricks", "requests"},
}
MAKE = "client = isochat.Client({!r}, host='http://127.0.0.1:9', token='t', endpoint='e', max_retries=0, deadline=5)"


def test_a_backend_brings_its_own_client_only(backend: str) -> None:
    report = run(f"import isochat; {MAKE.format(backend)}; {REPORT}")

    brought = clients_among(report["modules"]) & {"openai", "mlflow", "databricks", "requests"}
    assert (brought, report["connected"]) == (BROUGHT[backend], [])


@pytest.mark.parametrize("name", ["rest", "openai-chat"])
def test_making_a_client_opens_no_socket(name: str) -> None:
    # The SDK and MLflow import urllib3, which binds one to see whether there is IPv6.
    assert run(f"import isochat; {MAKE.format(name)}; {REPORT}")["opened"] == []


def test_a_call_connects_to_the_host_alone(backend: str) -> None:
    code = f"""
import isochat
{MAKE.format(backend)}
try:
    client.chat("Hi")
except isochat.ConnectError:
    pass
client.close()
{REPORT}
"""
    assert run(code)["connected"] == [["127.0.0.1", 9]]


def test_a_profile_with_a_token_needs_no_sdk(clean_environment: Any) -> None:
    (clean_environment / ".databrickscfg").write_text("[dev]\nhost = https://x.example\ntoken = t\n")

    report = run(f"import isochat; isochat.Client('rest', profile='dev', endpoint='e'); {REPORT}")

    assert clients_among(report["modules"]) == set()


MISSING = [
    ("openai-chat", "openai", "pip install 'isochat[openai]'"),
    ("openai-responses", "openai", "pip install 'isochat[openai]'"),
    ("mlflow", "mlflow", "pip install 'isochat[mlflow]'"),
    ("mlflow", "databricks", "pip install 'isochat[mlflow]'"),
    ("databricks-sdk", "databricks", "pip install 'isochat[databricks-sdk]'"),
]


@pytest.mark.parametrize(("name", "module", "line"), MISSING)
def test_a_missing_client_names_the_line_that_installs_it(name: str, module: str, line: str) -> None:
    code = f"""
import isochat
try:
    {MAKE.format(name)}
except isochat.BackendNotInstalledError as error:
    print(json.dumps([error.remedy, str(error), error.attempts]))
"""
    remedy, text, attempts = run(code, module)

    assert (remedy, attempts, "\n" in text) == (line, 0, False)
    assert text.endswith(line)


def test_rest_works_without_any_client(workspace: Any) -> None:
    code = f"""
import isochat
client = isochat.Client("rest", host={workspace.url!r}, token={workspace.token!r}, endpoint="scripted")
print(json.dumps(client.chat("Hi").text))
client.close()
"""
    said = run(code, "openai", "mlflow", "databricks", "requests", "httpx", "httpx2", "aiohttp", "click", "rich")

    assert said.startswith('You asked: "Hi".')


def test_other_credentials_without_the_sdk(clean_environment: Any) -> None:
    code = """
import isochat
try:
    isochat.Client("rest", endpoint="e")
except isochat.BackendNotInstalledError as error:
    print(json.dumps(str(error)))
"""
    assert "pip install 'isochat[databricks-sdk]'" in run(code, "databricks")


def test_a_fallback_brings_nothing_until_it_is_needed(clean_environment: Any) -> None:
    (clean_environment / ".databrickscfg").write_text("[m2m]\nhost = https://x.example\nclient_id = i\n")
    file = clean_environment / "isochat.toml"
    file.write_text('[targets.backup]\nbackend = "databricks-sdk"\nendpoint = "e"\nprofile = "m2m"\n')
    there = "host='http://127.0.0.1:9', token='t', endpoint='e'"
    fallback = f"fallback=['openai-chat', 'mlflow', 'target:backup'], config_file={str(file)!r}"

    report = run(f"import isochat; isochat.Client('rest', {there}, {fallback}); {REPORT}")

    assert clients_among(report["modules"]) == set()
    assert [name for name in report["modules"] if name.startswith("isochat_adapters.")] == ["isochat_adapters.rest"]
    assert report["opened"] == []


def test_a_fallback_whose_client_does_not_import_is_left_out(workspace: Any) -> None:
    code = f"""
import isochat
there = dict(host={workspace.url!r}, token={workspace.token!r}, max_retries=0)
client = isochat.Client("rest", endpoint="nowhere", fallback=["openai-chat", "mlflow"], **there)
try:
    client.chat("Hi")
except isochat.NotFoundError as error:
    print(json.dumps([str(error), error.__notes__, error.attempts]))
client.close()
"""
    text, notes, attempts = run(code, "openai")

    assert "then failed: openai-chat with BackendNotInstalledError, mlflow with NotFoundError 404" in text
    assert "pip install 'isochat[openai]'" in notes[0]
    assert attempts == 2


def test_a_fallback_that_is_not_installed_is_told_at_once(tmp_path: Any) -> None:
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\nRequires-Dist: no-such-client>=1; extra == 'mine'\n"
    )
    (info / "entry_points.txt").write_text("[isochat.backends]\nmine = nowhere.mine [mine]\n")
    code = f"""
sys.path.insert(0, {str(tmp_path)!r})
import isochat
try:
    isochat.Client("rest", host="http://127.0.0.1:9", token="t", endpoint="e", fallback=["mine"])
except isochat.BackendNotInstalledError as error:
    print(json.dumps(str(error)))
"""
    assert run(code) == (
        "fallback 'mine': backend 'mine' needs what is not installed: no-such-client (backend mine). "
        "pip install 'mine[mine]'"
    )
