"""Does `isochat serve` record and replay, and say what it does?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from isochat_workspace import Endpoint, Replay, StreamReply, Workspace

SECRET = "dapi-very-secret"
HI = {"messages": [{"role": "user", "content": "Hi"}]}
SERVE = (sys.executable, "-m", "isochat", "serve")


def environment(**variables: str) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "ISOCHAT_"))}
    return {**kept, **variables}


@contextmanager
def served(*arguments: str, **variables: str) -> Iterator[tuple[dict[str, Any], Callable[[], str]]]:
    """What the command says first, and a way to stop it that gives its stderr."""
    process = subprocess.Popen(
        [*SERVE, "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
        text=True,
    )
    assert process.stdout is not None

    def stop() -> str:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0
        return told

    try:
        yield json.loads(process.stdout.readline()), stop
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def post(info: Mapping[str, Any], path: str, body: Any) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        headers = {"authorization": f"Bearer {info['token']}"}
        return pool.request("POST", info["url"] + path, body=json.dumps(body).encode(), headers=headers)


@pytest.mark.parametrize("way", ["flag", "environment", "Databricks' environment", "profile"])
def test_it_records_and_replays(way: str, tmp_path: Path) -> None:
    cassette = str(tmp_path / "c.cassette")
    path = "/serving-endpoints/databricks-gpt-5/invocations"
    with Workspace(token=SECRET) as upstream:
        variables: dict[str, str] = {}
        flags = ["--record", cassette]
        match way:
            case "flag":
                flags += ["--upstream", upstream.url, "--upstream-token", SECRET]
            case "environment":
                flags += ["--upstream", upstream.url]
                variables = {"ISOCHAT_UPSTREAM_TOKEN": SECRET}
            case "profile":
                file = tmp_path / "databrickscfg"
                file.write_text(f"[mine]\nhost = {upstream.url}\ntoken = {SECRET}\n")
                flags += ["--upstream-profile", "mine"]
                variables = {"DATABRICKS_CONFIG_FILE": str(file)}
            case _:
                variables = {"DATABRICKS_HOST": upstream.url, "DATABRICKS_TOKEN": SECRET}
        with served(*flags, **variables) as (info, stop):
            live = post(info, path, HI)
            assert stop() == ""
    assert live.status == 200
    assert SECRET not in Path(cassette).read_text()
    with served("--replay", cassette) as (info, stop):
        assert info["endpoints"] == ["databricks-gpt-5"]
        again = post(info, path, HI)
        missed = post(info, path, {**HI, "seed": 1})
        assert stop() == ""
    assert (again.status, again.data) == (200, live.data)
    assert "seed is 1 here and absent there" in missed.json()["message"]


def test_what_is_not_recorded_is_told(tmp_path: Path) -> None:
    def large() -> Iterable[bytes]:
        for _ in range(17):
            yield b"x" * 2**20

    endpoint = Endpoint("large", Replay({"chat": StreamReply(200, {"content-type": "text/plain"}, large)}))
    with Workspace([endpoint], token=SECRET) as upstream:
        flags = ("--record", str(tmp_path / "c"), "--upstream", upstream.url)
        with served(*flags, ISOCHAT_UPSTREAM_TOKEN=SECRET) as (info, stop):
            assert len(post(info, "/serving-endpoints/large/invocations", HI).data) == 17 * 2**20
            told = stop()
    expected = "not recorded: the reply to POST /serving-endpoints/large/invocations is larger than 16 MiB"
    assert told == f"isochat: {expected}\n"


@pytest.mark.parametrize(
    ("flags", "told", "code"),
    [
        (["--replay", "nothing.cassette"], "cannot read the cassette nothing.cassette: No such file", 3),
        (["--replay", "odd.cassette"], "odd.cassette, line 1: this is no cassette", 3),
        (
            ["--record", "odd.cassette", "--upstream", "https://a.invalid"],
            "odd.cassette, line 1: this is no cassette",
            3,
        ),
        (["--replay", "a", "--record", "b"], "--replay asks no workspace: leave out --record", 2),
        (["--replay", "good.cassette", "--model", "scripted"], "both say what is served", 2),
        (["--record", "no/folder", "--upstream", "https://a.invalid"], "cannot write the cassette no/folder: ", 3),
        (["--upstream", "http://a.invalid"], "would carry the token in clear text", 2),
        (
            ["--upstream", "https://me:pass@a.invalid"],
            "the host holds an '@', perhaps behind a user name or password",
            2,
        ),
        (["--upstream", "https://a.invalid", "--upstream-profile", "nobody"], "profile 'nobody'", 3),
        (["--upstream", ""], "--upstream is empty: give the URL of the workspace, or leave it out", 2),
        (["--upstream-token", SECRET], "--upstream-token is for a workspace to be asked: add --upstream or", 2),
        (["--replay", "good.cassette", "--upstream-token", SECRET], "asks no workspace: leave out --upstream-token", 2),
        (["--token", "a\nb"], "the token has a character at position 1 of 3 that cannot stand in a header", 2),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(flags: list[str], told: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "odd.cassette").write_text('{"a": 1}\n')
    (tmp_path / "good.cassette").write_text('{"isochat_cassette": 1}\n')
    done = subprocess.run(
        [*SERVE, *flags],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        env=environment(ISOCHAT_UPSTREAM_TOKEN=SECRET, HOME=str(tmp_path)),
        check=False,
    )
    assert done.returncode == code
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == (4 if "Usage: " in done.stderr else 1)
    assert SECRET not in done.stdout + done.stderr
    assert "pass@" not in done.stdout + done.stderr
