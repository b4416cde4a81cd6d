"""What becomes of a call while the next member's client is imported, which may take long or hang?

The members are plugins of distributions of their own, whose modules wait for the test.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import isochat

NUMBERS = itertools.count()

SLOW = """
import isochat
import {name}_gate as gate
from isochat_adapters.rest import Rest

gate.imports.append(1)
gate.begun.set()
gate.go.wait()


class Slow(Rest):
    name = "{name}"

    def close(self):
        super().close()
        gate.closed.set()


@isochat.hookimpl
def isochat_backend():
    return Slow
"""

FAILING = """
import isochat
from isochat_adapters.rest import Rest


class Failing(Rest):
    name = "{name}"

    def complete(self, request, wire):
        super().complete(request, wire)
        raise isochat.PluginError("mine", may_have_executed=True)


@isochat.hookimpl
def isochat_backend():
    return Failing
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Install a plugin of this text under a new name, which it gives."""

    def installed(text: str) -> str:
        name = f"slow{next(NUMBERS)}"
        info = tmp_path / f"dist_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[isochat.backends]\n{name} = {name}_plugin\n")
        (tmp_path / f"{name}_plugin.py").write_text(text.format(name=name))
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    return installed


class Gate(types.ModuleType):
    """What a slow member's module says, and waits for."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}_gate")
        self.backend = name
        self.begun, self.go, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.imports: list[int] = []


@pytest.fixture
def slow(install: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A backend that is installed, and whose import waits until `go` is set."""
    gate = Gate(install(SLOW))
    monkeypatch.setitem(sys.modules, gate.__name__, gate)
    yield gate
    gate.go.set()
    if gate.imports:
        for thread in threading.enumerate():
            if thread.name == f"isochat-fallback-{gate.backend}":
                thread.join()


@pytest.fixture
def busy(serve: Any, reply: Any, body_of: Any) -> Callable[..., Any]:
    """A server that answers with the given statuses, the last again and again."""

    def make(*statuses: str) -> Any:
        def script(connection: socket.socket, server: Any) -> str:
            status = statuses[min(len(server.requests), len(statuses)) - 1]
            connection.sendall(reply(status, body_of("rest") if status == "200 OK" else b'{"message": "No."}'))
            return "keep"

        return serve(script)

    return make


def test_the_deadline_holds(busy: Any, make_client: Any, slow: Gate) -> None:
    server = busy("503 Busy", "503 Busy", "503 Busy", "200 OK")
    client = make_client("rest", server, max_retries=0, fallback=[slow.backend, "mlflow"])
    for attempts in (1, 2):
        with pytest.raises(isochat.OverloadedError) as raised:
            client.chat("Hi", deadline=0.5)
        assert raised.value.elapsed >= 0.5
        assert f"; then failed: {slow.backend} with ChatTimeoutError" in str(raised.value)
        assert raised.value.__notes__ == [
            f"{slow.backend}: its client was not imported when the deadline of 0.5 s passed"
        ]
        assert len(server.requests) == attempts
    slow.go.set()

    # The import went on, once, whoever waited for it.
    result = client.chat("Hi")
    assert (result.meta.backend, result.meta.attempts) == (slow.backend, 2)
    assert slow.imports == [1]


def test_the_deadline_holds_on_a_loop(busy: Any, make_client: Any, slow: Gate) -> None:
    server = busy("503 Busy")

    async def ask() -> None:
        async with make_client("rest", server, max_retries=0, fallback=[slow.backend]) as client:
            with pytest.raises(isochat.OverloadedError):
                await client.achat("Hi", deadline=0.5)

    asyncio.run(ask())
    assert (len(server.requests), slow.imports, slow.go.is_set()) == (1, [1], False)


def test_a_loop_goes_on(busy: Any, make_client: Any, slow: Gate) -> None:
    async def ask() -> isochat.ChatResult:
        async with make_client("rest", busy("503 Busy", "200 OK"), max_retries=0, fallback=[slow.backend]) as client:
            call = asyncio.create_task(client.achat("Hi"))
            await asyncio.to_thread(slow.begun.wait)
            assert not call.done()
            slow.go.set()
            return await call

    result = asyncio.run(ask())
    assert (result.meta.backend, result.meta.attempts) == (slow.backend, 2)


def test_closing_from_a_signal_handler(busy: Any, make_client: Any, slow: Gate) -> None:
    server = busy("503 Busy", "200 OK")
    client = make_client("rest", server, max_retries=0, fallback=[slow.backend])
    before = signal.signal(signal.SIGUSR1, lambda *_: client.close())

    def interrupt() -> None:
        slow.begun.wait()
        os.kill(os.getpid(), signal.SIGUSR1)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        with pytest.raises(isochat.ConfigurationError, match="this client is closed"):
            client.chat("Hi")
    finally:
        interrupting.join()
        signal.signal(signal.SIGUSR1, before)
    assert not slow.go.is_set()
    slow.go.set()
    assert slow.closed.wait(60)  # what was made for nobody is not left open
    assert len(server.requests) == 1


def test_closing_on_a_loop(busy: Any, make_client: Any, slow: Gate) -> None:
    server = busy("503 Busy", "200 OK")

    async def ask() -> None:
        client = make_client("rest", server, max_retries=0, fallback=[slow.backend])
        call = asyncio.create_task(client.achat("Hi"))
        await asyncio.to_thread(slow.begun.wait)
        await client.aclose()
        with pytest.raises(isochat.ConfigurationError, match="this client is closed"):
            await call

    asyncio.run(ask())
    assert not slow.go.is_set()
    assert len(server.requests) == 1


def test_each_call_is_told_why_a_member_does_not_import(busy: Any, make_client: Any, install: Any) -> None:
    name = install("raise RuntimeError('half installed')")
    client = make_client("rest", busy("503 Busy"), max_retries=0, fallback=[name])
    for _ in range(2):
        with pytest.raises(isochat.OverloadedError, match=f"then failed: {name} with PluginError") as raised:
            client.chat("Hi")
        assert "half installed" in raised.value.__notes__[0]


def test_nobody_carries_on_for_a_member_behind_which_the_model_may_have_run(
    busy: Any, make_client: Any, install: Any
) -> None:
    server = busy("503 Busy", "200 OK")
    client = make_client("rest", server, max_retries=0, fallback=[install(FAILING), "mlflow"])
    with pytest.raises(isochat.PluginError, match="mine; before it failed: rest with OverloadedError 503"):
        client.chat("Hi")
    assert len(server.requests) == 2


SLOW_OBJECT = SLOW.replace("gate.imports.append(1)\ngate.begun.set()\ngate.go.wait()\n", "").replace(
    "    def close(self):",
    """    def __init__(self, setup):
        super().__init__(setup)
        gate.imports.append(1)
        gate.begun.set()
        gate.go.wait()

    def close(self):""",
)


def in_a_child(client: isochat.Client, gate: Gate, queue: Any) -> None:
    gate.go = threading.Event()  # the parent's thread may have held the lock of the other just then
    gate.go.set()
    try:
        queue.put((client.chat("Hi", deadline=30).meta.backend, len(gate.imports)))
    except Exception as error:  # noqa: BLE001 the parent reports it
        queue.put(repr(error))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_a_forked_child_does_not_wait_for_its_parent_s_thread(
    busy: Any, make_client: Any, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(install(SLOW_OBJECT))
    monkeypatch.setitem(sys.modules, gate.__name__, gate)
    client = make_client("rest", busy("503 Busy", "503 Busy", "200 OK"), max_retries=0, fallback=[gate.backend])
    answered: list[str] = []
    asking = threading.Thread(target=lambda: answered.append(client.chat("Hi").meta.backend))
    asking.start()
    gate.begun.wait()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_a_child, args=(client, gate, queue))
    child.start()
    try:
        assert queue.get(timeout=60) == (gate.backend, 2)
    finally:
        gate.go.set()
        child.join(60)
        queue.close()
        asking.join()
    assert answered == [gate.backend]
    assert gate.imports == [1]
