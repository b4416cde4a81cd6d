"""What is refused before anything is sent? Wrong input, in one line with a remedy that does not show the token."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import pytest

import isochat
from isochat_workspace import Workspace

CYCLE: list[Any] = []
CYCLE.append(CYCLE)


class Foreign:
    pass


# What is passed as messages, the error, and what its line must name.
MESSAGES: dict[str, tuple[Any, type[isochat.ChatError], str]] = {
    "empty list": ([], isochat.InvalidInputError, "messages is empty"),
    "None": (None, isochat.InvalidInputError, "messages is null"),
    "number": (5, isochat.InvalidInputError, "messages is a number"),
    "bytes": (b"Hi", isochat.InvalidInputError, "messages is bytes"),
    "one mapping": ({"role": "user", "content": "Hi"}, isochat.InvalidInputError, "messages is a mapping"),
    "one Message": (isochat.Message("user", "Hi"), isochat.InvalidInputError, "messages is Message"),
    "generator": ((m for m in ()), isochat.InvalidInputError, "messages is generator"),
    "list of texts": (["Hi"], isochat.InvalidInputError, r"messages\[0\] is a string"),
    "bad role": ([{"role": "robot", "content": "Hi"}], isochat.InvalidInputError, "'robot'.*system"),
    "no role": ([{"content": "Hi"}], isochat.InvalidInputError, r"messages\[0\] has no role"),
    "role of a list": ([{"role": ["user"], "content": "Hi"}], isochat.InvalidInputError, "role"),
    "no content": ([{"role": "user"}], isochat.InvalidInputError, r"messages\[0\] has no content"),
    "null content": ([{"role": "user", "content": None}], isochat.InvalidInputError, "content is null"),
    "content of a number": ([{"role": "user", "content": 5}], isochat.InvalidInputError, "content is a number"),
    "content of bytes": ([{"role": "user", "content": b"Hi"}], isochat.InvalidInputError, "content is bytes"),
    "content of a mapping": ([{"role": "user", "content": {"a": 1}}], isochat.InvalidInputError, "content"),
    "block without a type": ([{"role": "user", "content": [{}]}], isochat.InvalidInputError, r"content\[0\]"),
    "block of text": ([{"role": "user", "content": ["Hi"]}], isochat.InvalidInputError, r"content\[0\]"),
    "second message": (
        [{"role": "user", "content": "Hi"}, {"role": "x", "content": ""}],
        isochat.InvalidInputError,
        r"messages\[1\]",
    ),
    "lone surrogate": ("\ud800", isochat.UnsafeInputError, "surrogate"),
    "NaN in a block": (
        [{"role": "user", "content": [{"type": "text", "text": "Hi", "x": math.nan}]}],
        isochat.InvalidInputError,
        r"content\[0\].x is nan",
    ),
    "object in a message": (
        [{"role": "user", "content": "Hi", "x": Foreign()}],
        isochat.InvalidInputError,
        r"messages\[0\].x is of type Foreign",
    ),
    "cycle": (
        [{"role": "user", "content": "Hi", "x": CYCLE}],
        isochat.InvalidInputError,
        "contains itself",
    ),
    "key that is no text": ([{"role": "user", "content": "Hi", 5: 1}], isochat.InvalidInputError, "key 5"),
    "key of half a surrogate": (
        [{"role": "user", "content": "Hi", "\ud800": 1}],
        isochat.UnsafeInputError,
        "surrogate",
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name: str, backend: str, workspace: Workspace, make_client: Any) -> None:
    messages, kind, said = MESSAGES[name]
    with pytest.raises(isochat.InvalidInputError, match=said) as raised:
        make_client(backend, workspace).chat(messages)

    assert_a_good_refusal(raised.value, kind, workspace)


PARAMETERS: dict[str, tuple[dict[str, Any], type[isochat.ChatError], str]] = {
    "unknown": ({"max_token": 5}, isochat.UnsupportedParameterError, "'max_token'.*'max_tokens'"),
    "unknown, nothing near": ({"zzz": 5}, isochat.UnsupportedParameterError, "'zzz'.*extra_body="),
    "model": ({"model": "x"}, isochat.UnsupportedParameterError, "'model'"),
    "text for a number": ({"max_tokens": "5"}, isochat.InvalidInputError, "max_tokens is a string.*an integer"),
    "boolean for a number": ({"max_tokens": True}, isochat.InvalidInputError, "max_tokens is a boolean"),
    "number for an integer": ({"max_tokens": 5.0}, isochat.InvalidInputError, "max_tokens is a number"),
    "alias of the wrong type": ({"max_completion_tokens": "5"}, isochat.InvalidInputError, "max_tokens"),
    "alias and name": (
        {"max_completion_tokens": 5, "max_tokens": 5},
        isochat.InvalidInputError,
        "one parameter",
    ),
    "a boolean for a number": ({"temperature": True}, isochat.InvalidInputError, "temperature is a boolean"),
    "a boolean for a count": ({"max_tokens": True}, isochat.InvalidInputError, "max_tokens is a boolean"),
    "NaN": ({"temperature": math.nan}, isochat.InvalidInputError, "temperature is nan"),
    "infinity": ({"top_p": math.inf}, isochat.InvalidInputError, "top_p is inf"),
    "bytes inside": ({"custom_inputs": {"a": [b"x"]}}, isochat.InvalidInputError, r"custom_inputs.a\[0\]"),
    "set inside": ({"extra_body": {"a": {1}}}, isochat.InvalidInputError, "extra_body.a is of type set"),
    "extra_body of messages": ({"extra_body": {"messages": []}}, isochat.InvalidInputError, "messages"),
    "extra_body of input": ({"extra_body": {"input": "Hi"}}, isochat.InvalidInputError, "may not replace input"),
    "extra_body of model": ({"extra_body": {"model": "m"}}, isochat.InvalidInputError, "may not replace model"),
    "extra_body of stream": ({"extra_body": {"stream": True}}, isochat.InvalidInputError, "stream"),
    "extra_body of a list": ({"extra_body": [1]}, isochat.InvalidInputError, "extra_body is a list"),
    "extra_headers of authorization": (
        {"extra_headers": {"authorization": "x"}},
        isochat.InvalidInputError,
        "may not set authorization",
    ),
    "extra_headers with a line break": (
        {"extra_headers": {"X-A": "1\r\nX-B: 2"}},
        isochat.UnsafeInputError,
        "X-A",
    ),
    "extra_headers of a number": ({"extra_headers": {"X-A": 5}}, isochat.InvalidInputError, "X-A"),
    "timeout of zero": ({"timeout": 0}, isochat.InvalidInputError, "timeout is 0"),
    "deadline of NaN": ({"deadline": math.nan}, isochat.InvalidInputError, "deadline is nan"),
    "deadline of text": ({"deadline": "5"}, isochat.InvalidInputError, "deadline is '5'"),
    "max_retries below zero": ({"max_retries": -1}, isochat.InvalidInputError, "max_retries is -1"),
    "stream": ({"stream": "yes"}, isochat.InvalidInputError, "stream is"),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name: str, backend: str, workspace: Workspace, make_client: Any) -> None:
    params, kind, said = PARAMETERS[name]
    with pytest.raises(isochat.InvalidInputError, match=said) as raised:
        make_client(backend, workspace).chat("Hi", **params)

    assert_a_good_refusal(raised.value, kind, workspace)


ENDPOINTS = (
    "a/../../api/2.0/token/create#",
    "a?b=c",
    "a b",
    "a\r\nX: 1",
    "a\n",
    "a%2fb",
    "../a",
    "..",
    "é",
    "１",
    "a..b",
    ".a",
    "a#b",
    "a;b",
    "a\\b",
    "a\x00",
    "x" * 256,
)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_endpoints(endpoint: str, backend: str, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.UnsafeInputError, match="is not a serving endpoint's name") as raised:
        make_client(backend, workspace, endpoint=endpoint).chat("Hi")

    assert_a_good_refusal(raised.value, isochat.UnsafeInputError, workspace)


def test_an_empty_endpoint(backend: str, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.ConfigurationError, match="endpoint"):
        make_client(backend, workspace, endpoint="")


def test_no_endpoint(backend: str, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.ConfigurationError, match="endpoint=") as raised:
        make_client(backend, workspace, endpoint=None).chat("Hi")

    assert_a_good_refusal(raised.value, isochat.ConfigurationError, workspace)


SECRET = "dapi-very-secret"


@pytest.mark.parametrize("end", ["\n", "\r\nX-A: 1", "\x00", " ", "\t", "é", "\u2028", "\x7f"])
def test_tokens(end: str, backend: str, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.UnsafeInputError, match=f"position {len(SECRET)}") as raised:
        make_client(backend, workspace, token=SECRET + end)

    assert_a_good_refusal(raised.value, isochat.UnsafeInputError, workspace)


@pytest.mark.parametrize("token", ["", 5, b"dapi-very-secret"])
def test_tokens_that_are_none(token: Any, backend: str, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.ConfigurationError, match="token") as raised:
        make_client(backend, workspace, token=token)

    assert_a_good_refusal(raised.value, isochat.ConfigurationError, workspace)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1\r\nX-B: 2"},
        {"X-A": "1\n"},
        {"X-A": "\x00"},
        {"X-A": "é"},
        {"X A": "1"},
        {"X-A:": "1"},
        {"": "1"},
        {"é": "1"},
        {"Authorization": "Bearer x"},
        {"HOST": "x"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Cookie": "a=b"},
        {"X-A": 1},
        {1: "x"},
    ],
)
def test_headers(headers: Any, backend: str, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.InvalidInputError, match="headers") as raised:
        make_client(backend, workspace, headers=headers)

    assert_a_good_refusal(raised.value, isochat.InvalidInputError, workspace)


@pytest.mark.parametrize("product", ["a\r\nb", "é", "a\x00"])
def test_product(product: str, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.UnsafeInputError, match="product"):
        make_client("rest", workspace, product=product)


HOSTS: dict[str, tuple[Any, str]] = {
    "plain http": ("http://x.cloud.databricks.com", "clear text.*https://x.cloud.databricks.com"),
    "plain http by a loopback look-alike": ("http://localhost.example.com", "clear text"),
    "plain http to an address": ("http://10.0.0.1", "clear text"),
    "plain http to all addresses": ("http://0.0.0.0", "clear text"),
    "a number of loopback": ("http://2130706433", "does not name a host"),
    "a number in hexadecimal": ("https://0x7f.1", "does not name a host"),
    "loopback, shortened": ("http://127.1", "does not name a host"),
    "no address": ("https://256.1.1.1", "does not name a host"),
    "one slash": ("https:/x.cloud.databricks.com", "does not name a host"),
    "no slash": ("https:x.cloud.databricks.com", "not a URL"),
    "scheme twice": ("https://https://x.cloud.databricks.com", "does not name a host"),
    "long label": (f"https://{'a' * 64}.example", "does not name a host"),
    "long name": (f"https://{'a.' * 126}example", "does not name a host"),
    "dot at the end": ("https://x.example.", "does not name a host"),
    "address with a port before a user": ("http://localhost:9#@x.example", "user name"),
    "backslash": ("https://x.example\\.localhost", "does not name a host"),
    "user": ("https://u:dapi-very-secret@x.cloud.databricks.com", "user name"),
    "path": ("https://x.cloud.databricks.com/api/2.0", "has a path.*https://x.cloud.databricks.com"),
    "browser's page": ("https://x.cloud.databricks.com/ml/endpoints/a?o=1", "path"),
    "scheme": ("ftp://x.cloud.databricks.com", "'ftp'"),
    "file": ("file:///etc/passwd", "'file'"),
    "port": ("https://x:99999", "not a URL"),
    "no name": ("https://", "does not name a host"),
    "blank inside": ("https://a b", "does not name a host"),
    "line break": ("https://x\r\nX-A: 1", "control"),
    "unicode": ("https://bücher.example", "non-ASCII"),
    "percent": ("https://x%2f.example", "does not name a host"),
    "empty": ("", "host"),
    "number": (5, "host"),
}


@pytest.mark.parametrize("name", HOSTS)
def test_hosts(name: str, backend: str, workspace: Workspace, make_client: Any) -> None:
    host, said = HOSTS[name]
    with pytest.raises((isochat.ConfigurationError, isochat.UnsafeInputError), match=said) as raised:
        make_client(backend, workspace, host=host)

    assert_a_good_refusal(raised.value, isochat.ChatError, workspace)


@pytest.mark.parametrize(
    ("pasted", "clean"),
    [
        ("https://x.cloud.databricks.com", "https://x.cloud.databricks.com"),
        ("https://x.cloud.databricks.com/", "https://x.cloud.databricks.com"),
        ("https://x.cloud.databricks.com/?o=123", "https://x.cloud.databricks.com"),
        ("https://x.cloud.databricks.com/?o=123#job/5", "https://x.cloud.databricks.com"),
        ("https://x.cloud.databricks.com/serving-endpoints/", "https://x.cloud.databricks.com"),
        ("https://x.cloud.databricks.com/login.html?o=1", "https://x.cloud.databricks.com"),
        ("  https://X.Cloud.Databricks.com  ", "https://x.cloud.databricks.com"),
        ("HTTPS://x.cloud.databricks.com", "https://x.cloud.databricks.com"),
        ("x.cloud.databricks.com", "https://x.cloud.databricks.com"),
        ("x.cloud.databricks.com:8443", "https://x.cloud.databricks.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://127.0.0.2:9", "http://127.0.0.2:9"),
        ("http://[::ffff:127.0.0.1]:9", "http://[::ffff:127.0.0.1]:9"),
        ("HTTP://LOCALHOST:9", "http://localhost:9"),
    ],
)
def test_pasted_hosts_are_cleaned(pasted: str, clean: str) -> None:
    from isochat.text_safety import check_host

    assert check_host(pasted) == clean


def test_a_pasted_host_works(backend: str, workspace: Workspace, make_client: Any) -> None:
    client = make_client(backend, workspace, host=f"{workspace.url}/serving-endpoints/?o=123")

    assert client.chat("Hi").meta.status_code == 200


def test_plain_http_can_be_allowed() -> None:
    from isochat.text_safety import check_host

    assert check_host("http://10.0.0.1", allow_insecure=True) == "http://10.0.0.1"


ARGUMENTS: dict[str, tuple[dict[str, Any], type[isochat.ChatError], str]] = {
    "unknown": ({"timeuot": 5}, isochat.ConfigurationError, "'timeuot'.*'timeout'"),
    "timeout of text": ({"timeout": "5"}, isochat.ConfigurationError, "timeout.*seconds"),
    "timeout of zero": ({"timeout": 0}, isochat.ConfigurationError, "timeout.*seconds above 0"),
    "deadline below zero": ({"deadline": -1}, isochat.ConfigurationError, "deadline"),
    "max_retries of a fraction": ({"max_retries": 1.5}, isochat.ConfigurationError, "max_retries"),
    "max_connections of zero": ({"max_connections": 0}, isochat.ConfigurationError, "max_connections"),
    "trust_env of text": ({"trust_env": "yes"}, isochat.ConfigurationError, "trust_env"),
    "route": ({"route": "x"}, isochat.ConfigurationError, "route.*serving-endpoints"),
    "on_unsupported": ({"on_unsupported": "x"}, isochat.ConfigurationError, "raise or warn or drop"),
    "auth_scheme": ({"auth_scheme": "digest"}, isochat.ConfigurationError, "bearer or basic"),
    "headers of a list": ({"headers": ["X-A"]}, isochat.ConfigurationError, "headers"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name: str, backend: str, workspace: Workspace, make_client: Any) -> None:
    arguments, kind, said = ARGUMENTS[name]
    with pytest.raises(isochat.ConfigurationError, match=said) as raised:
        make_client(backend, workspace, **arguments)

    assert_a_good_refusal(raised.value, kind, workspace)


@pytest.mark.parametrize(
    ("backend_given", "said"),
    [
        ("openai-chats", "'openai-chats'. Did you mean 'openai-chat'"),
        ("databricks_sdk", "Did you mean 'databricks-sdk'"),
        ("zzz", "Installed are: .*openai-chat"),
    ],
)
def test_unknown_backends(backend_given: str, said: str, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.BackendNotFoundError, match=said) as raised:
        make_client(backend_given, workspace)

    assert_a_good_refusal(raised.value, isochat.BackendNotFoundError, workspace)


@pytest.mark.parametrize("given", [5, object(), dict, ["rest"]])
def test_what_is_no_backend(given: Any, workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.ConfigurationError, match="backend"):
        make_client(given, workspace)


def test_no_credentials_without_the_sdk_is_one_line(backend: str) -> None:
    with pytest.raises(isochat.ConfigurationError) as raised:
        isochat.Client(backend, endpoint="any").chat("Hi")

    assert "DATABRICKS_HOST and DATABRICKS_TOKEN" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_read_only_mapping_is_a_message(backend: str, workspace: Workspace, make_client: Any) -> None:
    message = MappingProxyType({"role": "user", "content": "Hi"})

    assert make_client(backend, workspace).chat((message,)).text.startswith('You asked: "Hi".')


def test_a_closed_client_refuses(backend: str, workspace: Workspace, make_client: Any) -> None:
    client = make_client(backend, workspace)
    client.close()

    with pytest.raises(isochat.ConfigurationError, match="closed"):
        client.chat("Hi")
    assert workspace.requests == []


def assert_a_good_refusal(error: isochat.ChatError, kind: type[Exception], workspace: Workspace) -> None:
    """One line, with a remedy, without the token; nothing was sent."""
    text = str(error)
    assert isinstance(error, kind)
    assert "\n" not in text
    assert "\r" not in text
    assert error.remedy or "expected" in text
    assert workspace.token not in text + repr(error)
    assert SECRET not in text + repr(error)
    assert error.attempts == 0
    assert workspace.requests == []
