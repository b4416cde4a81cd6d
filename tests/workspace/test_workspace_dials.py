"""Do the dials make an endpoint limit, lag and fail, and each time the same requests?"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from isochat.errors import ConfigurationError
from isochat_workspace import (
    Endpoint,
    Failures,
    HttpReply,
    Latency,
    RateLimit,
    Replay,
    Scripted,
    ServiceError,
    StreamReply,
    Workspace,
)

Send = Callable[..., urllib3.BaseHTTPResponse]
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
PATH = "/serving-endpoints/e/invocations"


def test_a_window_slides() -> None:
    limit = RateLimit(2, 10)
    limit.let_in("e", 0.0)
    limit.let_in("e", 4.0)
    with pytest.raises(ServiceError) as caught:
        limit.let_in("e", 5.5)
    assert caught.value.headers == (("retry-after", "5"),)
    with pytest.raises(ServiceError):
        limit.let_in("e", 9.999)
    limit.let_in("e", 10.0)
    with pytest.raises(ServiceError) as caught:
        limit.let_in("e", 13.5)
    assert caught.value.headers == (("retry-after", "1"),)
    limit.let_in("e", 14.0)


def test_the_limit_is_the_services_429(send: Send) -> None:
    with Workspace([Endpoint("e", Scripted(), rate_limit=RateLimit(2, 600))]) as workspace:
        replies = [send(workspace, "POST", PATH, ASK) for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 429, 429]
    assert replies[2].json() == {
        "error_code": "REQUEST_LIMIT_EXCEEDED",
        "message": "REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit for e. Please use a provisioned"
        " throughput Foundation Model APIs endpoint for a higher rate limit.",
    }
    assert 590 <= int(replies[2].headers["retry-after"]) <= 600


def test_the_limit_as_the_page_prints_it_and_without_the_header(send: Send) -> None:
    limit = RateLimit(1, 60, body="nested", retry_after=False)
    with Workspace([Endpoint("e", Scripted(), rate_limit=limit)]) as workspace:
        send(workspace, "POST", PATH, ASK)
        reply = send(workspace, "POST", PATH, ASK)
    error = reply.json()["error"]
    assert (reply.status, error["code"], error["type"], error["limit"]) == (429, 429, "rate_limit_exceeded", 1)
    assert 55 <= error["retry_after"] <= 60
    assert "retry-after" not in reply.headers


def test_a_limit_of_zero_is_an_endpoint_switched_off(send: Send) -> None:
    with Workspace([Endpoint("e", Scripted(), rate_limit=RateLimit(0))]) as workspace:
        reply = send(workspace, "POST", PATH, ASK)
    assert (reply.status, reply.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert "temporarily disabled due to a Databricks-set rate limit of 0" in reply.json()["message"]


def test_one_limit_for_two_endpoints(send: Send) -> None:
    limit = RateLimit(1)
    model = Scripted()
    with Workspace([Endpoint(name, model, rate_limit=limit) for name in ("a", "b")]) as workspace:
        paths = [f"/serving-endpoints/{name}/invocations" for name in "ab"]
        assert [send(workspace, "POST", path, ASK).status for path in paths] == [200, 429]


def test_every_third_request_fails(send: Send) -> None:
    failures = Failures(every=3, status=503, retry_after=7)
    with Workspace([Endpoint("e", Scripted(), failures=failures)]) as workspace:
        replies = [send(workspace, "POST", PATH, ASK) for _ in range(7)]
    assert [reply.status for reply in replies] == [200, 200, 503, 200, 200, 503, 200]
    assert replies[2].json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert replies[2].headers["retry-after"] == "7"


def test_a_fraction_is_drawn_alike_for_one_seed_and_otherwise_for_another() -> None:
    def draw(seed: int) -> list[bool]:
        failures = Failures(fraction=0.25, seed=seed)
        return [failures.next_fails() for _ in range(4000)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert 900 < sum(draw(1)) < 1100


def test_a_failure_says_what_it_is_told(send: Send) -> None:
    failures = Failures(every=1, status=418, error_code="TEAPOT", message="short and stout")
    with Workspace([Endpoint("e", Scripted(), failures=failures)]) as workspace:
        reply = send(workspace, "POST", PATH, ASK)
    assert (reply.status, reply.json()) == (418, {"error_code": "TEAPOT", "message": "short and stout"})


@pytest.mark.parametrize("cut_after", [0, 1, 3])
def test_a_stream_is_cut_after_so_many_events(send: Send, cut_after: int, caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures(every=1, cut_after=cut_after, status=500)
    with Workspace([Endpoint("e", Scripted(), failures=failures)]) as workspace:
        connection = http.client.HTTPConnection(workspace.url.removeprefix("http://"), timeout=30)
        body = json.dumps({**ASK, "stream": True})
        connection.request("POST", PATH, body, {"authorization": f"Bearer {workspace.token}"})
        reply = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as caught:
            reply.read()
        connection.close()
        assert reply.status == 200
        assert caught.value.partial.count(b"data: ") == cut_after
        assert send(workspace, "POST", PATH, ASK).status == 500
    assert [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")] == []


def test_latency_comes_before_the_first_byte_and_between_chunks(send: Send) -> None:
    latency = Latency(first_byte=0.1, between_chunks=0.02)
    reply = StreamReply(200, {}, [b"a", b"b", b"c"], framing="content-length")
    replay = Replay({"chat": [HttpReply(200, {}, b"x"), reply]})
    with Workspace([Endpoint("e", replay, latency=latency)]) as workspace:
        started = time.monotonic()
        assert send(workspace, "POST", PATH, ASK).data == b"x"
        plain = time.monotonic()
        assert send(workspace, "POST", PATH, ASK).data == b"abc"
        streamed = time.monotonic()
    # A sleep never ends early: these are no measurements.
    assert plain - started >= 0.1
    assert streamed - plain >= 0.14


def test_the_dials_in_a_file(tmp_path: Path, send: Send) -> None:
    path = tmp_path / "workspace.toml"
    path.write_text(
        """
        [endpoints.e]
        [endpoints.e.rate_limit]
        requests = 2
        seconds = 600
        body = "nested"
        [endpoints.e.latency]
        first_byte = 0.01
        [endpoints.e.failures]
        every = 2
        status = 500
        """,
        encoding="utf-8",
    )
    with Workspace.from_file(path) as workspace:
        assert [send(workspace, "POST", PATH, ASK).status for _ in range(3)] == [200, 500, 429]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[endpoints.e.rate_limit]\nrequest = 1", "[endpoints.e] rate_limit. Did you mean 'requests'?"),
        ("[endpoints.e.rate_limit]\nseconds = 1", "the key 'requests' is missing in {file} [endpoints.e] rate_limit"),
        ("[endpoints.e.rate_limit]\nrequests = -1", "a rate limit of -1 requests"),
        ("[endpoints.e.failures]\nstatus = 500", "give one of the two"),
        ("[endpoints.e.failures]\nfraction = 2", "fraction has to be between 0 and 1"),
        ("[endpoints.e.failures]\nevery = 1\nstatus = 200", "status has to be between 400 and 599"),
        ("[endpoints.e]\nlatency = 3", "[endpoints.e] latency is no table"),
        ("[endpoints.e.latency]\nfirst_byte = -1", "0 or more"),
        ("[endpoints.e.latency]\n_x = -1", "unknown key '_x'"),
        ("[endpoints.e.failures]\n_asked = 1", "unknown key '_asked'"),
    ],
)
def test_a_mistake_in_a_dial_is_named(tmp_path: Path, table: str, words: str) -> None:
    path = tmp_path / "workspace.toml"
    path.write_text(table, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        Workspace.from_file(path)
    assert words.format(file=path) in f"{caught.value.message}. {caught.value.remedy}"
