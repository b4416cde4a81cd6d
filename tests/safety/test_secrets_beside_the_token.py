"""What else is secret? A proxy's password, a header of the caller's own, what a login sends. None of it shows."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from places import of_exception

import isochat
from isochat.cli.group import isochat as command
from isochat.redaction import Redactor

PASSWORD = "proxy-password-1"
LOGIN = f"me:{PASSWORD}"
BASIC = base64.b64encode(LOGIN.encode()).decode()
OWN = "a-key-of-another-service"


def assert_hidden(error: BaseException, *secrets: str) -> None:
    shown = [f"{place}: {text}" for place, text in of_exception(error) if any(secret in text for secret in secrets)]
    assert shown == []


# ------------------------------------------------------------------------------------------- the proxy's


def waits() -> Any:
    """Once in a thread and once on an event loop: the wire is the same for streams."""
    return pytest.mark.parametrize("chat", ["whole", "async"], indirect=True)


@waits()
@pytest.mark.parametrize("status", ["407 Who is", "502 No"])
def test_a_proxy_that_sends_its_login_back(
    status: str, backend: str, chat: Any, listen: Any, make_client: Any, reply: Any, nobody: Any, monkeypatch: Any
) -> None:
    page = f"<p>{LOGIN}, {BASIC}</p>".encode()
    proxy = listen(reply(f"{status} {LOGIN} {BASIC}", page, f"Proxy-Authenticate: Basic {BASIC}", kind="text/html"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://{LOGIN}@127.0.0.1:{proxy.port}")
    with pytest.raises(isochat.ConnectError, match=rf"proxy: .*{status[:3]}") as raised:
        chat(make_client(backend, nobody, host="https://x.example"))

    assert f"Basic {BASIC}".encode() in proxy.requests[0]  # it did log in
    assert_hidden(raised.value, PASSWORD, BASIC)


@pytest.mark.parametrize("url", ["socks5://{}@127.0.0.1:9", "http://{}@127.0.0.1:9x", "http://{}@", "{}@ :1"])
@waits()
def test_a_proxy_s_url_that_is_none(url: str, chat: Any, make_client: Any, nobody: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url.format(LOGIN))
    with pytest.raises(isochat.ConfigurationError, match="HTTPS_PROXY") as raised:
        chat(make_client("rest", nobody, host="https://x.example"))

    assert_hidden(raised.value, PASSWORD)


# ------------------------------------------------------------------------------------------- the caller's headers


@pytest.mark.parametrize("given", ["headers", "extra_headers"])
@pytest.mark.parametrize("status", ["403 No", "200 OK"])
def test_a_header_of_the_caller_s_that_comes_back(
    status: str, given: str, backend: str, listen: Any, make_client: Any, reply: Any
) -> None:
    said = json.dumps({"error_code": OWN, "message": f"no such key: {OWN}"}).encode()
    server = listen(reply(status, said, f"X-Request-Id: {OWN}"))
    headers = {"X-Api-Key": f"Bearer {OWN}", "X-Team": "research"}
    client = make_client(backend, server, **({"headers": headers} if given == "headers" else {}))
    with pytest.raises(isochat.StatusError, match=r"no such key: \[token\]") as raised:
        client.chat("Hi", **({"extra_headers": headers} if given == "extra_headers" else {}))

    assert OWN.encode() in server.requests[0]
    assert_hidden(raised.value, OWN)


def test_a_word_in_a_header_spoils_no_text(listen: Any, make_client: Any, reply: Any) -> None:
    server = listen(reply("403 No", b'{"message": "not of prod"}', CLOSE))
    with pytest.raises(isochat.PermissionDeniedError, match="not of prod"):
        make_client("rest", server, headers={"X-Cache-Key": "prod"}).chat("Hi")


@pytest.mark.parametrize(
    "headers", [{"X-Api-Key": OWN, "X Y": ""}, {"X-Api-Key": OWN + "\n"}, {"X-Api-Key": OWN, "Host": ""}]
)
def test_a_header_that_is_refused(headers: dict[str, str], backend: str, make_client: Any, nobody: Any) -> None:
    client = make_client(backend, nobody)
    for ask in (
        lambda: client.chat("Hi", extra_headers=headers),
        lambda: make_client(backend, nobody, headers=headers),
    ):
        with pytest.raises(isochat.InvalidInputError) as raised:
            ask()
        assert_hidden(raised.value, OWN)


# ------------------------------------------------------------------------------------------- logins


CLOSE = "Connection: close"
SECRET = "a-service-principal-s-secret"
ID = "its-id"
SENT = base64.b64encode(f"{ID}:{SECRET}".encode()).decode()
REFUSALS: dict[str, Callable[[Any], bytes]] = {
    "as OAuth says it": lambda reply: reply(
        f"401 {SECRET}",
        json.dumps({"error": "invalid_client", "error_description": f"{SECRET} {SENT}"}).encode(),
        CLOSE,
    ),
    "a page": lambda reply: reply("400 No", f"<p>{SECRET} {SENT}".encode(), CLOSE, kind="text/html"),
    "not HTTP": lambda reply: f"HTTP/1.1 {SECRET}\r\n\r\n".encode(),
}


@pytest.fixture
def profiles(clean_environment: Path) -> Callable[[str], None]:
    """Write profiles for the host: one that logs in by OAuth, one by user name and password."""

    def write(host: str) -> None:
        (clean_environment / ".databrickscfg").write_text(
            f"[principal]\nhost = {host}\nclient_id = {ID}\nclient_secret = {SECRET}\n"
            f"[user]\nhost = {host}\nusername = {ID}\npassword = {SECRET}\n"
        )

    return write


@waits()
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_login_whose_secret_comes_back(
    refusal: str, chat: Any, listen: Any, make_client: Any, reply: Any, profiles: Any
) -> None:
    def answer(request: bytes) -> bytes:
        if not request.startswith(b"GET"):
            return REFUSALS[refusal](reply)
        places = {f"{name}_endpoint": f"{server.url}/oidc/{name}" for name in ("token", "authorization")}
        known = {**places, "oidc_endpoint": f"{server.url}/oidc"}
        return reply("200 OK", json.dumps(known).encode(), CLOSE)

    server = listen(answer)
    profiles(server.url)
    client = make_client("rest", server, host=None, token=None, profile="principal")
    with pytest.raises(isochat.AuthenticationError, match=r"login to .* failed: .*\[token\]") as raised:
        chat(client)

    assert_hidden(raised.value, SECRET, SENT)


def test_a_password_that_the_workspace_sends_back(listen: Any, make_client: Any, reply: Any, profiles: Any) -> None:
    def answer(request: bytes) -> bytes:
        said = f"not {SECRET}, {SENT}" if request.startswith(b"POST") else "who?"
        return reply("401 No", json.dumps({"message": said}).encode(), CLOSE)

    server = listen(answer)
    profiles(server.url)
    with pytest.raises(isochat.AuthenticationError, match=r"not \[token\]") as raised:
        make_client("rest", server, host=None, token=None, profile="user").chat("Hi")

    assert_hidden(raised.value, SECRET, SENT)


# ------------------------------------------------------------------------------------------- settings that are shown

FILE = f"""
default_target = "mine"
[targets.mine]
host = "https://me:{PASSWORD}/1@x.example"
token = "dapi-very-secret"
headers = {{X-Api-Key = "{OWN}", X-Team = "research"}}
[targets.mine.params]
max_tokens = 5
extra_headers = {{X-Vault = "{OWN}"}}
extra_body = {{api_key = "{OWN}", tools = [{{secret = "{OWN}", name = "search"}}]}}
"""


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_settings_that_the_command_line_shows(options: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "isochat.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(command, ["config", "show", *options])

    assert shown.exit_code == 0
    for secret in (PASSWORD[:6], OWN, "dapi-very-secret", "research"):
        assert secret not in shown.output
    for told in ("***@x.example", "X-Api-Key", "X-Vault", "api_key", "search", "max_tokens"):
        assert told in shown.output


@pytest.mark.parametrize("host", ["https://me:{}/1@x.example", "https://me:{}?@x.example", "me:{}#@x", "{}@x.example"])
def test_a_host_with_a_password_in_it(host: str, backend: str, make_client: Any, nobody: Any) -> None:
    with pytest.raises(isochat.UnsafeInputError, match="user name or password") as raised:
        make_client(backend, nobody, host=host.format(PASSWORD))

    assert_hidden(raised.value, PASSWORD)


# ------------------------------------------------------------------------------------------- spellings

TOKEN = "dapi+0f1e/2d3c=4b5a"
SPELT = {
    "entities": "".join(f"&#{ord(c)};" for c in TOKEN),
    "entities in hexadecimal": "".join(f"&#x{ord(c):04X};" for c in TOKEN),
    "entities by name": TOKEN.replace("+", "&plus;").replace("/", "&sol;").replace("=", "&equals;"),
    "entities of entities": TOKEN.replace("+", "&amp;#43;"),
    "percent, twice": "".join(f"%25{ord(c):02x}" for c in TOKEN),
    "percent, three times, some": TOKEN.replace("+", "%25252B"),
    "hexadecimal": TOKEN.encode().hex(),
    "hexadecimal, upper": TOKEN.encode().hex().upper(),
    "backslash x": "".join(f"\\x{ord(c):02x}" for c in TOKEN),
    "braces": "".join(f"\\u{{{ord(c):X}}}" for c in TOKEN),
    "base64 for URLs": base64.urlsafe_b64encode(f"{TOKEN}".encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELT)
def test_spellings(spelling: str) -> None:
    redactor, text = Redactor([TOKEN]), f"<p>You sent {SPELT[spelling]} to us"

    assert redactor.finds(text.encode())
    assert redactor.clean(text).startswith("<p>You sent [token]")
    assert redactor.clean_bytes(text.encode()).startswith(b"<p>You sent [token]")
    assert SPELT[spelling][10:30] not in redactor.clean(text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_wide_letters(encoding: str) -> None:
    clean = Redactor([TOKEN]).clean_bytes(f"You sent {TOKEN}.".encode(encoding))

    assert clean.decode(encoding) == "You sent [token]."


@pytest.mark.parametrize("length", range(5, len(TOKEN)))
def test_a_quotation_that_is_cut_inside_the_token(length: int) -> None:
    clean = Redactor([TOKEN]).clean

    assert clean(f"the line {TOKEN[:length]!r} is none") == "the line '[token]' is none"
    assert clean(f"it said {TOKEN[:length]}") == "it said [token]"


def test_what_is_no_quotation_stays() -> None:
    assert Redactor([TOKEN]).clean("dapi+0 and dapi") == "dapi+0 and dapi"


@pytest.mark.parametrize("page", ["\\", "%25", "&amp;", "&#", "dapi+", TOKEN[:-1], "&#x0"])
def test_a_page_of_nothing_but_beginnings_is_read_once(page: str) -> None:
    clean = Redactor([TOKEN]).clean(page * (1_000_000 // len(page)))  # whose time would grow with its square

    assert len(clean) > 100
