"""Is it really the client's own documented call that carries a chat? Traced in the caller, seen at the server."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import isochat
from isochat_workspace import Workspace

Entered = set[tuple[str, str]]


def entered_during(call: Callable[[], Any]) -> Entered:
    """Module and qualified name of every Python function that this thread entered during ``call``."""
    entered: Entered = set()

    def note(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            entered.add((frame.f_globals.get("__name__", ""), frame.f_code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return entered


DOCUMENTED = {
    "openai-chat": {("openai.resources.chat.completions.completions", "Completions.create")},
    "openai-responses": {("openai.resources.responses.responses", "Responses.create")},
    "mlflow": {
        ("mlflow.deployments.databricks", "DatabricksDeploymentClient.predict"),
        ("mlflow.deployments.databricks", "DatabricksDeploymentClient._call_endpoint"),
        ("mlflow.utils.rest_utils", "http_request"),
    },
    "databricks-sdk": {("databricks.sdk.service.serving", "ServingEndpointsAPI.query")},
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documented_call_is_entered(name: str, workspace: Workspace, make_client: Any) -> None:
    client = make_client(name, workspace)

    entered = entered_during(lambda: client.chat("Hi", max_tokens=5))

    assert DOCUMENTED[name] <= entered


CLIENT_CALLS = {
    "rest": "POST invocations",
    "openai-chat": "chat.completions.create",
    "openai-responses": "responses.create",
    "mlflow": "predict",
    "databricks-sdk": "serving_endpoints.query",
}


def test_meta_names_the_call(backend: str, workspace: Workspace, make_client: Any) -> None:
    assert make_client(backend, workspace).chat("Hi").meta.client_call == CLIENT_CALLS[backend]


PATHS = {
    "rest": "/serving-endpoints/scripted/invocations",
    "openai-chat": "/serving-endpoints/chat/completions",
    "openai-responses": "/serving-endpoints/responses",
    "mlflow": "/serving-endpoints/scripted/invocations",
    "databricks-sdk": "/serving-endpoints/scripted/invocations",
}


def test_the_documented_path_is_asked(backend: str, workspace: Workspace, make_client: Any) -> None:
    make_client(backend, workspace).chat("Hi")

    assert [(r.method, r.target) for r in workspace.requests] == [("POST", PATHS[backend])]


USER_AGENTS = {
    "rest": r"isochat/\d[\w.]* my-product/7",
    "openai-chat": r"OpenAI/Python \d[\w.]* isochat/\d[\w.]* my-product/7",
    "openai-responses": r"OpenAI/Python \d[\w.]* isochat/\d[\w.]* my-product/7",
    "mlflow": r".*databricks-sdk-py/\d.* isochat/\d[\w.]* my-product/7",
    "databricks-sdk": r".*databricks-sdk-py/\d.* isochat/\d[\w.]* my-product/7",
}


def test_user_agent(backend: str, workspace: Workspace, make_client: Any) -> None:
    make_client(backend, workspace, product="my-product/7").chat("Hi")

    assert re.fullmatch(USER_AGENTS[backend], workspace.requests[0].header("user-agent") or "")


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("openai-chat", "x-stainless-lang", "python"),
        ("openai-chat", "x-stainless-retry-count", "0"),
        ("openai-responses", "x-stainless-lang", "python"),
        ("mlflow", "X-Databricks-Endpoints-API-Client", "Databricks Deployment Client"),
    ],
)
def test_client_headers(name: str, header: str, value: str, workspace: Workspace, make_client: Any) -> None:
    make_client(name, workspace).chat("Hi")

    assert workspace.requests[0].header(header) == value


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses"])
def test_the_raw_twin_is_not_told_to_the_server(name: str, workspace: Workspace, make_client: Any) -> None:
    make_client(name, workspace).chat("Hi")

    assert workspace.requests[0].header("x-stainless-raw-response") is None


def test_the_token_is_sent_once(backend: str, workspace: Workspace, make_client: Any) -> None:
    make_client(backend, workspace).chat("Hi")

    sent = [value for name, value in workspace.requests[0].headers if name.lower() == "authorization"]
    assert sent == [f"Bearer {workspace.token}"]


def test_basic_authentication(backend: str, workspace: Workspace, make_client: Any) -> None:
    result = make_client(backend, workspace, auth_scheme="basic").chat("Hi")

    sent = workspace.requests[0].header("authorization") or ""
    assert (sent.partition(" ")[0], result.meta.status_code) == ("Basic", 200)


def test_the_clients_own_type_is_native(backend: str, workspace: Workspace, make_client: Any) -> None:
    native = make_client(backend, workspace).chat("Hi").meta.native

    types = {
        "rest": "dict",
        "openai-chat": "ChatCompletion",
        "openai-responses": "Response",
        "mlflow": "DatabricksEndpoint",
        "databricks-sdk": "QueryEndpointResponse",
    }
    assert type(native).__name__ == types[backend]


def test_native_is_made_once(backend: str, workspace: Workspace, make_client: Any) -> None:
    meta = make_client(backend, workspace).chat("Hi").meta

    assert meta.native is meta.native


# ---------------------------------------------------------------------------- what goes out, byte for byte equal

HISTORY = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": 'Und jetzt: Straße 東京 🦊 \u2028 " \\ \n'},
]
TOOL_HISTORY = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]
BLOCKS = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
TYPED: dict[str, Any] = {"max_tokens": 5, "temperature": 0.0, "stop": ["END"], "n": 2}

# Messages, parameters, and the call that the SDK has for them; an older query() has fewer arguments.
REQUESTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "history": (HISTORY, {}, "serving_endpoints.query"),
    "empty text": ([{"role": "user", "content": ""}], {}, "serving_endpoints.query"),
    "what query takes": (HISTORY, TYPED, "serving_endpoints.query"),
    "usage context": ("Hi", {"usage_context": {"team": "a"}}, "serving_endpoints.query"),
    "client request id": ("Hi", {"client_request_id": "r-1"}, "serving_endpoints.query"),
    "stop as one text": ("Hi", {"stop": "END"}, "api_client.do"),
    "top_p": ("Hi", {"top_p": 0.5}, "api_client.do"),
    "top_k": ("Hi", {"top_k": 3}, "api_client.do"),
    "tools": ("Hi", {"tools": [{"type": "function", "function": {"name": "w"}}]}, "api_client.do"),
    "tool history": (TOOL_HISTORY, {}, "api_client.do"),
    "content blocks": (BLOCKS, {}, "api_client.do"),
    "a message with a name": ([{"role": "user", "content": "Hi", "name": "bob"}], {}, "api_client.do"),
    "nested null": ("Hi", {"custom_inputs": {"a": None}}, "api_client.do"),
    "a field of the endpoint's own": ("Hi", {"extra_body": {"x": {"y": [1, None]}}}, "api_client.do"),
    "null in extra_body": ("Hi", {"extra_body": {"temperature": None}}, "api_client.do"),
    "a named field of query in extra_body": ("Hi", {"extra_body": {"dataframe_split": {}}}, "api_client.do"),
    "extra_body wins": ("Hi", {"max_tokens": 5, "extra_body": {"max_tokens": 7}}, "serving_endpoints.query"),
    "a large number": ("Hi", {"seed": 2**70}, "api_client.do"),
    "subclasses of text and number": (
        "Hi",
        {"reasoning_effort": type("Text", (str,), {})("low"), "top_p": type("Real", (float,), {})(0.5)},
        "api_client.do",
    ),
    "a tuple": ("Hi", {"custom_inputs": {"a": (1, 2)}}, "api_client.do"),
}


@pytest.fixture
def replaying() -> Any:
    """A workspace whose endpoint judges nothing, so that any body arrives."""
    from isochat_workspace import Endpoint, HttpReply, Replay

    answer = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}]}'
    chat = HttpReply(200, {"content-type": "application/json"}, answer)
    with Workspace([Endpoint("any", Replay({"chat": chat}))]) as running:
        yield running


@pytest.mark.parametrize("name", REQUESTS)
def test_every_client_sends_the_same_body(name: str, chat_backend: str, replaying: Workspace, make_client: Any) -> None:
    messages, params, _ = REQUESTS[name]
    make_client(chat_backend, replaying).chat(messages, **params)
    sent = replaying.requests[0].json()
    sent.pop("model", None)

    plain = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    extra = params.get("extra_body", {})
    named = {key: value for key, value in params.items() if key != "extra_body"}
    lists = {"custom_inputs": {"a": [1, 2]}} if name == "a tuple" else {}
    assert sent == {"messages": plain, **named, **lists, **extra}


@pytest.mark.parametrize("name", REQUESTS)
def test_which_call_of_the_sdk(name: str, replaying: Workspace, make_client: Any) -> None:
    from databricks.sdk.service.serving import ServingEndpointsAPI

    messages, params, expected = REQUESTS[name]
    client = make_client("databricks-sdk", replaying)
    results: list[isochat.ChatResult] = []

    entered = entered_during(lambda: results.append(client.chat(messages, **params)))

    if not {*params} - {"extra_body"} <= {*inspect.signature(ServingEndpointsAPI.query).parameters}:
        expected = "api_client.do"
    queried = ("databricks.sdk.service.serving", "ServingEndpointsAPI.query") in entered
    assert (results[0].meta.client_call, queried) == (expected, expected == "serving_endpoints.query")


def test_the_messages_of_the_caller_stay_as_they_are(chat_backend: str, replaying: Workspace, make_client: Any) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    extra = {"x": {"y": 1}}
    make_client(chat_backend, replaying).chat(messages, extra_body=extra)

    assert (messages, extra) == (BLOCKS, {"x": {"y": 1}})


def test_responses_body(workspace: Workspace, make_client: Any) -> None:
    make_client("openai-responses", workspace).chat(
        HISTORY, max_tokens=20, temperature=0.5, top_p=0.9, extra_body={"truncation": "auto"}
    )

    assert workspace.requests[0].json() == {
        "model": "scripted",
        "input": HISTORY,
        "max_output_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "truncation": "auto",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stop", "x"),
        ("n", 2),
        ("seed", 1),
        ("top_k", 1),
        ("thinking", {"type": "enabled"}),
        ("logit_bias", {"5": 1}),
        ("frequency_penalty", 0.1),
        ("presence_penalty", 0.1),
    ],
)
def test_responses_refuses_what_it_cannot_carry(name: str, value: Any, workspace: Workspace, make_client: Any) -> None:
    params: Any = {name: value}
    with pytest.raises(isochat.UnsupportedParameterError, match=f"does not carry {name}"):
        make_client("openai-responses", workspace).chat("Hi", **params)

    assert workspace.requests == []


def test_a_message_of_an_answer_goes_back(chat_backend: str, workspace: Workspace, make_client: Any) -> None:
    client = make_client(chat_backend, workspace)
    first = client.chat("Hi")
    client.chat([{"role": "user", "content": "Hi"}, first.message, {"role": "user", "content": "More"}])

    assert workspace.requests[1].json()["messages"][1] == {"role": "assistant", "content": first.text}
