"""Does a workspace start, run and stop without leaving anything behind?"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import (
    Answer,
    AnswerChoice,
    Endpoint,
    Model,
    Prompt,
    RecordedRequest,
    Scripted,
    ServiceError,
    TokenUsage,
    Workspace,
)

Send = Callable[..., urllib3.BaseHTTPResponse]
Until = Callable[[Callable[[], bool]], None]
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}


def test_it_leaves_no_thread_and_no_socket(send: Send) -> None:
    before = set(threading.enumerate())
    with Workspace() as workspace:
        assert send(workspace, "GET", "/api/2.0/serving-endpoints").status == 200
        host, port = workspace.url.removeprefix("http://").split(":")
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), timeout=5):
        pass


def test_it_can_be_started_again_and_stopped_twice(send: Send) -> None:
    workspace = Workspace()
    workspace.stop()
    for _ in range(2):
        with workspace:
            assert send(workspace, "GET", "/api/2.0/serving-endpoints").status == 200
        workspace.stop()
    assert len(workspace.requests) == 2


def test_two_starts_are_one_too_many(workspace: Workspace) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        workspace.start()


def test_the_address_is_not_known_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        Workspace().url  # noqa: B018 - the property raises


def test_a_taken_port_is_an_error_and_leaves_nothing(workspace: Workspace) -> None:
    before = set(threading.enumerate())
    port = int(workspace.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address"):
        Workspace(port=port).start()
    assert set(threading.enumerate()) == before


def test_the_token_is_random_in_the_services_form_or_given() -> None:
    first, second = Workspace().token, Workspace().token
    assert first.startswith("dapi")
    assert len(first) == 36
    assert first != second
    assert Workspace(token="mine").token == "mine"


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown model 'nope'"):
        Workspace(model="nope")


def test_the_default_endpoint_speaks_both_apis() -> None:
    workspace = Workspace()
    assert (workspace.default_endpoint, workspace.model_name) == ("scripted", "scripted")
    [default] = [one for one in workspace.endpoints if one.name == workspace.default_endpoint]
    assert set(default.speaks) == {"chat", "responses"}


class Parrot(Model):
    """A model as a user writes one."""

    def __init__(self, served_name: str) -> None:
        self.served_name = served_name

    async def answer(self, prompt: Prompt) -> Answer:
        return Answer((AnswerChoice("Hello!", "stop"),), TokenUsage(1, 1))


@pytest.mark.parametrize(
    ("served_name", "name"), [("parrot", "parrot"), ("acme/parrot 7b", "acme-parrot-7b"), ("///", "model")]
)
def test_a_model_of_ones_own_has_an_endpoint_of_its_name(send: Send, served_name: str, name: str) -> None:
    with Workspace(model=Parrot(served_name)) as workspace:
        assert (workspace.default_endpoint, workspace.model_name) == (name, served_name)
        assert [endpoint.name for endpoint in workspace.endpoints][-1] == name
        reply = send(workspace, "POST", f"/serving-endpoints/{name}/invocations", ASK)
        assert (reply.status, reply.json()["model"]) == (200, served_name)


def test_the_access_log_sees_the_answered_request_and_may_fail(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[RecordedRequest] = []

    def log(request: RecordedRequest) -> None:
        seen.append(request)
        if request.path == "/boom":
            raise OSError("closed")

    with Workspace(access_log=log) as workspace:
        send(workspace, "GET", "/one")
        assert send(workspace, "GET", "/boom").status == 404
        assert seen == workspace.requests
    assert [request.status for request in seen] == [404, 404]
    assert "the access log failed" in caplog.text


class Probe(Model):
    """Counts its life, answers or fails as told."""

    served_name = "probe"

    def __init__(self, failure: Exception | None = None) -> None:
        self.opened = self.closed = 0
        self.failure = failure
        self.asked = threading.Event()
        self.left = threading.Event()

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def answer(self, prompt: Prompt) -> Answer:
        if self.failure is not None:
            raise self.failure
        if prompt.max_tokens == 1:
            self.asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()
        return Answer((AnswerChoice("yes", "stop"),), TokenUsage(1, 1))


def test_a_model_behind_many_endpoints_is_opened_and_closed_once(send: Send) -> None:
    probe = Probe()
    with Workspace([Endpoint("a", probe), Endpoint("b", probe)]) as workspace:
        workspace.add(Endpoint("c", probe))
        for name in "abc":
            assert send(workspace, "POST", f"/serving-endpoints/{name}/invocations", ASK).status == 200
    assert (probe.opened, probe.closed) == (1, 1)


def test_an_endpoint_added_while_it_runs_is_served_and_may_replace_one(workspace: Workspace, send: Send) -> None:
    probe = Probe()
    workspace.add(Endpoint("scripted", probe))
    reply = send(workspace, "POST", "/serving-endpoints/scripted/invocations", ASK)
    assert reply.json()["choices"][0]["message"]["content"] == "yes"
    assert probe.opened == 1
    workspace.stop()
    assert probe.closed == 1


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ServiceError(400, "BAD_REQUEST", "too long"), 400, "BAD_REQUEST"),
        (RuntimeError("a secret detail"), 500, "INTERNAL_ERROR"),
    ],
)
def test_a_failing_model_is_an_error_of_the_service(
    send: Send, caplog: pytest.LogCaptureFixture, failure: Exception, status: int, code: str
) -> None:
    with Workspace([Endpoint("p", Probe(failure))]) as workspace:
        reply = send(workspace, "POST", "/serving-endpoints/p/invocations", ASK)
    assert (reply.status, reply.json()["error_code"]) == (status, code)
    assert b"secret" not in reply.data


def test_a_model_that_does_not_open_stops_the_start() -> None:
    class Broken(Scripted):
        async def open(self) -> None:
            raise ValueError("no weights")

    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="no weights"):
        Workspace([Endpoint("b", Broken())]).start()
    assert set(threading.enumerate()) == before


def test_a_client_that_leaves_ends_the_models_work_and_stays_on_record(until: Until) -> None:
    probe = Probe()
    with Workspace([Endpoint("p", probe)]) as workspace:
        host, port = workspace.url.removeprefix("http://").split(":")
        body = b'{"messages": [], "max_tokens": 1}'
        head = (
            f"POST /serving-endpoints/p/invocations HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {workspace.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(head.encode() + body)
            assert probe.asked.wait(30)
        assert probe.left.wait(30)
        until(lambda: workspace.requests[0].closed_early)
        [request] = workspace.requests
        assert (request.status, request.body) == (0, body)


def test_stopping_ends_a_request_that_still_runs() -> None:
    probe = Probe()
    workspace = Workspace([Endpoint("p", probe)]).start()
    client = threading.Thread(target=_ask_in_vain, args=(workspace,), daemon=True)
    client.start()
    assert probe.asked.wait(30)
    workspace.stop()
    assert probe.left.is_set()
    client.join(30)
    assert not client.is_alive()


def _ask_in_vain(workspace: Workspace) -> None:
    with urllib3.PoolManager(retries=False) as pool, pytest.raises(urllib3.exceptions.HTTPError):
        pool.request(
            "POST",
            workspace.url + "/serving-endpoints/p/invocations",
            json={**ASK, "max_tokens": 1},
            headers={"authorization": f"Bearer {workspace.token}"},
        )


def test_without_aiohttp_the_error_names_the_extra_and_the_rest_loads() -> None:
    program = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "import isochat_workspace as w\n"
        "assert w.Scripted().served_name == 'scripted'\n"
        "try: w.Workspace\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'isochat[local]'" in done.stdout
