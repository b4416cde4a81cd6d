"""How much does retrying add to the load of a service that is down? The whole policy, without sockets."""

from __future__ import annotations

import math
import random
import socket
import threading
from typing import Any

import pytest

import isochat
from isochat.policy import RetryBudget, RetryPolicy
from isochat.transport.deadline import Deadline

CALLS = 10_000


class TimelessClock:
    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float, woken: Any, /) -> None:
        raise AssertionError("nobody sleeps here")

    async def asleep(self, seconds: float, woken: Any, /) -> None:
        raise AssertionError("nobody sleeps here")


def ask(policy: RetryPolicy, fails: Any, max_retries: int = 2) -> tuple[int, bool]:
    """One call by the policy; gives its attempts and whether it succeeded."""
    deadline = Deadline(math.inf, TimelessClock())
    policy.budget.earn()
    attempts = 1
    while error := fails():
        if policy.pause(error, attempts, max_retries, deadline) is None:
            return attempts, False
        attempts += 1
    return attempts, True


def test_an_outage_is_amplified_by_a_tenth_at_most() -> None:
    policy = RetryPolicy()
    attempts = [ask(policy, lambda: isochat.OverloadedError("down"))[0] for _ in range(CALLS)]

    assert sum(attempts) <= 1.1 * CALLS
    assert max(attempts) <= 3


def test_rare_failures_are_all_retried() -> None:
    chance = random.Random(7)
    policy = RetryPolicy()
    busy = isochat.OverloadedError("busy")
    outcomes = [ask(policy, lambda: busy if chance.random() < 0.05 else None)[1] for _ in range(CALLS)]

    assert sum(outcomes) >= 0.999 * CALLS


def test_a_wait_that_the_server_asked_for_costs_nothing() -> None:
    policy = RetryPolicy(budget=RetryBudget(ratio=0, reserve=0))
    paced = isochat.RateLimitError("slow down", retry_after=1.0)

    assert ask(policy, lambda: paced) == (3, False)
    assert ask(policy, lambda: isochat.RateLimitError("slow down")) == (1, False)


def test_a_wait_of_a_service_that_is_down_costs_a_retry() -> None:
    """Only a rate limit paces: whoever else comes back when told to comes back with everybody."""
    policy = RetryPolicy(budget=RetryBudget(ratio=0, reserve=1))
    busy = isochat.OverloadedError("busy", retry_after=1.0)

    assert ask(policy, lambda: busy) == (2, False)


def test_a_budget_holds_its_reserve_at_most() -> None:
    budget = RetryBudget(ratio=1, reserve=2)
    for _ in range(100):
        budget.earn()

    assert [budget.spend() for _ in range(4)] == [True, True, False, False]


def test_a_budget_is_shared_by_the_clients_it_is_given_to(serve: Any, make_client: Any, reply: Any) -> None:
    def script(connection: socket.socket, server: Any) -> str:
        connection.sendall(reply("503 Busy", b"{}"))
        return "keep"

    server, budget = serve(script), RetryBudget(ratio=0, reserve=1)
    for _ in range(2):
        client = make_client("rest", server, retry_budget=budget)
        with pytest.raises(isochat.OverloadedError):
            client.chat("Hi")

    assert len(server.requests) == 3


def test_a_budget_counts_right_among_threads() -> None:
    budget = RetryBudget(ratio=0, reserve=1000)
    spent: list[bool] = []
    threads = [threading.Thread(target=lambda: spent.extend([budget.spend() for _ in range(200)])) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(spent), sum(spent)) == (2000, 1000)


@pytest.mark.parametrize("arguments", [{"ratio": -1}, {"reserve": "much"}, {"ratio": math.nan}])
def test_wrong_budgets(arguments: dict[str, Any]) -> None:
    with pytest.raises(isochat.InvalidInputError, match="RetryBudget"):
        RetryBudget(**arguments)


def test_a_budget_is_a_budget() -> None:
    with pytest.raises(isochat.ConfigurationError, match="retry_budget"):
        isochat.Client("rest", host="https://h.example", token="t", retry_budget=3)  # type: ignore[arg-type]


@pytest.fixture
def stale(serve: Any, reply: Any, body_of: Any) -> Any:
    """A server that answers each connection once and closes it when it is asked again."""

    def start(backend: str) -> Any:
        served: dict[int, int] = {}

        def script(connection: socket.socket, server: Any) -> str | None:
            served[connection.fileno()] = served.get(connection.fileno(), 0) + 1
            if served[connection.fileno()] > 1:
                del served[connection.fileno()]
                return None
            connection.sendall(reply("200 OK", body_of(backend)))
            return "keep"

        return serve(script)

    return start


def test_a_stale_connection_is_replaced(backend: str, stale: Any, make_client: Any) -> None:
    server = stale(backend)
    client = make_client(backend, server)
    first, second = client.chat("Hi"), client.chat("Hi")

    assert (first.meta.attempts, second.meta.attempts, second.text) == (1, 2, "Hello.")
    assert (len(server.requests), server.connections) == (3, 2)


def test_without_retries_a_stale_connection_is_an_error(backend: str, stale: Any, make_client: Any) -> None:
    server = stale(backend)
    client = make_client(backend, server, max_retries=0)
    client.chat("Hi")
    with pytest.raises(isochat.ConnectionLostError) as raised:
        client.chat("Hi")

    assert (raised.value.attempts, raised.value.may_have_executed, len(server.requests)) == (1, True, 2)
