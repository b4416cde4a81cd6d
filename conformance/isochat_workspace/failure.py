"""How does a command of this package fail? One line that says what, one that says what to do, exit code 1."""

from __future__ import annotations

from typing import IO, Any

import click

_LOG_LINES = 6


class Failure(click.ClickException):
    """A failed command; `log` is the output of another program, of which the last lines are shown."""

    def __init__(self, message: str, remedy: str | None = None, log: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
        self.log = log

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr."""
        for line in [line for line in self.log.splitlines() if line.strip()][-_LOG_LINES:]:
            click.echo(click.style(f"  | {line.rstrip()}", dim=True), file=file, err=True)
        click.echo(f"{click.style('error:', fg='red', bold=True)} {self.message}", file=file, err=True)
        if self.remedy:
            click.echo(f"  {self.remedy}", file=file, err=True)
