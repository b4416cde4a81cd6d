"""Does the client's own object agree with the result, and what does it lack?

The result is read off the wire by isochat; one decoder compared with itself would prove nothing. The client parses the
same bytes by its own code into its own types. What these hold must equal the result; what they lack is lost to a user
of the bare client, and is listed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from isochat.backend import Backend
from isochat.comparison import Difference, losses
from isochat.errors import BadResponseError
from isochat.request import Api
from isochat.results import ChatResult
from isochat.wire_format.replies import read_reply

# What the result reads of a reply; its other fields at the top (custom_outputs, databricks_output) stay in meta.raw.
_READ = frozenset(
    {"id", "object", "created", "created_at", "model", "choices", "output", "messages", "usage", "status"}
)

# Headers that have a name of their own in the result; all others are told as one.
_NAMED_HEADERS = {"x-request-id": "meta.request_id", "served-model-name": "meta.served_model"}


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What reading ``meta.native`` showed.

    Attributes:
        findings: What is wrong, in words.
        lost: Paths of the result that the client's object lacks.
        altered: Where the client read something else in a reply at which clients may err: the path, and both in words.
        told: All paths of the result that have a value.
        unreadable: Why the client could not parse the reply, if it could not.
    """

    findings: tuple[str, ...]
    lost: tuple[str, ...] = ()
    altered: tuple[tuple[str, str], ...] = ()
    told: tuple[str, ...] = ()
    unreadable: str | None = None


def prove(backend: Backend, result: ChatResult, clients_may_err: bool) -> Proof:
    """Read ``result.meta.native`` and compare it with ``result``."""
    told, _ = losses(result, None)
    unread = _unread(result.meta.raw)
    told += [f"meta.raw.{name}" for name in unread]
    told += _lacking_headers({}, result.meta.headers)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            held = backend.held_by(result.meta.native)
            held_headers = backend.held_headers(result.meta.native, result.meta.headers) or {}
        except BadResponseError as error:
            unreadable = None if clients_may_err else f"meta.native cannot be read: {error.message}"
            return Proof(
                findings=() if unreadable is None else (unreadable,),
                lost=tuple(told),
                told=tuple(told),
                unreadable=error.message,
            )
    findings = [f"reading meta.native warns: {warning.message}" for warning in warned]
    answer, problem = _read(held, backend.capabilities.api)
    if problem is not None and not clients_may_err:
        findings.append(f"what held_by() gives for meta.native is no answer: {problem}")
    lost, contradictions = losses(result, answer)
    lost += [f"meta.raw.{name}" for name in unread if name not in (held or {})]
    lost += _lacking_headers(held_headers, result.meta.headers)
    contradictions += _headers_read_otherwise(held_headers, result.meta.headers)
    altered = tuple((one.path, str(one)) for one in contradictions)
    if not clients_may_err:
        findings += [f"the client's own object contradicts the result (result != client): {one}" for _, one in altered]
    return Proof(findings=tuple(findings), lost=tuple(lost), altered=altered, told=tuple(told), unreadable=problem)


def _lacking_headers(held: Mapping[str, str], sent: Mapping[str, str]) -> list[str]:
    lacking = sent.keys() - held.keys()
    return [path for name, path in _NAMED_HEADERS.items() if name in lacking] + ["meta.headers"] * bool(lacking)


def _headers_read_otherwise(held: Mapping[str, str], sent: Mapping[str, str]) -> Iterator[Difference]:
    for name, value in held.items():
        if value != sent.get(name):
            yield Difference(_NAMED_HEADERS.get(name, f"meta.headers.{name}"), sent.get(name), value)


def _unread(raw: Any) -> list[str]:
    if not isinstance(raw, Mapping):
        return []
    return [name for name, value in raw.items() if name not in _READ and value not in (None, {}, [])]


def _read(held: Mapping[str, Any] | None, api: Api) -> tuple[ChatResult | None, str | None]:
    if held is None:
        return None, "it holds nothing"
    try:
        return read_reply(held, api), None
    except BadResponseError as error:
        return None, error.message
