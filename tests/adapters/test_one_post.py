"""How many requests is one call? One POST, whatever the server answers, and the error tells the truth about it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

import isochat
from isochat_workspace import Endpoint, HttpReply, Replay, Workspace


class Refusal(NamedTuple):
    """An error reply, and the error that it is."""

    status: int
    body: Any
    expected: type[isochat.ChatError]
    code: str | None
    retryable: bool
    may_have_executed: bool
    headers: dict[str, str] = {}
    retry_after: float | None = None


def flat(code: str, message: str = "No.") -> dict[str, str]:
    return {"error_code": code, "message": message}


LIMIT = {"error": {"message": "Slow down", "type": "rate_limit_exceeded", "code": 429, "retry_after": 15}}
REFUSALS: dict[str, Refusal] = {
    "400": Refusal(400, flat("BAD_REQUEST"), isochat.BadRequestError, "BAD_REQUEST", False, False),
    "400 unexpected error": Refusal(
        400, flat("BAD_REQUEST", "Unexpected error"), isochat.BadRequestError, "BAD_REQUEST", False, False
    ),
    "400 openai": Refusal(
        400, {"error": {"message": "No.", "code": "bad"}}, isochat.BadRequestError, "bad", False, False
    ),
    "400 context": Refusal(
        400,
        flat("BAD_REQUEST", "Input is too long for requested model."),
        isochat.ContextLengthExceededError,
        "BAD_REQUEST",
        False,
        False,
    ),
    "401": Refusal(401, flat("UNAUTHENTICATED"), isochat.AuthenticationError, "UNAUTHENTICATED", False, False),
    "403": Refusal(403, flat("PERMISSION_DENIED"), isochat.PermissionDeniedError, "PERMISSION_DENIED", False, False),
    "403 text": Refusal(403, "Invalid access token", isochat.PermissionDeniedError, None, False, False),
    "404": Refusal(404, flat("ENDPOINT_NOT_FOUND"), isochat.NotFoundError, "ENDPOINT_NOT_FOUND", False, False),
    "408": Refusal(408, flat("REQUEST_TIMEOUT"), isochat.StatusError, "REQUEST_TIMEOUT", True, False),
    "409": Refusal(409, flat("ABORTED"), isochat.ConflictError, "ABORTED", False, False),
    "413": Refusal(413, flat("TOO_LARGE"), isochat.RequestTooLargeError, "TOO_LARGE", False, False),
    "418": Refusal(418, flat("TEAPOT"), isochat.StatusError, "TEAPOT", False, False),
    "422 fastapi": Refusal(422, {"detail": [{"msg": "No."}]}, isochat.BadRequestError, None, False, False),
    "429": Refusal(
        429,
        flat("REQUEST_LIMIT_EXCEEDED"),
        isochat.RateLimitError,
        "REQUEST_LIMIT_EXCEEDED",
        True,
        False,
        {"retry-after": "7"},
        7.0,
    ),
    "429 in the body": Refusal(429, LIMIT, isochat.RateLimitError, "429", True, False, {}, 15.0),
    "500": Refusal(500, flat("INTERNAL_ERROR"), isochat.ServerError, "INTERNAL_ERROR", False, True),
    "500 unexpected error": Refusal(
        500, flat("INTERNAL_ERROR", "Unexpected error"), isochat.ServerError, "INTERNAL_ERROR", False, True
    ),
    "500 html": Refusal(500, "<html><h1>Oops</h1></html>", isochat.ServerError, None, False, True),
    "500 empty": Refusal(500, "", isochat.ServerError, None, False, True),
    "501": Refusal(501, flat("NOT_IMPLEMENTED"), isochat.ServerError, "NOT_IMPLEMENTED", False, False),
    "502": Refusal(502, "<html>Bad gateway</html>", isochat.ServerError, None, True, True),
    "503": Refusal(
        503, flat("TEMPORARILY_UNAVAILABLE"), isochat.OverloadedError, "TEMPORARILY_UNAVAILABLE", True, False
    ),
    "504": Refusal(504, flat("DEADLINE_EXCEEDED"), isochat.ServerError, "DEADLINE_EXCEEDED", False, True),
    "529": Refusal(529, flat("OVERLOADED"), isochat.OverloadedError, "OVERLOADED", True, False),
}


@pytest.fixture(params=REFUSALS)
def refusal(request: pytest.FixtureRequest) -> Refusal:
    return REFUSALS[request.param]


def refusing(refusal: Refusal) -> Workspace:
    text = isinstance(refusal.body, str)
    body = refusal.body if text else json.dumps(refusal.body)
    headers = {
        "content-type": "text/html" if text else "application/json",
        "x-request-id": "req-1",
        **refusal.headers,
    }
    reply = HttpReply(refusal.status, headers, body.encode())
    return Workspace([Endpoint("any", Replay({"chat": reply, "responses": reply}))])


def test_one_call_is_one_post_and_one_true_error(refusal: Refusal, backend: str, make_client: Any) -> None:
    with refusing(refusal) as workspace:
        with pytest.raises(isochat.ChatError) as raised:
            make_client(backend, workspace, max_retries=0).chat("Hi")
        requests = workspace.requests

    error = raised.value
    got = (type(error), error.status_code, error.code, error.retryable, error.may_have_executed, error.retry_after)
    assert got == (
        refusal.expected,
        refusal.status,
        refusal.code,
        refusal.retryable,
        refusal.may_have_executed,
        refusal.retry_after,
    )
    assert (error.request_id, error.backend, error.endpoint, error.attempts) == ("req-1", backend, "any", 1)
    assert [request.method for request in requests] == ["POST"]


CAUSES = {
    "openai-chat": {"openai"},
    "openai-responses": {"openai"},
    "mlflow": {"databricks", "requests"},  # MLflow 3 and 2
    "databricks-sdk": {"databricks"},
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_clients_own_exception_is_the_cause(name: str, make_client: Any) -> None:
    # Not the TimeoutError that the SDK makes of it when its retries are over.
    with refusing(REFUSALS["503"]) as workspace, pytest.raises(isochat.OverloadedError) as raised:
        make_client(name, workspace, max_retries=0).chat("Hi")

    assert type(raised.value.__cause__).__module__.partition(".")[0] in CAUSES[name]


@pytest.mark.parametrize("status", [404, 429, 503])
def test_nothing_else_is_asked(status: int, backend: str, make_client: Any) -> None:
    with refusing(REFUSALS[str(status)]) as workspace:
        client = make_client(backend, workspace, max_retries=0)
        for _ in range(3):
            with pytest.raises(isochat.StatusError):
                client.chat("Hi")
        methods = [request.method for request in workspace.requests]

    assert methods == ["POST"] * 3


def test_a_profile_asks_at_most_twice_for_all_calls(backend: str, workspace: Workspace, clean_environment: Any) -> None:
    # A profile that only the SDK understands: its own look at the host is a request, but not one of every call.
    (clean_environment / ".databrickscfg").write_text(
        f"[basic]\nhost = {workspace.url}\nusername = token\npassword = {workspace.token}\nauth_type = basic\n"
    )
    with isochat.Client(backend, profile="basic", endpoint=workspace.default_endpoint, max_retries=0) as client:
        for _ in range(3):
            client.chat("Hi")

    methods = [request.method for request in workspace.requests]
    assert (methods.count("POST"), methods.count("GET") <= 2) == (3, True)


def test_a_second_request_of_one_attempt_is_refused(workspace: Workspace) -> None:
    class Twice(isochat.Backend):
        name = "twice"
        capabilities = isochat.Capabilities(api="chat-completions")

        def complete(self, request: isochat.Request, wire: Any) -> Any:
            url = f"{self.setup.host}/serving-endpoints/{request.endpoint}/invocations"
            for _ in range(2):
                wire.exchange("POST", url, [("Content-Type", "application/json")], b'{"messages": []}')

    client = isochat.Client(Twice, host=workspace.url, token=workspace.token, endpoint="scripted", max_retries=0)
    with client, pytest.raises(isochat.ChatError):
        client.chat("Hi")

    assert len(workspace.requests) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error_code": "RESOURCE_EXHAUSTED", "message": "m"}, isochat.RateLimitError),
        ({"error": {"code": 503, "message": "m"}}, isochat.OverloadedError),
        ({"error": "m"}, isochat.ServerError),
        ({"status": "failed", "error": {"code": "server_error", "message": "m"}}, isochat.ServerError),
    ],
)
def test_an_error_under_a_success_status(body: Any, expected: Any, backend: str, make_client: Any) -> None:
    reply = Refusal(200, body, expected, None, False, False)
    with refusing(reply) as workspace, pytest.raises(isochat.StatusError) as raised:
        make_client(backend, workspace, max_retries=0).chat("Hi")

    assert (type(raised.value), raised.value.status_code) == (expected, 200)


NO_ANSWERS = {
    "empty": "",
    "html": "<html>Sign in</html>",
    "no JSON": "{",
    "null": "null",
    "list": "[]",
    "number": "5",
    "nothing in it": "{}",
    "no choices": '{"choices": []}',
    "choice of the wrong type": '{"choices": [5], "output": [5]}',
    "deep": "[" * 100_000,
    "not UTF-8": b'{"choices": "\xff"}'.decode("latin-1"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer(name: str, backend: str, make_client: Any) -> None:
    reply = Refusal(200, NO_ANSWERS[name], isochat.BadResponseError, None, False, True)
    with refusing(reply) as workspace, pytest.raises(isochat.BadResponseError) as raised:
        make_client(backend, workspace, max_retries=0).chat("Hi")

    error = raised.value
    assert (error.status_code, error.request_id, error.may_have_executed) == (200, "req-1", True)


# The documentation's own example reply has null where the clients expect something.
DOCUMENTED = {"id": None, "choices": [{"index": 0, "message": {}, "finish_reason": None}], "usage": "none"}


def test_a_client_that_cannot_read_the_reply_does_not_matter(chat_backend: str, make_client: Any) -> None:
    with refusing(Refusal(200, DOCUMENTED, isochat.ChatError, None, False, False)) as workspace:
        result = make_client(chat_backend, workspace, max_retries=0).chat("Hi")

    assert (result.id, result.text, result.finish_reason, result.meta.status_code) == (None, "", None, 200)


def test_the_call_is_named_though_the_client_could_not_read(make_client: Any) -> None:
    with refusing(Refusal(200, DOCUMENTED, isochat.ChatError, None, False, False)) as workspace:
        meta = make_client("databricks-sdk", workspace, max_retries=0).chat("Hi").meta

    assert meta.client_call == "serving_endpoints.query"
    with pytest.raises(isochat.BadResponseError, match=r"serving_endpoints\.query cannot read this reply itself"):
        _ = meta.native
