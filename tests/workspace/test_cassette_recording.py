"""Does a recording proxy pass everything as it is, keep it to the byte, and keep no secret?"""

from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import urllib3

from isochat.errors import ConfigurationError
from isochat_conformance.fault_tls import Authority
from isochat_workspace import Endpoint, Proxy, Replay, StreamReply, Workspace

from .raw_upstream import chunk, head, raw_upstream

Until = Callable[[Callable[[], bool]], None]
SECRET = "dapi+very/secret=of-the-upstream"
LOCAL = "dapi-local-very-secret"
PATH = "/serving-endpoints/e/invocations"
EVENT_HEADERS = {"content-type": "text/event-stream"}
EVENTS = [b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"]


@contextmanager
def recorder(url: str, cassette: Path, **arguments: Any) -> Iterator[Workspace]:
    with Workspace(model=Proxy(url, token=SECRET, record=cassette, **arguments), token=LOCAL) as running:
        yield running


@contextmanager
def replayer(cassette: Path) -> Iterator[Workspace]:
    with Workspace(model=f"replay:{cassette}", token=LOCAL) as running:
        yield running


def exchange(workspace: Workspace, request: bytes) -> bytes:
    """One request on a connection of its own; all that comes back until the server closes, or the reply is whole."""
    with socket.create_connection(("127.0.0.1", int(workspace.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def read_to(connection: socket.socket, mark: bytes) -> None:
    """Read until `mark` has come."""
    got = b""
    while mark not in got:
        more = connection.recv(65536)
        assert more, got
        got += more


def ask(body: bytes = b'{"messages":[]}', method: str = "POST", path: str = PATH, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"authorization: Bearer {LOCAL}", "connection: close"]
    return "\r\n".join([*lines, f"content-length: {len(body)}", *headers, "", ""]).encode() + body


REPLIES = {
    "json": head("Content-Type: application/json", "X-CaSe: Kept", "Content-Length: 14") + b'{"a": [1, 2]}\n',
    "json-of-its-own-spelling": head("Content-Type: application/json", "Content-Length: 15") + b'{"a":1.50,  "b"',
    "key-twice": head("content-type: application/json", "content-length: 13") + b'{"a":1,"a":2}',
    "escaped-half": head("content-type: application/json", "content-length: 14") + b'{"a":"\\ud800"}',
    "binary": head("content-type: application/octet-stream", "content-length: 5") + b"\x00\xff\xfe\r\n",
    "empty": head("content-length: 0"),
    "no-content": head("x: y", status="204 No Content"),
    "gzip": head("content-encoding: gzip", "content-length: 31") + gzip.compress(b'{"a":1}' * 9, mtime=0)[:31],
    "headers-twice": head("a: 1", "b: 2", "a: 3", "content-length: 0"),
    "429": head("Retry-After: 7", "content-length: 2", status="429 Too Many Requests") + b"{}",
    "redirect": head("location: https://elsewhere.invalid/x", "content-length: 0", status="302 Found"),
    "until-close": head("content-type: text/plain") + b"no length\x85",
    "chunked": head("content-type: text/event-stream", "transfer-encoding: chunked")
    + b"".join(chunk(event) for event in EVENTS)
    + b"0\r\n\r\n",
    "chunks-inside-events": head("content-type: text/event-stream", "transfer-encoding: chunked")
    + b"".join(chunk(bytes([byte])) for byte in b"event: a\r\ndata: \xf0\x9f\x8e\x88\n\n")
    + b"0\r\n\r\n",
    "several-events-a-chunk": head("content-type: text/event-stream", "transfer-encoding: chunked")
    + chunk(b': ping\n\nevent: x\ndata: {"a": 1}\n\ndata: {"b": 2}\n\n')
    + b"0\r\n\r\n",
    "events-until-close": head("content-type: text/event-stream") + b"".join(EVENTS),
    "events-with-length": head("content-type: text/event-stream", "content-length: 36") + b"".join(EVENTS),
    "chunked-json": head("content-type: application/json", "transfer-encoding: chunked")
    + chunk(b'{"a":')
    + chunk(b"1}")
    + b"0\r\n\r\n",
    "cut-chunks": head("content-type: text/event-stream", "transfer-encoding: chunked") + chunk(EVENTS[0]),
    "cut-length": head("content-type: application/json", "content-length: 99") + b'{"a":1',
}


@pytest.mark.parametrize("name", REPLIES)
def test_the_replay_gives_what_the_recording_gave(name: str, tmp_path: Path) -> None:
    cassette = tmp_path / "c"
    with raw_upstream(REPLIES[name]) as upstream, recorder(upstream.url, cassette) as workspace:
        live = exchange(workspace, ask())
    with replayer(cassette) as workspace:
        again = exchange(workspace, ask())
    if name == "chunked-json":  # a JSON body is kept as JSON, in one piece
        live = live.replace(b'5\r\n{"a":\r\n2\r\n1}\r\n', b'7\r\n{"a":1}\r\n')
    assert again == live
    sent_head, _, sent_body = REPLIES[name].partition(b"\r\n\r\n")
    live_head, _, live_body = live.partition(b"\r\n\r\n")
    assert sorted(live_head.lower().split(b"\r\n")[1:]) == sorted(
        {
            *sent_head.lower().split(b"\r\n")[1:],
            *(line for line in live_head.lower().split(b"\r\n") if _is_framing(line)),
        }
    )
    assert live_body == sent_body or name == "chunked-json"


@pytest.mark.parametrize(
    ("method", "target", "kept"),
    [
        ("GET", "http://elsewhere.invalid/a?b=c", "/a?b=c"),  # of a client that takes the recorder for its proxy
        ("M-SEARCH", "/a", "/a"),
        ("GET", "/a/../b%2f?%zz={}", "/a/../b%2f?%zz={}"),
        ("GET", "/a?", "/a?"),
        ("GET", "//a?b?c", "//a?b?c"),
    ],
)
def test_what_is_recorded_can_be_read(method: str, target: str, kept: str, tmp_path: Path) -> None:
    cassette = tmp_path / "c"
    with raw_upstream(REPLIES["json"]) as upstream, recorder(upstream.url, cassette) as workspace:
        live = exchange(workspace, ask(b"", method, target))
    assert upstream.requests[0].startswith(f"{method} {kept} HTTP/1.1\r\n".encode())
    with replayer(cassette) as workspace:
        assert exchange(workspace, ask(b"", method, target)) == live
        assert exchange(workspace, ask(b"", method, kept)) == live


def test_an_upstream_whose_login_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("isochat_workspace.recording.upstream.LOGIN_S", 0.5)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "me")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", SECRET)
    with raw_upstream(lambda _: over.wait(30) and iter(())) as upstream:
        monkeypatch.setenv("DATABRICKS_HOST", upstream.url)
        with pytest.raises(ConfigurationError) as caught, Workspace(model=Proxy(upstream.url)):
            pass
        over.set()
    told = f"{caught.value.message}. {caught.value.remedy}"
    assert f"no login to the upstream workspace: the Databricks SDK's login to {upstream.url} did not end" in told
    assert "Check the host's name and that it can be reached, or give --upstream-token" in told


def test_a_target_that_is_no_path_stays_here(tmp_path: Path) -> None:
    with raw_upstream(REPLIES["json"]) as upstream, recorder(upstream.url, tmp_path / "c") as workspace:
        refused = exchange(workspace, ask(b"", "OPTIONS", "*"))
    assert refused.startswith(b"HTTP/1.1 400")
    assert b"The proxy passes on paths, and '*' is none." in refused
    assert upstream.requests == []


def _is_framing(line: bytes) -> bool:
    return line.startswith((b"connection:", b"content-length:", b"transfer-encoding:"))


def test_the_request_arrives_as_it_was_with_the_other_token(tmp_path: Path) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "\u2028 Zoë"}]}).encode()
    extra = ("X-Databricks-Thing: 1", "cookie: a=b", "accept-encoding: gzip, br", f"api-key: {LOCAL}", "User-Agent: me")
    with raw_upstream(REPLIES["json"]) as upstream, recorder(upstream.url, tmp_path / "c") as workspace:
        exchange(workspace, ask(body, "POST", f"{PATH}?a=%2F&b=1", *extra))
    received_head, _, received = upstream.requests[0].partition(b"\r\n\r\n")
    first, *lines = received_head.decode().split("\r\n")
    headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
    assert first == f"POST {PATH}?a=%2F&b=1 HTTP/1.1"
    assert received == body
    assert headers.pop("host") == upstream.url.removeprefix("http://")
    assert headers == {
        "authorization": f"Bearer {SECRET}",
        "x-databricks-thing": "1",
        "user-agent": "me",
        "accept-encoding": "identity",
        "content-length": str(len(body)),
        "connection": "close",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_any_method_on_any_path_passes_and_replays(method: str, tmp_path: Path) -> None:
    cassette, path = tmp_path / "c", "/api/2.0/preview/anything%20else?x=1&y=%E2%9C%93"
    body = b"" if method in ("GET", "HEAD") else b"not json"
    reply = head("content-type: text/plain", "content-length: 2") + (b"" if method == "HEAD" else b"ok")
    with raw_upstream(reply) as upstream, recorder(upstream.url, cassette) as workspace:
        live = exchange(workspace, ask(body, method, path))
        assert exchange(workspace, ask(body, method, path)) == live
    assert upstream.requests[0].startswith(f"{method} {path} HTTP/1.1".encode())
    with replayer(cassette) as workspace:
        assert exchange(workspace, ask(body, method, path)) == live
        assert b"CASSETTE_MISS" in exchange(workspace, ask(body + b"x", "POST", path))


def test_replies_without_a_body_end_however_many_there_are(tmp_path: Path) -> None:
    with raw_upstream(REPLIES["no-content"]) as upstream, recorder(upstream.url, tmp_path / "c") as workspace:
        assert [exchange(workspace, ask(b"", "DELETE")).split()[1] for _ in range(3)] == [b"204"] * 3


def test_a_wrong_token_reaches_nobody(tmp_path: Path) -> None:
    with raw_upstream(REPLIES["json"]) as upstream, recorder(upstream.url, tmp_path / "c") as workspace:
        for token, status in ((SECRET, b"403"), ("", b"401")):
            request = ask().replace(LOCAL.encode(), token.encode())
            assert exchange(workspace, request).split()[1] == status
    assert upstream.requests == []


SPELLINGS = {
    "as it is": SECRET,
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "basic": base64.b64encode(f"token:{SECRET}".encode()).decode(),
    "url": quote(SECRET, safe=""),
    "json": json.dumps(SECRET).replace("/", "\\/"),
    "escapes": "".join(f"\\u{ord(character):04x}" for character in SECRET),
    "local": LOCAL,
    "inside base64": base64.b64encode(f"Authorization: Bearer {SECRET}".encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("where", ["body", "error", "header", "events", "split", "gzip", "request"])
def test_no_spelling_of_a_token_stands_in_the_cassette(spelling: str, where: str, tmp_path: Path) -> None:
    told, cassette = SPELLINGS[spelling], tmp_path / "c"
    text = json.dumps({"choices": [{"message": {"content": "X"}}]}).replace("X", told).encode()
    if spelling == "json":
        text = text.replace(told.encode(), told[1:-1].encode())
    events = b"data: " + text + b"\n\n"
    match where:
        case "body":
            reply = head("content-type: application/json", f"content-length: {len(text)}") + text
        case "error":
            status = "400 Bad Request"
            reply = head("content-type: application/json", f"content-length: {len(text)}", status=status) + text
        case "header":
            reply = head("content-length: 0", f"x-echo: {told}", f"set-cookie: s={told}", "x-databricks-org-id: 99")
        case "events":
            reply = head("content-type: text/event-stream") + events
        case "split":
            chunks = b"".join(chunk(bytes([byte])) for byte in events)
            reply = head("content-type: text/event-stream", "transfer-encoding: chunked") + chunks + b"0\r\n\r\n"
        case "gzip":
            body = gzip.compress(text)
            reply = head("content-encoding: gzip", f"content-length: {len(body)}") + body
        case _:
            reply = REPLIES["json"]
    asked = text if where == "request" else b"{}"
    with raw_upstream(reply) as upstream, recorder(upstream.url, cassette) as workspace:
        live = exchange(workspace, ask(asked, "POST", f"{PATH}?t={quote(told)}" if where == "request" else PATH))
    written = cassette.read_text()
    assert "[token]" in written
    for form in (*SPELLINGS.values(), SECRET, LOCAL):
        assert form not in written
    assert "set-cookie" not in written.lower()
    assert "org-id" not in written
    if where in ("error", "header"):
        assert told.encode() not in live


def test_a_secret_is_found_in_a_compressed_body(tmp_path: Path) -> None:
    body = gzip.compress(json.dumps({"echo": SECRET}).encode())
    reply = head("content-encoding: gzip", "content-type: application/json", f"content-length: {len(body)}") + body
    with raw_upstream(reply) as upstream, recorder(upstream.url, tmp_path / "c") as workspace:
        exchange(workspace, ask())
    written = (tmp_path / "c").read_text()
    assert '"echo": "[token]"' in written
    assert "gzip" not in written


def test_chunks_are_not_held_back_and_a_client_that_leaves_ends_the_upstream(
    tmp_path: Path, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    taken = threading.Event()

    def answer(_: bytes) -> Iterable[bytes]:
        yield head("content-type: text/event-stream", "transfer-encoding: chunked")
        yield chunk(b"data: 1\n\n")
        assert taken.wait(30)
        while not upstream.left.is_set():
            yield chunk(b"data: more\n\n")

    with raw_upstream(answer) as upstream, recorder(upstream.url, tmp_path / "c") as workspace:
        port = int(workspace.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(ask())
            read_to(connection, b"data: 1\n\n")
        taken.set()
        assert upstream.left.wait(30)
        until(lambda: "was left before its end" in caplog.text)
    assert (tmp_path / "c").read_text() == '{"isochat_cassette": 1}\n'


def test_a_client_that_leaves_before_the_head_ends_the_upstream(tmp_path: Path, until: Until) -> None:
    def answer(_: bytes) -> Iterable[bytes]:
        while not upstream.left.is_set():
            yield b""

    with raw_upstream(answer) as upstream, recorder(upstream.url, tmp_path / "c") as workspace:
        port = int(workspace.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(ask())
            until(lambda: bool(upstream.requests))
        assert upstream.left.wait(30)


def test_a_client_that_stops_at_the_last_event_is_recorded_all_the_same(tmp_path: Path, until: Until) -> None:
    gone = threading.Event()

    def answer(_: bytes) -> Iterable[bytes]:
        yield head("content-type: text/event-stream", "transfer-encoding: chunked")
        yield b"".join(map(chunk, EVENTS))
        assert gone.wait(30)

    cassette = tmp_path / "c"
    with raw_upstream(answer) as upstream, recorder(upstream.url, cassette) as workspace:
        port = int(workspace.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(ask())
            read_to(connection, b"[DONE]")
        until(lambda: "[DONE]" in cassette.read_text())
        gone.set()
    with replayer(cassette) as workspace:
        assert exchange(workspace, ask()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (None, "Connect call failed"),
        (b"", "Server disconnected"),
        (b"no HTTP at all\r\n\r\n", "gave no reply"),
        (head("content-length: -5"), "gave no reply"),
        (head("x: " + "y" * 100_000), "gave no reply"),
    ],
)
def test_an_upstream_that_gives_no_reply_is_a_502_with_the_reason(
    reply: bytes | None, reason: str, nobody: Any, tmp_path: Path
) -> None:
    with raw_upstream(reply or b"") as upstream:
        url = nobody.url if reply is None else upstream.url
        with recorder(url, tmp_path / "c") as workspace:
            live = exchange(workspace, ask())
    assert live.split()[1] == b"502"
    told = json.loads(live.partition(b"\r\n\r\n")[2])
    assert told["error_code"] == "BAD_GATEWAY"
    assert reason in told["message"]
    assert url in told["message"]
    assert (tmp_path / "c").read_text() == '{"isochat_cassette": 1}\n'


@pytest.mark.parametrize("certificate", ["trusted", "stranger", "expired", "other name"])
def test_the_certificate_is_verified(certificate: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    received: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        try:
            with authority.context(certificate).wrap_socket(connection, server_side=True) as secured:
                received.append(secured.recv(65536))
                secured.sendall(REPLIES["json"])
        except (ssl.SSLError, OSError):
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"https://localhost:{listener.getsockname()[1]}"
    with recorder(url, tmp_path / "c", ca_bundle=authority.bundle) as workspace:
        live = exchange(workspace, ask())
    thread.join(30)
    listener.close()
    assert live.split()[1] == (b"200" if certificate == "trusted" else b"502")
    if certificate != "trusted":
        assert b"certificate" in live.lower()
        assert received == []


def test_many_at_once_are_kept_apart(tmp_path: Path) -> None:
    def pieces(number: int) -> list[bytes]:
        return [f'data: {{"n":{number},"i":{i}}}\n\n'.encode() for i in range(20)]

    cassette = tmp_path / "c"
    endpoints = [Endpoint(f"e{n}", Replay({"chat": StreamReply(200, EVENT_HEADERS, pieces(n))})) for n in range(30)]
    got: dict[int, bytes] = {}
    with Workspace(endpoints, token=SECRET) as upstream, recorder(upstream.url, cassette) as workspace:

        def run(number: int) -> None:
            with urllib3.PoolManager(retries=False, timeout=30) as pool:
                path = f"{workspace.url}/serving-endpoints/e{number}/invocations"
                headers = {"authorization": f"Bearer {LOCAL}"}
                got[number] = pool.request("POST", path, body=b'{"messages":[]}', headers=headers).data

        threads = [threading.Thread(target=run, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert got == {number: b"".join(pieces(number)) for number in range(30)}
    first = dict(got)
    with replayer(cassette) as workspace, urllib3.PoolManager(retries=False, timeout=30) as pool:
        for number in range(30):
            path = f"{workspace.url}/serving-endpoints/e{number}/invocations"
            reply = pool.request("POST", path, body=b'{"messages": []}', headers={"authorization": f"Bearer {LOCAL}"})
            assert reply.data == first[number]


def test_a_reply_larger_than_the_cap_passes_and_is_not_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = 17 * 1024 * 1024

    def answer(_: bytes) -> Iterable[bytes]:
        yield head("content-type: text/plain", f"content-length: {size}")
        for _ in range(17):
            yield b"x" * 1024 * 1024

    with raw_upstream(answer) as upstream, recorder(upstream.url, tmp_path / "c") as workspace:
        assert exchange(workspace, ask()).partition(b"\r\n\r\n")[2].count(b"x") == size
    assert "larger than 16 MiB" in caplog.text
    assert (tmp_path / "c").read_text() == '{"isochat_cassette": 1}\n'


def test_what_the_recorder_is_told_of_the_upstream_stays_out_of_its_repr() -> None:
    proxy = Proxy("http://127.0.0.1:9", token=SECRET)
    assert SECRET not in repr(vars(proxy)) + repr(proxy)
