"""What is a case? What is asked, what the server replies, what must stand on the wire and what must come out.

The cases lie in ``cases/*.json``, a file for each theme, and are read strictly: a key that no field here names is an
error, and so is a case that contradicts itself. A field means the same in all of them; whoever adds a case adds data.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import msgspec

from isochat.request import Api, OnUnsupported

APIS: tuple[Api, ...] = ("chat-completions", "responses")


class CaseError(ValueError):
    """A case file is not well formed; the message names file, case and place."""


class _Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a case file."""


class Ask(_Data, frozen=True, kw_only=True):
    """The arguments of ``Client.chat``, and the client's setting ``on_unsupported``."""

    messages: Any
    params: dict[str, Any] = {}
    on_unsupported: OnUnsupported = "raise"


class WireRequest(_Data, frozen=True, kw_only=True):
    """The request as the server must receive it.

    Attributes:
        body: All of the JSON body but ``model``, which the engine checks by itself.
        headers: Headers it must carry, among others.
    """

    body: dict[str, Any]
    headers: dict[str, str] = {}


class ServerReply(_Data, frozen=True, kw_only=True):
    """The reply of the server: its body as ``json`` (sent as UTF-8, with that content type) or as ``text``."""

    status: int = 200
    headers: dict[str, str] = {}
    json: Any = msgspec.UNSET
    text: str | None = None

    def body(self) -> bytes:
        """The bytes that are sent."""
        if self.text is not None:
            return self.text.encode()
        return json.dumps(self.json, ensure_ascii=False, separators=(",", ":")).encode()

    def sent_headers(self) -> dict[str, str]:
        """The headers that are sent, but for ``content-length``."""
        return self.headers if self.text is not None else {"content-type": "application/json", **self.headers}


class ExpectedMeta(_Data, frozen=True, kw_only=True):
    """``meta``, as far as the reply decides it. ``warnings``: for an API, words that its warnings contain in turn."""

    request_id: str | None = None
    served_model: str | None = None
    warnings: dict[Api, list[str]] = {}


class ExpectedError(_Data, frozen=True, kw_only=True):
    """An error of :mod:`isochat.errors`, field by field. ``message`` is a part of the error's message."""

    cls: str = msgspec.field(name="class")
    message: str
    status_code: int
    retryable: bool
    may_have_executed: bool
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None


class Expectation(_Data, frozen=True, kw_only=True):
    """A result or an error.

    Attributes:
        result: The answer in the shape of ``ChatResult.to_dict()``. What is left out must be ``None`` or empty.
        raw_finish_reasons: For an API, the words that stood on the wire, a choice each.
    """

    result: dict[str, Any] | None = None
    raw_finish_reasons: dict[Api, list[str | None]] = {}
    meta: ExpectedMeta = ExpectedMeta()
    error: ExpectedError | None = None


class Case(_Data, frozen=True, kw_only=True):
    """One case.

    Attributes:
        id: Its name, also that of the serving endpoint it is asked of.
        doc: What it proves, and what to mend where it fails.
        source: Where its shapes come from.
        carried_by: The APIs that can express it. On any other the request must be refused before it is sent.
        clients_may_err: Why a client's own parser may fail at this reply or read something else; the loss list then
            says what. Without it, ``meta.native`` must be readable and contradict nothing.
    """

    id: str
    doc: str
    source: str
    carried_by: tuple[Api, ...]
    ask: Ask
    wire: dict[Api, WireRequest]
    reply: dict[Api, ServerReply]
    expect: Expectation
    clients_may_err: str | None = None


@functools.cache
def load_cases() -> tuple[Case, ...]:
    """All cases, in the order of their files' names.

    Raises:
        CaseError: a file is not well formed, or two cases have one id.
    """
    cases = []
    folder = files("isochat_conformance") / "cases"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            cases.extend(read_cases(file.read_text(encoding="utf-8"), file.name))
    _check_distinct(cases)
    return tuple(cases)


def read_cases(text: str, where: str) -> list[Case]:
    """The cases that ``text``, the content of a file called ``where``, holds.

    Raises:
        CaseError: it is no JSON list of cases, names an unknown field or a key twice, or a case contradicts itself.
    """
    try:
        cases = msgspec.convert(strict_json(text), list[Case])
    except (ValueError, msgspec.ValidationError) as error:
        raise CaseError(f"{where}: {error}") from None
    for case in cases:
        for problem in _problems(case):
            raise CaseError(f"{where}: case {case.id!r}: {problem}")
    return cases


def strict_json(text: str | bytes) -> Any:
    """JSON read without mercy.

    Raises:
        ValueError: it is none, or an object has a key twice, which readers resolve in different ways.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        twice = sorted({name for name, _ in pairs if [key for key, _ in pairs].count(name) > 1})
        raise ValueError(f"an object has {', '.join(map(repr, twice))} twice")
    return read


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _problems(case: Case) -> Iterator[str]:
    carried = set(case.carried_by)
    if not case.id or not case.doc.strip() or not case.source.strip():
        yield "id, doc and source may not be empty"
    if not carried or len(carried) < len(case.carried_by):
        yield "carried_by must name at least one API, each once"
    for name, by_api in (("wire", case.wire), ("reply", case.reply)):
        if set(by_api) != carried:
            yield f"{name} must be given for exactly the APIs of carried_by"
    for api, reply in case.reply.items():
        if (reply.text is None) == (reply.json is msgspec.UNSET):
            yield f"the reply for {api} must have either json or text"
    expect = case.expect
    if (expect.result is None) == (expect.error is None):
        yield "expect must have either result or error"
    if expect.error is not None and (expect.meta != ExpectedMeta() or expect.raw_finish_reasons):
        yield "an error has no meta and no finish reasons"
    for name, told in (("raw_finish_reasons", expect.raw_finish_reasons), ("meta.warnings", expect.meta.warnings)):
        if not set(told) <= carried:
            yield f"{name} is given for an API that does not carry the case"


def _check_distinct(cases: Sequence[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        if seen.setdefault(case.id, case) is not case:
            raise CaseError(f"two cases have the id {case.id!r}")


def exchanges(case: Case) -> Mapping[Api, bytes]:
    """Request and reply by API, as comparable bytes: no two cases may share one."""
    ask = msgspec.to_builtins(case.ask)
    return {
        api: json.dumps([ask, reply.status, reply.sent_headers(), reply.body().hex()], sort_keys=True).encode()
        for api, reply in case.reply.items()
    }
