"""What if SSLKEYLOGFILE names a file that cannot be written? An isochat error names it, whoever opens the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import isochat

# In a process of its own: the clients' libraries open the file as they are imported.
ASKED = """
import asyncio, sys
import isochat

def ask(way):
    where = {"endpoint": "e", "host": "https://127.0.0.1:9", "token": "dapi-of-the-test"}
    client = isochat.Client(sys.argv[1], max_retries=0, **where)
    try:
        client.chat("Hi") if way == "sync" else asyncio.run(client.achat("Hi"))
    except isochat.ChatError as error:
        print(type(error).__name__, str(error))

for way in ("async", "sync", "async"):
    try:
        ask(way)
    except isochat.ChatError as error:
        print(type(error).__name__, str(error))
"""


@pytest.mark.parametrize("kind", ["missing folder", "folder"])
def test_from_the_start_of_the_program(kind: str, backend: str, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "keys" if kind == "missing folder" else tmp_path
    environment = {**os.environ, "SSLKEYLOGFILE": str(file)}
    done = subprocess.run(
        [sys.executable, "-c", ASKED, backend], capture_output=True, text=True, env=environment, check=False
    )

    told = f"ConfigurationError SSLKEYLOGFILE names a file that cannot be written: {file}: "
    assert [line.startswith(told) for line in done.stdout.splitlines()] == [True] * 3, done.stdout + done.stderr
    assert "Unset SSLKEYLOGFILE" in done.stdout


@pytest.mark.parametrize("trusted", ["system", "SSL_CERT_FILE"])
def test_set_while_the_program_runs(
    trusted: str, backend: str, chat: Any, make_client: Any, nobody: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/nowhere/keys")
    if trusted == "SSL_CERT_FILE":
        import certifi

        monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    client = make_client(backend, nobody, host=nobody.url.replace("http:", "https:"))
    with pytest.raises(isochat.ConfigurationError, match="SSLKEYLOGFILE names a file that cannot be written"):
        chat(client)


def test_without_trust_in_the_environment_it_is_not_opened(
    backend: str, chat: Any, make_client: Any, nobody: Any, monkeypatch: Any
) -> None:
    import certifi

    monkeypatch.setenv("SSLKEYLOGFILE", "/nowhere/keys")
    host = nobody.url.replace("http:", "https:")
    with pytest.raises(isochat.ConnectError):
        chat(make_client(backend, nobody, host=host, trust_env=False, ca_bundle=certifi.where()))


def test_the_command_line_names_it_too(tmp_path: Path) -> None:
    environment = {**os.environ, "SSLKEYLOGFILE": str(tmp_path / "nowhere" / "keys")}
    command = [sys.executable, "-m", "isochat", "compare", "--local", "--model", "scripted", "Hi"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("isochat: SSLKEYLOGFILE names a file that cannot be written")
    assert done.stderr.count("\n") == 1
