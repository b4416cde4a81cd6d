"""What is one of a fallback's list, and how does it come into being without holding anybody up?"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from isochat import plugins
from isochat.backend import Backend
from isochat.carrier import Carrier
from isochat.closing import Closing
from isochat.config.credentials import Credentials
from isochat.config.settings import Settings
from isochat.errors import ChatError, ConfigurationError
from isochat.policy import RetryBudget
from isochat.transport.deadline import in_daemon


class Making:
    """A carrier being made, which may import a client: in a thread of its own, so that who waits for it need not.

    Attributes:
        over: Closes when it is made, or will not be.
        made: The carrier, once it is made.
        failed: Why it was not made.
    """

    def __init__(self, name: str, make: Callable[[], Carrier]) -> None:
        self.over = Closing()
        self.made: Carrier | None = None
        self.failed: BaseException | None = None
        in_daemon(make, f"fallback-{name}", self._finish)

    def carrier(self) -> Carrier:
        """The carrier, when it is over.

        Raises:
            ConfigurationError: it cannot be made, or the client is closed.
        """
        if self.failed is not None:
            raise self.failed
        assert self.made is not None
        return self.made

    def _finish(self, worked: bool, value: Any) -> None:
        if worked:
            self.made = value
        else:
            # The frames of an error that is expected hold this object.
            self.failed = value.with_traceback(None) if isinstance(value, ChatError) else value
        self.over.close()


class Member:
    """One of the list: a carrier in waiting, made when it is first needed.

    Attributes:
        name: As it stands in the list.
        credentials: The login that it shares with its client; ``None`` where it has its own.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        backend: str | type[Backend],
        credentials: Credentials | None,
        budget: RetryBudget,
    ) -> None:
        self.name = name
        self.credentials = credentials
        self._settings = settings
        self._backend = backend
        self._budget = budget
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._making: Making | None = None
        self._carrier: Carrier | None = None
        self._closed = False

    def asks_as(self, carrier: Carrier) -> bool:
        """Whether it asks the same endpoint as ``carrier``, with the same login."""
        return self.credentials is carrier.connections.credentials and self._settings["endpoint"] == carrier.endpoint

    def making(self) -> Making:
        """How the carrier is made, which begins with the first who needs it; one that has failed begins again."""
        if self._pid != os.getpid():
            # A forked child has none of its parent's threads, and perhaps a lock that one of them held.
            self._lock, self._pid = threading.Lock(), os.getpid()
            if self._making is not None and not self._making.over.closed:
                self._making = None
        with self._lock:
            if self._making is None or self._making.failed is not None:
                self._making = Making(self.name, self._make)
            return self._making

    def retire(self) -> Carrier | None:
        """The carrier to be closed, if there ever was one; there will be no other. Also from a signal handler."""
        # Without the lock, which may be held by the very frame that the signal has interrupted.
        self._closed = True
        return self._carrier

    def _make(self) -> Carrier:
        if not self._closed:
            kind = plugins.load_backend(self._backend) if isinstance(self._backend, str) else self._backend
            self._carrier = Carrier(self._settings, kind, self._budget, self.credentials)
        if self._closed:  # perhaps meanwhile, by somebody who has seen no carrier yet
            if self._carrier is not None:
                self._carrier.connections.close()
            raise ConfigurationError("the client is closed")
        assert self._carrier is not None
        return self._carrier
