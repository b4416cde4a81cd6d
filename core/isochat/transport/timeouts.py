"""How long may the next read or write of an attempt take?"""

from __future__ import annotations

import math

from isochat.errors import ChatTimeoutError, ConnectionLostError, Phase
from isochat.transport.deadline import Deadline
from isochat.transport.limits import Limits


class Timeouts:
    """The clock of one attempt.

    Attributes:
        deadline: When the whole call ends.
        idle: The longest silence once the reply has begun, in seconds.
        phase: What is waited for.
        quiet_since: Since when a stream has brought no data, on the deadline's clock.
        aborted: Whether the attempt is ended from another thread.
    """

    def __init__(self, deadline: Deadline, idle: float, limits: Limits) -> None:
        self.deadline = deadline
        self.idle = idle
        self.limits = limits
        # Kept by the connection while it works for this attempt.
        self.phase: Phase = "connect"
        self.aborted = False
        self.quiet_since: float | None = None

    def time_left(self) -> float | None:
        """What the next read or write may take, in seconds.

        Before the first byte only the connect timeout and the deadline count: a model may think for minutes. In a
        stream, silence is measured from :attr:`quiet_since`: bytes without data do not end it.
        """
        if self.aborted:
            raise ConnectionLostError("the call was cancelled")
        match self.phase:
            case "connect":
                limit = self.limits.connect
            case "body":
                limit = self.idle
                if self.quiet_since is not None:
                    limit -= self.deadline.clock.monotonic() - self.quiet_since
                    if limit <= 0:
                        self.deadline.left(self.phase)  # where both are over, it is the deadline that has passed
                        raise self._fell_silent()
            case _:
                limit = math.inf
        return self.deadline.left(self.phase, limit)

    def out_of_time(self) -> ChatTimeoutError:
        """The error for a read or write that took longer than :meth:`time_left`."""
        if self.deadline.clock.monotonic() >= self.deadline.at or self.phase not in ("connect", "body"):
            return self.deadline.passed(self.phase)
        if self.phase == "body":
            return self._fell_silent()
        return ChatTimeoutError(
            f"no connection within {self.limits.connect:g} s",
            phase="connect",
            retryable=True,
            remedy="Check the host, the network and the proxy settings",
        )

    def _fell_silent(self) -> ChatTimeoutError:
        return ChatTimeoutError(
            f"the server fell silent for {self.idle:g} s in the middle of its reply",
            phase="idle",
            remedy="Allow longer silences with timeout=",
        )
