"""A login by OAuth: the real SDK against a workspace that issues tokens, revokes them, and counts what it is asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import isochat

REFUSAL = {"error_code": "UNAUTHENTICATED", "message": "Token is expired"}


class Issuer(ThreadingHTTPServer):
    """The OAuth login of a service principal, and chats for whoever bears a token that is not revoked.

    Attributes:
        issued: The tokens, in order.
        refused: Chats answered with 401.
        answers: The body of a good chat.
    """

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.Lock()
        self.issued: list[str] = []
        self.revoked: set[str] = set()
        self.refused = 0
        self.answers = b""

    def issue(self) -> dict[str, Any]:
        with self.lock:
            self.issued.append(f"oauth-token-{len(self.issued)}")
            return {"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": 3600}

    def revoke_all(self) -> None:
        with self.lock:
            self.revoked.update(self.issued)

    def takes(self, authorization: str) -> bool:
        token = authorization.removeprefix("Bearer ")
        with self.lock:
            good = token in self.issued and token not in self.revoked
            self.refused += not good
        return good


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Issuer

    def do_GET(self) -> None:
        url = self.server.url
        if self.path.endswith("/databricks-config"):
            self._send(200, {"oidc_endpoint": f"{url}/oidc", "workspace_id": "1"})
        else:
            self._send(200, {"authorization_endpoint": f"{url}/authorize", "token_endpoint": f"{url}/token"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            self._send(200, self.server.issue())
        elif self.server.takes(self.headers["Authorization"]):
            self._send(200, json.loads(self.server.answers))
        else:
            self._send(401, REFUSAL)

    def _send(self, status: int, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def issuer(clean_environment: Path) -> Iterator[Issuer]:
    """A running Issuer, and the profile `m2m` for it."""
    server = Issuer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    (clean_environment / ".databrickscfg").write_text(
        f"[m2m]\nhost = {server.url}\nclient_id = id\nclient_secret = secret\n"
    )
    yield server
    server.shutdown()
    server.server_close()
    thread.join(30)


@pytest.fixture
def logged_in(issuer: Issuer, body_of: Any) -> Iterator[Any]:
    """Make a client of the profile, as `logged_in(backend, **arguments)`."""
    clients: list[isochat.Client] = []

    def make(backend: str, **arguments: Any) -> isochat.Client:
        issuer.answers = body_of(backend)
        clients.append(isochat.Client(backend, profile="m2m", endpoint="any", **arguments))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_a_service_principal_logs_in_once(backend: str, logged_in: Any, issuer: Issuer) -> None:
    client = logged_in(backend)

    assert [client.chat("Hi").text for _ in range(3)] == ["Hello."] * 3
    assert (len(issuer.issued), issuer.refused) == (1, 0)


@pytest.mark.parametrize("waiting", ["thread", "loop"])
def test_a_revoked_token_is_renewed_once_and_the_call_repeated(
    waiting: str, backend: str, logged_in: Any, issuer: Issuer
) -> None:
    client = logged_in(backend, max_retries=0)
    client.chat("Hi")
    issuer.revoke_all()
    result = client.chat("Hi") if waiting == "thread" else asyncio.run(client.achat("Hi"))

    assert (result.text, result.meta.attempts) == ("Hello.", 2)
    assert (len(issuer.issued), issuer.refused) == (2, 1)


def test_a_token_that_stays_refused_is_an_error_after_one_login(logged_in: Any, issuer: Issuer) -> None:
    client = logged_in("rest")
    client.chat("Hi")
    issuer.takes = lambda authorization: False  # type: ignore[method-assign]
    with pytest.raises(isochat.AuthenticationError) as raised:
        client.chat("Hi")

    assert (raised.value.attempts, len(issuer.issued)) == (2, 2)
    assert "oauth-token" not in str(raised.value)


def test_a_login_that_does_not_end_is_told_with_its_host(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(lambda connection, server: server.over.wait(30))
    for name, value in {"HOST": server.url, "CLIENT_ID": "me", "CLIENT_SECRET": "dose-secret"}.items():
        monkeypatch.setenv(f"DATABRICKS_{name}", value)
    with (
        isochat.Client("rest", endpoint="any", deadline=0.5) as client,
        pytest.raises(isochat.ChatTimeoutError) as raised,
    ):
        client.chat("Hi")

    assert raised.value.phase == "auth"
    assert f"login to {server.url} did not end within 0.5 s" in str(raised.value)
    assert "Check the host's name" in str(raised.value)


def test_a_token_of_the_callers_own_is_not_renewed(issuer: Issuer) -> None:
    with (
        isochat.Client("rest", host=issuer.url, token="mine", endpoint="any") as client,
        pytest.raises(isochat.AuthenticationError) as raised,
    ):
        client.chat("Hi")

    assert (raised.value.attempts, issuer.issued, issuer.refused) == (1, [], 1)


def test_many_refusals_at_once_are_one_login(backend: str, logged_in: Any, issuer: Issuer) -> None:
    client = logged_in(backend)
    client.chat("Hi")
    issuer.revoke_all()
    with ThreadPoolExecutor(100) as threads:
        results = list(threads.map(lambda _: client.chat("Hi"), range(1000)))

    assert {result.text for result in results} == {"Hello."}
    assert len(issuer.issued) == 2
    assert 1 <= issuer.refused <= 100
