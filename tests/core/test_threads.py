"""Do calls keep apart? Two clients at once, one client in many threads, a child that is forked in between."""

from __future__ import annotations

import gc
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import isochat
from isochat_workspace import Workspace

THREADS = 8
CALLS = 10


def at_once(threads: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work(number)`` in so many threads that start together."""
    barrier = threading.Barrier(threads)

    def start(number: int) -> Any:
        barrier.wait(60)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(start, range(threads)))


def test_two_clients_never_mix(backend: str, make_client: Any) -> None:
    with Workspace() as one, Workspace() as two:
        clients = [(make_client(backend, one), "one"), (make_client(backend, two), "two")]

        def talk(number: int) -> list[str]:
            client, name = clients[number % 2]
            return [client.chat(f"{name} {number}").text for _ in range(CALLS)]

        said = at_once(2 * THREADS, talk)
        requests = {"one": one.requests, "two": two.requests}
        tokens = {"one": one.token, "two": two.token}

    for number, texts in enumerate(said):
        assert all(text.startswith(f'You asked: "{("one", "two")[number % 2]} {number}".') for text in texts)
    for name, arrived in requests.items():
        assert len(arrived) == THREADS * CALLS
        assert {request.header("authorization") for request in arrived} == {f"Bearer {tokens[name]}"}
        assert all(name.encode() in request.body for request in arrived)


def test_one_client_in_many_threads(backend: str, workspace: Workspace, make_client: Any) -> None:
    client = make_client(backend, workspace)

    said = at_once(16, lambda number: [client.chat(f"I am {number}-{call}").text for call in range(5)])

    for number, texts in enumerate(said):
        for call, text in enumerate(texts):
            assert text.startswith(f'You asked: "I am {number}-{call}".')


def test_errors_stay_with_their_thread(backend: str, workspace: Workspace, make_client: Any) -> None:
    # A retry clock or a failure of one thread must not reach another: half of them fail, half succeed.
    good = make_client(backend, workspace)
    bad = make_client(backend, workspace, token="wrong")

    def call(number: int) -> str:
        try:
            return (bad if number % 2 else good).chat("Hi").text[:9]
        except isochat.PermissionDeniedError:
            return "denied"

    assert at_once(16, call) == ["You asked", "denied"] * 8


def test_names_are_looked_up_by_more_threads_than_may_hang(workspace: Workspace, make_client: Any) -> None:
    # A name instead of an address: each connection looks it up in a helper thread, of which there are eight.
    client = make_client("rest", workspace, host=workspace.url.replace("127.0.0.1", "localhost"), max_retries=0)

    said = at_once(32, lambda number: client.chat("Hi").meta.attempts)

    assert said == [1] * 32


def test_a_login_is_asked_once_by_all_threads(workspace: Workspace, clean_environment: Any) -> None:
    (clean_environment / ".databrickscfg").write_text(
        f"[b]\nhost = {workspace.url}\nusername = token\npassword = {workspace.token}\n"
    )
    with isochat.Client("rest", profile="b", endpoint="scripted", max_retries=0) as client:
        said = at_once(16, lambda number: client.chat("Hi").meta.attempts)

    methods = [request.method for request in workspace.requests]
    assert (said, methods.count("POST"), methods.count("GET") <= 2) == ([1] * 16, 16, True)


def test_a_bounded_pool_serves_all(backend: str, workspace: Workspace, make_client: Any) -> None:
    client = make_client(backend, workspace, max_connections=2)

    assert at_once(16, lambda number: client.chat("Hi").meta.status_code) == [200] * 16


def test_a_client_that_is_dropped_closes_its_connections(backend: str, workspace: Workspace) -> None:
    # An unclosed socket would be a ResourceWarning, and warnings are errors here.
    client = isochat.Client(backend, host=workspace.url, token=workspace.token, endpoint="scripted")
    client.chat("Hi")
    del client
    gc.collect()

    assert len(workspace.requests) == 1


def in_a_child(client: isochat.Client, number: int, queue: Any) -> None:
    try:
        queue.put([client.chat(f"child {number}-{call}").text for call in range(5)])
    except Exception as error:  # noqa: BLE001 the parent reports it
        queue.put([repr(error)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_a_fork_drops_the_parents_connections(backend: str, workspace: Workspace, make_client: Any) -> None:
    client = make_client(backend, workspace)
    client.chat("warm")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=in_a_child, args=(client, number, queue)) for number in range(2)]
    for child in children:
        child.start()
    mine = [client.chat(f"parent {call}").text for call in range(5)]
    theirs = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join(60)
    queue.close()

    starts = sorted(text.partition(".")[0] for texts in [mine, *theirs] for text in texts)
    assert starts == sorted(
        [f'You asked: "parent {call}"' for call in range(5)]
        + [f'You asked: "child {number}-{call}"' for number in range(2) for call in range(5)]
    )


def test_native_is_parsed_once_by_all_threads(workspace: Workspace, make_client: Any) -> None:
    meta = make_client("openai-chat", workspace).chat("Hi").meta

    natives = at_once(8, lambda number: meta.native)

    assert len({id(native) for native in natives}) == 1


def test_chat_keeps_its_client(workspace: Workspace) -> None:
    arguments: dict[str, Any] = {"host": workspace.url, "token": workspace.token, "endpoint": "scripted"}

    said = at_once(8, lambda number: isochat.chat(f"I am {number}", backend="rest", **arguments).text)

    assert [text.partition(".")[0] for text in said] == [f'You asked: "I am {n}"' for n in range(8)]


def test_chat_follows_the_environment(workspace: Workspace, monkeypatch: Any) -> None:
    with Workspace() as other:
        for place in (workspace, other):
            monkeypatch.setenv("DATABRICKS_HOST", place.url)
            monkeypatch.setenv("DATABRICKS_TOKEN", place.token)
            isochat.chat("Hi", endpoint="scripted")
        counts = (len(workspace.requests), len(other.requests))

    assert counts == (1, 1)
