"""What does isochat tell a log? One line an attempt, at DEBUG, without prompts or secrets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from isochat.errors import ChatError

if TYPE_CHECKING:
    from isochat.transport.exchange import Exchange

logger = logging.getLogger("isochat")
logger.addHandler(logging.NullHandler())


def log_attempt(wire: Exchange | None, backend: str, attempt: int, error: ChatError | None) -> None:
    """Note how an attempt ended."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    where = f"{wire.method} {wire.url}" if wire is not None and wire.method else "nothing sent"
    status = "-" if wire is None or wire.status is None else wire.status
    outcome = "ok" if error is None else type(error).__name__
    logger.debug("attempt %d by %s: %s status %s: %s", attempt, backend, where, status, outcome)
