"""How much time is left, and how is it kept where nothing can be interrupted?

One clock for a whole call: retries, authentication and waiting count against the same deadline. The clock is
monotonic and injectable; nothing here reads the wall clock.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from isochat.errors import ChatTimeoutError, ConnectError, ConnectionLostError, Phase

T = TypeVar("T")

# What select() takes as a timeout has an end; nobody waits for eleven days.
LONGEST_WAIT = 1e6


class Clock(Protocol):
    """What isochat asks of time."""

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        ...

    def sleep(self, seconds: float, woken: SimpleQueue[None], /) -> None:
        """Let ``seconds`` pass, or less where something is put into ``woken``."""
        ...

    async def asleep(self, seconds: float, woken: asyncio.Event, /) -> None:
        """Let ``seconds`` pass on the event loop, or less where ``woken`` is set."""
        ...


class SystemClock:
    """The machine's own monotonic clock."""

    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds: float, woken: SimpleQueue[None], /) -> None:
        with suppress(Empty):
            woken.get(timeout=seconds)

    async def asleep(self, seconds: float, woken: asyncio.Event, /) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await woken.wait()


class Deadline:
    """The point in time at which a call ends, whatever it is doing then."""

    __slots__ = ("at", "clock", "seconds", "started")

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.clock = clock
        self.seconds = seconds
        self.started = clock.monotonic()
        self.at = self.started + seconds

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self.clock.monotonic() - self.started

    def over(self) -> bool:
        """Whether it has passed."""
        return self.clock.monotonic() >= self.at

    def left(self, phase: Phase, at_most: float = math.inf) -> float | None:
        """Seconds that ``phase`` may still take, as a socket timeout: ``None`` is without limit.

        Raises:
            ChatTimeoutError: the deadline has passed.
        """
        left = self.at - self.clock.monotonic()
        if left <= 0:
            raise self.passed(phase)
        left = min(left, at_most)
        return None if left == math.inf else min(left, LONGEST_WAIT)

    def passed(self, phase: Phase) -> ChatTimeoutError:
        """The error that says so."""
        return ChatTimeoutError(
            f"the deadline of {self.seconds:g} s passed in phase {phase!r}",
            phase=phase,
            remedy="Check the host and the login of its profile"
            if phase == "auth"
            else "Give the call more time with deadline=, or ask for fewer tokens",
        )

    def run(
        self, work: Callable[[], T], phase: Phase, at_most: float = math.inf, done: threading.Event | None = None
    ) -> T:
        """Do ``work`` that cannot be interrupted (a name lookup, a login) without waiting past the deadline.

        It runs in a daemon thread that is left behind when the time is over. Eight run at once, so no more than
        eight are ever left; whoever finds no place waits for one.

        Args:
            done: Is set when the work is over. Who sets it before that ends the waiting.
        """
        places = _places
        if not places.acquire(timeout=self.left(phase, at_most)):
            raise _no_place()
        outcome: list[tuple[bool, Any]] = []
        done = done or threading.Event()

        def finish(worked: bool, value: Any) -> None:
            outcome.append((worked, value))
            places.release()
            done.set()

        in_daemon(work, phase, finish)
        if not done.wait(self.left(phase, at_most)):
            if self.clock.monotonic() < self.at:
                raise _no_answer(phase, at_most)
            raise self.passed(phase)
        if not outcome:
            raise ConnectionLostError("the call was cancelled")
        worked, value = outcome[0]
        if worked:
            return value  # type: ignore[no-any-return]
        raise value


async def run_beside_loop(work: Callable[[], T], phase: Phase, at_most: float) -> T:
    """Do ``work`` that cannot be interrupted as :meth:`Deadline.run` does, without holding up the event loop.

    Whoever waits for it keeps a deadline of its own; ``at_most`` ends the waiting of all.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    places = _places

    def hand_over(worked: bool, value: Any) -> None:
        if not outcome.done():  # else nobody waits for it any more
            if worked:
                outcome.set_result(value)
            else:
                outcome.set_exception(value)

    def finish(worked: bool, value: Any) -> None:
        try:
            loop.call_soon_threadsafe(hand_over, worked, value)
        except RuntimeError:
            pass  # the loop has ended

    def placed() -> T:
        if not places.acquire(timeout=at_most):
            raise _no_place()
        try:
            return work()
        finally:
            places.release()

    in_daemon(placed, phase, finish)
    try:
        async with asyncio.timeout(at_most):
            return await outcome
    except TimeoutError:
        raise _no_answer(phase, at_most) from None


def in_daemon(work: Callable[[], Any], name: str, finish: Callable[[bool, Any], None]) -> None:
    """Do ``work`` in a thread that keeps no interpreter from ending.

    Args:
        name: Of the thread, behind ``isochat-``.
        finish: Is given whether it worked, and its value or else what it raised.
    """

    def task() -> None:
        try:
            value = work()
        except BaseException as error:  # handed to whoever waits, whatever it is
            finish(False, error)
        else:
            finish(True, value)

    threading.Thread(target=task, name=f"isochat-{name}", daemon=True).start()


def _no_place() -> ConnectError:
    return ConnectError(
        "eight name lookups or logins of this process still hang",
        remedy="Check the resolver and the login of the host, then call again",
    )


def _no_answer(phase: Phase, at_most: float) -> ChatTimeoutError:
    return ChatTimeoutError(
        f"no answer within {at_most:g} s in phase {phase!r}", phase=phase, retryable=phase == "connect"
    )


_places = threading.BoundedSemaphore(8)


def _all_places_free() -> None:
    global _places
    _places = threading.BoundedSemaphore(8)


if hasattr(os, "register_at_fork"):
    # The threads that hold places do not come along into a forked child.
    os.register_at_fork(after_in_child=_all_places_free)
