"""Does the workspace have the service's paths, checks and error shapes? Over plain HTTP."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import Endpoint, Scripted, Workspace

Send = Callable[..., urllib3.BaseHTTPResponse]
ASK = {"messages": [{"role": "user", "content": "Hi"}]}
GPT = "databricks-gpt-5"
CLAUDE = "databricks-claude-sonnet-4-5"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/serving-endpoints/{GPT}/invocations", ASK),
        (f"/serving-endpoints/{GPT}/served-models/gpt-5-2025-08-07/invocations", ASK),
        ("/serving-endpoints/chat/completions", {"model": GPT, **ASK}),
        ("/serving-endpoints/v1/chat/completions", {"model": GPT, **ASK}),
        ("/ai-gateway/mlflow/v1/chat/completions", {"model": "system.ai.gpt-5", **ASK}),
        ("/ai-gateway/mlflow/v1/chat/completions", {"model": GPT, **ASK}),
        ("/ai-gateway/openai/v1/chat/completions", {"model": GPT, **ASK}),
    ],
)
def test_chat_paths_answer_alike(workspace: Workspace, send: Send, path: str, body: Any) -> None:
    reply = send(workspace, "POST", path, body)
    answer = reply.json()
    assert reply.status == 200
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"].startswith('You asked: "Hi".')
    assert reply.headers["served-model-name"] == "gpt-5-2025-08-07"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/serving-endpoints/responses", GPT),
        ("/serving-endpoints/v1/responses", GPT),
        ("/ai-gateway/mlflow/v1/responses", "system.ai.gpt-5"),
        ("/ai-gateway/mlflow/v1/responses", "gpt-5"),
        ("/ai-gateway/openai/v1/responses", "system.ai.gpt-5"),
        ("/serving-endpoints/open-responses", GPT),
        ("/serving-endpoints/open-responses", CLAUDE),
        ("/serving-endpoints/open-responses", "databricks-meta-llama-3-3-70b-instruct"),
    ],
)
def test_responses_paths_answer_alike(workspace: Workspace, send: Send, path: str, model: str) -> None:
    answer = send(workspace, "POST", path, {"model": model, "input": "Hi"}).json()
    assert answer["object"] == "response"
    assert answer["output"][0]["content"][0]["text"].startswith('You asked: "Hi".')


def test_the_path_decides_and_never_the_body(workspace: Workspace, send: Send) -> None:
    chat = send(workspace, "POST", "/serving-endpoints/chat/completions", {"model": GPT, "input": "Hi", **ASK})
    assert chat.json()["object"] == "chat.completion"
    agent = Endpoint("an-agent", Scripted(), task="agent/v1/responses")
    workspace.add(agent)
    reply = send(workspace, "POST", "/serving-endpoints/an-agent/invocations", {"input": "Hi", **ASK})
    assert reply.json()["object"] == "response"


def test_every_reply_has_a_request_id_of_its_own(workspace: Workspace, send: Send) -> None:
    replies = [send(workspace, "GET", path) for path in ("/api/2.0/serving-endpoints", "/nowhere", "/x")]
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len({uuid.UUID(one) for one in ids}) == 3
    assert {reply.headers["server"] for reply in replies} == {"databricks"}


def basic(password: str, user: str = "token") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda token: f"Bearer {token}", 200),
        (lambda token: f"bearer  {token}", 200),
        (lambda token: basic(token), 200),
        (lambda token: None, 401),
        (lambda token: "", 401),
        (lambda token: "Bearer", 401),
        (lambda token: f"Digest {token}", 401),
        (lambda token: token, 401),
        (lambda token: f"Bearer {token}x", 403),
        (lambda token: basic(token, user="me"), 403),
        (lambda token: basic("wrong"), 403),
        (lambda token: "Basic ###", 403),
        (lambda token: "Bearer \xe4\xf6", 403),
    ],
)
def test_credentials(workspace: Workspace, send: Send, make: Callable[[str], str | None], status: int) -> None:
    path = f"/serving-endpoints/{GPT}/invocations"
    reply = send(workspace, "POST", path, ASK, authorization=make(workspace.token))
    assert reply.status == status
    if status == 401:
        assert reply.json() == {
            "error_code": 401,
            "message": "Credential was not sent or was of an unsupported type for this API.",
        }
    assert workspace.requests[-1].status == status


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "message"),
    [
        (
            "POST", "/serving-endpoints/chat/completions", {"model": "nope", **ASK}, 404, "ENDPOINT_NOT_FOUND",
            "The given endpoint does not exist, please retry after checking the specified model and version"
            " deployment exists.",
        ),
        (
            "POST", "/serving-endpoints/chat/completions", {"model": "system.ai.gpt-5", **ASK}, 404,
            "ENDPOINT_NOT_FOUND", "The given endpoint does not exist",
        ),
        (
            "POST", "/ai-gateway/mlflow/v1/chat/completions", {"model": "system.ai.nope", **ASK}, 404,
            "NOT_FOUND", "'system.ai.nope' does not exist",
        ),
        ("GET", "/api/2.0/nowhere", None, 404, "ENDPOINT_NOT_FOUND", "Invalid path"),
        ("POST", "//serving-endpoints/responses", None, 404, "ENDPOINT_NOT_FOUND", "Invalid path"),
        (
            "POST", "/serving-endpoints/anthropic/v1/messages", None, 404, "ENDPOINT_NOT_FOUND",
            "Path must be of form /serving-endpoints/<endpoint_name>/invocations or ",
        ),
        (
            "GET", "/ai-gateway/openai/v1/models", None, 400, "BAD_REQUEST",
            "Request path '/ai-gateway/openai/v1/models' doesn't match any known API type",
        ),
        (
            "POST", "/ai-gateway/openai/v1/responses", {"model": CLAUDE, "input": "Hi"}, 400, "BAD_REQUEST",
            f"API type 'openai/v1/responses' is not supported by '{CLAUDE}'."
            " Supported API types: [mlflow/v1/chat/completions].",
        ),
        ("GET", f"/serving-endpoints/{GPT}/invocations", None, 405, "METHOD_NOT_ALLOWED", "use POST"),
        ("POST", f"/serving-endpoints/{GPT}/invocations", b"{", 400, "BAD_REQUEST", "invalid JSON"),
        ("POST", f"/serving-endpoints/{GPT}/invocations", b'{"a": NaN}', 400, "BAD_REQUEST", "invalid JSON"),
        ("POST", f"/serving-endpoints/{GPT}/invocations", b"\xff", 400, "BAD_REQUEST", "invalid JSON"),
        ("POST", f"/serving-endpoints/{GPT}/invocations", b"[" * 100_000, 400, "BAD_REQUEST", "invalid JSON"),
        ("POST", f"/serving-endpoints/{GPT}/invocations", [], 400, "BAD_REQUEST", "has to be an object"),
        (
            "POST", f"/serving-endpoints/{GPT}/invocations", {"max_tokens": 5}, 400, "INVALID_PARAMETER_VALUE",
            "INVALID_PARAMETER_VALUE: Missing required Chat parameter: 'messages'",
        ),
        (
            "POST", f"/serving-endpoints/{GPT}/invocations", {**ASK, "max_tokens": 0}, 400,
            "INVALID_PARAMETER_VALUE", "'max_tokens' has to be a positive integer, got 0",
        ),
        (
            "POST", f"/serving-endpoints/{GPT}/invocations", {**ASK, "n": 6}, 400,
            "INVALID_PARAMETER_VALUE", "'n' has to be an integer between 1 and 5, got 6",
        ),
        (
            "POST", f"/serving-endpoints/{GPT}/invocations", {"messages": ["Hi"]}, 400,
            "INVALID_PARAMETER_VALUE", "'messages' has to be a list of objects",
        ),
        (
            "POST", f"/serving-endpoints/{GPT}/invocations", {"messages": [{"tool_calls": 5}]}, 400,
            "INVALID_PARAMETER_VALUE", "'tool_calls' has to be a list of objects, got 5",
        ),
        (
            "POST", f"/serving-endpoints/{GPT}/invocations", {"messages": [{"tool_calls": [{"function": 7}]}]}, 400,
            "INVALID_PARAMETER_VALUE", "'function' has to be an object, got 7",
        ),
        ("POST", "/serving-endpoints/responses", {"model": GPT}, 400, "BAD_REQUEST", "'input'"),
        ("POST", "/serving-endpoints/responses", {"input": "Hi"}, 400, "INVALID_PARAMETER_VALUE", "'model'"),
        (
            "POST", "/serving-endpoints/responses", {"model": CLAUDE, "input": "Hi"}, 400, "BAD_REQUEST",
            f"Responses API passthrough is not supported for model {CLAUDE}.",
        ),
        (
            "POST", "/ai-gateway/mlflow/v1/responses", {"model": CLAUDE, "input": "Hi"}, 400, "BAD_REQUEST",
            f"API type 'mlflow/v1/responses' is not supported by '{CLAUDE}'."
            " Supported API types: [mlflow/v1/chat/completions].",
        ),
        (
            "POST", f"/serving-endpoints/{GPT}/invocations", {**ASK, "stream": "yes"}, 400,
            "INVALID_PARAMETER_VALUE", "'stream' has to be true or false, got \"yes\"",
        ),
        (
            "POST", f"/serving-endpoints/{GPT}/invocations", {**ASK, "stream": True, "stream_options": [1]}, 400,
            "INVALID_PARAMETER_VALUE", "'stream_options' has to be an object, got [1]",
        ),
    ],
)  # fmt: skip
def test_errors(
    workspace: Workspace, send: Send, method: str, path: str, body: Any, status: int, code: str, message: str
) -> None:
    reply = send(workspace, method, path, body)
    assert (reply.status, reply.json()["error_code"]) == (status, code)
    assert message in reply.json()["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/serving-endpoints/nope/invocations"),
        ("POST", "/serving-endpoints/a%20b/invocations"),
        ("POST", f"/serving-endpoints/{GPT}/served-models/nope/invocations"),
        ("GET", "/api/2.0/serving-endpoints/nope"),
    ],
)
def test_an_unknown_endpoint_in_the_path(workspace: Workspace, send: Send, method: str, path: str) -> None:
    reply = send(workspace, method, path, ASK if method == "POST" else None)
    body = reply.json()
    assert reply.status == 404
    assert body["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert "does not exist." in body["message"]
    assert body["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.RequestInfo",
            "request_id": reply.headers["x-request-id"],
            "serving_data": "",
        }
    ]


def test_a_wrong_method_names_the_right_one(workspace: Workspace, send: Send) -> None:
    assert send(workspace, "DELETE", "/api/2.0/serving-endpoints").headers["allow"] == "GET"


def test_a_body_over_four_mebibytes_is_413_and_the_limit_itself_is_not(workspace: Workspace, send: Send) -> None:
    path = f"/serving-endpoints/{GPT}/invocations"
    assert send(workspace, "POST", path, b" " * (4 * 1024 * 1024)).status == 400
    reply = send(workspace, "POST", path, b" " * (4 * 1024 * 1024 + 1))
    assert (reply.status, reply.json()["error_code"]) == (413, "REQUEST_TOO_LARGE")


def test_list_and_get_describe_endpoints_without_an_id(workspace: Workspace, send: Send) -> None:
    listed = send(workspace, "GET", "/api/2.0/serving-endpoints?page_size=5").json()["endpoints"]
    one = send(workspace, "GET", f"/api/2.0/serving-endpoints/{GPT}").json()
    assert [e["name"] for e in listed] == [
        CLAUDE,
        GPT,
        "databricks-meta-llama-3-3-70b-instruct",
        "scripted",
    ]
    assert one in listed
    assert send(workspace, "GET", "/api/2.0/serving-endpoints/").json()["endpoints"] == listed  # as MLflow asks
    assert one["endpoint_type"] == "FOUNDATION_MODEL_API"
    assert one["state"]["ready"] == "READY"
    assert "id" not in one


def test_host_metadata_is_given_without_a_token(workspace: Workspace, send: Send) -> None:
    reply = send(workspace, "GET", "/.well-known/databricks-config", authorization=None)
    assert reply.status == 200
    assert reply.json()["oidc_endpoint"] == f"{workspace.url}/oidc"


def test_a_request_is_recorded_byte_for_byte(workspace: Workspace) -> None:
    host, port = workspace.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest("POST", "/a%2Fb/c%20d?x=%41&x=2", skip_accept_encoding=True)
    for name, value in (("X-TwIce", "1"), ("B", "b"), ("x-twice", "2"), ("Content-Encoding", "gzip")):
        connection.putheader(name, value)
    connection.putheader("Content-Length", "3")
    connection.endheaders(b"\x1f\x8b\x00")
    connection.getresponse().read()
    connection.close()
    [request] = workspace.requests
    assert (request.method, request.target) == ("POST", "/a%2Fb/c%20d?x=%41&x=2")
    assert request.path == "/a%2Fb/c%20d"
    assert request.headers == (
        ("Host", f"{host}:{port}"),
        ("X-TwIce", "1"),
        ("B", "b"),
        ("x-twice", "2"),
        ("Content-Encoding", "gzip"),
        ("Content-Length", "3"),
    )
    assert request.body == b"\x1f\x8b\x00"
    assert request.status == 401
    assert request.header("X-TWICE") == "1"
    assert request.header("authorization") is None
    assert 0 < request.arrived_at <= request.answered_at


def test_requests_stand_in_order_of_arrival_and_can_be_bounded(send: Send) -> None:
    with Workspace(keep_requests=3) as workspace:
        for number in range(5):
            send(workspace, "GET", f"/{number}")
        assert [request.target for request in workspace.requests] == ["/2", "/3", "/4"]


def test_one_connection_serves_many_requests(workspace: Workspace) -> None:
    host, port = workspace.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.connect()
    socket = connection.sock
    for _ in range(3):
        connection.request("GET", "/.well-known/databricks-config")
        assert connection.getresponse().read()
        assert connection.sock is socket
    connection.close()


def answer_to(workspace: Workspace, first: bytes, *headers: bytes) -> tuple[bytes, dict[str, Any]]:
    """Status line and body of what a request of these bytes gets."""
    host, port = workspace.url.removeprefix("http://").split(":")
    authorization = b"Authorization: Bearer " + workspace.token.encode()
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"\r\n".join([first, b"Host: x", authorization, b"Connection: close", *headers, b"", b""]))
        head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"\r\nserver: databricks\r\n" in head
    assert b"\r\ncontent-type: application/json\r\n" in head
    return head.split(b"\r\n")[0], json.loads(body)


@pytest.mark.parametrize(
    ("first", "headers", "reason"),
    [
        (b"what\x00is this", (), "Invalid method encountered"),
        (b"FOO / HTTP/1.1", (), "Invalid method encountered"),
        (b"\x16\x03\x01\x02", (), "Received HTTPS traffic on an HTTP port"),
        (b"GET / HTTP/3.0", (), "Bad status line"),
        (b"GET http://[::1/ HTTP/1.1", (), "the target is no URL"),
        (b"GET / HTTP/1.1", (b"Authorization: Bearer dapi\x01secret",), "Invalid header value char"),
        (b"GET / HTTP/1.1", (b"Authorization: Bearer " + b"s" * 9000,), "Got more than 8190 bytes when reading"),
    ],
)
def test_what_is_no_http_is_answered_in_shape_and_prints_nothing(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], first: bytes, headers: tuple[bytes, ...], reason: str
) -> None:
    status, body = answer_to(workspace, first, *headers)
    assert status.split(b" ", 1)[1] == b"400 Bad Request"
    assert body == {"error_code": "BAD_REQUEST", "message": f"Bad request: this is no HTTP/1.1 request: {reason}"}
    assert workspace.requests == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("first", [b"OPTIONS * HTTP/1.1", b"CONNECT a:80 HTTP/1.1", b"TRACE /a HTTP/1.1"])
def test_an_odd_target_is_an_unknown_path(workspace: Workspace, first: bytes) -> None:
    target = first.split()[1].decode()
    status, body = answer_to(workspace, first)
    assert status == b"HTTP/1.1 404 Not Found"
    assert body == {"error_code": "ENDPOINT_NOT_FOUND", "message": f"Invalid path: {target}"}
    assert [request.target for request in workspace.requests] == [target]


@pytest.mark.parametrize(
    "path",
    [f"/serving-endpoints/{GPT}/invocations", "/serving-endpoints/chat/completions", "/serving-endpoints/responses"],
)
def test_a_compressed_body_is_refused_for_what_it_is(workspace: Workspace, send: Send, path: str) -> None:
    packed = gzip.compress(json.dumps({"model": GPT, "input": "Hi", **ASK}).encode())
    refused = send(workspace, "POST", path, packed, **{"content-encoding": "gzip"})
    assert (refused.status, refused.json()["error_code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "Content-Encoding 'gzip' is not taken here" in refused.json()["message"]
    assert workspace.requests[0].body == packed
    plain = json.dumps({"model": GPT, "input": "Hi", **ASK}).encode()
    assert send(workspace, "POST", path, plain, **{"content-encoding": "identity"}).status == 200


def test_dots_in_a_name_are_dashes_on_the_gateway(send: Send) -> None:
    with Workspace([Endpoint("databricks-gpt-5-3-codex", Scripted())]) as workspace:
        for name in ("gpt-5.3-codex", "system.ai.gpt-5-3-codex", "databricks-gpt-5.3-codex"):
            reply = send(workspace, "POST", "/ai-gateway/mlflow/v1/chat/completions", {"model": name, **ASK})
            assert reply.status == 200


def test_a_service_of_ones_own_catalog_goes_by_its_full_name(send: Send) -> None:
    with Workspace([Endpoint("main.ml.my_agent", Scripted())]) as workspace:
        asked = {"model": "main.ml.my_agent", **ASK}
        assert send(workspace, "POST", "/ai-gateway/mlflow/v1/chat/completions", asked).status == 200


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("disabled", 404, "FEATURE_DISABLED"),
        ("absent", 404, "ENDPOINT_NOT_FOUND"),
        ("not-implemented", 501, "NOT_IMPLEMENTED"),
    ],
)
def test_a_workspace_without_a_gateway(send: Send, state: Any, status: int, code: str) -> None:
    with Workspace(gateway=state) as workspace:
        for path in ("/ai-gateway/mlflow/v1/chat/completions", "/ai-gateway/anything"):
            reply = send(workspace, "POST", path, {"model": GPT, **ASK})
            assert (reply.status, reply.json()["error_code"]) == (status, code)
        assert send(workspace, "POST", f"/serving-endpoints/{GPT}/invocations", ASK).status == 200
        assert send(workspace, "POST", path, authorization=None).status == 401


def test_what_the_caller_may_not_do(send: Send) -> None:
    model = Scripted()
    seen, hidden = Endpoint("seen", model, permission="CAN_VIEW"), Endpoint("hidden", model, permission="NONE")
    endpoints = [Endpoint("all", model), seen, hidden]
    with Workspace(endpoints) as workspace:
        listed = send(workspace, "GET", "/api/2.0/serving-endpoints").json()["endpoints"]
        assert [(one["name"], one["permission_level"]) for one in listed] == [
            ("all", "CAN_QUERY"),
            ("seen", "CAN_VIEW"),
        ]
        reply = send(workspace, "GET", "/api/2.0/serving-endpoints/hidden")
        assert (reply.status, reply.json()["error_code"]) == (403, "PERMISSION_DENIED")
        assert reply.json()["message"] == "User does not have permission 'View' on Endpoint hidden"
        assert reply.json()["details"][0]["request_id"] == reply.headers["x-request-id"]
        for name in ("seen", "hidden"):
            assert send(workspace, "POST", f"/serving-endpoints/{name}/invocations", ASK).status == 403
            asked = {"model": name, **ASK}
            assert send(workspace, "POST", "/serving-endpoints/chat/completions", asked).status == 403


def test_foundation_models_advertise_what_they_speak(workspace: Workspace, send: Send) -> None:
    listed = send(workspace, "GET", "/api/2.0/serving-endpoints:foundation-models").json()["endpoints"]
    models = {one["name"]: one["config"]["served_entities"][0]["foundation_model"] for one in listed}
    assert models[CLAUDE]["api_types"] == ["mlflow/v1/chat/completions"]
    assert models[GPT]["name"] == "system.ai.gpt-5"
    for name, model in models.items():
        for api_type in model["api_types"]:
            asked = {"model": name, "input": "Hi"} if "responses" in api_type else {"model": name, **ASK}
            assert send(workspace, "POST", f"/ai-gateway/{api_type}", asked).status == 200


def test_an_agent_is_no_foundation_model(send: Send) -> None:
    with Workspace([Endpoint("agent", Scripted(), task="agent/v1/responses")]) as workspace:
        one = send(workspace, "GET", "/api/2.0/serving-endpoints/agent").json()
        assert (one["task"], "endpoint_type" in one) == ("agent/v1/responses", False)
        assert one["config"]["served_entities"] == [{"name": "scripted"}]


def test_a_target_with_the_host_in_it_names_the_same_path(workspace: Workspace) -> None:
    """So asks a client that takes the workspace for its proxy."""
    connection = http.client.HTTPConnection(workspace.url.removeprefix("http://"), timeout=30)
    connection.request("GET", "http://some.where/.well-known/databricks-config?a=b")
    reply = connection.getresponse()
    assert (reply.status, reply.read()[:1]) == (200, b"{")
    connection.close()
    assert workspace.requests[0].path == "/.well-known/databricks-config"
    assert workspace.requests[0].target == "http://some.where/.well-known/databricks-config?a=b"
