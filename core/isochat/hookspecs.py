"""Which hooks may a plugin implement? The whole of the plugin interface; see docs/backends.md."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from isochat.backend import Backend

API_VERSION = 1
"""Raised when a hook or the backend seam changes in a way that plugins must follow."""

hookspec = pluggy.HookspecMarker("isochat")
hookimpl = pluggy.HookimplMarker("isochat")


@hookspec(firstresult=True)
def isochat_backend() -> type[Backend]:  # type: ignore[empty-body]
    """Group ``isochat.backends``: the backend class of this module."""


@hookspec
def isochat_commands() -> Sequence[Any]:  # type: ignore[empty-body]
    """Group ``isochat.commands``: click commands for the command line."""


@hookspec(firstresult=True)
def isochat_local_workspace(model: str) -> AbstractContextManager[Any]:  # type: ignore[empty-body]
    """Group ``isochat.commands``: a workspace on this machine for ``--local``, not yet started."""
