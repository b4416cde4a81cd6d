"""Does a workspace take no more than its caps from hostile clients, and does it still answer the others?

Each attack is made against a process of its own, whose memory is measured from outside: what it held before, and the
most that it held. After each attack an ordinary request is answered, and the process ends in good order.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3

from isochat_workspace import Endpoint, HttpReply, Replay, Scripted, StreamReply, Workspace
from isochat_workspace.http.guard import AHEAD_BYTES, FRAMING_BYTES, REST_BYTES
from isochat_workspace.http.records import RecordedRequest, RequestLog
from isochat_workspace.http.server import BODIES_BYTES

Send = Callable[..., urllib3.BaseHTTPResponse]
Until = Callable[[Callable[[], bool]], None]
RUN = "import sys; from isochat_workspace.cli.serve_command import serve; serve(prog_name='isochat serve')"
TOKEN = "mine"
PATH = "/serving-endpoints/scripted/invocations"
ASK = b'{"messages": [{"role": "user", "content": "Hi"}]}'
MEBIBYTE = 1024 * 1024


class Served:
    """`isochat serve` as a process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RUN, "--json", "--token", TOKEN],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        host, port = self.url.removeprefix("http://").split(":")
        self.address = (host, int(port))
        # Nobody reads a line for each request here, and a full pipe would stop the server.
        self._drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self._drain.start()

    def memory(self) -> int:
        """Resident bytes now."""
        shown = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        return int(shown.stdout) * 1024

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def answers(self) -> bool:
        with urllib3.PoolManager(retries=False, timeout=60) as http:
            headers = {"authorization": f"Bearer {TOKEN}"}
            return http.request("POST", self.url + PATH, body=ASK, headers=headers).status == 200

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        self.process.wait(30)
        assert self.process.stderr is not None
        return self.process.returncode, self.process.stderr.read()


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    watchdog = threading.Timer(120, server.process.kill)
    watchdog.start()
    try:
        yield server
    finally:
        watchdog.cancel()
        watchdog.join()
        server.process.kill()
        server.process.wait()
        for pipe in (server.process.stdout, server.process.stderr):
            assert pipe is not None
            server._drain.join()
            pipe.close()


def head(*lines: str, path: str = PATH) -> bytes:
    given = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", *lines, "", ""]
    return "\r\n".join(given).encode()


def push(connection: socket.socket, piece: bytes, most: int) -> int:
    """Send the piece again and again until the server closes, or `most` bytes have gone out; how many did."""
    sent = 0
    connection.settimeout(20)
    with contextlib.suppress(OSError):
        while sent < most:
            sent += connection.send(piece)
    return sent


def endless_header_line(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nX: ")
        assert push(connection, b"a" * 65536, 200 * MEBIBYTE) < 200 * MEBIBYTE


def endless_headers(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n")
        lines = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 100) for number in range(500))
        assert push(connection, lines, 200 * MEBIBYTE) < 200 * MEBIBYTE


def huge_declared_body(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("Content-Length: 100000000000"))
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
        assert push(connection, b"a" * 65536, 300 * MEBIBYTE) < 300 * MEBIBYTE


def huge_chunked_body(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("Transfer-Encoding: chunked"))
        assert push(connection, b"10000\r\n" + b"a" * 65536 + b"\r\n", 300 * MEBIBYTE) < 300 * MEBIBYTE


def endless_chunk_extension(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("Transfer-Encoding: chunked") + b"5;")
        assert push(connection, b"a" * 65536, 300 * MEBIBYTE) < 300 * MEBIBYTE


def endless_trailers(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("Transfer-Encoding: chunked") + b"0\r\n")
        assert push(connection, b"X-Trailer: aaaa\r\n" * 1000, 300 * MEBIBYTE) < 300 * MEBIBYTE


def bodies_that_never_end(served: Served) -> None:
    """A hundred of nearly four megabytes: more than the room for all."""
    refused = 0
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(100)]
        for connection in connections:
            connection.settimeout(30)
            with contextlib.suppress(OSError):
                connection.sendall(head(f"Content-Length: {4 * MEBIBYTE}") + b" " * (4 * MEBIBYTE - 1000))
        for connection in connections[-20:]:
            with contextlib.suppress(OSError):
                refused += connection.recv(12) == b"HTTP/1.1 503"
    assert refused >= 10


def pipelined_requests(served: Served) -> None:
    """Faster than they can be answered, and no answer is read."""
    with served.connect() as connection:
        one = head(f"Content-Length: {len(ASK)}") + ASK
        assert push(connection, one * 400, 300 * MEBIBYTE) < 300 * MEBIBYTE


def unread_answers(served: Served) -> None:
    """Large answers that nobody takes, on many connections."""
    words = json.dumps({"messages": [{"role": "user", "content": "word" * 500_000}], "n": 5}).encode()
    begun = 0
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(60)]
        for connection in connections:
            connection.sendall(head(f"Content-Length: {len(words)}") + words)
        for connection in connections:
            begun += connection.recv(12) == b"HTTP/1.1 200"
    assert begun >= 10


def thousands_of_connections(served: Served) -> None:
    """Each with half a head; this process and the server may have fewer files open than that."""
    with contextlib.ExitStack() as stack:
        for _ in range(_connections()):
            with contextlib.suppress(OSError):
                stack.enter_context(served.connect()).sendall(b"POST / HTTP/1.1\r\nX: a\r\n")
        # They are all held at once here; those over the server's number were closed by it.


def remembered_bodies(served: Served) -> None:
    """Two hundred bodies of one mebibyte, one after another: the log forgets the oldest."""
    body = b" " * MEBIBYTE
    with urllib3.PoolManager(retries=False, timeout=60) as http:
        for _ in range(200):
            http.request("POST", served.url + PATH, body=body, headers={"authorization": f"Bearer {TOKEN}"})


def _connections() -> int:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(3000, (soft if soft > 0 else 3000) - 100)


# The most that a process may grow, in mebibytes: the caps, and what objects and the allocator add to them.
ATTACKS: list[tuple[Callable[[Served], None], int]] = [
    (endless_header_line, 20),
    (endless_headers, 20),
    (huge_declared_body, 20),
    (huge_chunked_body, 40),
    (endless_chunk_extension, 20),
    (endless_trailers, 120),
    (bodies_that_never_end, 100),
    (pipelined_requests, 150),
    (unread_answers, 500),
    (thousands_of_connections, 200),
    (remembered_bodies, 150),
]
LONG = (pipelined_requests, thousands_of_connections)


@pytest.mark.parametrize(
    ("attack", "most"),
    [
        pytest.param(attack, most, id=attack.__name__, marks=[pytest.mark.long] if attack in LONG else [])
        for attack, most in ATTACKS
    ],
)
def test_an_attack_costs_no_more_than_the_caps(
    served: Served, attack: Callable[[Served], None], most: int, record_property: Callable[[str, Any], None]
) -> None:
    assert served.answers()
    before = served.memory()
    peak, over = before, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, served.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        attack(served)
    finally:
        over.set()
        watcher.join()
    peak = max(peak, served.memory())
    grown = (peak - before) / MEBIBYTE
    record_property("grown_mebibytes", round(grown, 1))
    if path := os.environ.get("ISOCHAT_HOSTILE_REPORT"):
        with open(path, "a", encoding="utf-8") as report:
            report.write(f"{attack.__name__}: {grown:.1f} MiB of {most}\n")
    assert served.answers(), "an ordinary request is not answered any more"
    assert grown < most
    assert served.end() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_with_streams_open(served: Served, number: signal.Signals) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "word " * 40_000}], "stream": True}).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(served.connect())
            connection.sendall(head(f"Content-Length: {len(body)}") + body)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        half = stack.enter_context(served.connect())
        half.sendall(b"POST / HTTP/1.1\r\nX:")
        assert served.end(number) == (0, "")


def test_two_hundred_clients_leave_in_the_middle_of_streams(served: Served) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "word " * 5_000}], "stream": True}).encode()
    for _ in range(200):
        with served.connect() as connection:
            connection.sendall(head(f"Content-Length: {len(body)}") + body)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert served.answers()
    assert served.end() == (0, "")


def test_a_slow_head_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isochat_workspace.http.guard.HEAD_SECONDS", 0.2)
    with Workspace() as workspace:
        host, port = workspace.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            slow.sendall(b"POST / HTTP/1.1\r\nX: a\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert slow.recv(1) == b""
        with socket.create_connection((host, int(port)), timeout=30) as quick:
            quick.sendall(b"GET /.well-known/databricks-config HTTP/1.1\r\nHost: x\r\n\r\n")
            assert quick.recv(15) == b"HTTP/1.1 200 OK"
            time.sleep(0.3)  # the time for a head has passed: it is no time for a connection
            quick.sendall(b"GET /.well-known/databricks-config HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 200 OK" in quick.recv(10_000) + quick.recv(10_000)


def test_one_connection_too_many_is_closed(monkeypatch: pytest.MonkeyPatch, send: Send, until: Until) -> None:
    monkeypatch.setattr("isochat_workspace.http.server.most_connections", lambda: 3)
    with Workspace() as workspace:
        host, port = workspace.url.removeprefix("http://").split(":")
        held = [socket.create_connection((host, int(port)), timeout=30) for _ in range(3)]
        with (
            socket.create_connection((host, int(port)), timeout=30) as fourth,
            contextlib.suppress(ConnectionResetError),
        ):
            assert fourth.recv(1) == b""
        for connection in held:
            connection.close()

        def answered() -> bool:
            try:
                return send(workspace, "GET", "/api/2.0/serving-endpoints").status == 200
            except urllib3.exceptions.HTTPError:
                return False

        until(answered)


class Stuck(Scripted):
    """Never comes to an answer."""

    async def answer(self, prompt: Any) -> Any:
        import asyncio

        await asyncio.Event().wait()


def test_a_request_that_takes_too_long_is_a_504(send: Send) -> None:
    with Workspace([Endpoint("e", Stuck())], max_seconds=0.2) as workspace:
        reply = send(workspace, "POST", "/serving-endpoints/e/invocations", ASK)
        assert (reply.status, reply.json()["error_code"]) == (504, "DEADLINE_EXCEEDED")
        assert workspace.requests[0].status == 504


def test_a_stream_and_a_body_that_take_too_long_are_cut(until: Until) -> None:
    def slowly() -> Iterator[bytes]:
        yield b"data: {}\n\n"
        threading.Event().wait(5)

    endpoint = Endpoint("e", Replay({"chat": StreamReply(200, {}, slowly)}))
    with Workspace([endpoint], max_seconds=0.3, token=TOKEN) as workspace:
        host, port = workspace.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(head("Content-Length: 2", path="/serving-endpoints/e/invocations") + b"{}")
            taken = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(1000):
                    taken += piece
            assert b"data: {}" in taken
            assert not taken.endswith(b"0\r\n\r\n")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(head("Content-Length: 20") + b"{}")
            assert connection.recv(12) == b"HTTP/1.1 504"


def test_a_kept_connection_may_ask_for_ever(send: Send) -> None:
    """Each request is told from what is sent ahead, however fast the next one comes, plain and in chunks."""
    body = b" " * 20_000
    whole = head(f"Content-Length: {len(body)}") + body
    chunked = head("Transfer-Encoding: chunked") + b"4e20\r\n" + body + b"\r\n0\r\n\r\n"
    small = head("Transfer-Encoding: chunked") + b"1\r\n \r\n" * 2000 + b"0\r\n\r\n"
    with Workspace(token=TOKEN) as workspace:
        host, port = workspace.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            answers = connection.makefile("rb")
            for number in range(300):
                connection.sendall((whole, chunked, small)[number % 3])
                assert answers.readline() == b"HTTP/1.1 400 Bad Request\r\n"
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    length = int(line[15:]) if line.lower().startswith(b"content-length") else length
                assert len(answers.read(length)) == length
            answers.close()
        assert len(workspace.requests) == 300


def test_some_requests_may_be_sent_ahead() -> None:
    one = head(f"Content-Length: {len(ASK)}") + ASK
    with Workspace(token=TOKEN) as workspace:
        host, port = workspace.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(one * 100)
            taken = b""
            while taken.count(b"HTTP/1.1 200 OK") < 100:
                piece = connection.recv(65536)
                assert piece
                taken += piece


def test_the_log_keeps_within_its_bytes() -> None:
    log = RequestLog(keep_bytes=10_000)
    for number in range(100):
        ticket = log.open(RecordedRequest("POST", f"/{number}", (), b"", 0.0))
        log.replace(ticket, RecordedRequest("POST", f"/{number}", (), b"x" * 1000, 0.0))
    kept = [request.target for request in log.snapshot()]
    assert 3 <= len(kept) <= 6
    assert kept[-1] == "/99"
    log.clear()
    large = log.open(RecordedRequest("POST", "/large", (), b"x" * 20_000, 0.0))
    assert [request.target for request in log.snapshot()] == ["/large"]
    log.replace(large, RecordedRequest("POST", "/large", (), b"x" * 20_000, 0.0, status=200))
    assert log.snapshot()[0].status == 200


def test_no_other_machine_is_let_in_unless_told_so() -> None:
    with Workspace() as workspace:
        assert workspace.url.startswith("http://127.0.0.1:")
        port = int(workspace.url.rpartition(":")[2])
        for address in _other_addresses():
            with pytest.raises(OSError, match=r".*"), socket.create_connection((address, port), timeout=5):
                pass
    with Workspace(host="0.0.0.0") as workspace:
        port = int(workspace.url.rpartition(":")[2])
        for address in ("127.0.0.1", *_other_addresses()):
            socket.create_connection((address, port), timeout=5).close()


def _other_addresses() -> list[str]:
    """Addresses of this machine that are none of loopback's own one."""
    found = {"127.0.0.2"}
    with contextlib.suppress(OSError):
        found |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return sorted(found - {"127.0.0.1"})


def test_the_caps_are_what_the_page_says() -> None:
    assert tuple(n * MEBIBYTE for n in (1, 4, 16, 32)) == (AHEAD_BYTES, FRAMING_BYTES, REST_BYTES, BODIES_BYTES)
    assert HttpReply().status == 200
