"""Does a prepared reply go out exactly as given?"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from isochat_workspace import Endpoint, HttpReply, Replay, Workspace

Send = Callable[..., urllib3.BaseHTTPResponse]


def raw_exchange(workspace: Workspace) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection(workspace.url.removeprefix("http://"), timeout=30)
    connection.request(
        "POST", "/serving-endpoints/r/invocations", b"{}", {"authorization": f"Bearer {workspace.token}"}
    )
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, reply.getheaders(), body


@pytest.mark.parametrize(
    "reply",
    [
        HttpReply(200, {"Content-Type": "text/event-stream"}, b"data: {}\n\ndata: [DONE]\n\n"),
        HttpReply(408, (), b""),
        HttpReply(413, {"content-type": "text/html"}, b"<html>too large</html>"),
        HttpReply(422, {"X-CaSe": "Kept", "content-type": "application/json"}, b'{"a": \xff}'),
        HttpReply(429, {"Retry-After": "7"}, b""),
        HttpReply(529, (("b", "2"), ("a", "1"), ("b", "3")), b"overloaded"),
        HttpReply(503, {"server": "mine", "date": "yesterday", "x-request-id": "r-1"}, b"no type"),
        HttpReply(302, {"location": "http://elsewhere.invalid/"}, b""),
        HttpReply(200, {"content-encoding": "gzip"}, b"not gzip at all"),
    ],
    ids=lambda reply: str(reply.status),
)
def test_status_headers_and_bytes_are_exact(reply: HttpReply) -> None:
    with Workspace([Endpoint("r", Replay({"chat": reply}))]) as workspace:
        status, headers, body = raw_exchange(workspace)
    assert (status, body) == (reply.status, reply.body)
    assert headers == [*reply.header_pairs(), ("Content-Length", str(len(reply.body)))]


def test_a_file_with_a_reply_stands_behind_the_default_endpoints(tmp_path: Path) -> None:
    (tmp_path / "reply.json").write_text('{"status": 429, "body": {"message": "slow down"}}')
    with Workspace(model=f"replay:{tmp_path / 'reply.json'}") as workspace:
        told = [
            urllib3.request(
                "POST",
                f"{workspace.url}/serving-endpoints/{endpoint.name}/invocations",
                headers={"authorization": f"Bearer {workspace.token}"},
                json={"messages": []},
                retries=False,
            )
            for endpoint in workspace.endpoints
        ]
    assert [(reply.status, reply.json()) for reply in told] == [(429, {"message": "slow down"})] * 4
    assert workspace.default_endpoint == "replay"


def test_the_length_is_the_servers_own() -> None:
    reply = HttpReply(200, {"content-length": "999", "a": "b"}, b"four")
    with Workspace([Endpoint("r", Replay({"chat": reply}))]) as workspace:
        assert raw_exchange(workspace) == (200, [("a", "b"), ("Content-Length", "4")], b"four")


def test_a_sequence_is_handed_out_and_its_last_repeats() -> None:
    replies = [HttpReply(429, (), b"first"), HttpReply(500, (), b"second"), HttpReply(200, (), b"last")]
    with Workspace([Endpoint("r", Replay({"chat": replies}))]) as workspace:
        assert [raw_exchange(workspace)[0] for _ in range(5)] == [429, 500, 200, 200, 200]
        assert [request.status for request in workspace.requests] == [429, 500, 200, 200, 200]


def test_apis_have_replies_of_their_own_and_a_missing_one_is_refused(send: Send) -> None:
    both = Replay({"chat": HttpReply(200, (), b"c"), "responses": HttpReply(200, (), b"r")})
    chat = Replay({"chat": HttpReply(200, (), b"c")})
    with Workspace([Endpoint("both", both), Endpoint("chat", chat)]) as workspace:
        path = "/serving-endpoints/responses"
        assert send(workspace, "POST", path, {"model": "both", "stream": True, "store": True}).data == b"r"
        assert send(workspace, "POST", "/serving-endpoints/both/invocations", b"not json").data == b"c"
        refused = send(workspace, "POST", path, {"model": "chat"})
    assert refused.status == 400
    assert refused.json()["message"].startswith("API type 'mlflow/v1/responses' is not supported by 'chat'.")


def test_a_replay_checks_the_token(send: Send) -> None:
    with Workspace([Endpoint("r", Replay({"chat": HttpReply()}))]) as workspace:
        assert send(workspace, "POST", "/serving-endpoints/r/invocations", authorization="Bearer x").status == 403


def test_no_reply_at_all_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no reply given for 'chat'"):
        Replay({"chat": []})
