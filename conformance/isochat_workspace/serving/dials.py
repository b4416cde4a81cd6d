"""How may a test make an endpoint behave badly? Rate limit, latency and failures, each repeatable to the request."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Literal

from isochat_workspace.http.http_reply import HttpReply, ServiceError
from isochat_workspace.http.stream_reply import CutHereError, StreamReply
from isochat_workspace.models.piece_source import each_piece
from isochat_workspace.models.reply_source import Reply


@dataclasses.dataclass(slots=True)
class RateLimit:
    """So many `requests` within any `seconds`; the next one is a 429. 0 requests is an endpoint that is switched off.

    `body` is the shape of the 429: "flat" as all pasted ones are (n8n#38642), "nested" as the limits page prints
    it. `retry_after` puts the whole seconds until a request would be let in into `Retry-After`; a 429 without it is
    as normal (databricks-sdk-py#391). One object given to two endpoints is one limit for both together.
    """

    requests: int
    seconds: float = 60.0
    body: Literal["flat", "nested"] = "flat"
    retry_after: bool = True
    _let_in: deque[float] = dataclasses.field(default_factory=deque, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.requests < 0 or not 0 < self.seconds < math.inf:
            raise ValueError(f"a rate limit of {self.requests} requests in {self.seconds} seconds is none")

    def let_in(self, endpoint: str, now: float) -> None:
        """Count one request at `now`, in monotonic seconds. Raises ServiceError 429, or 403 for a limit of 0."""
        if self.requests == 0:
            # Pasted from live workspaces; one copy lacks the "to".
            message = "The endpoint is temporarily disabled due to a Databricks-set rate limit of 0."
            raise ServiceError(403, "PERMISSION_DENIED", f"PERMISSION_DENIED: {message}")
        while self._let_in and self._let_in[0] <= now - self.seconds:
            self._let_in.popleft()
        if len(self._let_in) >= self.requests:
            raise self._refusal(endpoint, max(1, math.ceil(self._let_in[0] + self.seconds - now)))
        self._let_in.append(now)

    def _refusal(self, endpoint: str, wait: int) -> ServiceError:
        """Flat text: public code and n8n#38642. Nested fields: limits page (docs 2026-06-18), its values are ours."""
        message = (
            f"REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit for {endpoint}. Please use a provisioned"
            " throughput Foundation Model APIs endpoint for a higher rate limit."
        )
        nested = {
            "message": f"Rate limit exceeded for {endpoint}.",
            "type": "rate_limit_exceeded",
            "code": 429,
            "limit_type": "queries_per_minute" if self.seconds == 60 else "queries_per_window",
            "limit": self.requests,
            "current": self.requests,
            "retry_after": wait,
        }
        return ServiceError(
            429,
            "REQUEST_LIMIT_EXCEEDED",
            message,
            headers=(("retry-after", str(wait)),) if self.retry_after else (),
            body={"error": nested} if self.body == "nested" else None,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """Seconds to wait: before the first byte of an answer, and before each further piece of a stream."""

    first_byte: float = 0.0
    between_chunks: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.first_byte < math.inf and 0 <= self.between_chunks < math.inf):
            raise ValueError("a latency is a number of seconds, 0 or more")


@dataclasses.dataclass(slots=True)
class Failures:
    """Which requests fail, and how: `every` n-th one, or a `fraction` of them drawn with a `seed`.

    A failing request gets `status`, with the code and text of the service where these are known and none is given.
    With `cut_after`, a stream is begun and its connection closed after that many events; what asks for no stream
    gets the status.
    """

    every: int | None = None
    fraction: float | None = None
    seed: int = 0
    status: int = 503
    error_code: str | None = None
    message: str | None = None
    retry_after: int | None = None
    cut_after: int | None = None
    _asked: int = dataclasses.field(default=0, init=False, repr=False, compare=False)
    _dice: random.Random = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.every is None) == (self.fraction is None):
            raise ValueError("failures are of every n-th request or of a fraction of them: give one of the two")
        if self.every is not None and self.every < 1:
            raise ValueError("every has to be 1 or more")
        if self.fraction is not None and not 0 <= self.fraction <= 1:
            raise ValueError("fraction has to be between 0 and 1")
        if not 400 <= self.status <= 599:
            raise ValueError("status has to be between 400 and 599")
        if self.cut_after is not None and self.cut_after < 0:
            raise ValueError("cut_after has to be 0 or more")
        self._dice = random.Random(self.seed)  # noqa: S311 - repeatable is what is wanted

    def next_fails(self) -> bool:
        """Count one request, and say whether it fails."""
        self._asked += 1
        if self.every is not None:
            return self._asked % self.every == 0
        return self._dice.random() < (self.fraction or 0.0)

    def error(self) -> ServiceError:
        """What a failing request gets."""
        code, message = _WORDS.get(self.status, ("UNKNOWN", "The request failed."))
        headers = () if self.retry_after is None else (("retry-after", str(self.retry_after)),)
        return ServiceError(self.status, self.error_code or code, self.message or message, headers=headers)


# Codes: the classes of databricks-sdk `errors/platform.py`. No literal text of the service is known for most.
_WORDS: Mapping[int, tuple[str, str]] = {
    400: ("BAD_REQUEST", "Bad request"),
    403: ("PERMISSION_DENIED", "PERMISSION_DENIED: User does not have access to the endpoint"),
    404: (
        "ENDPOINT_NOT_FOUND",
        "The given endpoint does not exist, please retry after checking the specified model and version deployment"
        " exists.",
    ),
    429: ("REQUEST_LIMIT_EXCEEDED", "REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit."),
    499: ("CANCELLED", "The request was cancelled."),
    500: ("INTERNAL_ERROR", "Internal error"),
    501: ("NOT_IMPLEMENTED", "Not implemented"),
    503: ("TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable, please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request took longer than the service allows."),
}


async def slowed(reply: Reply, latency: Latency, cut_after: int | None) -> Reply:
    """Wait for the first byte, and give the reply with its pieces slowed down and, if so, cut."""
    await asyncio.sleep(latency.first_byte)
    if isinstance(reply, HttpReply) or (not latency.between_chunks and cut_after is None):
        return reply
    length = reply.declared_length() if reply.framing == "content-length" else None
    pieces = _SlowedPieces(reply, latency.between_chunks, cut_after)
    return dataclasses.replace(reply, pieces=pieces, content_length=length)


class _SlowedPieces:
    """The pieces of a reply, with pauses. Closing it closes their source, also where none was asked for."""

    def __init__(self, reply: StreamReply, pause: float, cut_after: int | None) -> None:
        self._reply = reply
        self._pause = pause
        self._cut_after = cut_after

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        sent = 0
        async with aclosing(each_piece(self._reply.pieces)) as pieces:
            async for piece in pieces:
                if sent == self._cut_after:
                    raise CutHereError
                if sent:
                    await asyncio.sleep(self._pause)
                yield piece
                sent += 1
        if self._cut_after is not None:
            raise CutHereError

    async def aclose(self) -> None:
        if (close := getattr(self._reply.pieces, "aclose", None)) is not None:
            await close()
