"""The command line. Needs the extra ``cli``; without it, the script says how to get it."""

from __future__ import annotations

import sys

from isochat.cli.interrupts import leaving_at_once


def main() -> None:
    """Entry point of the ``isochat`` script."""
    with leaving_at_once():
        try:
            import click  # noqa: F401
            import rich  # noqa: F401
        except ImportError:
            sys.stderr.write("isochat: the command line needs two more packages: pip install 'isochat[cli]'\n")
            raise SystemExit(2) from None
        from isochat.cli.group import run

    run()
