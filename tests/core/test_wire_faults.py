"""What does a caller get when the network or the server misbehaves? The same on every backend, at one POST."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import trustme

import isochat
from isochat.transport.limits import DEFAULT_LIMITS

BOMB = gzip.compress(bytes(DEFAULT_LIMITS.body + 1), compresslevel=1)


class Fault(NamedTuple):
    """What the server does after it has read the request, and what must come of it."""

    script: Callable[..., Any]
    expected: type[isochat.ChatError]
    phase: str | None = None
    may_have_executed: bool = True
    arguments: dict[str, Any] = {}


def send(data: bytes) -> Callable[..., None]:
    return lambda connection, server: connection.sendall(data)


def send_then_hold(data: bytes) -> Callable[..., None]:
    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(data)
        server.over.wait()

    return script


def send_then_reset(data: bytes) -> Callable[..., None]:
    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def drip(start: bytes, piece: bytes) -> Callable[..., None]:
    """A byte now and then for ever: every timeout that restarts on a read would never end."""

    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(start)
        while not server.over.wait(0.02):
            connection.sendall(piece)

    return script


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = HEAD + b"Content-Length: 500\r\n\r\n"


def coded(coding: str, body: bytes) -> bytes:
    return HEAD + f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


# Short, and long enough to connect on a busy machine.
SHORT = {"deadline": 1.0}
FAULTS: dict[str, Fault] = {
    "status line never comes": Fault(send_then_hold(b""), isochat.ChatTimeoutError, "first_byte", arguments=SHORT),
    "headers drip": Fault(drip(HEAD + b"X: ", b"x"), isochat.ChatTimeoutError, "first_byte", arguments=SHORT),
    "body never comes": Fault(send_then_hold(SIZED), isochat.ChatTimeoutError, "body", arguments=SHORT),
    "body drips": Fault(drip(SIZED, b" "), isochat.ChatTimeoutError, "body", arguments=SHORT),
    "silence inside the body": Fault(
        send_then_hold(SIZED + b"{"), isochat.ChatTimeoutError, "idle", arguments={"timeout": 0.2}
    ),
    "closed before the reply": Fault(send(b""), isochat.ConnectionLostError),
    "reset before the reply": Fault(send_then_reset(b""), isochat.ConnectionLostError),
    "closed inside the status line": Fault(send(b"HTTP/1.1 20"), isochat.ConnectionLostError),
    "closed inside the headers": Fault(send(HEAD + b"X-A: 1"), isochat.ConnectionLostError),
    "reset inside the headers": Fault(send_then_reset(HEAD), isochat.ConnectionLostError),
    "body shorter than its length": Fault(send(SIZED + b'{"id"'), isochat.ConnectionLostError),
    "reset inside the body": Fault(send_then_reset(SIZED + b'{"id"'), isochat.ConnectionLostError),
    "chunks without an end": Fault(
        send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{    \r\n"), isochat.ConnectionLostError
    ),
    "chunk size is no number": Fault(
        send(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), isochat.ConnectionLostError
    ),
    "two framings": Fault(
        send(HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        isochat.ProtocolError,
    ),
    "not HTTP": Fault(send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), isochat.ProtocolError),
    "interim replies for ever": Fault(
        drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10), isochat.ProtocolError, arguments={"deadline": 30}
    ),
    "headers larger than the cap": Fault(
        send(HEAD + b"".join(b"X-%d: %s\r\n" % (i, b"x" * 60000) for i in range(6)) + b"\r\n"),
        isochat.ResponseTooLargeError,
    ),
    "one header line too long": Fault(send(HEAD + b"X: " + b"x" * 70000 + b"\r\n\r\n"), isochat.ResponseTooLargeError),
    "too many headers": Fault(
        send(HEAD + b"".join(b"X-%d: 1\r\n" % i for i in range(150)) + b"\r\n"),
        isochat.ResponseTooLargeError,
    ),
    "a bomb": Fault(send(coded("gzip", BOMB)), isochat.ResponseTooLargeError),
    "a bomb in an error": Fault(send(coded("gzip", BOMB).replace(b"200 OK", b"500 No")), isochat.ResponseTooLargeError),
    "damaged compression": Fault(send(coded("gzip", b"no gzip at all")), isochat.ProtocolError),
    "cut compression": Fault(send(coded("gzip", gzip.compress(os.urandom(2000))[:-20])), isochat.ConnectionLostError),
    "compression not asked for": Fault(send(coded("br", b"\x0b\x02\x80{}\x03")), isochat.ProtocolError),
    "redirect to the same host": Fault(
        send(b"HTTP/1.1 302 Found\r\nLocation: /login.html\r\nContent-Length: 0\r\n\r\n"),
        isochat.RedirectRefusedError,
        may_have_executed=False,
    ),
    "redirect that keeps the method": Fault(
        send(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"),
        isochat.RedirectRefusedError,
        may_have_executed=False,
    ),
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    return FAULTS[request.param]


def test_fault(fault: Fault, backend: str, serve: Any, make_client: Any) -> None:
    server = serve(fault.script)
    client = make_client(backend, server, max_retries=0, **fault.arguments)

    with pytest.raises(isochat.ChatError) as raised:
        client.chat("Hi")

    error = raised.value
    got = (type(error), getattr(error, "phase", None), error.may_have_executed, error.attempts, error.retryable)
    assert got == (fault.expected, fault.phase, fault.may_have_executed, 1, False)
    assert len(server.requests) == 1
    if fault.arguments is SHORT:
        # Generous, for a busy machine; without the clock it would be 120 seconds or for ever.
        assert SHORT["deadline"] <= error.elapsed < 10


def test_nobody_listens(backend: str, nobody: Any, make_client: Any) -> None:
    with pytest.raises(isochat.ConnectError) as raised:
        make_client(backend, nobody, max_retries=0).chat("Hi")

    assert (raised.value.retryable, raised.value.may_have_executed) == (True, False)


def test_a_redirect_to_another_host_takes_no_token_there(backend: str, serve: Any, make_client: Any) -> None:
    other = serve(send(b""))
    moved = f"HTTP/1.1 307 Moved\r\nLocation: {other.url}/x\r\nContent-Length: 0\r\n\r\n".encode()
    server = serve(send(moved))

    with pytest.raises(isochat.RedirectRefusedError, match=r"307 with a redirect to http://127\.0\.0\.1/x"):
        make_client(backend, server, max_retries=0).chat("Hi")

    assert (len(server.requests), other.connections) == (1, 0)


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda body: body,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_codings(coding: str, backend: str, serve: Any, make_client: Any, body_of: Any) -> None:
    server = serve(send(coded(coding, CODINGS[coding](body_of(backend, "Packed.")))))

    assert make_client(backend, server).chat("Hi").text == "Packed."


def test_interim_replies_are_no_answer(backend: str, serve: Any, make_client: Any, body_of: Any, reply: Any) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    server = serve(send(early + b"HTTP/1.1 100 Continue\r\n\r\n" + reply("200 OK", body_of(backend))))

    assert make_client(backend, server).chat("Hi").meta.status_code == 200


def test_chunked(backend: str, serve: Any, make_client: Any, body_of: Any) -> None:
    body = body_of(backend, "In pieces.")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
    server = serve(send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"))

    assert make_client(backend, server).chat("Hi").text == "In pieces."


def test_a_connection_serves_the_next_call(
    backend: str, serve: Any, make_client: Any, body_of: Any, reply: Any
) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        connection.sendall(reply("200 OK", body_of(backend)))
        return "keep"

    server = serve(script)
    client = make_client(backend, server)
    for _ in range(3):
        client.chat("Hi")

    assert (len(server.requests), server.connections) == (3, 1)


def test_an_error_reply_gives_its_connection_back(backend: str, serve: Any, make_client: Any, reply: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        connection.sendall(reply("400 Bad Request", b'{"error_code": "BAD_REQUEST", "message": "no"}'))
        return "keep"

    server = serve(script)
    client = make_client(backend, server, max_connections=1, deadline=30)
    for _ in range(3):
        with pytest.raises(isochat.BadRequestError):
            client.chat("Hi")

    assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.parametrize("name", ["body shorter than its length", "reset before the reply", "two framings"])
def test_a_broken_connection_frees_its_place(name: str, backend: str, serve: Any, make_client: Any) -> None:
    server = serve(FAULTS[name].script)
    client = make_client(backend, server, max_connections=1, max_retries=0, deadline=30)
    for _ in range(2):
        with pytest.raises(FAULTS[name].expected):
            client.chat("Hi")

    assert server.connections == 2


def test_an_error_status_stands_though_its_body_is_cut(backend: str, serve: Any, make_client: Any) -> None:
    server = serve(send(b"HTTP/1.1 429 Slow\r\nContent-Length: 500\r\n\r\n{"))

    with pytest.raises(isochat.RateLimitError) as raised:
        make_client(backend, server, max_retries=0).chat("Hi")

    assert (raised.value.status_code, raised.value.retryable) == (429, True)


def test_an_empty_error_body_may_claim_a_coding(backend: str, serve: Any, make_client: Any) -> None:
    server = serve(send(b"HTTP/1.1 502 Bad\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"))

    with pytest.raises(isochat.ServerError) as raised:
        make_client(backend, server, max_retries=0).chat("Hi")

    assert raised.value.status_code == 502


# ------------------------------------------------------------------------------------------------------- TLS


def test_tls_with_the_authority_named(
    backend: str, serve: Any, make_client: Any, body_of: Any, reply: Any, server_tls: Any, bundle: str
) -> None:
    server = serve(send(reply("200 OK", body_of(backend, "Safe."))), tls=server_tls)

    assert make_client(backend, server, ca_bundle=bundle).chat("Hi").text == "Safe."


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_tls_with_the_authority_in_the_environment(
    variable: str,
    serve: Any,
    make_client: Any,
    body_of: Any,
    reply: Any,
    server_tls: Any,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve(send(reply("200 OK", body_of("rest", "Safe."))), tls=server_tls)
    monkeypatch.setenv(variable, bundle)

    assert make_client("rest", server).chat("Hi").text == "Safe."


def test_tls_with_a_stranger(backend: str, serve: Any, make_client: Any, server_tls: Any) -> None:
    server = serve(send(b""), tls=server_tls)

    with pytest.raises(isochat.TLSError, match="ca_bundle=") as raised:
        make_client(backend, server).chat("Hi")

    got = (raised.value.may_have_executed, raised.value.retryable, raised.value.attempts, len(server.requests))
    assert got == (False, False, 1, 0)


def test_tls_for_another_name(backend: str, serve: Any, make_client: Any, authority: trustme.CA, bundle: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)

    with pytest.raises(isochat.TLSError, match=r"[Hh]ostname"):
        make_client(backend, serve(send(b""), tls=context), ca_bundle=bundle).chat("Hi")


def test_plain_http_where_tls_is_spoken(backend: str, make_client: Any) -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        client = isochat.Client(
            backend, endpoint="any", host=f"https://localhost:{listener.getsockname()[1]}", token="t", max_retries=0
        )
        with client, pytest.raises(isochat.TLSError) as raised:
            client.chat("Hi")
        thread.join()

    assert raised.value.may_have_executed is False


def test_a_handshake_that_is_never_answered(backend: str, make_client: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = isochat.Client(
            backend,
            endpoint="any",
            host=f"https://localhost:{silent.getsockname()[1]}",
            token="t",
            deadline=0.4,
            max_retries=0,
        )
        with client, pytest.raises(isochat.ChatTimeoutError) as raised:
            client.chat("Hi")

    assert (raised.value.phase, raised.value.may_have_executed) == ("connect", False)


def test_a_reset_inside_a_tls_reply_is_no_tls_error(
    backend: str, serve: Any, make_client: Any, server_tls: Any, bundle: str
) -> None:
    # Without close_notify, as a crashed proxy does it: OpenSSL calls that an SSL error.
    server = serve(send(SIZED + b"{"), tls=server_tls)

    with pytest.raises(isochat.ConnectionLostError) as raised:
        make_client(backend, server, ca_bundle=bundle, max_retries=0).chat("Hi")

    assert raised.value.may_have_executed is True


def test_a_damaged_tls_record_inside_a_reply_is_no_tls_error(
    backend: str, serve: Any, make_client: Any, server_tls: Any, bundle: str
) -> None:
    def script(connection: ssl.SSLSocket, server: Any) -> None:
        connection.sendall(SIZED + b"{")
        socket.socket.sendall(connection, b"\x17\x03\x03\x00\x20" + bytes(32))  # past the encryption

    client = make_client(backend, serve(script, tls=server_tls), ca_bundle=bundle, max_retries=0)
    with pytest.raises(isochat.ConnectionLostError) as raised:
        client.chat("Hi")

    assert raised.value.may_have_executed is True
