"""Who is told of a call, what are they told, and what can they do to it? Nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import isochat
from isochat import shortcut
from isochat_workspace import Endpoint, HttpReply, Replay, Workspace

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")


class Notes:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any, Any]] = []

    @isochat.hookimpl
    def isochat_before_call(self, request: isochat.Request) -> None:
        self.told.append(("before", request, None))

    @isochat.hookimpl
    def isochat_after_call(self, request: isochat.Request, result: isochat.ChatResult) -> None:
        self.told.append(("after", request, result))

    @isochat.hookimpl
    def isochat_on_error(self, request: isochat.Request, error: BaseException) -> None:
        self.told.append(("error", request, error))

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.told]


class Meddler:
    """An observer that changes whatever it is given."""

    @isochat.hookimpl
    def isochat_before_call(self, request: isochat.Request) -> None:
        request.body["max_tokens"] = 1
        for message in request.messages:
            message["content"] = "changed"
        request.headers["X-Mine"] = "changed"
        if request.output is not None:
            request.output.response_format.clear()
            with pytest.raises(AttributeError):
                request.output.name = "changed"  # type: ignore[misc]

    @isochat.hookimpl
    def isochat_after_call(self, request: isochat.Request, result: isochat.ChatResult) -> None:
        if result.meta.raw is not None:  # as of a stream
            result.meta.raw.clear()
        dict.clear(result.meta.headers)  # type: ignore[arg-type]
        for part in result.message.parts:
            if isinstance(part.wire, dict):
                part.wire.clear()
        if result.usage is not None:
            msgspec.structs.force_setattr(result.usage, "total_tokens", -1)
        if result.meta._parsing is not None:
            result.parsed.name = "changed"
        msgspec.structs.force_setattr(result, "choices", ())

    @isochat.hookimpl
    def isochat_on_error(self, request: isochat.Request, error: isochat.ChatError) -> None:
        error.message, error.status_code, error.retryable = "changed", 200, True
        getattr(error, "__notes__", []).append("changed")


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def refusing() -> Any:
    """A workspace whose endpoint is busy."""
    busy = HttpReply(503, {"content-type": "application/json"}, b'{"message": "No."}')
    with Workspace([Endpoint("busy", Replay({"chat": busy, "responses": busy}))]) as workspace:
        yield workspace


# ------------------------------------------------------------------------------------------------ what they are told


def test_a_plain_call(backend: str, workspace: Workspace, make_client: Any, notes: Notes) -> None:
    result = make_client(backend, workspace, endpoint="scripted", observers=[notes]).chat("Hi", max_tokens=9)

    assert notes.names == ["before", "after"]
    (_, asked, _), (_, again, told) = notes.told
    assert asked is again
    assert (asked.endpoint, asked.messages[-1]["content"]) == ("scripted", "Hi")
    assert (told, told.meta.backend, told.meta.attempts) == (result, backend, 1)
    assert told.meta.native is None


def test_a_call_on_a_loop(backend: str, workspace: Workspace, make_client: Any, notes: Notes) -> None:
    async def ask() -> None:
        async with make_client(backend, workspace, endpoint="scripted", observers=[notes]) as client:
            await client.achat("Hi")
            async for _ in await client.achat("Hi", stream=True):
                pass

    asyncio.run(ask())
    assert notes.names == ["before", "after"] * 2


def test_a_stream_is_told_when_it_has_ended(backend: str, workspace: Workspace, make_client: Any, notes: Notes) -> None:
    stream = make_client(backend, workspace, endpoint="scripted", observers=[notes]).chat("Hi", stream=True)
    assert notes.names == ["before"]
    for _ in stream:
        pass

    assert notes.names == ["before", "after"]
    assert notes.told[1][2] == stream.result()
    assert notes.names == ["before", "after"]


@pytest.mark.parametrize("leave", ["close", "with", "forget"])
def test_a_stream_that_is_left_is_an_error(leave: str, workspace: Workspace, make_client: Any, notes: Notes) -> None:
    stream = make_client("rest", workspace, endpoint="scripted", observers=[notes]).chat("Hi", stream=True)
    next(stream)
    if leave == "with":
        with stream:
            pass
    elif leave == "close":
        stream.close()
        stream.close()
    del stream

    assert notes.names == ["before", "error"]
    assert isinstance(notes.told[1][2], isochat.StreamTruncatedError)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_told_once(stream: bool, backend: str, refusing: Workspace, make_client: Any, notes: Notes) -> None:
    client = make_client(backend, refusing, endpoint="busy", observers=[notes], max_retries=1)
    with pytest.raises(isochat.OverloadedError) as raised:
        client.chat("Hi", stream=stream)

    assert notes.names == ["before", "error"]
    error = notes.told[1][2]
    assert (type(error), error.attempts, str(error)) == (isochat.OverloadedError, 2, str(raised.value))
    assert error is not raised.value
    assert (error.__cause__, error.__traceback__, error.__context__) == (None, None, None)


def test_a_call_that_is_refused_unsent_is_none(workspace: Workspace, make_client: Any, notes: Notes) -> None:
    with pytest.raises(isochat.InvalidInputError):
        make_client("rest", workspace, observers=[notes]).chat([])
    assert notes.told == []


def test_a_cancellation_is_told(make_client: Any, notes: Notes, nobody: Any) -> None:
    async def ask() -> None:
        client = make_client("rest", nobody, observers=[notes], max_retries=9)
        call = asyncio.ensure_future(client.achat("Hi"))
        while not notes.told:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(ask())
    assert notes.names == ["before", "error"]
    assert isinstance(notes.told[1][2], asyncio.CancelledError)


def test_a_fallback_is_part_of_the_call(refusing: Workspace, make_client: Any, notes: Notes) -> None:
    client = make_client(
        "rest", refusing, endpoint="busy", observers=[notes], max_retries=0, fallback=["mlflow", "openai-chat"]
    )
    with pytest.raises(isochat.OverloadedError):
        client.chat("Hi")

    assert notes.names == ["before", "error"]
    assert notes.told[1][2].attempts == 3


def test_all_are_told_in_their_order(workspace: Workspace, make_client: Any) -> None:
    order: list[str] = []

    def observer(name: str) -> Any:
        module = types.ModuleType(name)

        @isochat.hookimpl
        def isochat_before_call(request: Any) -> None:
            order.append(name)

        module.isochat_before_call = isochat_before_call  # type: ignore[attr-defined]
        return module

    make_client("rest", workspace, endpoint="scripted", observers=[observer("a"), observer("b")]).chat("Hi")
    assert order == ["a", "b"]


def test_threads_are_told_apart_by_the_request(workspace: Workspace, make_client: Any, notes: Notes) -> None:
    client = make_client("rest", workspace, endpoint="scripted", observers=[notes])
    threads = [threading.Thread(target=client.chat, args=(f"Hi {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    pairs = {id(request): request.messages[0]["content"] for name, request, _ in notes.told if name == "before"}
    assert sorted(pairs.values()) == [f"Hi {n}" for n in range(8)]
    for name, request, result in notes.told:
        if name == "after":
            assert f'"{pairs[id(request)]}"' in result.text


# ------------------------------------------------------------------------------------------------ no say, no secret


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_they_do_reaches_the_call(
    stream: bool, backend: str, workspace: Workspace, make_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    notes = Notes()

    def ask(*observers: Any) -> isochat.ChatResult:
        client = make_client(backend, workspace, endpoint="scripted", observers=observers)
        answer = client.chat(messages, max_tokens=5, stream=stream, extra_headers={"X-Mine": "1"})
        return answer.result() if stream else answer  # type: ignore[no-any-return]

    alone, watched = ask(), ask(Meddler(), notes)

    one, other = workspace.requests
    assert (one.body, one.header("x-mine")) == (other.body, other.header("x-mine"))
    assert isochat.diff(alone, watched) == []
    assert (watched.meta.headers.keys(), bool(watched.meta.raw)) == (alone.meta.headers.keys(), not stream)
    assert watched.to_message() == alone.to_message()
    assert messages == [{"role": "user", "content": "Hi"}]
    assert notes.told[0][1].messages[0]["content"] == "Hi", "and none sees what another has changed"
    assert notes.told[1][2] == watched
    assert "failed in isochat_" not in caplog.text, "and all of it was done"


def test_nor_the_error(refusing: Workspace, make_client: Any) -> None:
    client = make_client("rest", refusing, endpoint="busy", observers=[Meddler()], max_retries=0, fallback=["mlflow"])
    with pytest.raises(isochat.OverloadedError, match="takes no requests") as raised:
        client.chat("Hi")
    assert (raised.value.status_code, len(raised.value.__notes__)) == (503, 1)


def test_they_never_hold_a_secret(backend: str, workspace: Workspace, make_client: Any) -> None:
    seen: list[str] = []

    class Reader:
        @isochat.hookimpl
        def isochat_before_call(self, request: Any) -> None:
            seen.append(json.dumps([request.body, request.messages, request.headers]))

        @isochat.hookimpl
        def isochat_after_call(self, request: Any, result: Any) -> None:
            seen.append(json.dumps([request.headers, dict(result.meta.headers), result.to_dict()]))

    client = make_client(
        backend, workspace, endpoint="scripted", observers=[Reader()], headers={"X-All": "hush-1", "X-B": "b"}
    )
    client.chat("Hi", extra_headers={"X-Key": "hush-2"})

    assert workspace.requests[0].header("x-key") == "hush-2"
    assert len(seen) == 2
    assert all("hush" not in text and workspace.token not in text for text in seen)


RAISES: dict[str, Callable[[], BaseException]] = {
    "an exception": lambda: KeyError("the prompt"),
    "a cancellation": asyncio.CancelledError,
    "the end of a generator": GeneratorExit,
    "an error of ours": lambda: isochat.RateLimitError("mine"),
    "a stop": StopIteration,
}


@pytest.mark.parametrize("hook", ["before", "after", "error"])
@pytest.mark.parametrize("kind", RAISES)
def test_what_they_raise_goes_no_further(
    kind: str, hook: str, workspace: Workspace, make_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises:
        def fail(self, name: str) -> None:
            if name == hook:
                raise RAISES[kind]()

        @isochat.hookimpl
        def isochat_before_call(self) -> None:
            self.fail("before")

        @isochat.hookimpl
        def isochat_after_call(self) -> None:
            self.fail("after")

        @isochat.hookimpl
        def isochat_on_error(self) -> None:
            self.fail("error")

    notes = Notes()
    caplog.set_level(logging.DEBUG, logger="isochat")
    client = make_client("rest", workspace, endpoint="scripted", observers=[Raises(), notes])
    for _ in range(2):
        assert client.chat("Hi").text
        assert client.chat("Hi", stream=True).result().text
        with pytest.raises(isochat.BadRequestError):
            client.chat("Hi", temperature=-5.0)

    assert notes.names == ["before", "after", "before", "after", "before", "error"] * 2
    told = [(r.levelno, r.getMessage()) for r in caplog.records if "failed in isochat_" in r.getMessage()]
    assert [level for level, _ in told] == [logging.WARNING] + [logging.DEBUG] * (len(told) - 1)
    assert len(told) == {"before": 6, "after": 4, "error": 2}[hook]
    assert "test_observers.py:" in told[0][1]
    assert "the prompt" not in told[0][1]


def test_an_interrupt_passes(workspace: Workspace, make_client: Any) -> None:
    class Interrupted:
        @isochat.hookimpl
        def isochat_after_call(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_client("rest", workspace, endpoint="scripted", observers=[Interrupted()]).chat("Hi")


# ------------------------------------------------------------------------------------------------ which they are


class Misspelt:
    @isochat.hookimpl
    def isochat_after_cal(self) -> None:
        pass


class Arguments:
    @isochat.hookimpl
    def isochat_after_call(self, answer: Any) -> None:
        pass


class Unmarked:
    def isochat_after_call(self) -> None:
        pass


class Coroutine:
    @isochat.hookimpl
    async def isochat_after_call(self) -> None:
        pass


ONE = Notes()
WRONG = {
    "a text": ("metrics", isochat.ConfigurationError, "expected a list of names or plugin objects"),
    "an unknown name": (["metrics"], isochat.PluginError, "there is no observer 'metrics'"),
    "a class": ([Notes], isochat.PluginError, r"is a class\. Pass an object of it: Notes\(\)"),
    "a number": ([3], isochat.PluginError, "observer 3 has none of the hooks"),
    "nothing": ([None], isochat.PluginError, "observer None has none of the hooks"),
    "a function": ([print], isochat.PluginError, "has none of the hooks"),
    "without a mark": ([Unmarked()], isochat.PluginError, "Mark its functions with @isochat.hookimpl"),
    "misspelt": ([Misspelt()], isochat.PluginError, "unknown hook 'isochat_after_cal'"),
    "wrong arguments": ([Arguments()], isochat.PluginError, "'answer'"),
    "a coroutine": ([Coroutine()], isochat.PluginError, "is a coroutine"),
    "twice": ([ONE, ONE], isochat.ConfigurationError, "twice"),
    "a name twice": (["metrics", "metrics"], isochat.PluginError, "there is no observer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_observer_is_told_at_once(case: str, workspace: Workspace, make_client: Any) -> None:
    observers, kind, words = WRONG[case]
    with pytest.raises(kind, match=words) as raised:
        make_client("rest", workspace, observers=observers)
    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)


INSTALLED = """
import isochat
said = []
@isochat.hookimpl
def isochat_after_call(request, result):
    print("counted", request.endpoint, result.meta.attempts)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code where the distribution `meter` has installed the observer `counter`."""
    (tmp_path / "meter_counter.py").write_text(INSTALLED)
    info = tmp_path / "meter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: meter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[isochat.observers]\ncounter = meter_counter\n")

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        program = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport isochat\n{code}"
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **environment},
            check=False,
        )

    return run


CALL = "with isochat.Client('rest', {there}{more}) as client: client.chat('Hi')\nprint('meter_counter' in sys.modules)"


def test_one_is_loaded_where_somebody_names_it(installed: Any, workspace: Workspace, tmp_path: Path) -> None:
    there = f"host={workspace.url!r}, token={workspace.token!r}, endpoint='scripted'"
    file = tmp_path / "isochat.toml"
    file.write_text('[targets.t]\nobservers = ["counter"]\n')
    counted = "counted scripted 1\nTrue\n"

    assert installed(CALL.format(there=there, more="")).stdout == "False\n"
    assert installed(CALL.format(there=there, more=", observers=['counter']")).stdout == counted
    assert installed(CALL.format(there=there, more=""), ISOCHAT_OBSERVERS="counter").stdout == counted
    in_file = f", target='t', config_file={str(file)!r}"
    assert installed(CALL.format(there=there, more=in_file)).stdout == counted
    assert installed(CALL.format(there=there, more=in_file + ", observers=[]")).stdout == "False\n"
    misspelt = installed(CALL.format(there=there, more=", observers=['conter']"))
    assert "PluginError: there is no observer 'conter'. Did you mean 'counter'?" in misspelt.stderr


def test_the_shortcut_keeps_a_client_for_each_observer(workspace: Workspace) -> None:
    class Same(Notes):
        def __repr__(self) -> str:
            return "Same()"

    one, other = Same(), Same()
    ask_in_turn(workspace, one, other)


def test_however_it_shows_itself(workspace: Workspace) -> None:
    class Counting(Notes):
        def __repr__(self) -> str:
            return f"Counting({len(self.told)})"

    class Broken(Notes):
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    kept = len(shortcut._clients)
    ask_in_turn(workspace, Counting(), Broken())
    assert len(shortcut._clients) == min(kept + 2, shortcut._MOST_CLIENTS)


def test_the_shortcut_keeps_the_observers_of_a_client(workspace: Workspace) -> None:
    """Or the next object might be taken for one of them, which is gone."""
    module = types.ModuleType("watching")
    module.isochat_before_call = isochat.hookimpl(_nothing, specname="isochat_before_call")  # type: ignore[attr-defined]
    held = weakref.ref(module)

    isochat.chat("Hi", endpoint="scripted", host=workspace.url, token=workspace.token, observers=[module], deadline=78)
    del module
    gc.collect()

    assert held() is not None


def _nothing() -> None:
    pass


def ask_in_turn(workspace: Workspace, one: Notes, other: Notes) -> None:
    for observer in (one, other, one):
        isochat.chat(
            "Hi", endpoint="scripted", host=workspace.url, token=workspace.token, observers=[observer], deadline=77
        )
    assert (one.names, other.names) == (["before", "after"] * 2, ["before", "after"])
