"""What does the workspace add to the command `isochat`? `serve`, `local`, and the workspace behind `--local`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click
import pluggy

from isochat_workspace.cli.local_command import local
from isochat_workspace.cli.serve_command import serve

if TYPE_CHECKING:
    from isochat_workspace.workspace import Workspace

hookimpl = pluggy.HookimplMarker("isochat")


@hookimpl
def isochat_commands() -> Sequence[click.Command]:
    """The commands of this package."""
    return [serve, local]


@hookimpl
def isochat_local_workspace(model: str) -> AbstractContextManager[Workspace]:
    """A workspace for one command, not yet started. Raises ValueError for an unknown model."""
    from isochat_workspace import Workspace

    return Workspace(model=model)
