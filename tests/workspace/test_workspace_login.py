"""Can a service principal log in, with the SDK and by hand, and nobody else?"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from isochat_workspace import ServicePrincipal, Workspace

Send = Callable[..., urllib3.BaseHTTPResponse]
ID, SECRET = "11111111-2222-3333-4444-555555555555", "dose0123456789abcdef"
GRANT = {"grant_type": "client_credentials", "scope": "all-apis"}


@pytest.fixture
def guarded() -> Iterator[Workspace]:
    with Workspace(service_principal=ServicePrincipal(ID, SECRET, token_seconds=600)) as workspace:
        yield workspace


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def fetch(send: Send, workspace: Workspace, form: Any, authorization: str | None) -> urllib3.BaseHTTPResponse:
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    return send(workspace, "POST", "/oidc/v1/token", body, authorization=authorization, **kind)


def test_the_sdk_logs_in(guarded: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from databricks.sdk import WorkspaceClient

    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CONFIG_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    client = WorkspaceClient(host=guarded.url, client_id=ID, client_secret=SECRET, auth_type="oauth-m2m")
    assert [one.name for one in client.serving_endpoints.list()] == [one.name for one in guarded.endpoints]
    assert "/oidc/v1/token" in [request.path for request in guarded.requests]


def test_a_token_is_given_for_both_kinds_of_credentials(guarded: Workspace, send: Send) -> None:
    found = send(guarded, "GET", "/oidc/.well-known/oauth-authorization-server", authorization=None).json()
    assert found["token_endpoint"] == f"{guarded.url}/oidc/v1/token"
    replies = [
        fetch(send, guarded, GRANT, basic(ID, SECRET)),
        fetch(send, guarded, {**GRANT, "client_id": ID, "client_secret": SECRET}, None),
    ]
    for reply in replies:
        granted = reply.json()
        assert (granted["token_type"], granted["expires_in"], granted["scope"]) == ("Bearer", 600, "all-apis")
        header = f"Bearer {granted['access_token']}"
        assert send(guarded, "GET", "/api/2.0/serving-endpoints", authorization=header).status == 200
        assert send(guarded, "GET", "/api/2.0/serving-endpoints", authorization=header + "x").status == 403


@pytest.mark.parametrize(
    ("form", "authorization", "status", "error"),
    [
        (GRANT, basic(ID, "wrong"), 401, "invalid_client"),
        (GRANT, basic("wrong", SECRET), 401, "invalid_client"),
        (GRANT, None, 401, "invalid_client"),
        (GRANT, "Basic ###", 401, "invalid_client"),
        ({"grant_type": "password"}, basic(ID, SECRET), 400, "unsupported_grant_type"),
        (b"\xff", basic(ID, SECRET), 400, "invalid_request"),
        (b"", basic(ID, SECRET), 400, "unsupported_grant_type"),
        (b"&".join([b"a=b"] * 1000), basic(ID, SECRET), 400, "invalid_request"),
    ],
)
def test_who_is_not_known_gets_no_token(
    guarded: Workspace, send: Send, form: Any, authorization: str | None, status: int, error: str
) -> None:
    reply = fetch(send, guarded, form, authorization)
    assert (reply.status, reply.json()["error"]) == (status, error)


def test_a_token_expires(send: Send, monkeypatch: pytest.MonkeyPatch, guarded: Workspace) -> None:
    header = "Bearer " + fetch(send, guarded, GRANT, basic(ID, SECRET)).json()["access_token"]
    from isochat_workspace.serving import oidc

    later = oidc.time.monotonic() + 601
    monkeypatch.setattr(oidc, "time", type("Later", (), {"monotonic": staticmethod(lambda: later)}))
    assert send(guarded, "GET", "/api/2.0/serving-endpoints", authorization=header).status == 403


def test_without_a_principal_nobody_logs_in(workspace: Workspace, send: Send) -> None:
    assert fetch(send, workspace, GRANT, basic("", "")).json()["error"] == "invalid_client"


def test_a_principal_in_a_file_and_its_repr(tmp_path: Path, send: Send) -> None:
    path = tmp_path / "workspace.toml"
    path.write_text(f'[service_principal]\nclient_id = "{ID}"\nclient_secret = "{SECRET}"', encoding="utf-8")
    with Workspace.from_file(path) as workspace:
        assert fetch(send, workspace, GRANT, basic(ID, SECRET)).status == 200
    assert SECRET not in repr(ServicePrincipal(ID, SECRET))
