"""The command line. Needs the extra ``cli``; without it, the script says how to get it."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Entry point of the ``isochat`` script."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, _leave)
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError:
        sys.stderr.write("isochat: the command line needs two more packages: pip install 'isochat[cli]'\n")
        raise SystemExit(2) from None
    from isochat.cli.group import run

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(number: int, frame: FrameType | None) -> None:
    # While modules load there is nothing to end in good order, and an exception may come out of them as another one.
    os._exit(130)
