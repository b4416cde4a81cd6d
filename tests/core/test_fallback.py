"""Who carries a call on when a backend cannot, after which errors, and what is told of it? Counted at the servers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pickle
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from test_retries import VirtualClock

import isochat
from isochat.fallback import RULES, reach_after

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
PAIRS = [(one, other) for one in BACKENDS for other in BACKENDS if one != other]
BACKUP_TOKEN = "dapi-of-the-backup"


@dataclasses.dataclass
class City:
    name: str


@pytest.fixture
def answering(serve: Any, body_of: Any, reply: Any) -> Callable[..., Any]:
    """A server that answers with the given statuses one by one, the last one again and again, in each one's dialect.

    An answer names the server, as `answering("503 Busy", "200 OK", says="Here.")`.
    """

    def make(*replies: str, says: str = "Hello.") -> Any:
        queue, lock = list(replies), threading.Lock()

        def script(connection: socket.socket, server: Any) -> str | None:
            with lock:
                now = queue.pop(0) if len(queue) > 1 else queue[0]
            status, _, header = now.partition("; ")
            if status == "reset":
                return None
            path = server.requests[-1].split()[1]
            answer = body_of("openai-responses" if path.endswith(b"/responses") else "rest", says)
            body = answer if status.startswith("200") else json.dumps({"message": "No."}).encode()
            connection.sendall(reply(status, body, *([header] if header else [])))
            return "keep"

        return serve(script)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write an isochat.toml and give its path; each keyword is a target, its values are settings."""

    def writer(default_target: str | None = None, **sections: dict[str, Any]) -> str:
        lines = [f'default_target = "{default_target}"'] if default_target else []
        for name, settings in sections.items():
            lines.append(f"[targets.{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        path = tmp_path / "isochat.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return str(path)

    return writer


def backup(server: Any, **more: Any) -> dict[str, Any]:
    """A target on another server, with a login of its own."""
    return {"endpoint": "second", "host": server.url, "token": BACKUP_TOKEN, **more}


def agent_of(request: bytes) -> str:
    found = re.search(rb"(?im)^user-agent: (.*)\r$", request)
    return found[1].decode() if found else ""


# ------------------------------------------------------------------------------------------------ handing over


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_each_backend_carries_on_for_each(first: str, second: str, answering: Any, make_client: Any) -> None:
    server = answering("503 Busy", "200 OK")
    result = make_client(first, server, max_retries=0, fallback=[second]).chat("Hi", max_tokens=5)

    assert (result.text, result.meta.backend, result.meta.attempts) == ("Hello.", second, 2)
    told = "OverloadedError 503: the endpoint takes no requests for now: No."
    assert result.meta.warnings == (f"fell back from {first} to {second}: {told}",)
    alone = make_client(second, server).chat("Hi", max_tokens=5)
    assert isochat.diff(result, alone) == []
    assert (result.meta.client_call, result.meta.route) == (alone.meta.client_call, alone.meta.route)
    # Its own client asked, with its own words: byte for byte what it sends where it is the first.
    assert head_and_body(server.requests[1]) == head_and_body(server.requests[2])
    assert len(server.requests) == 3


def head_and_body(request: bytes) -> tuple[bytes, str, bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], agent_of(request), body


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_same_on_a_loop(first: str, second: str, answering: Any, make_client: Any) -> None:
    server = answering("503 Busy", "200 OK")

    async def ask() -> isochat.ChatResult:
        async with make_client(first, server, max_retries=0, fallback=[second]) as client:
            return await client.achat("Hi")  # type: ignore[no-any-return]

    result = asyncio.run(ask())
    assert (result.text, result.meta.backend, result.meta.attempts) == ("Hello.", second, 2)
    assert len(server.requests) == 2


def test_each_member_has_its_own_retries(answering: Any, make_client: Any) -> None:
    server = answering(*["503 Busy"] * 5, "200 OK")
    client = make_client("openai-chat", server, max_retries=1, fallback=["mlflow", "rest"])
    client._clock = VirtualClock()
    result = client.chat("Hi")

    assert (result.meta.backend, result.meta.attempts, len(server.requests)) == ("rest", 6, 6)
    assert [warning.partition(":")[0] for warning in result.meta.warnings] == [
        "fell back from openai-chat to mlflow",
        "fell back from mlflow to rest",
    ]


def test_nobody_is_asked_who_is_not_needed(answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("200 OK"), answering("200 OK")
    file = write(backup=backup(other))
    client = make_client("rest", server, fallback=["openai-chat", "target:backup"], config_file=file)

    assert client.chat("Hi").meta.warnings == ()
    assert (len(server.requests), len(other.requests)) == (1, 0)


def test_the_next_call_begins_with_the_first_again(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy", "200 OK")
    client = make_client("rest", server, max_retries=0, fallback=["openai-chat"])

    assert [client.chat("Hi").meta.backend for _ in range(2)] == ["openai-chat", "rest"]


def test_a_call_s_own_options_hold_for_all(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy")
    client = make_client("rest", server, fallback=["openai-chat"])
    with pytest.raises(isochat.OverloadedError):
        client.chat("Hi", max_retries=0, extra_headers={"X-Mine": "1"}, client_request_id="mine")

    assert len(server.requests) == 2
    assert all(b"X-Mine: 1" in request and b'"mine"' in request for request in server.requests)


def test_the_deadline_is_the_call_s(answering: Any, make_client: Any) -> None:
    server = answering("429 Slow; Retry-After: 20")
    client = make_client("rest", server, deadline=50, fallback=["openai-chat"])
    client._clock = VirtualClock()
    with pytest.raises(isochat.RateLimitError) as raised:
        client.chat("Hi")

    # Two waits of 20 s, and none is left for a third, whoever would wait.
    assert (raised.value.attempts, len(server.requests)) == (4, 4)
    assert 40 <= raised.value.elapsed < 50


# ------------------------------------------------------------------------------------------------ after what

AFTER = {
    # status: is a backend of the same workspace asked, and a target with a login of its own?
    "400 No": (False, False),
    "401 No": (False, True),
    "402 Pay": (True, True),
    "403 No": (False, True),
    "404 No": (True, True),
    "405 No": (True, True),
    "408 Late": (True, True),
    "409 No": (True, True),
    "413 Large": (False, False),
    "414 Long": (False, False),
    "415 No": (False, False),
    "418 No": (True, True),
    "422 No": (False, False),
    "429 Slow": (True, True),
    "429 Slow; Retry-After: 3600": (True, True),
    "431 Large": (False, False),
    "500 Oops": (False, False),
    "501 No": (True, True),
    "502 Bad": (False, False),
    "503 Busy": (True, True),
    "504 Late": (False, False),
    "529 Busy": (True, True),
    "302 There; Location: /elsewhere": (False, False),
    "200 Odd": (False, False),
    "reset": (False, False),
}


@pytest.mark.parametrize("status", AFTER)
def test_after_a_status(status: str, backend: str, serve: Any, answering: Any, make_client: Any, write: Any) -> None:
    named, target = AFTER[status]
    other = next(name for name in BACKENDS if name != backend)
    if status == "200 Odd":
        server = serve(lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    else:
        server = answering(status, *([] if status == "reset" else ["200 OK"]))
    elsewhere = answering("200 OK", says="Backup.")
    file = write(backup=backup(elsewhere))
    client = make_client(backend, server, max_retries=0, config_file=file, fallback=[other, "target:backup"])
    if named or target:
        result = client.chat("Hi")
        assert result.text == ("Hello." if named else "Backup.")
        assert result.meta.attempts == 2
    else:
        with pytest.raises(isochat.ChatError) as raised:
            client.chat("Hi")
        assert (raised.value.attempts, raised.value.backend) == (1, backend)
        assert "fall" not in str(raised.value)
    assert (len(server.requests), len(elsewhere.requests)) == (1 + named, int(target and not named))


def test_nobody_there(backend: str, nobody: Any, answering: Any, make_client: Any, write: Any) -> None:
    other = answering("200 OK")
    file = write(backup=backup(other, backend="openai-responses"))
    client = make_client(backend, nobody, max_retries=0, config_file=file, fallback=["target:backup"])
    result = client.chat("Hi")

    assert (result.meta.backend, result.meta.endpoint, result.meta.attempts) == ("openai-responses", "second", 2)
    assert "ConnectError: no connection" in result.meta.warnings[0]


def test_never_after_tls(backend: str, serve: Any, answering: Any, make_client: Any, write: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server, other = serve(lambda connection, _: None, tls=context), answering("200 OK")
    file = write(backup=backup(other))
    client = make_client(backend, server, max_retries=0, config_file=file, fallback=["target:backup"])
    with pytest.raises(isochat.TLSError):
        client.chat("Hi")
    assert other.requests == []


def test_never_after_wrong_input(answering: Any, make_client: Any) -> None:
    server = answering("200 OK")
    client = make_client("openai-responses", server, fallback=["rest"])
    for wrong in ({"messages": []}, {"messages": "Hi", "stop": "x"}, {"messages": "Hi", "max_tokens": "5"}):
        with pytest.raises(isochat.InvalidInputError):
            client.chat(**wrong)
    assert server.requests == []


def test_not_even_where_it_may_be_sent_again(answering: Any, make_client: Any) -> None:
    server = answering("500 Oops", "200 OK")
    client = make_client("rest", server, max_retries=0, retry_after_execution=True, fallback=["openai-chat"])
    with pytest.raises(isochat.ServerError):
        client.chat("Hi")
    assert len(server.requests) == 1


def test_a_filter_s_refusal_is_not_asked_elsewhere() -> None:
    for kind in (isochat.ContentFilteredError, isochat.ContextLengthExceededError, isochat.BadResponseError):
        assert reach_after(kind("no")) == "nobody"


def test_every_error_has_a_verdict_with_a_reason() -> None:
    assert all(rule.why for rule in RULES)
    assert len({(rule.error, rule.statuses) for rule in RULES}) == len(RULES)
    assert reach_after(isochat.ChatError("odd")) == "nobody"
    assert reach_after(isochat.OverloadedError("odd", may_have_executed=True)) == "nobody"


# ------------------------------------------------------------------------------------------------ if all fail


def test_the_first_error_is_raised_and_names_the_others(answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("503 Busy", "404 No"), answering("401 No")
    file = write(backup=backup(other))
    client = make_client("mlflow", server, max_retries=0, config_file=file, fallback=["rest", "target:backup"])
    with pytest.raises(isochat.ChatError) as raised:
        client.chat("Hi")

    error = raised.value
    assert type(error) is isochat.OverloadedError
    assert (error.backend, error.status_code, error.retryable, error.attempts) == ("mlflow", 503, True, 3)
    assert error.__cause__ is not None
    assert "then failed: rest with NotFoundError 404, target:backup with AuthenticationError 401" in (str(error))
    assert [note.partition(":")[0] for note in error.__notes__] == ["rest", "target"]
    assert "\n" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.__notes__) == (str(error), error.__notes__)


def test_if_the_model_may_have_run_that_is_the_error(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy", "500 Oops", "200 OK")
    client = make_client("mlflow", server, max_retries=0, fallback=["rest", "openai-chat"])
    with pytest.raises(isochat.ServerError) as raised:
        client.chat("Hi")

    error = raised.value
    assert (error.backend, error.status_code, error.may_have_executed, error.attempts) == ("rest", 500, True, 2)
    assert "before it failed: mlflow with OverloadedError 503" in str(error)
    assert len(server.requests) == 2


def test_a_refusal_of_the_login_is_of_that_login(answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("503 Busy", "200 OK"), answering("403 No")
    file = write(backup=backup(other))
    client = make_client("mlflow", server, max_retries=0, config_file=file, fallback=["target:backup", "rest"])

    assert client.chat("Hi").meta.backend == "rest"
    assert (len(server.requests), len(other.requests)) == (2, 1)


def test_another_endpoint_of_the_workspace_may_be_allowed(answering: Any, make_client: Any, write: Any) -> None:
    server = answering("403 No", "200 OK")
    file = write(small={"endpoint": "small"})
    client = make_client("mlflow", server, max_retries=0, config_file=file, fallback=["rest", "target:small"])
    result = client.chat("Hi")

    assert (result.meta.backend, result.meta.endpoint, len(server.requests)) == ("mlflow", "small", 2)
    assert b"/serving-endpoints/small/" in server.requests[1]
    assert server.token.encode() in server.requests[1]


def test_a_member_that_finds_no_login_is_in_nobody_s_way(
    answering: Any, make_client: Any, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, other = answering("503 Busy", "200 OK"), answering("200 OK")
    program = tmp_path / "gcloud"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))  # only whoever asks the SDK can tell that nobody is logged in
    file = write(backup={"host": other.url, "endpoint": "second"})
    client = make_client(
        "rest", server, max_retries=0, config_file=file, fallback=["target:backup", "openai-chat"], deadline=60
    )
    result = client.chat("Hi")

    assert result.meta.backend == "openai-chat"
    assert "fell back from target:backup to openai-chat: ConfigurationError: no credentials" in result.meta.warnings[1]
    assert [request for request in other.requests if request.startswith(b"POST")] == []
    assert not any(server.token.encode() in request for request in other.requests)


# ------------------------------------------------------------------------------------------------ what it cannot carry


def test_who_cannot_carry_a_parameter_is_left_out(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy", "200 OK")
    client = make_client("rest", server, max_retries=0, fallback=["openai-responses", "mlflow"])
    result = client.chat("Hi", stop="x")

    assert (result.meta.backend, len(server.requests)) == ("mlflow", 2)
    left_out, fell_back = result.meta.warnings
    assert left_out.startswith("left out the fallback openai-responses: UnsupportedParameterError: the Responses API")
    assert fell_back.startswith("fell back from rest to mlflow")


def test_if_nobody_can_carry_it_the_error_says_so(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy")
    client = make_client("rest", server, max_retries=0, fallback=["openai-responses"])
    with pytest.raises(isochat.OverloadedError, match="then failed: openai-responses with UnsupportedParameterError"):
        client.chat("Hi", stop="x")
    assert len(server.requests) == 1


def test_what_may_be_dropped_is_dropped(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy", "200 OK")
    client = make_client("rest", server, max_retries=0, on_unsupported="drop", fallback=["openai-responses"])
    result = client.chat("Hi", stop="x")

    assert result.meta.backend == "openai-responses"
    assert [warning.partition(":")[0] for warning in result.meta.warnings] == [
        "fell back from rest to openai-responses",
        "dropped stop",
    ]


def test_a_typed_answer_is_parsed_whoever_gave_it(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy", "200 OK", says='{"name": "Paris"}')
    client = make_client("rest", server, max_retries=0, fallback=["openai-responses"])
    result = client.chat("Hi", response_format=City)
    assert result.parsed == City("Paris")


# ------------------------------------------------------------------------------------------------ targets


def test_a_target_asks_with_its_own_login(backend: str, answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("503 Busy"), answering("200 OK")
    file = write(backup=backup(other, backend=backend))
    client = make_client(
        "rest", server, headers={"X-Key": "of-the-first"}, max_retries=0, config_file=file, fallback=["target:backup"]
    )
    result = client.chat("Hi")

    assert (result.meta.backend, result.meta.endpoint) == (backend, "second")
    (asked,) = other.requests
    assert BACKUP_TOKEN.encode() in asked
    assert server.token.encode() not in asked
    assert b"of-the-first" not in asked
    assert BACKUP_TOKEN.encode() not in server.requests[0]


def test_a_call_s_own_headers_stay_in_the_workspace(answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("503 Busy"), answering("503 Busy", "200 OK")
    path = Path(write(backup=backup(other, max_retries=0), small={"endpoint": "small"}))
    path.write_text(path.read_text() + '\n[targets.backup.headers]\nX-Theirs = "theirs"\n')
    names = ["target:small", "target:backup"]
    client = make_client("rest", server, max_retries=0, config_file=path, fallback=names)
    with pytest.raises(isochat.OverloadedError):
        client.chat("Hi", extra_headers={"X-Api-Key": "of-the-first"})
    result = client.chat("Hi", extra_headers={"X-Api-Key": "of-the-first"})

    assert [b"X-Api-Key: of-the-first" in request for request in server.requests] == [True] * 4
    assert [b"of-the-first" in request for request in other.requests] == [False] * 2
    assert all(b"X-Theirs: theirs" in request for request in other.requests)
    assert [warning.partition(": Over")[0] for warning in result.meta.warnings] == [
        "fell back from rest to target:small",
        "fell back from target:small to target:backup",
        "left out extra_headers for target:backup: another workspace",
    ]
    client = make_client("rest", server, max_retries=0, config_file=path, fallback=names)
    told = client.chat("Hi").meta.warnings
    assert not any("extra_headers" in warning for warning in told)


def test_a_target_with_the_client_s_login_has_its_scheme(answering: Any, make_client: Any, write: Any) -> None:
    server = answering("503 Busy", "200 OK")
    file = write(small={"endpoint": "small", "auth_scheme": "basic"})
    words = r"fallback 'target:small': .*auth_scheme.* is 'basic', but the login is the client's, with 'bearer'"
    with pytest.raises(isochat.ConfigurationError, match=words):
        make_client("rest", server, config_file=file, fallback=["target:small"])
    client = make_client(
        "rest", server, auth_scheme="basic", max_retries=0, config_file=file, fallback=["target:small"]
    )
    assert client.chat("Hi").meta.endpoint == "small"
    assert all(b"\r\nAuthorization: Basic " in request for request in server.requests)


def test_a_host_without_a_token_gets_none(answering: Any, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, other = answering("503 Busy"), answering("200 OK")
    file = write(backup={"endpoint": "second", "host": other.url})
    given: dict[str, Any] = {"endpoint": "e", "config_file": file, "fallback": ["target:backup"]}
    monkeypatch.setenv("PATH", "")  # no program that could log in
    with pytest.raises(isochat.ConfigurationError, match=r"fallback 'target:backup': there are no credentials for"):
        isochat.Client("rest", host=server.url, token=server.token, **given)
    for prefix in ("DATABRICKS", "ISOCHAT"):
        monkeypatch.setenv(f"{prefix}_HOST", server.url)
        monkeypatch.setenv(f"{prefix}_TOKEN", server.token)
        with pytest.raises(isochat.ConfigurationError, match=r"fallback 'target:backup'"):
            isochat.Client("rest", **given)
    assert server.requests == other.requests == []


def test_a_token_without_a_host_goes_nowhere(answering: Any, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = answering("503 Busy")
    file = write(backup={"endpoint": "second", "token": BACKUP_TOKEN})
    for environment in ({}, {"ISOCHAT_HOST": server.url}, {"DATABRICKS_HOST": server.url}):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(isochat.ConfigurationError, match=r"fallback 'target:backup': there is a token"):
            isochat.Client(
                "rest",
                endpoint="e",
                host=server.url,
                token=server.token,
                config_file=file,
                fallback=["target:backup"],
            )
    assert server.requests == []


def test_a_target_says_more_than_the_environment(
    answering: Any, write: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, other = answering("503 Busy"), answering("200 OK")
    file = write(backup=backup(other, backend="openai-chat", max_retries=3))
    for name, value in {
        "BACKEND": "mlflow",
        "ENDPOINT": "first",
        "HOST": server.url,
        "TOKEN": server.token,
        "MAX_RETRIES": "0",
        "FALLBACK": " target:backup , rest ",
        "CONFIG": file,
    }.items():
        monkeypatch.setenv(f"ISOCHAT_{name}", value)
    with isochat.Client() as client:
        result = client.chat("Hi")

    assert (result.meta.backend, result.meta.endpoint) == ("openai-chat", "second")
    assert len(server.requests) == 1


def test_what_a_target_leaves_open_is_as_for_the_client(answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("503 Busy"), answering("503 Busy")
    file = write(backup={"host": other.url, "token": BACKUP_TOKEN})
    client = make_client(
        "openai-chat", server, max_retries=0, product="mine/1", config_file=file, fallback=["target:backup"]
    )
    with pytest.raises(isochat.OverloadedError):
        client.chat("Hi")

    (asked,) = other.requests
    assert asked.startswith(b"POST /serving-endpoints/chat/completions")
    assert json.loads(asked.partition(b"\r\n\r\n")[2])["model"] == "any"
    assert "mine/1" in agent_of(asked)


def test_a_target_has_its_own_parameters_and_options(answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("503 Busy"), answering("200 OK")
    path = Path(write(first={"max_retries": 0}, backup=backup(other)))
    path.write_text(
        path.read_text()
        + "\n[targets.first.params]\ntemperature = 0.5\n"
        + '[targets.backup.params]\ntop_p = 0.25\n[targets.backup.options]\nserved_model = "m-1"\n'
    )
    make_client("rest", server, target="first", config_file=path, fallback=["target:backup"]).chat("Hi")

    body = json.loads(other.requests[0].partition(b"\r\n\r\n")[2])
    assert (body.get("temperature"), body.get("top_p")) == (None, 0.25)
    assert b"/served-models/m-1" in other.requests[0]


def test_targets_may_name_each_other(answering: Any, write: Any) -> None:
    east, west = answering("503 Busy"), answering("503 Busy")
    common = {"endpoint": "e", "max_retries": 0, "token": BACKUP_TOKEN}
    file = write(
        east={**common, "host": east.url, "fallback": ["target:west"]},
        west={**common, "host": west.url, "fallback": ["target:east"]},
    )
    for name in ("east", "west"):
        with isochat.Client(target=name, config_file=file) as client, pytest.raises(isochat.OverloadedError) as raised:
            client.chat("Hi")
        assert raised.value.attempts == 2
    assert (len(east.requests), len(west.requests)) == (2, 2)


def test_a_list_that_is_inherited_stays_right(answering: Any, write: Any) -> None:
    server = answering("503 Busy", "200 OK")
    login = {"host": server.url, "token": server.token, "endpoint": "e", "max_retries": 0}
    file = write(
        dev={**login, "backend": "openai-chat", "fallback": ["target:other", "mlflow"]},
        other={"extends": "dev", "backend": "rest"},
        third={"extends": "dev", "backend": "mlflow", "fallback": []},
    )
    with isochat.Client(target="other", config_file=file) as client:
        assert client.chat("Hi").meta.backend == "mlflow"
    # One line switches the client, and the list goes on without it.
    with isochat.Client("mlflow", target="other", config_file=file) as client:
        assert client._fallback is None
    with isochat.Client(target="third", config_file=file) as client:
        assert client._fallback is None


# ------------------------------------------------------------------------------------------------ wrong lists

WRONG = {
    "a text": ("rest", isochat.ConfigurationError, r"expected a list such as"),
    "a set": ({"rest"}, isochat.ConfigurationError, "expected a list"),
    "a number": ([3], isochat.ConfigurationError, "expected a list"),
    "nothing": ([""], isochat.ConfigurationError, "expected a list"),
    "a client": ([isochat.Client], isochat.ConfigurationError, "expected a list"),
    "a misspelt name": (["rset"], isochat.BackendNotFoundError, "fallback 'rset': .* Did you mean 'rest'?"),
    "a target's name": (["backup"], isochat.BackendNotFoundError, "Did you mean 'target:backup'?"),
    "a misspelt target": (["target:bakup"], isochat.ConfigurationError, "Did you mean 'backup'?"),
    "no target": (["target:"], isochat.ConfigurationError, "no target is named"),
    "twice": (["rest", "rest"], isochat.ConfigurationError, "names 'rest' twice"),
    "itself": (["openai-chat"], isochat.ConfigurationError, "names 'openai-chat', the client's own"),
    "its own target": (["target:own"], isochat.ConfigurationError, "names 'target:own', the client's own"),
    "an unknown backend of a target": (["target:odd"], isochat.BackendNotFoundError, "fallback 'target:odd'.*'mlflow'"),
    "a target with an unsafe name": (["target:unsafe"], isochat.UnsafeInputError, "fallback 'target:unsafe'"),
    "a target of a wrong type": (["target:typed"], isochat.ConfigurationError, "max_retries .* is 'many'"),
    "a target without its route": (["target:routed"], isochat.ConfigurationError, "cannot take the route"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_told_at_once(case: str, answering: Any, make_client: Any, write: Any) -> None:
    names, error, words = WRONG[case]
    server = answering("503 Busy")
    file = write(
        own={"max_retries": 0},
        backup=backup(server),
        odd=backup(server, backend="mlfow"),
        unsafe=backup(server, endpoint="a/../b"),
        typed=backup(server, max_retries="many"),
        routed=backup(server, backend="mlflow", route="ai-gateway"),
    )
    with pytest.raises(error, match=words) as raised:
        make_client("openai-chat", server, target="own", config_file=file, fallback=names)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    assert server.requests == []


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"fallback": "rest"}, "fallback .*isochat.toml.* is 'rest'"),
        ({"fallback": ["target:dev"]}, r"fallback in \[targets.dev\].* names 'target:dev', its own"),
        ({"backend": "mlflow", "fallback": ["mlflow"]}, "names 'mlflow', its own"),
        ({"fallback": ["rest"]}, "names 'rest', the client's own"),
        ({"falback": ["rest"]}, "Did you mean 'fallback'?"),
        ({"fallback": ["target:nowhere"]}, "there is no target 'nowhere'"),
    ],
)
def test_a_wrong_list_in_a_file(section: dict[str, Any], words: str, write: Any) -> None:
    file = write(dev={"endpoint": "e", "host": "http://127.0.0.1:9", "token": "t", **section})
    with pytest.raises(isochat.ConfigurationError, match=words):
        isochat.Client(target="dev", config_file=file)


def test_options_of_the_first_that_another_cannot_take(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy", "200 OK")
    with pytest.raises(isochat.ConfigurationError, match="fallback 'openai-chat': unknown argument 'served_model'"):
        make_client("rest", server, served_model="m", fallback=["openai-chat"])
    client = make_client("rest", server, served_model="m", max_retries=0, fallback=["mlflow"])
    client.chat("Hi")
    assert b"/served-models/m/" in server.requests[1]


def test_a_list_of_a_call_is_no_parameter(answering: Any, make_client: Any) -> None:
    server = answering("200 OK")
    with pytest.raises(isochat.UnsupportedParameterError, match=r"It belongs to the client: isochat.Client\(fallback"):
        make_client("rest", server).chat("Hi", fallback=["mlflow"])
    assert server.requests == []


def test_an_empty_list_takes_away_what_the_environment_says(
    answering: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOCHAT_FALLBACK", "openai-chat")
    server = answering("503 Busy")
    for given, requests in (({}, 2), ({"fallback": []}, 3), ({"fallback": ()}, 4), ({"fallback": None}, 6)):
        with pytest.raises(isochat.OverloadedError):
            make_client("rest", server, max_retries=0, **given).chat("Hi")
        assert len(server.requests) == requests
    make_client("openai-chat", server)  # for which the list names itself: it goes on without


@pytest.mark.parametrize("text", ["mlflow,", ",mlflow", " mlflow , , "])
def test_an_empty_name_in_the_environment_does_not_count(
    text: str, answering: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOCHAT_FALLBACK", text)
    assert make_client("rest", answering("503 Busy", "200 OK"), max_retries=0).chat("Hi").meta.backend == "mlflow"


def test_the_shortcut_keeps_a_client_for_each_list(answering: Any) -> None:
    server = answering("503 Busy", "200 OK", "503 Busy")
    there: dict[str, Any] = {"endpoint": "e", "host": server.url, "token": server.token, "max_retries": 0}

    assert isochat.chat("Hi", backend="rest", fallback=["mlflow"], **there).meta.backend == "mlflow"
    with pytest.raises(isochat.OverloadedError):
        isochat.chat("Hi", backend="rest", **there)


# ------------------------------------------------------------------------------------------------ one client's life


def test_closing_closes_all(answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("503 Busy"), answering("200 OK")
    client = make_client("rest", server, max_retries=0, config_file=write(b=backup(other)), fallback=["target:b"])
    client.chat("Hi")
    (member,) = client._fallback._members
    pools = member.making().carrier().connections._pools
    client.close()

    with pytest.raises(isochat.ConfigurationError, match="closed"):
        client.chat("Hi")
    assert pools is not None
    client.close()


def test_many_threads_make_one_member(answering: Any, make_client: Any, write: Any) -> None:
    server, other = answering("503 Busy"), answering("200 OK")
    client = make_client("rest", server, max_retries=0, config_file=write(b=backup(other)), fallback=["target:b"])
    begin, seen, results = threading.Barrier(16), [], []

    def ask() -> None:
        begin.wait()
        results.append(client.chat("Hi").meta.endpoint)
        seen.append(client._fallback._members[0].making().carrier())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == ["second"] * 16
    assert len(set(map(id, seen))) == 1
    assert len(other.requests) == 16


def test_in_an_outage_each_member_is_asked_once_more(answering: Any, make_client: Any) -> None:
    server = answering("503 Busy")
    client = make_client("rest", server, fallback=["openai-chat"])
    client._clock = VirtualClock()
    calls = 150
    for _ in range(calls):
        with pytest.raises(isochat.OverloadedError):
            client.chat("Hi")

    # Members of one workspace share the client's budget of retries.
    assert 2 * calls < len(server.requests) <= 2 * calls + 10 + 0.09 * calls


OUTLIVING = """
import gc, json, sys, isochat
from isochat_workspace import Workspace
with Workspace() as one, Workspace() as other:
    with open(sys.argv[1], "w") as file:
        login = {"backend": "rest", "endpoint": "scripted", "host": other.url, "token": other.token}
        file.write("[targets.b]\\n" + "".join(f"{k} = {json.dumps(v)}\\n" for k, v in login.items()))
    for backend in sys.argv[2:]:
        there = {"host": one.url, "token": one.token, "config_file": sys.argv[1]}
        client = isochat.Client(backend, endpoint="nowhere", fallback=["target:b"], **there)
        client.chat("Hi")
        gc.collect()
        gc.disable()
        client.chat("Hi")
        client.chat("Hi", stream=True).result()
        print(backend, [type(o).__name__ for o in gc.get_objects() if isinstance(o, isochat.ChatError)])
        gc.enable()
        client.close()
"""


def test_no_error_of_a_call_that_was_handed_on_outlives_it(tmp_path: Path) -> None:
    # In a process of its own: the canary keeps errors.
    done = subprocess.run(
        [sys.executable, "-c", OUTLIVING, str(tmp_path / "isochat.toml"), *BACKENDS],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == [f"{backend} []" for backend in BACKENDS], done.stderr


def test_a_client_without_a_list_has_nothing_of_it(answering: Any, make_client: Any) -> None:
    client = make_client("rest", answering("503 Busy"), max_retries=0)
    assert client._begin("Hi", False, {}).succession is None


def test_an_echoed_token_is_blank_in_the_warnings(serve: Any, reply: Any, make_client: Any, body_of: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        if len(server.requests) == 1:
            connection.sendall(reply("503 Busy", json.dumps({"message": f"no {server.token}"}).encode()))
        else:
            connection.sendall(reply("200 OK", body_of("rest")))
        return "keep"

    result = make_client("rest", serve(script), max_retries=0, fallback=["openai-chat"]).chat("Hi")
    assert "no [token]" in result.meta.warnings[0]


def test_a_long_explanation_is_cut(serve: Any, reply: Any, make_client: Any, body_of: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        first = len(server.requests) == 1
        said = json.dumps({"message": "long " * 9999}).encode()
        connection.sendall(reply("503 Busy", said) if first else reply("200 OK", body_of("rest")))
        return "keep"

    result = make_client("rest", serve(script), max_retries=0, fallback=["mlflow"]).chat("Hi")
    assert len(result.meta.warnings[0]) < 300
