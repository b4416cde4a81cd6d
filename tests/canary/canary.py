"""Does the token show anywhere in this test run? A pytest plugin that searches whatever the tests bring about.

During every test it looks through

- every log record of every logger, at DEBUG: message, arguments, extras, stack, exception; and, whenever somebody logs
  from inside isochat, the local variables of isochat's frames on the stack, as they are in the middle of a call;
- every exception that a test expects with ``pytest.raises`` or ``RaisesGroup``, that isochat logs, that ends a thread,
  that cannot be raised, or that fails the test: str, repr, notes, pickle, the whole chain, and the local variables of
  isochat's frames that it passed;
- every result and client that is met on the stack: str, repr, ``to_dict()``, pickle; and of a client every text that
  objects of isochat's hold behind it, six deep, unless it is a :class:`~isochat.redaction.Secret`;
- captured output, also of the programs that a test runs; and warnings, recorded and expected ones too.

It looks for the tokens of :data:`TOKENS`, for those of the fixtures (whatever has a ``url`` and a ``token``), and for
whatever it meets as a :class:`~isochat.redaction.Secret`, so that a token made on the spot is watched from its first
call on. Nothing of isochat is patched. Of pytest, the leaving of ``pytest.raises`` and the reading of ``capsys``, and
of Python the reading of a subprocess, the making of a warning and the hooks for what nobody catches tell the canary
what they have.

What it cannot see: local variables between two log lines of a call that succeeds, the pieces of a stream in the frames
that read it, exceptions that are swallowed without
a log line, the frames and attributes of foreign libraries, and files.
"""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import base64
import binascii
import functools
import logging
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from places import Text, of_client, of_exception, of_frame, of_result, ours, shown
from spellings import Watched

import isochat
from isochat.redaction import Secret

TOKENS = ("dapi-of-the-test", "dapi-very-secret")
# The same line of isochat is looked at a few times a test: a thousand calls are no more telling than three.
_LOOKS = 3
# They hold the piece of a stream that is read, whatever the server put into it; cleared before an error leaves.
_READS = ("streaming/streams.py", "streaming/stream_state.py")
# The marker of those who print a token on purpose.
ALLOWED = "canary_allows"


class Canary(logging.Handler):
    """What is watched, and what has been found in the test under way."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lasting = Watched()
        for token in TOKENS:
            self.lasting.add(token)
        self.begin()

    def begin(self) -> None:
        """A test begins."""
        self.watched = self.lasting.copy()
        self.findings: dict[str, None] = {}
        self._looks: dict[Any, int] = {}
        self._clients: weakref.WeakSet[isochat.Client] = weakref.WeakSet()
        self._results: list[isochat.ChatResult] = []
        self._errors: list[BaseException] = []

    def search(self, texts: Iterator[Text]) -> None:
        """Note every text with a token in it."""
        for place, text in texts:
            for form in self.watched.forms_in(text):
                self.findings[f"the token stands, {form}, in the {place}"] = None

    def end(self) -> None:
        """The test is over: look at what was kept till the end, which by now is complete."""
        errors, self._errors = self._errors, []
        results, self._results = self._results, []
        for error in errors:
            self.search(of_exception(error))
        for result in results:
            self.search(of_result(result))
        for client in list(self._clients):
            self.search(of_client(client))

    def told(self) -> str:
        """The findings since the last time, a line each; none: ``""``."""
        findings, self.findings = self.findings, {}
        return "\n".join(findings)

    def meet(self, value: Any) -> None:
        """An object on the stack: what it says of secrets, and what is to be looked at later."""
        if isinstance(value, Secret):
            self._watch(str(value))
        elif type(value) is dict:
            for held in list(value.values()):
                if isinstance(held, Secret):
                    self._watch(str(held))
        elif isinstance(value, isochat.ChatResult):
            self._results.append(value)
        elif isinstance(value, isochat.ChatError):
            self._errors.append(value)
        elif isinstance(value, isochat.Client):
            self._clients.add(value)

    def meet_exception(self, error: BaseException) -> None:
        """An exception that has reached a test: search it now, as long as its frames are what they were."""
        step = error.__traceback__
        while step is not None:
            if ours(step.tb_frame):
                for value in list(step.tb_frame.f_locals.values()):
                    self.meet(value)
            step = step.tb_next
        self.search(of_exception(error))

    def meet_warning(self, warning: Any) -> None:
        """A warning, whether it is shown, recorded or expected."""
        self.search(iter([("text of a warning", str(warning))]))

    def emit(self, record: logging.LogRecord) -> None:
        """A log record, and who logs it."""
        frame = sys._getframe(1)
        if self._may_look(record, frame):
            ours_now = []
            walking: Any = frame
            while walking is not None:
                if ours(walking):
                    ours_now.append(walking)
                    for value in list(walking.f_locals.values()):
                        self.meet(value)
                walking = walking.f_back
            for one in ours_now:
                if not one.f_code.co_filename.endswith(_READS):
                    self.search(of_frame(one))
        self.search(_of_record(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise  # a canary that fails is a failing test

    def _may_look(self, record: logging.LogRecord, frame: Any) -> bool:
        place = (record.pathname, record.lineno)
        self._looks[place] = self._looks.get(place, 0) + 1
        return self._looks[place] <= _LOOKS

    def _watch(self, secret: str) -> None:
        scheme, _, token = secret.partition(" ")
        if scheme == "Basic":
            try:
                token = base64.b64decode(token).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                pass
        self.watched.add(token or secret)


def _of_record(record: logging.LogRecord) -> Iterator[Text]:
    where = f"log of {record.name}"
    yield where, record.getMessage()
    if record.args:
        yield f"{where} (its arguments)", repr(record.args)
    for name, value in vars(record).items():
        if name not in _OF_EVERY_RECORD:
            yield f"{where} (its extra {name})", shown(value)
    if record.stack_info:
        yield f"{where} (its stack)", record.stack_info
    if record.exc_info and record.exc_info[1] is not None:
        for place, text in of_exception(record.exc_info[1]):
            yield f"{where}: {place}", text


_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
canary = Canary()


# ------------------------------------------------------------------------------------------- where it is hung in


def _telling(method: Callable[..., Any], tell: Callable[..., None]) -> Callable[..., Any]:
    """``method``, telling the canary its result or, for an ``__exit__``, the exception that it was given."""

    @functools.wraps(method)
    def told(self: Any, *arguments: Any, **named: Any) -> Any:
        result = method(self, *arguments, **named)
        tell(result, *arguments)
        return result

    return told


def _left(_: Any, kind: Any = None, error: BaseException | None = None, *rest: Any) -> None:
    if error is not None:
        canary.meet_exception(error)


def _read(result: Any, *_: Any) -> None:
    for name, text in zip(("standard output", "standard error"), result, strict=True):
        if text:
            canary.search(iter([(f"{name} of the test", text.decode("latin-1") if isinstance(text, bytes) else text)]))


def _unraised(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    """``hook`` for what nobody can catch, of a thread or a finalizer, telling the canary first."""

    @functools.wraps(hook)
    def told(met: Any) -> object:
        if met.exc_value is not None:
            canary.meet_exception(met.exc_value)
        return hook(met)

    return told


async def _communicated(self: Any, *arguments: Any) -> Any:
    result = await _communicate(self, *arguments)
    _read(result)
    return result


_communicate = asyncio.subprocess.Process.communicate
_hung: list[pytest.MonkeyPatch] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{ALLOWED}(reason): the token is printed here on purpose")
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for expecting in (type(pytest.raises(ValueError)), getattr(pytest, "RaisesGroup", None)):
        if expecting is not None:
            patch.setattr(expecting, "__exit__", _telling(expecting.__exit__, _left))
    patch.setattr(pytest.CaptureFixture, "readouterr", _telling(pytest.CaptureFixture.readouterr, _read))
    patch.setattr(subprocess.Popen, "communicate", _telling(subprocess.Popen.communicate, _read))
    patch.setattr(asyncio.subprocess.Process, "communicate", _communicated)
    made = warnings.WarningMessage.__init__
    patch.setattr(warnings.WarningMessage, "__init__", _telling(made, lambda _, said, *rest: canary.meet_warning(said)))


def pytest_sessionstart() -> None:
    logging.root.addHandler(canary)
    logging.root.setLevel(logging.DEBUG)
    # Over pytest's own, which are there by now.
    patch = pytest.MonkeyPatch()
    patch.setattr(threading, "excepthook", _unraised(threading.excepthook))
    patch.setattr(sys, "unraisablehook", _unraised(sys.unraisablehook))
    _hung.append(patch)


def pytest_sessionfinish() -> None:
    logging.root.removeHandler(canary)
    for patch in _hung:
        patch.undo()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    made = yield
    token = getattr(made, "token", None)
    if isinstance(token, str) and hasattr(made, "url"):
        canary.watched.add(token)
        if fixturedef.scope != "function" and token not in canary.lasting:
            canary.lasting.add(token)
            request.addfinalizer(functools.partial(canary.lasting.remove, token))
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    canary.begin()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if call.excinfo is not None and not isinstance(call.excinfo.value, pytest.skip.Exception):
        canary.meet_exception(call.excinfo.value)
    if call.when == "call":
        canary.end()
    for title, text in report.sections:
        if title.endswith(call.when):
            canary.search(iter([(title.lower(), text)]))
    told = canary.told()
    if told and item.get_closest_marker(ALLOWED) is None:
        before = f"{report.longrepr}\n\n" if report.longrepr else ""
        report.outcome, report.longrepr = "failed", f"{before}{told}"
    return report
