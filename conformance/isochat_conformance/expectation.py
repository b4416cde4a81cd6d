"""What must come out of a case? A result or an error, the same in every mode but for what only a stream can tell."""

from __future__ import annotations

from typing import Any

import msgspec

from isochat.request import Api
from isochat_conformance.strict_json import CaseData

# What of an error depends on what happened, never on the backend: the same names here and on the error itself.
ERROR_FIELDS = ("status_code", "code", "request_id", "retry_after", "retryable", "may_have_executed")


class ExpectedMeta(CaseData, frozen=True, kw_only=True):
    """``meta``, as far as the reply decides it.

    Attributes:
        warnings: For an API, words that its warnings contain in turn.
        stream_warnings: The same of the warnings that follow these in the streamed modes, e.g. ``usage_missing``.
        extra: For an API, ``meta.extra``; where none is given, it is not looked at.
    """

    request_id: str | None = None
    served_model: str | None = None
    warnings: dict[Api, list[str]] = {}
    stream_warnings: dict[Api, list[str]] = {}
    extra: dict[Api, dict[str, Any]] = {}


class ExpectedError(CaseData, frozen=True, kw_only=True):
    """An error of :mod:`isochat.errors`, field by field. ``message`` and ``remedy`` are parts of its.

    Attributes:
        partial: In the streamed modes, what had come before it, in the shape of ``ChatResult.to_dict()``. In the plain
            ones there is none.
    """

    cls: str = msgspec.field(name="class")
    message: str
    remedy: str | None = None
    status_code: int
    retryable: bool
    may_have_executed: bool
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    partial: dict[str, Any] | None = None


class ExpectedChunks(CaseData, frozen=True, kw_only=True):
    """What the chunks bring in turn; those that bring nothing of a kind are passed over.

    Attributes:
        arguments: Pieces of the arguments of tool calls.
    """

    text: list[str] | None = None
    reasoning: list[str] | None = None
    arguments: list[str] | None = None


class Expectation(CaseData, frozen=True, kw_only=True):
    """A result or an error.

    Attributes:
        result: The answer in the shape of ``ChatResult.to_dict()``. What is left out must be ``None`` or empty.
        raw_finish_reasons: For an API, the words that stood on the wire, a choice each.
        stream_error: What is raised in the streamed modes, where that differs from ``error``.
        chunks: For an API, what the chunks bring.
    """

    result: dict[str, Any] | None = None
    raw_finish_reasons: dict[Api, list[str | None]] = {}
    meta: ExpectedMeta = ExpectedMeta()
    error: ExpectedError | None = None
    stream_error: ExpectedError | None = None
    chunks: dict[Api, ExpectedChunks] = {}

    def error_in(self, streamed: bool) -> ExpectedError | None:
        """The error that is expected in the plain or in the streamed modes, if one is."""
        return self.stream_error if streamed and self.stream_error is not None else self.error
