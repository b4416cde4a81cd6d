"""May this call be sent again, and after how long?

One policy for every backend; the clients' own retries are off. Full jitter, ``Retry-After`` as the server says it
up to a minute, all inside the call's deadline, as many as the client's budget holds. Randomness is injected.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import msgspec

from isochat.errors import ChatError, InvalidInputError, RateLimitError, StatusError, TransportError
from isochat.transport.deadline import Deadline

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
LONGEST_RETRY_AFTER = 60.0


class RetryBudget:
    """How many retries calls may spend, so that a service that is down is not asked ever more often.

    Each call earns a part of a retry, each retry spends a whole one. Shared by as many clients as it is given to;
    thread-safe.

    Args:
        ratio: What a call earns: retries over calls in the long run.
        reserve: Retries it holds at first, and at most.
    """

    def __init__(self, ratio: float = 0.09, reserve: float = 10.0) -> None:
        if not (isinstance(ratio, int | float) and ratio >= 0 and isinstance(reserve, int | float) and reserve >= 0):
            raise InvalidInputError(
                f"a RetryBudget of ratio {ratio!r} and reserve {reserve!r}", remedy="Give numbers from 0 up"
            )
        self.ratio = ratio
        self.reserve = reserve
        self._held = float(reserve)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A call begins."""
        with self._lock:
            self._held = min(self.reserve, self._held + self.ratio)

    def spend(self) -> bool:
        """Take a retry; ``False`` where none is left."""
        with self._lock:
            if self._held < 1:
                return False
            self._held -= 1
            return True

    def __repr__(self) -> str:
        return f"<RetryBudget at {id(self):#x}: ratio {self.ratio:g}, reserve {self.reserve:g}>"


class RetryPolicy(msgspec.Struct, frozen=True):
    """The rules of one client.

    Attributes:
        retry_after_execution: Also send again when the model may have run (and been billed): 500, 504 and a
            connection lost after the request had left.
        budget: What retries are spent from.
        uniform: Gives a number between its two arguments.
    """

    retry_after_execution: bool = False
    budget: RetryBudget = msgspec.field(default_factory=RetryBudget)
    uniform: Callable[[float, float], float] = random.uniform

    def pause(self, error: ChatError, tries: int, max_retries: int, deadline: Deadline) -> float | None:
        """Seconds to wait before the next attempt, or ``None`` when ``error`` is to be raised.

        Args:
            tries: How often the call was tried so far.
        """
        if tries > max_retries or not self._may_repeat(error):
            return None
        if error.retry_after:  # to come back at once would be a rush: then the usual pause is made
            if error.retry_after > LONGEST_RETRY_AFTER:
                return None
            pause = error.retry_after + self.uniform(0.0, 0.1 * error.retry_after)
        else:
            pause = self.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tries - 1)))
        if deadline.clock.monotonic() + pause >= deadline.at:
            return None
        # Whoever waits as long as the server asked cannot add to a rush.
        paced = isinstance(error, RateLimitError) and bool(error.retry_after)
        return pause if paced or self.budget.spend() else None

    def _may_repeat(self, error: ChatError) -> bool:
        if error.retryable:
            return True
        # Of statuses those are 500 and 504, also of an error under 200 that counts as one.
        return (
            self.retry_after_execution and error.may_have_executed and isinstance(error, StatusError | TransportError)
        )
