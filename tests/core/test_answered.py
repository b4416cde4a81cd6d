"""Once the service has answered with success, does any error say that the model has run, whatever a backend says?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import isochat

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def rubbish() -> Any:
    return 42


def no_connection() -> Any:
    raise isochat.ConnectError("so it says", retryable=True)


def wrong_setup() -> Any:
    raise isochat.ConfigurationError("so it says")


@pytest.mark.parametrize("handed_over", [rubbish, no_connection, wrong_setup])
@pytest.mark.parametrize("fallback", [(), ("rest",)])
def test_the_model_has_run(handed_over: Callable[[], Any], fallback: tuple[str, ...], serve: Any) -> None:
    class Odd(isochat.Backend):
        name: ClassVar[str] = "odd"
        capabilities: ClassVar[isochat.Capabilities] = isochat.Capabilities(api="chat-completions")

        def complete(self, request: Any, wire: Any) -> Any:
            wire.exchange("POST", f"{self.setup.host}/serving-endpoints/e/invocations", [], b"{}")
            return handed_over()

    server = serve(lambda connection, server: connection.sendall(ANSWER))
    with (
        isochat.Client(Odd, endpoint="e", host=server.url, token="t", fallback=fallback) as client,
        pytest.raises(isochat.ChatError) as raised,
    ):
        client.chat("Hi")

    assert (raised.value.may_have_executed, raised.value.retryable) == (True, False)
    assert len(server.requests) == 1
