"""What of a request can the backend's API not say as it was given, and what becomes of it?

What the caller asks for is refused, or dropped where ``on_unsupported`` says so: ``warn`` tells of it by a Python
warning and in ``meta.warnings``, ``drop`` in ``meta.warnings`` alone. What the model itself had said may go missing,
and what says the same in another form may be rewritten; both are noted.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any, Literal

from isochat.errors import UnsupportedParameterError

Api = Literal["chat-completions", "responses"]
OnUnsupported = Literal["raise", "warn", "drop"]

_NAMES: dict[Api, str] = {"chat-completions": "chat-completions API", "responses": "Responses API"}
_OTHER: dict[Api, str] = {"chat-completions": "the Responses API", "responses": "chat completions"}


ADDED = "added"
"""The first word of a warning that tells of nothing lost: of what isochat said where the caller said nothing."""


class UnsupportedParameterWarning(UserWarning):
    """A parameter, or something in the messages, was dropped because the backend's protocol cannot carry it."""


class Notes:
    """Takes note of one request on its way into the words of ``api``.

    Attributes:
        warnings: What was added, dropped, left out or rewritten so far, for ``meta.warnings``.
    """

    def __init__(self, api: Api, on_unsupported: OnUnsupported = "raise") -> None:
        self._api: Api = api
        self._on_unsupported: OnUnsupported = on_unsupported
        self.warnings: list[str] = []

    def unsupported(self, what: str, why: str) -> None:
        """The caller asks for ``what``.

        Raises:
            UnsupportedParameterError: ``on_unsupported`` is ``raise``; else it is dropped.
        """
        if self._on_unsupported == "raise":
            raise UnsupportedParameterError(
                f"the {_NAMES[self._api]} does not carry {what}: {why}",
                remedy=f"Leave it out, or use a backend that speaks {_OTHER[self._api]}",
            )
        self.warnings.append(f"dropped {what}: {why}")
        if self._on_unsupported == "warn":
            warnings.warn(self.warnings[-1], UnsupportedParameterWarning, stacklevel=_outside())

    def left_out(self, what: str) -> None:
        """The model said ``what``, and only another API takes it back."""
        self.warnings.append(f"left out {what}: the API of this backend cannot take it back")

    def added(self, what: str) -> None:
        """The caller said nothing of ``what``, and the API would read that otherwise than the other one."""
        self.warnings.append(f"{ADDED} {what}")

    def rewritten(self, what: str) -> None:
        """The same is said in another form."""
        self.warnings.append(f"rewrote {what}")

    def nothing_left(self, role: str, path: str) -> None:
        """Nothing is left of a message. What the model said may go missing; what is asked of it may not.

        Raises:
            UnsupportedParameterError: the message is not the model's own, whatever was dropped before.
        """
        if role != "assistant":
            raise UnsupportedParameterError(
                f"the API of this backend carries nothing of {path}: the {role} message would be empty",
                remedy="Leave the message out, or use a backend whose API carries its content",
            )
        self.left_out(f"{path} (nothing else is in it)")

    @staticmethod
    def check_not_empty(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give ``said`` back.

        Raises:
            UnsupportedParameterError: nothing is left of the whole conversation.
        """
        if not said:
            raise UnsupportedParameterError(
                "the API of this backend carries nothing of messages: the conversation would be empty",
                remedy="Add what is asked, or use a backend whose API carries the messages",
            )
        return said


def _outside() -> int:
    """How many frames up the program is that called isochat, counted from the caller of this function."""
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level
