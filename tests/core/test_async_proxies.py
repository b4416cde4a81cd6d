"""Does a call on an event loop go through the proxy that the environment names, and keep its login there?"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from typing import Any

import pytest
from byte_server import tunnel

import isochat
from isochat.transport.async_pools import AsyncPools
from isochat.transport.async_wire import AsyncWire
from isochat.transport.deadline import Deadline, SystemClock
from isochat.transport.pools import Pools
from isochat.transport.wire import Wire

JSON = [("Content-Type", "application/json")]


def answer(connection: socket.socket, server: Any) -> str:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    return "keep"


@pytest.fixture
def secure(serve: Any, server_tls: ssl.SSLContext) -> Any:
    return serve(answer, tls=server_tls)


@pytest.fixture
def proxy(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = serve(tunnel)
    monkeypatch.setenv("HTTPS_PROXY", made.url.replace("http://", "http://me:p%40ss@"))
    return made


async def ask(pools: AsyncPools, url: str) -> AsyncWire:
    wire = AsyncWire(pools, Deadline(30, SystemClock()), credentials={"Authorization": "Bearer dapi"})
    await wire.exchange("POST", url, JSON, b"{}")
    return wire


def test_https_goes_through_the_proxy(secure: Any, proxy: Any, bundle: str) -> None:
    pools = AsyncPools(ca_bundle=bundle)

    async def twice() -> list[bool | None]:
        return [(await ask(pools, secure.url)).reused for _ in range(2)]

    assert asyncio.run(twice()) == [False, True]
    login = base64.b64encode(b"me:p@ss")
    assert [request.split()[:2] for request in proxy.requests] == [[b"CONNECT", f"localhost:{secure.port}".encode()]]
    assert b"proxy-authorization: basic " + login.lower() in proxy.requests[0].lower()
    assert b"dapi" not in proxy.requests[0]
    assert login not in b"".join(secure.requests)
    assert b"proxy-" not in b"".join(secure.requests).lower()


@pytest.mark.parametrize("no_proxy", ["localhost", "localhost:{port}"])
def test_no_proxy_goes_straight(
    no_proxy: str, secure: Any, proxy: Any, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy.format(port=secure.port))

    asyncio.run(ask(AsyncPools(ca_bundle=bundle), secure.url))

    assert proxy.requests == []


def test_trust_env_false_goes_straight(secure: Any, proxy: Any, bundle: str) -> None:
    asyncio.run(ask(AsyncPools(ca_bundle=bundle, trust_env=False), secure.url))

    assert proxy.requests == []


def test_plain_http_to_this_machine_never_meets_a_proxy(
    serve: Any, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)

    asyncio.run(ask(AsyncPools(), serve(answer).url))

    assert proxy.connections == 0


def refuse(connection: socket.socket, server: Any) -> None:
    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


def hang_up(connection: socket.socket, server: Any) -> None:
    """Nothing is said."""


@pytest.mark.parametrize("script", [refuse, hang_up, None], ids=["407", "hangs up", "is not there"])
def test_a_proxy_that_fails_is_the_same_failure_on_both_wires(
    script: Any, serve: Any, nobody: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = nobody if script is None else serve(script)
    monkeypatch.setenv("HTTPS_PROXY", made.url.replace("http://", "http://me:p%40ss@"))
    sync = Wire(Pools(), Deadline(30, SystemClock()))
    with pytest.raises(isochat.ChatError) as first:
        sync.exchange("POST", "https://localhost:9/", JSON, b"{}")
    with pytest.raises(isochat.ChatError) as second:
        asyncio.run(ask(AsyncPools(), "https://localhost:9/"))

    for error in (first.value, second.value):
        assert (type(error), error.retryable, error.may_have_executed) == (isochat.ConnectError, True, False)
        assert "p@ss" not in str(error)
        assert "p%40ss" not in repr(error.__cause__)


@pytest.mark.parametrize(
    "named", ["socks5://me:p@h:1", "http://me:p@", "me:p@[::1:9", "me:p@no url", "http://me:p@a b:1", "me:p@h\r\nX:1"]
)
def test_what_is_no_proxy_is_not_quoted(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", named)

    with pytest.raises(isochat.ConfigurationError, match="is not a proxy's URL") as raised:
        asyncio.run(ask(AsyncPools(), "https://localhost:9/"))
    with pytest.raises(isochat.ConfigurationError, match="is not a proxy's URL") as again:
        Wire(Pools(), Deadline(30, SystemClock())).exchange("POST", "https://localhost:9/", JSON, b"{}")

    for error in (raised.value, again.value):
        assert "me:p" not in str(error)


def test_a_proxy_may_be_an_address_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not looked up as a name, brackets and all."""
    with socket.socket(socket.AF_INET6) as held:
        held.bind(("::1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://[::1]:{held.getsockname()[1]}")
        for asked in (
            lambda: Wire(Pools(), Deadline(30, SystemClock())).exchange("POST", "https://localhost:9/", JSON, b"{}"),
            lambda: asyncio.run(ask(AsyncPools(), "https://localhost:9/")),
        ):
            with pytest.raises(isochat.ConnectError, match=r"refused|Connect call failed"):
                asked()
