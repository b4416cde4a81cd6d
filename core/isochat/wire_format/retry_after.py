"""How long does a ``Retry-After`` header ask to wait?"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def read_retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (RFC 9110 10.2.3), or ``None`` if it says nothing usable.

    A date is measured against the server's own ``Date``, so that no clock of ours matters; without one, against the
    time at which the reply came (RFC 9110 6.6.1). Of several headers, joined with commas as they are, the longest wait
    holds; the comma in a date stands behind the day's name, which may go.
    """
    if value is None:
        return None
    waits = [_wait(part.strip(), date) for part in value.split(",")]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(value: str, date: str | None) -> float | None:
    try:
        if value.isascii() and value.replace(".", "", 1).isdigit():
            seconds = float(value)
            return seconds if math.isfinite(seconds) else None
        then = _moment(value)
        now = _moment(date) if date else datetime.now(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, (then - now).total_seconds())


def _moment(date: str) -> datetime:
    moment = parsedate_to_datetime(date)
    # The oldest of the three forms names no zone and is in UTC (RFC 9110 5.6.7).
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
