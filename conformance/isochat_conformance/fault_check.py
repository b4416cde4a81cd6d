"""Is what came of a fault what had to come of it? Class, attributes, verdict, partial answer and requests."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

import isochat
from isochat.errors import ChatError
from isochat.results import ChatResult
from isochat_conformance.fault_row import Fault, Verdict
from isochat_conformance.json_difference import shown
from isochat_conformance.modes import Mode, is_streamed

if TYPE_CHECKING:
    from isochat_conformance.fault_call import SkippingClock

_FIELDS = ("phase", "status_code", "code", "request_id", "retry_after", "retryable", "may_have_executed")


class Came(msgspec.Struct):
    """What came of it.

    Attributes:
        pieces: The texts of a stream's chunks, as they were handed out.
        requests, connections: Of the server: what it has read, and how often it was connected to.
        proxied: What the proxy has read.
    """

    mode: Mode
    result: ChatResult | None = None
    error: Exception | None = None
    pieces: list[str] = []
    clock: SkippingClock | None = None
    requests: list[bytes] = []
    connections: int = 0
    other_connections: int = 0
    proxied: list[bytes] = []

    @property
    def streams(self) -> bool:
        """Whether a stream was asked for."""
        return is_streamed(self.mode)


def check(came: Came, fault: Fault, backend: str, token: str) -> Iterator[str]:
    """What is wrong, a finding each."""
    expected = fault.expect
    yield from _check_counts(came, fault)
    if any(token.encode() in request for request in came.proxied):
        yield "the proxy was sent the token"
    if expected.sent.encode() not in (came.requests[-1] if came.requests else b""):
        yield f"the last request does not have {shown(expected.sent)}"
    if came.error is None:
        assert came.result is not None
        yield from _check_answer(came, came.result, expected, _attempts(fault))
    elif not isinstance(came.error, ChatError):
        yield f"{type(came.error).__name__} came through, which is no isochat error: {shown(str(came.error))}"
    elif expected.error is None:
        yield f"an answer expected; {type(came.error).__name__} was raised: {shown(str(came.error))}"
    else:
        yield from _check_error(came.error, expected, token)
        yield from _check_located(came, came.error, fault, backend)


def _attempts(fault: Fault) -> int:
    if fault.expect.attempts is not None:
        return fault.expect.attempts
    return fault.expect.requests - (fault.client.before is not None)


def _check_counts(came: Came, fault: Fault) -> Iterator[str]:
    expected = fault.expect
    counts = {
        "requests": (expected.requests, len(came.requests)),
        "connections": (expected.connections, came.connections),
        "requests to the proxy": (expected.proxied, len(came.proxied)),
        "connections to another server": (expected.other_connections, came.other_connections),
    }
    for name, (wanted, found) in counts.items():
        if wanted is not None and wanted != found:
            yield f"the server counted {found} {name}, expected {wanted}"
    waited = 0.0 if came.clock is None else came.clock.skipped
    if expected.waited is not None:
        least, most = expected.waited
        if not least <= waited <= most:
            yield f"the call waited {waited:.2f} s between its requests, expected {least:g} to {most:g}"
    elif _attempts(fault) <= 1 and waited:
        yield f"the call waited {waited:.2f} s, though it sent nothing again"


def _check_answer(came: Came, result: ChatResult, expected: Verdict, attempts: int) -> Iterator[str]:
    if expected.error is not None:
        yield f"{expected.error} expected; the call returned {shown(result.to_dict())}"
        return
    if result.text != expected.text:
        yield f"the answer is {shown(result.text)}, expected {shown(expected.text)}"
    if came.streams and "".join(came.pieces) != result.text:
        yield f"the chunks say {shown(''.join(came.pieces))}, the result {shown(result.text)}"
    if result.finish_reason != expected.finish_reason:
        yield f"finish_reason is {shown(result.finish_reason)}, expected {shown(expected.finish_reason)}"
    for name, wanted in (("attempts", attempts), ("request_id", expected.request_id)):
        if (found := getattr(result.meta, name)) != wanted:
            yield f"meta.{name} is {shown(found)}, expected {shown(wanted)}"
    if expected.arguments is not None:
        found = result.tool_calls[0].function.arguments if result.tool_calls else None
        if found != expected.arguments:
            yield f"the tool call's arguments are {shown(found)}, expected {shown(expected.arguments)}"
    for words in expected.warnings:
        if not any(words in told for told in result.meta.warnings):
            yield f"meta.warnings is {shown(result.meta.warnings)}, expected one with {shown(words)}"


def _check_error(error: ChatError, expected: Verdict, token: str) -> Iterator[str]:
    if type(error) is not getattr(isochat, expected.error or "", None):
        yield f"{type(error).__name__} was raised ({shown(error.message)}), expected {expected.error}"
    for name in _FIELDS:
        wanted, found = getattr(expected, name), getattr(error, name, None)
        if wanted != found:
            yield f"the error's {name} is {shown(found)}, expected {shown(wanted)}"
    if not error.message.strip() or len(str(error).splitlines()) != 1:
        yield f"the error does not say in one line what happened: {shown(str(error))}"
    if expected.message not in error.message:
        yield f"the error's message is {shown(error.message)}, expected one with {shown(expected.message)}"
    if token in f"{error!r} {error} {error.body} {error.remedy}":
        yield "the token stands in the error"
    copy = pickle.loads(pickle.dumps(error))
    if type(copy) is not type(error) or str(copy) != str(error):
        yield "the error does not survive pickling"


def _check_located(came: Came, error: ChatError, fault: Fault, backend: str) -> Iterator[str]:
    expected, attempts = fault.expect, _attempts(fault)
    if error.attempts != attempts:
        yield f"the error's attempts is {error.attempts}, expected {attempts}"
    if attempts and (error.backend, error.endpoint) != (backend, fault.client.endpoint):
        yield f"the error names {error.backend} and {error.endpoint}"
    partial = error.partial.text if isinstance(error.partial, ChatResult) else None
    if came.streams and expected.partial is not None:
        if partial != expected.partial:
            yield f"the partial answer is {shown(partial)}, expected {shown(expected.partial)}"
        if "".join(came.pieces) != expected.partial:
            yield f"the chunks before it say {shown(''.join(came.pieces))}, expected {shown(expected.partial)}"
    elif partial:
        yield f"the error holds a partial answer, {shown(partial)}, expected none"
    if expected.phase in ("first_byte", "body") and error.elapsed < fault.client.deadline:
        yield f"the call ended after {error.elapsed:.3f} s, before its deadline of {fault.client.deadline:g} s"
