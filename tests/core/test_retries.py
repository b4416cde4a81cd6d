"""When is a call sent again? One policy for all backends, on a clock that the tests own."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

import isochat
from isochat.policy import RetryPolicy
from isochat.transport.deadline import Deadline


class VirtualClock:
    """Time that passes only in sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, woken: Any, /) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def answering(serve: Any, make_client: Any, body_of: Any, reply: Any, clock: VirtualClock) -> Any:
    """A client and a server that answers with the given replies one by one, the last one again and again."""

    def make(backend: str, replies: Iterable[str | tuple[str, ...]], **arguments: Any) -> Any:
        queue = list(replies)

        def script(connection: socket.socket, server: Any) -> str | None:
            now = queue.pop(0) if len(queue) > 1 else queue[0]
            status, *headers = (now,) if isinstance(now, str) else now
            if status == "reset":
                return None
            connection.sendall(reply(status, body_of(backend) if status.startswith("200") else b"{}", *headers))
            return "keep"

        server = serve(script)
        client = make_client(backend, server, **arguments)
        client._clock = clock
        return client, server

    return make


@pytest.mark.parametrize("status", ["408 Timeout", "429 Slow", "502 Bad", "503 Busy", "529 Busy"])
def test_sent_again(status: str, backend: str, answering: Any) -> None:
    client, server = answering(backend, [status, "200 OK"])
    result = client.chat("Hi")

    assert (result.text, result.meta.attempts, len(server.requests)) == ("Hello.", 2, 2)


@pytest.mark.parametrize(
    "status",
    ["400 No", "401 No", "403 No", "404 No", "409 No", "413 No", "422 No", "500 Oops", "501 No", "504 Late", "reset"],
)
def test_not_sent_again(status: str, backend: str, answering: Any) -> None:
    client, server = answering(backend, [status, "200 OK"])
    with pytest.raises(isochat.ChatError) as raised:
        client.chat("Hi")

    assert (raised.value.attempts, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("status", ["500 Oops", "504 Late", "reset"])
def test_sent_again_after_execution_if_asked(status: str, backend: str, answering: Any) -> None:
    client, server = answering(backend, [status, "200 OK"], retry_after_execution=True)

    assert (client.chat("Hi").meta.attempts, len(server.requests)) == (2, 2)


def test_never_a_501(answering: Any) -> None:
    client, server = answering("rest", ["501 No"], retry_after_execution=True)
    with pytest.raises(isochat.ServerError):
        client.chat("Hi")

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("client_says", "call_says", "requests"), [(None, None, 3), (0, None, 1), (5, 1, 2), (0, 4, 5)]
)
def test_max_retries(client_says: Any, call_says: Any, requests: int, answering: Any) -> None:
    client, server = answering("rest", ["503 Busy"], max_retries=client_says)
    with pytest.raises(isochat.OverloadedError) as raised:
        client.chat("Hi", max_retries=call_says)

    assert (len(server.requests), raised.value.attempts) == (requests, requests)


def test_max_retries_zero_is_one_request(backend: str, answering: Any) -> None:
    client, server = answering(backend, ["503 Busy"], max_retries=0)
    with pytest.raises(isochat.OverloadedError):
        client.chat("Hi")

    assert len(server.requests) == 1


def test_retry_after_is_waited_for(backend: str, answering: Any, clock: VirtualClock) -> None:
    client, _ = answering(backend, [("429 Slow", "Retry-After: 20"), "200 OK"])
    client.chat("Hi")

    assert len(clock.sleeps) == 1
    assert 20 <= clock.sleeps[0] <= 22


def test_retry_after_as_a_date(answering: Any, clock: VirtualClock) -> None:
    date = ("Date: Mon, 23 Nov 2026 10:00:00 GMT", "Retry-After: Mon, 23 Nov 2026 10:00:30 GMT")
    client, _ = answering("rest", [("503 Busy", *date), "200 OK"])
    client.chat("Hi")

    assert 30 <= clock.sleeps[0] <= 33


def test_a_long_retry_after_is_raised_at_once(backend: str, answering: Any, clock: VirtualClock) -> None:
    client, server = answering(backend, [("429 Slow", "Retry-After: 61"), "200 OK"])
    with pytest.raises(isochat.RateLimitError) as raised:
        client.chat("Hi")

    assert (raised.value.retry_after, len(server.requests), clock.sleeps) == (61.0, 1, [])


def test_a_refusal_of_stream_options_spends_no_retry(serve: Any, make_client: Any, reply: Any) -> None:
    refusal = json.dumps({"error_code": "BAD_REQUEST", "message": 'json: unknown field "stream_options"'}).encode()
    chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}]})
    answers = [
        reply("400 Bad", refusal),
        reply("429 Slow", b"{}", "Retry-After: 0.01"),
        reply("200 OK", f"data: {chunk}\n\ndata: [DONE]\n\n".encode(), "Content-Type: text/event-stream"),
    ]

    def script(connection: socket.socket, server: Any) -> str:
        connection.sendall(answers[len(server.requests) - 1])
        return "keep"

    server = serve(script)
    result = make_client("rest", server, max_retries=1).chat("Hi", stream=True).result()

    assert (result.text, result.meta.attempts, len(server.requests)) == ("Hello.", 3, 3)


def test_no_wait_goes_past_the_deadline(backend: str, answering: Any, clock: VirtualClock) -> None:
    client, server = answering(backend, [("429 Slow", "Retry-After: 20"), "200 OK"], deadline=19)
    with pytest.raises(isochat.RateLimitError):
        client.chat("Hi")

    assert (len(server.requests), clock.sleeps) == (1, [])


def test_waits_count_against_the_deadline(answering: Any, clock: VirtualClock) -> None:
    client, server = answering("rest", [("429 Slow", "Retry-After: 20")], deadline=50, max_retries=9)
    with pytest.raises(isochat.RateLimitError) as raised:
        client.chat("Hi")

    assert (len(server.requests), raised.value.attempts) == (3, 3)
    assert 40 <= raised.value.elapsed < 50


def test_pauses_grow_with_full_jitter() -> None:
    highest = RetryPolicy(uniform=lambda low, high: high)
    lowest = RetryPolicy(uniform=lambda low, high: low)
    deadline = Deadline(math.inf, VirtualClock())
    error = isochat.OverloadedError("busy")

    assert [highest.pause(error, n, 99, deadline) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert [lowest.pause(error, n, 99, deadline) for n in range(1, 4)] == [0, 0, 0]


def test_a_pause_that_the_server_names_has_a_tenth_of_jitter_on_top() -> None:
    deadline = Deadline(math.inf, VirtualClock())
    error = isochat.RateLimitError("slow down", retry_after=20.0)

    assert RetryPolicy(uniform=lambda low, high: low).pause(error, 1, 9, deadline) == 20
    assert RetryPolicy(uniform=lambda low, high: high).pause(error, 1, 9, deadline) == 22


@pytest.mark.parametrize("kind", [isochat.BadResponseError, isochat.StreamTruncatedError, isochat.OutputParseError])
def test_what_was_answered_is_never_sent_again(kind: type[isochat.ChatError]) -> None:
    """Nor where the caller allows a second execution: the same would come of it."""
    policy = RetryPolicy(retry_after_execution=True)

    assert kind.may_have_executed
    assert policy.pause(kind("no answer"), 1, 9, Deadline(math.inf, VirtualClock())) is None


def test_a_refused_connection_is_tried_again(backend: str, nobody: Any, make_client: Any, clock: VirtualClock) -> None:
    client = make_client(backend, nobody)
    client._clock = clock
    with pytest.raises(isochat.ConnectError) as raised:
        client.chat("Hi")

    assert (raised.value.attempts, len(clock.sleeps)) == (3, 2)


@pytest.mark.parametrize("seconds", [1e7, 1e12, math.inf])
def test_very_long_times(seconds: float, backend: str, answering: Any) -> None:
    client, _ = answering(backend, ["200 OK"], deadline=seconds, timeout=seconds, max_connections=1)

    assert client.chat("Hi").text == "Hello."


def test_a_deadline_of_one_call(backend: str, answering: Any, clock: VirtualClock) -> None:
    client, server = answering(backend, [("429 Slow", "Retry-After: 20"), "200 OK"])
    with pytest.raises(isochat.RateLimitError):
        client.chat("Hi", deadline=19)

    assert len(server.requests) == 1


def test_the_same_request_is_sent_on_each_attempt(backend: str, answering: Any) -> None:
    client, server = answering(backend, ["503 Busy", "503 Busy", "200 OK"])
    client.chat("Hi", client_request_id="mine")

    bodies = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
    assert bodies == [bodies[0]] * 3
    assert b'"mine"' in bodies[0]


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("5", None, 5.0),
        (" 5 ", None, 5.0),
        ("0.5", None, 0.5),
        ("0", None, 0.0),
        ("-1", None, None),
        ("1e3", None, None),
        ("soon", None, None),
        ("", None, None),
        ("٥", None, None),
        (None, None, None),
        ("9" * 400, None, None),
        ("Mon, 23 Nov 2026 10:00:05 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 5.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 0.0),
        ("Monday, 23-Nov-26 10:00:05 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 5.0),
        ("Mon, 24 Nov 2003 10:00:05 GMT", None, 0.0),
        ("Mon, 23 Nov 2026 10:00:05 GMT", "soon", None),
        ("5, 7, 6", None, 7.0),
        ("5, soon", None, 5.0),
        ("5, Mon, 23 Nov 2026 10:00:09 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 9.0),
        ("Mon, 23 Nov 2026 10:00:05", "Mon, 23 Nov 2026 10:00:00 GMT", 5.0),
        ("Mon Nov 23 10:00:05 2026", "Mon, 23 Nov 2026 10:00:00 GMT", 5.0),
        ("Mon, 99 Nov 2026 10:00:05 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", None),
    ],
)
def test_reading_retry_after(value: Any, date: Any, expected: Any) -> None:
    from isochat.wire_format.retry_after import read_retry_after

    assert read_retry_after(value, date) == expected


def test_a_date_without_the_servers_own_is_measured_against_the_time_of_arrival() -> None:
    from isochat.wire_format.retry_after import read_retry_after

    soon = datetime.now(UTC) + timedelta(hours=1)
    wait = read_retry_after(format_datetime(soon, usegmt=True), None)

    assert wait is not None
    assert 0 < wait <= 3600
