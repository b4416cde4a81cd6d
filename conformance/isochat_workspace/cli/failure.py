"""How does a command of this package fail? In one line like every other command of isochat, with exit code 3."""

from __future__ import annotations

from typing import IO, Any

import click

_LOG_LINES = 6


class Failure(click.ClickException):
    """A failed command; `log` is the output of another program, of which the last lines are shown."""

    exit_code = 3

    def __init__(self, message: str, remedy: str | None = None, log: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
        self.log = log

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr."""
        for line in [line for line in self.log.splitlines() if line.strip()][-_LOG_LINES:]:
            click.echo(click.style(f"  | {line.rstrip()}", dim=True), file=file, err=True)
        said = f"{self.message}. {self.remedy}" if self.remedy else self.message
        click.echo(f"isochat: {said}", file=file, err=True)
