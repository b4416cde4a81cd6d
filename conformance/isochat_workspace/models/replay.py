"""What if the answer is fixed to the byte? A stand-in for a model that hands out prepared HTTP replies."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from isochat_workspace.http.http_reply import HttpReply
from isochat_workspace.http.records import RecordedRequest
from isochat_workspace.http.stream_reply import StreamReply
from isochat_workspace.models.model import Dialect
from isochat_workspace.models.reply_source import Reply, ReplySource


class Replay(ReplySource):
    """Prepared replies by API, whole ones or streams. A sequence is handed out one by one, its last again and again.

    Nothing of the request is judged (that is what a test looks at), only the token and the path. An API
    that is missing here is answered with the service's 400 for an API type the model lacks.
    """

    served_name = "replay"

    def __init__(self, replies: Mapping[Dialect, Reply | Sequence[Reply]]) -> None:
        self._replies: dict[Dialect, tuple[Reply, ...]] = {}
        for api, given in replies.items():
            sequence = (given,) if isinstance(given, HttpReply | StreamReply) else tuple(given)
            if not sequence:
                raise ValueError(f"no reply given for {api!r}")
            self._replies[api] = sequence
        self._calls: dict[Dialect, int] = dict.fromkeys(self._replies, 0)
        self._lock = threading.Lock()

    @property
    def speaks(self) -> tuple[Dialect, ...]:
        """The APIs that have replies."""
        return tuple(self._replies)

    async def reply(self, api: Dialect, request: RecordedRequest) -> Reply | None:
        """The reply that is due on this API, or None if it has none."""
        replies = self._replies.get(api)
        if replies is None:
            return None
        with self._lock:
            call = self._calls[api]
            self._calls[api] += 1
        return replies[min(call, len(replies) - 1)]
