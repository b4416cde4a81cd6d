"""Does the real model's process serve one at a time, come back when it dies, and end with its parent?"""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from isochat_workspace import Endpoint, SmolLM2, Workspace
from isochat_workspace.smollm2.model_store import ModelStore

pytestmark = [
    pytest.mark.smollm2,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc are of POSIX systems"),
]

Send = Callable[..., urllib3.BaseHTTPResponse]
Until = Callable[[Callable[[], bool]], None]
PATH = "/serving-endpoints/smollm2/invocations"
LONG = {"messages": [{"role": "user", "content": "Count from 1 to 1000."}], "max_tokens": 500}
SHORT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


@pytest.fixture(scope="module")
def own(smollm2: Workspace) -> Iterator[Workspace]:
    """A workspace whose engine may be killed; `smollm2` has installed the model."""
    with Workspace(model="smollm2") as running:
        yield running


def model_of(workspace: Workspace) -> SmolLM2:
    model = workspace.endpoints[0].model
    assert isinstance(model, SmolLM2)
    return model


def slot(workspace: Workspace) -> dict[str, Any]:
    """The engine's own word on what it is doing."""
    engine = model_of(workspace).engine
    headers = {"authorization": f"Bearer {engine.key}", "connection": "close"}
    [only] = urllib3.request("GET", engine.url + "/slots", headers=headers, retries=False, timeout=60).json()
    return dict(only)


class Reader:
    """A client that reads a stream and may leave it."""

    def __init__(self, workspace: Workspace, **body: Any) -> None:
        self._http = urllib3.PoolManager(retries=False, timeout=60)
        headers = {"authorization": f"Bearer {workspace.token}"}
        asked = {**LONG, "stream": True, **body}
        self.reply = self._http.request(
            "POST", workspace.url + PATH, json=asked, headers=headers, preload_content=False
        )
        self.pieces = self.reply.stream(16)
        assert next(self.pieces)

    def leave(self) -> None:
        self.reply.close()
        self._http.clear()


def test_a_client_that_leaves_stops_the_engine(own: Workspace, send: Send, until: Until) -> None:
    """The engine itself tells that it is idle, and how far it came: not to the end."""
    reader = Reader(own)
    assert slot(own)["is_processing"]
    reader.leave()
    until(lambda: not slot(own)["is_processing"])
    assert slot(own)["n_prompt_tokens"] < 400  # what was asked and what was said so far
    until(lambda: own.requests[-1].closed_early)
    assert send(own, "POST", PATH, SHORT).status == 200


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_a_plain_call_stops_the_engine(own: Workspace, send: Send, until: Until, how: str) -> None:
    host, port = own.url.removeprefix("http://").split(":")
    body = json.dumps(LONG).encode()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {own.token}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: slot(own)["is_processing"])
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until(lambda: not slot(own)["is_processing"])
    assert slot(own)["n_prompt_tokens"] < 400
    assert send(own, "POST", PATH, SHORT).status == 200


def test_those_who_leave_the_queue_are_never_asked(own: Workspace, send: Send, until: Until) -> None:
    first = Reader(own)
    before = slot(own)["id_task"]
    host, port = own.url.removeprefix("http://").split(":")
    body = json.dumps({**LONG, "stream": True}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {own.token}\r\n"
    seen = len(own.requests)
    waiting = [socket.create_connection((host, int(port)), timeout=60) for _ in range(20)]
    for connection in waiting:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    until(lambda: len(own.requests) == seen + 20)
    for connection in waiting:
        connection.close()
    until(lambda: all(request.closed_early for request in own.requests[seen:]))
    assert slot(own)["id_task"] == before
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        last = thread.submit(send, own, "POST", PATH, SHORT)
        first.leave()
        assert last.result(60).status == 200
    # One question was answered since: twenty more would have been twenty more tasks, and as many again to end them.
    assert slot(own)["id_task"] - before < 12


def kill_engine(workspace: Workspace) -> None:
    os.kill(model_of(workspace).engine.pid, signal.SIGKILL)


def test_an_engine_that_dies_in_a_stream_is_an_event_and_the_next_request_finds_a_new_one(
    own: Workspace, send: Send
) -> None:
    dead = model_of(own).engine
    reader = Reader(own)
    kill_engine(own)
    rest = b"".join(reader.pieces).decode()
    assert "[DONE]" not in rest
    last = json.loads(rest.strip().rpartition("data: ")[2])
    assert last["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert "The next request starts it again." in last["message"]
    assert send(own, "POST", PATH, SHORT).status == 200
    assert model_of(own).engine is not dead
    assert dead.ended == "SIGKILL"
    assert zombies() == []


def test_an_engine_that_dies_in_a_plain_call_is_a_503(own: Workspace, send: Send, until: Until) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        asked = thread.submit(send, own, "POST", PATH, LONG)
        until(lambda: slot(own)["is_processing"])
        kill_engine(own)
        failed = asked.result(60)
    assert (failed.status, failed.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert send(own, "POST", PATH, SHORT).status == 200


def test_an_engine_that_dies_while_idle_is_replaced_unnoticed(own: Workspace, send: Send, until: Until) -> None:
    dead = model_of(own).engine
    kill_engine(own)
    until(lambda: dead.ended is not None)
    assert zombies() == []  # nobody asked for anything: it was reaped all the same
    with concurrent.futures.ThreadPoolExecutor(4) as crowd:
        replies = list(crowd.map(lambda _: send(own, "POST", PATH, SHORT).status, range(4)))
    assert replies == [200] * 4


def test_an_engine_that_cannot_come_back_is_a_503(own: Workspace, send: Send, until: Until, tmp_path: Path) -> None:
    model = model_of(own)
    kill_engine(own)
    until(lambda: model.engine.ended is not None)
    whole, model._store = model._store, broken_store(tmp_path)
    try:
        failed = send(own, "POST", PATH, SHORT)
    finally:
        model._store = whole
    assert failed.status == 503
    assert "did not start: ImportError: no such instruction set" in failed.json()["message"]
    assert send(own, "POST", PATH, SHORT).status == 200


def zombies() -> list[str]:
    """Children of this process that have ended and that nobody has waited for."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if (state, parent) == ("Z", str(os.getpid())):
            found.append(name)
    return found


def test_a_workspace_gives_everything_back(smollm2: Workspace) -> None:
    environment, threads = dict(os.environ), set(threading.enumerate())
    descriptors = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else set()
    with Workspace(model="smollm2") as workspace:
        engine = model_of(workspace).engine
        reader = Reader(workspace)
        assert dict(os.environ) == environment  # the engine's variables are the engine's alone
        variables = Path(f"/proc/{engine.pid}/environ")
        if variables.exists():
            assert b"OMP_WAIT_POLICY=passive" in variables.read_bytes()
    reader.leave()
    assert engine.ended == "exit status 0"
    assert zombies() == []
    assert set(threading.enumerate()) == threads
    if descriptors:
        # The listing holds one of its own.
        assert len(os.listdir("/proc/self/fd")) <= len(descriptors)


PROGRAM = """
import os, sys
from isochat_workspace.smollm2.engine_process import EngineProcess
from isochat_workspace.smollm2.model_store import default_store
engine = EngineProcess(default_store())
"""
READY = "print(engine.url, flush=True)\n"
WAIT = "sys.stdin.read()\n"
ENDS = {
    "killed": (READY + WAIT, signal.SIGKILL),
    "killed, with a forked child that lives on": (
        "os.fork() or (sys.stdin.read(), os._exit(0))\n" + READY + WAIT,
        signal.SIGKILL,
    ),
    "exits without a stop": (READY, None),
    "exits in a hurry": (READY + "os._exit(3)", None),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_engine_ends_with_its_parent(smollm2: Workspace, end: str) -> None:
    rest, sent = ENDS[end]
    program = [sys.executable, "-c", PROGRAM + rest]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        host, port = parent.stdout.readline().strip().removeprefix("http://").split(":")
        if sent is not None:
            parent.send_signal(sent)
        parent.wait(60)
        # Not by its process id: where nobody reaps orphans, a dead process keeps that.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
            except ConnectionError:
                return
    pytest.fail("the engine outlived its parent")


def broken_store(folder: Path) -> ModelStore:
    broken = ModelStore(folder)
    (folder / "xllamacpp").mkdir()
    (folder / "xllamacpp" / "__init__.py").write_text("raise ImportError('no such instruction set')")
    broken.weights.parent.mkdir()
    broken.weights.touch()
    return broken


def test_an_engine_that_does_not_start_is_a_configuration_error(tmp_path: Path) -> None:
    from isochat.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="did not start: ImportError: no such instruction set") as caught:
        Workspace([Endpoint("s", SmolLM2(broken_store(tmp_path)))]).start()
    assert "--force" in str(caught.value.remedy)
    assert zombies() == []
