"""May this call be sent again, and after how long?

One policy for every backend; the clients' own retries are off. Full jitter, ``Retry-After`` as the server says it
up to a minute, all inside the call's deadline. Randomness is injected.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from isochat.errors import ChatError, StatusError, TransportError
from isochat.transport.deadline import Deadline

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_LONGEST_RETRY_AFTER = 60.0
_AFTER_EXECUTION = frozenset({500, 504})


class RetryPolicy(msgspec.Struct, frozen=True):
    """The rules of one client.

    Attributes:
        retry_after_execution: Also send again when the model may have run (and been billed): 500, 504 and a
            connection lost after the request had left.
        uniform: Gives a number between its two arguments.
    """

    retry_after_execution: bool = False
    uniform: Callable[[float, float], float] = random.uniform

    def pause(self, error: ChatError, tries: int, max_retries: int, deadline: Deadline) -> float | None:
        """Seconds to wait before the next attempt, or ``None`` when ``error`` is to be raised.

        Args:
            tries: How often the call was tried so far.
        """
        if tries > max_retries or not self._may_repeat(error):
            return None
        if error.retry_after is not None:
            if error.retry_after > _LONGEST_RETRY_AFTER:
                return None
            pause = error.retry_after + self.uniform(0.0, 0.1 * error.retry_after)
        else:
            pause = self.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tries - 1)))
        return pause if deadline.clock.monotonic() + pause < deadline.at else None

    def _may_repeat(self, error: ChatError) -> bool:
        if error.retryable:
            return True
        if not self.retry_after_execution or not error.may_have_executed:
            return False
        if isinstance(error, StatusError):
            return error.status_code in _AFTER_EXECUTION
        return isinstance(error, TransportError)
