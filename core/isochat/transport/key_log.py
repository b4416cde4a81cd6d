"""Which variable is to blame where TLS cannot write its keys?

Python opens the file that ``SSLKEYLOGFILE`` names for every default TLS context, and aiohttp makes one as it is
imported: where it cannot be written, whatever needs TLS fails with an error that names a file and not the variable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from isochat.errors import ConfigurationError

VARIABLE = "SSLKEYLOGFILE"


def key_log_error(error: BaseException) -> ConfigurationError | None:
    """The error for a key log that cannot be written; ``None`` where ``error`` is about something else."""
    named = os.environ.get(VARIABLE)
    if not named or not isinstance(error, OSError) or error.filename != named:
        return None
    return ConfigurationError(
        f"{VARIABLE} names a file that cannot be written: {named}: {error.strerror}",
        remedy=f"Unset {VARIABLE}, or name a file in a folder that is there",
    )


@contextmanager
def named_as_culprit() -> Iterator[None]:
    """Inside, a failure of the key log is a :class:`~isochat.errors.ConfigurationError` that names the variable."""
    try:
        yield
    except OSError as error:
        if (known := key_log_error(error)) is not None:
            raise known from error
        raise
