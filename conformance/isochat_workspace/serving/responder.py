"""What stands behind an endpoint, or in place of all of them, and answers requests as they came over HTTP?

A cassette does so out of its file, a proxy by asking a real workspace; both know of paths that are no endpoint's.
"""

from __future__ import annotations

import abc

from isochat_workspace.http.records import RecordedRequest
from isochat_workspace.models.model import Dialect
from isochat_workspace.models.reply_source import Reply, ReplySource


class Responder(ReplySource):
    """A source of replies to any request, whatever its path; it can stand in place of all endpoints."""

    @property
    def speaks(self) -> tuple[Dialect, ...]:
        """Both APIs: what the other side does not speak it says itself."""
        return ("chat", "responses")

    @property
    def endpoint_names(self) -> tuple[str, ...]:
        """The endpoints that it is known to answer for."""
        return ()

    @abc.abstractmethod
    async def respond(self, request: RecordedRequest) -> Reply | None:
        """Answer one request in place of all endpoints; None leaves it to the workspace. Raises ServiceError."""
