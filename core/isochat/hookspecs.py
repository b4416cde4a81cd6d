"""Which hooks may a plugin implement? The whole of the plugin interface; see docs/backends.md."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from isochat.backend import Backend
    from isochat.request import Request
    from isochat.results import ChatResult

API_VERSION = 1
"""Raised when a hook or the backend seam changes in a way that plugins must follow."""

hookspec = pluggy.HookspecMarker("isochat")
hookimpl = pluggy.HookimplMarker("isochat")


@hookspec(firstresult=True)
def isochat_backend() -> type[Backend]:  # type: ignore[empty-body]
    """Group ``isochat.backends``: the backend class of this module."""


@hookspec
def isochat_before_call(request: Request) -> None:
    """Group ``isochat.observers``: a call begins; nothing has been sent.

    Hooks of observers are called in the thread or on the event loop of the call, which waits for them: they are plain
    functions and quick. What they are given is theirs alone, without secrets; to change it changes nothing.

    Args:
        request: What is asked; the same object is given at the end of the call. ``headers`` are blanked.
    """


@hookspec
def isochat_after_call(request: Request, result: ChatResult) -> None:
    """Group ``isochat.observers``: the call has ended well; a stream when it has been read to its end.

    Args:
        result: The answer, of a stream the folded one. ``meta`` says who gave it, after how many attempts and in what
            time; ``meta.native`` is ``None``.
    """


@hookspec
def isochat_on_error(request: Request, error: BaseException) -> None:
    """Group ``isochat.observers``: the call has ended in an error, after all retries and fallbacks.

    Args:
        error: A :class:`isochat.ChatError`, of a stream that was left early StreamTruncatedError; or a cancellation or
            an interrupt. Without cause and traceback.
    """


@hookspec
def isochat_commands() -> Sequence[Any]:  # type: ignore[empty-body]
    """Group ``isochat.commands``: click commands for the command line."""


@hookspec(firstresult=True)
def isochat_local_workspace(model: str) -> AbstractContextManager[Any]:  # type: ignore[empty-body]
    """Group ``isochat.commands``: a workspace on this machine for ``--local``, not yet started."""
