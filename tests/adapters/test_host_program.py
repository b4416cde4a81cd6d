"""Does the host program notice isochat? Its own clients, environment, modules and loggers stay as they were."""

from __future__ import annotations

import gc
import http.client
import importlib
import json
import locale
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import isochat
from isochat_workspace import Answer, AnswerChoice, Endpoint, HttpReply, Model, Prompt, Replay, TokenUsage, Workspace

MODULES = (
    "openai",
    "openai._base_client",
    "openai.resources.chat.completions.completions",
    "mlflow.deployments.databricks",
    "mlflow.utils.rest_utils",
    "databricks.sdk",
    "databricks.sdk.config",
    "databricks.sdk.core",
    "databricks.sdk._base_client",
    "databricks.sdk.retries",
    "databricks.sdk.service.serving",
    "requests",
    "requests.adapters",
    "requests.sessions",
    "urllib3",
    "urllib3.connection",
    "urllib3.connectionpool",
    "http.client",
    "socket",
    "ssl",
)
State = dict[str, Any]


def state() -> State:
    """What isochat could have changed in this process: identity of module and class attributes, settings."""
    seen: State = {"environment": dict(os.environ)}
    for name in MODULES:
        module = importlib.import_module(name)
        for key, value in list(vars(module).items()):
            seen[f"{name}.{key}"] = id(value)
            # Not isinstance(): it wakes the lazy client behind the attributes of the module openai.
            if issubclass(type(value), type) and value.__module__ == name:
                seen.update({f"{name}.{key}.{k}": id(v) for k, v in list(vars(value).items()) if callable(v)})
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and not name.startswith("isochat"):
            seen[f"logger {name}"] = (logger.level, logger.disabled, logger.propagate, len(logger.handlers))
    seen["root logger"] = (logging.root.level, len(logging.root.handlers))
    seen["default timeout"] = importlib.import_module("socket").getdefaulttimeout()
    seen["hooks"] = (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook, sys.getswitchinterval())
    seen["signals"] = {number: signal.getsignal(number) for number in signal.valid_signals()}
    seen["warning filters"] = list(warnings.filters)
    seen["places"] = (os.getcwd(), list(sys.path), list(sys.meta_path), locale.setlocale(locale.LC_ALL))
    seen["limits"] = (sys.getrecursionlimit(), sys.get_int_max_str_digits(), gc.get_threshold(), gc.isenabled())
    seen["verbosity"] = http.client.HTTPConnection.debuglevel
    return seen


def changed(before: State, after: State) -> list[str]:
    # Lazy submodules and loggers that the clients themselves add are new keys, which is no change.
    return [key for key, value in before.items() if after.get(key) != value]


class Held(Model):
    """Answers once it is told to."""

    served_name = "held"

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    async def answer(self, prompt: Prompt) -> Answer:
        import asyncio

        self.reached.set()
        await asyncio.get_running_loop().run_in_executor(None, self.go.wait, 60)
        return Answer((AnswerChoice("Done.", "stop"),), TokenUsage(1, 1))


@pytest.fixture
def held() -> Iterator[tuple[Workspace, Held]]:
    model = Held()
    with Workspace(model=model) as workspace:
        yield workspace, model
        model.go.set()


@pytest.fixture
def failing() -> Iterator[Workspace]:
    """A workspace that answers every request with 500, and one endpoint with 429."""

    def replay(status: int, code: str, **headers: str) -> Replay:
        body = json.dumps({"error_code": code, "message": "No."}).encode()
        reply = HttpReply(status, {"content-type": "application/json", **headers}, body)
        return Replay({"chat": reply, "responses": reply})

    with Workspace(
        [Endpoint("slow", replay(429, "REQUEST_LIMIT_EXCEEDED", **{"retry-after": "0"})),
         Endpoint("broken", replay(500, "INTERNAL_ERROR", **{"retry-after-ms": "1"}))]
    ) as workspace:  # fmt: skip
        yield workspace


def during(held: tuple[Workspace, Held], client: isochat.Client, work: Callable[[], Any]) -> Any:
    """Do ``work`` while another thread stands in the middle of an isochat call."""
    _, model = held
    results: list[isochat.ChatResult] = []
    thread = threading.Thread(target=lambda: results.append(client.chat("Hi")))
    thread.start()
    try:
        assert model.reached.wait(60)
        return work()
    finally:
        model.go.set()
        thread.join(60)
        assert [result.text for result in results] == ["Done."]


@pytest.fixture
def imported() -> None:
    """The host program's own imports, before isochat does anything."""
    for name in MODULES:
        importlib.import_module(name)


def test_nothing_changes_after_a_call(backend: str, imported: None, workspace: Workspace, make_client: Any) -> None:
    before = state()
    client = make_client(backend, workspace)
    client.chat("Hi")
    with pytest.raises(isochat.NotFoundError):
        make_client(backend, workspace, endpoint="nope").chat("Hi")
    client.close()

    assert changed(before, state()) == []


def test_nothing_changes_during_a_call(backend: str, imported: None, held: Any, make_client: Any) -> None:
    before = state()
    client = make_client(backend, held[0])

    assert changed(before, during(held, client, state)) == []


def bare_openai(workspace: Workspace) -> None:
    import openai

    with (
        openai.OpenAI(api_key=workspace.token, base_url=f"{workspace.url}/serving-endpoints", max_retries=2) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(model="broken", messages=[{"role": "user", "content": "Hi"}])


def bare_sdk(workspace: Workspace) -> None:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.clock import Clock
    from databricks.sdk.core import Config
    from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

    class Virtual(Clock):
        """A second a look, ten a wait: the retries of five minutes in no time."""

        def __init__(self) -> None:
            self.now = 0.0

        def time(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += 100

    config = Config(host=workspace.url, token=workspace.token, clock=Virtual())
    with pytest.raises(TimeoutError):
        WorkspaceClient(config=config).serving_endpoints.query(
            "slow", messages=[ChatMessage(content="Hi", role=ChatMessageRole.USER)]
        )


def bare_mlflow(workspace: Workspace) -> None:
    import requests
    from mlflow.deployments import get_deploy_client

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", workspace.url)
        patch.setenv("DATABRICKS_TOKEN", workspace.token)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        with pytest.raises(requests.HTTPError):
            get_deploy_client("databricks").predict(
                endpoint="broken", inputs={"messages": [{"role": "user", "content": "Hi"}]}
            )


BARE: dict[str, tuple[Callable[[Workspace], None], int]] = {
    # The POSTs that the client's own retries make of an error, at least; MLflow 2 sends one.
    "openai": (bare_openai, 3),
    "databricks-sdk": (bare_sdk, 3),
    "mlflow": (bare_mlflow, 1),
}


def posts(workspace: Workspace, work: Callable[[], Any]) -> list[tuple[str, str, str | None]]:
    """The POSTs that arrive during ``work``: path, token, whether isochat is in the User-Agent."""
    seen = len(workspace.requests)
    work()
    return [
        (r.path, r.header("authorization") or "", "isochat" if "isochat" in (r.header("user-agent") or "") else None)
        for r in workspace.requests[seen:]
        if r.method == "POST"
    ]


@pytest.mark.parametrize("bare", BARE)
def test_the_hosts_own_client_sends_what_it_always_sends(
    bare: str, held: Any, failing: Workspace, make_client: Any
) -> None:
    call, count = BARE[bare]
    backend = "openai-chat" if bare == "openai" else bare

    before = posts(failing, lambda: call(failing))
    client = make_client(backend, held[0])
    meanwhile = during(held, client, lambda: posts(failing, lambda: call(failing)))
    with pytest.raises(isochat.ServerError):
        make_client(backend, failing, endpoint="broken", max_retries=0).chat("Hi")
    after = posts(failing, lambda: call(failing))

    assert len(before) >= count
    assert {request[2] for request in before} == {None}
    assert before == meanwhile == after


# ------------------------------------------------------------------------------------------- hostile surroundings

HOSTILE = {
    "OPENAI_API_KEY": "sk-other",
    "OPENAI_ORG_ID": "org-other",
    "OPENAI_PROJECT_ID": "proj-other",
    "OPENAI_CUSTOM_HEADERS": "X-Other: 1\nX-Stainless-Other: 1\nUser-Agent: other\nAuthorization: Bearer sk-other",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/other",
    "OPENAI_ADMIN_KEY": "sk-admin-other",
    "OPENAI_WEBHOOK_SECRET": "whsec-other",
    "OPENAI_DEFAULT_HEADERS": '{"X-Other": "1"}',
    "OPENAI_DEFAULT_QUERY": '{"other": "1"}',
    "OPENAI_API_TYPE": "azure",
    "OPENAI_API_VERSION": "other",
    "OPENAI_LOG": "debug",
    "AZURE_OPENAI_API_KEY": "azure-other",
    "AZURE_OPENAI_ENDPOINT": "https://azure.example",
    "DATABRICKS_HOST": "https://other.example",
    "DATABRICKS_TOKEN": "dapi-other",
    "DATABRICKS_CLIENT_ID": "id-other",
    "DATABRICKS_CLIENT_SECRET": "secret-other",
    "DATABRICKS_CONFIG_PROFILE": "other",
    "DATABRICKS_ACCOUNT_ID": "account-other",
    "DATABRICKS_WORKSPACE_ID": "5",
    "DATABRICKS_AUTH_TYPE": "oauth-m2m",
    "DATABRICKS_HTTP_TIMEOUT_SECONDS": "1",
    "DATABRICKS_USERNAME": "user-other",
    "DATABRICKS_PASSWORD": "password-other",
    "DATABRICKS_INSECURE": "true",
    "DATABRICKS_CLUSTER_ID": "cluster-other",
    "DATABRICKS_METADATA_SERVICE_URL": "http://127.0.0.1:9",
    "DATABRICKS_RUNTIME_VERSION": "15.4",
    "DATABRICKS_SDK_UPSTREAM": "other",
    "DATABRICKS_SDK_UPSTREAM_VERSION": "1.2.3",
    "DATABRICKS_DEBUG_HEADERS": "true",
    "DATABRICKS_RATE_LIMIT": "1",
    "DATABRICKS_OIDC_TOKEN": "oidc-other",
    "ARM_CLIENT_ID": "arm-other",
    "ARM_CLIENT_SECRET": "arm-secret-other",
    "ARM_TENANT_ID": "arm-tenant-other",
    "GOOGLE_CREDENTIALS": "google-other",
    "AWS_ACCESS_KEY_ID": "aws-other",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-other",
    "AWS_SESSION_TOKEN": "aws-session-other",
    "GITHUB_ACTIONS": "true",
    "CI": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "9",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "9",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
    "MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT": "900",
    "MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT": "2",
    "MLFLOW_ENABLE_DB_SDK": "false",
    "MLFLOW_TRACKING_TOKEN": "other",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    "MLFLOW_TRACKING_USERNAME": "user-other",
    "MLFLOW_TRACKING_PASSWORD": "password-other",
    "MLFLOW_TRACKING_AUTH": "other",
    "MLFLOW_TRACKING_AWS_SIGV4": "true",
    "MLFLOW_TRACKING_INSECURE_TLS": "true",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH": "/nowhere/cert.pem",
    "MLFLOW_DEPLOYMENTS_TARGET": "http://127.0.0.1:9",
    "MLFLOW_WORKSPACE": "other",
    "MLFLOW_RUN_CONTEXT": '{"other": "1"}',
    "HTTPX_LOG_LEVEL": "trace",
    "SSLKEYLOGFILE": "/nowhere/keys",
    "NETRC": "/nowhere/netrc",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}


@pytest.fixture
def hostile(clean_environment: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def surround() -> None:
        for name, value in HOSTILE.items():
            monkeypatch.setenv(name, value)
        (clean_environment / ".netrc").write_text("default login other password other\n")
        (clean_environment / ".netrc").chmod(0o600)
        (clean_environment / ".databrickscfg").write_text("[other]\nhost = https://o.example\ntoken = t\n")

    return surround


def on_the_wire(workspace: Workspace) -> list[tuple[str, str, Any, bytes]]:
    # The port is the server's, the same in both runs; x-stainless headers and User-Agent are among the headers.
    return [(r.method, r.target, sorted(r.headers), r.body) for r in workspace.requests]


def test_hostile_surroundings_change_nothing_on_the_wire(
    backend: str, workspace: Workspace, make_client: Any, hostile: Any
) -> None:
    make_client(backend, workspace).chat("Hi")
    clean = on_the_wire(workspace)
    hostile()
    make_client(backend, workspace).chat("Hi")

    assert on_the_wire(workspace)[1:] == clean


@pytest.mark.parametrize("endpoint", ["slow", "broken"])
def test_hostile_surroundings_change_no_count(
    endpoint: str, backend: str, failing: Workspace, make_client: Any, hostile: Any
) -> None:
    hostile()
    with pytest.raises(isochat.StatusError):
        make_client(backend, failing, endpoint=endpoint, max_retries=0).chat("Hi")

    assert [request.method for request in failing.requests] == ["POST"]


def test_cookies_are_not_kept(backend: str, make_client: Any) -> None:
    chat = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}]}).encode()
    output = [{"type": "message", "content": [{"type": "output_text", "text": "ok"}]}]
    responses = json.dumps({"output": output, "status": "completed"}).encode()
    headers = {"content-type": "application/json", "set-cookie": "session=1; Path=/"}
    replay = Replay({"chat": HttpReply(200, headers, chat), "responses": HttpReply(200, headers, responses)})
    with Workspace([Endpoint("any", replay)]) as workspace:
        client = make_client(backend, workspace)
        for _ in range(2):
            client.chat("Hi")

        assert [request.header("cookie") for request in workspace.requests] == [None, None]


@pytest.mark.parametrize("status", ["clean", "failing"])
def test_a_call_is_quiet(
    status: str, backend: str, workspace: Workspace, failing: Workspace, make_client: Any, caplog: Any
) -> None:
    # Warnings are errors in this suite; this is about the clients' own loggers.
    if status == "clean":
        make_client(backend, workspace).chat("Hi")
    else:
        with pytest.raises(isochat.RateLimitError):
            make_client(backend, failing, endpoint="slow", max_retries=0).chat("Hi")

    assert [(r.name, r.getMessage()) for r in caplog.records if r.levelno >= logging.WARNING] == []


ROOT_LOGGER = """
import logging, sys
import isochat
from isochat_workspace import Endpoint, HttpReply, Replay, Workspace

assert logging.root.handlers == []
backend = sys.argv[1]
bodies = {"object": (429, b"{}"), "page": (400, b"<html>no</html>"), "list": (404, b"[1]"), "text": (503, b"x: y")}
with Workspace([]) as workspace:
    for name, (status, body) in bodies.items():
        reply = HttpReply(status, {}, body)
        workspace.add(Endpoint(name, Replay({"chat": reply, "responses": reply})))
        with isochat.Client(backend, endpoint=name, host=workspace.url, token=workspace.token, max_retries=0) as client:
            try:
                client.chat("Hi")
            except isochat.StatusError as error:
                assert error.status_code == status
levels = {name: logging.getLogger(name).level for name in ("openai", "httpx")}
print(logging.root.handlers, logging.root.level, levels)
"""


@pytest.mark.parametrize("openai_log", ["", "debug"])
def test_the_root_logger_is_left_to_the_host(openai_log: str, backend: str) -> None:
    # In a process of its own: pytest has handlers on the root logger, which hide what a bare program would get.
    environment = {**os.environ, "OPENAI_LOG": openai_log}
    command = [sys.executable, "-c", ROOT_LOGGER, backend]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert (done.stdout, done.stderr) == ("[] 30 {'openai': 0, 'httpx': 0}\n", "")
