"""What if no model speaks, and the reply is there already? The class of whatever hands out finished HTTP replies."""

from __future__ import annotations

import abc

from isochat_workspace.http.http_reply import HttpReply
from isochat_workspace.http.records import RecordedRequest
from isochat_workspace.http.stream_reply import StreamReply
from isochat_workspace.models.model import Dialect

Reply = HttpReply | StreamReply


class ReplySource(abc.ABC):
    """Stands behind an endpoint like a Model, and answers in the bytes of the wire: a recording, a real workspace.

    The workspace checks the token and finds the endpoint; the body it leaves alone: no refusal, no reading, no
    `served-model-name`. All methods run on the workspace's event loop.
    """

    served_name: str

    @property
    @abc.abstractmethod
    def speaks(self) -> tuple[Dialect, ...]:
        """The APIs it may have replies for."""

    @abc.abstractmethod
    async def reply(self, api: Dialect, request: RecordedRequest) -> Reply | None:
        """The reply to a request, or None: then it is the service's 400 for an API that the endpoint lacks.

        `request` has path, headers and body as sent; `api` is the one its path stands for. Raises ServiceError.
        """

    async def open(self) -> None:
        """Make ready; called once before the first request."""
        return

    async def close(self) -> None:
        """Give everything back; called once, after the last request."""
        return
