"""How are events put on the wire? Server-Sent Events: the lines of one event, and the error that ends a stream."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from isochat_workspace.http.http_reply import ServiceError, json_bytes
from isochat_workspace.models.pieces import Piece

logger = logging.getLogger("isochat.workspace")

CONTENT_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"

# Line ends to Unicode, not to Server-Sent Events: some readers split at them nevertheless (requests'
# `iter_lines`, which MLflow reads streams with). The service's own encoder escapes the first two as well.
_LINE_ENDS = {"\u2028".encode(): b"\\u2028", "\u2029".encode(): b"\\u2029", "\u0085".encode(): b"\\u0085"}


def write_event(data: Any, name: str | None = None) -> bytes:
    """One event with JSON data, on one line whatever the data hold."""
    line = json_bytes(data)
    for character, escape in _LINE_ENDS.items():
        line = line.replace(character, escape)
    named = b"" if name is None else f"event: {name}\n".encode()
    return named + b"data: " + line + b"\n\n"


async def begin(pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """Wait for the first piece, and give all of them.

    What a model refuses is known before its first piece: the error comes from here, and can still become the
    status of the answer.
    """
    first = await anext(pieces, None)
    return _first_and_rest(first, pieces)


async def _first_and_rest(first: Piece | None, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    try:
        if first is not None:
            yield first
            async for piece in rest:
                yield piece
    finally:
        # A model of somebody else's may give an iterator that cannot be closed.
        if isinstance(rest, AsyncGenerator):
            await rest.aclose()


def error_within(error: Exception) -> ServiceError:
    """What a stream says of an error that came after its first piece. An unforeseen one is logged, not told."""
    if isinstance(error, ServiceError):
        return error
    logger.error("a model failed in the middle of a stream", exc_info=error)
    return ServiceError(500, "INTERNAL_ERROR", "Internal error")
