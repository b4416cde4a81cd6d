"""How does a comparison look to a program?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from isochat.comparison import Diff
from isochat_conformance.compare import Comparison, Row, Timing
from isochat_conformance.compare_stream import StreamTiming


def as_json_document(comparison: Comparison, place: Mapping[str, Any], logged: Sequence[str]) -> dict[str, Any]:
    """``comparison`` for a program."""
    return {
        "same": comparison.count("different", "failed") == 0 and comparison.reference is not None,
        "streamed": comparison.streaming is not None,
        **place,
        "messages": comparison.messages,
        "params": dict(comparison.params),
        "rows": [_json_row(row) for row in comparison.rows],
        "requests_logged": list(logged),
    }


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "backend": row.backend,
        "state": row.state,
        "reason": row.reason or None,
        "result": row.result.to_dict() if row.result else None,
        "client_call": row.result.meta.client_call if row.result else None,
        "request_id": row.result.meta.request_id if row.result else None,
        "served_model": row.result.meta.served_model if row.result else None,
        "differences": _json_diff(row.differences),
        "not_reported": row.differences.not_reported,
        # Of a stream there is no object of the client's to look at.
        "native": row.native or None,
        "lost": row.lost if row.stream is None else None,
        "contradictions": row.contradictions if row.stream is None else None,
        "sent": None if row.sent is None else {
            "method": row.sent.method,
            "path": row.sent.path,
            "body": row.sent.body,
            "headers": dict(row.sent.headers),
        },
        "milliseconds": _milliseconds(row.timing if row.stream is None else row.stream.timing),
        **({} if row.stream is None else {"stream": {
            "chunks": row.stream.chunks,
            "with_text": row.stream.with_text,
            "arrival": row.stream.arrival,
            "plain_answer": {
                "state": row.stream.law.state,
                "differences": list(row.stream.law.differences),
                "reason": row.stream.law.reason or None,
            },
        }}),
    }  # fmt: skip


def _milliseconds(timing: Timing | StreamTiming | None) -> dict[str, float | None] | None:
    if timing is None:
        return None
    told: dict[str, float | None] = msgspec.structs.asdict(timing)
    return {name: None if value is None else round(value, 3) for name, value in told.items()}


def _json_diff(found: Diff) -> list[dict[str, Any]]:
    return [{"field": d.path, "left": d.left, "right": d.right} for d in found]
