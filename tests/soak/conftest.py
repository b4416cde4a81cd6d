"""Fixtures of the soak tests: a server in a process of its own, and what a process holds."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

import isochat

NATIVE = ("rest", "openai-chat", "openai-responses")
PATIENCE = 60.0
TIMES = float(os.environ.get("ISOCHAT_SOAK", "1"))


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    # In the quick run `rest` stands for all.
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and "[" in item.name and "rest" not in item.name:
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True)
def clean_environment(clean_environment: Path) -> Path:
    """For each test here."""
    return clean_environment


@pytest.fixture
def times() -> Callable[[int], int]:
    """How many: the usual number by what the environment variable ISOCHAT_SOAK says (10 in the long run)."""
    return lambda usual: max(1, round(usual * TIMES))


@pytest.fixture(params=NATIVE)
def native_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Serving:
    """The server process of serving.py."""

    token = "dapi-of-the-test"

    def __init__(self) -> None:
        script = Path(__file__).with_name("serving.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def state(self) -> dict[str, int]:
        return self._control("GET", "/state")

    def open_round(self) -> None:
        self._control("POST", "/open")

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE)  # closes its stdin

    def _control(self, method: str, path: str) -> Any:
        with urllib3.PoolManager(retries=False, timeout=PATIENCE) as pool:
            return json.loads(pool.request(method, self.url + path, headers={"Connection": "close"}).data)


@pytest.fixture
def serving() -> Iterator[Serving]:
    server = Serving()
    with contextlib.closing(server):
        yield server


@pytest.fixture
def make_client(serving: Serving) -> Iterator[Callable[..., isochat.Client]]:
    """Make a client of the server, as `make_client(backend, **arguments)`; it is closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(backend: str, **arguments: Any) -> isochat.Client:
            given: dict[str, Any] = {"host": serving.url, "token": serving.token, "endpoint": "any", "max_retries": 0}
            return stack.enter_context(isochat.Client(backend, **{**given, **arguments}))

        yield make


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """Wait for a condition that others bring about, as `until(lambda: ...)`."""

    def wait(condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"did not come true: {re.sub(' +', ' ', str(condition()))}"
            time.sleep(0.005)

    return wait


def prompt(number: int, mode: str = "answer", count: int = 4) -> str:
    return f"<<{number}|{mode}|{count}>>"


@pytest.fixture
def ask() -> Callable[..., str]:
    """The prompt that asks the server for something, as `ask(number, mode, count)`."""
    return prompt


class Held:
    """What this process holds: descriptors and threads."""

    def __init__(self) -> None:
        gc.collect()
        self.descriptors = len(os.listdir("/dev/fd"))
        self.threads = {thread.ident for thread in threading.enumerate()}

    def more(self) -> list[str]:
        """What it holds now and did not hold then; empty when nothing is."""
        now = Held()
        names = [thread.name for thread in threading.enumerate() if thread.ident not in self.threads]
        extra = now.descriptors - self.descriptors
        return [*names, *([f"{extra} descriptors"] if extra > 0 else [])]


@pytest.fixture
def held() -> Callable[[], Held]:
    """Note what this process holds, as `held()`."""
    return Held
