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

from isochat.backend import Surface
from isochat.request import Api, OnUnsupported

# By API, the paths on which it is spoken.
SURFACES: Mapping[Api, tuple[Surface, ...]] = {
    "chat-completions": ("invocations", "chat/completions"),
    "responses": ("responses",),
}
APIS: tuple[Api, ...] = tuple(SURFACES)


class CaseError(ValueError):
    """A case file is not well formed; the message names file, case and place."""


class _Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a case file."""


class Ask(_Data, frozen=True, kw_only=True):
    """The arguments of ``Client.chat``, and what the client was made with.

    Attributes:
        unset: Names of parameters given as ``isochat.UNSET``, which JSON has no word for.
        target_params: Parameters of the client's target: numbers, booleans, texts and lists of these.
        on_unsupported: The client's setting of that name.
    """

    messages: Any
    params: dict[str, Any] = {}
    unset: tuple[str, ...] = ()
    target_params: dict[str, int | float | bool | str | list[int | float | bool | str]] = {}
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
    """An error of :mod:`isochat.errors`, field by field. ``message`` and ``remedy`` are parts of its."""

    cls: str = msgspec.field(name="class")
    message: str
    remedy: str | None = None
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
        served_on: The paths on which this kind of endpoint answers; left out, all that speak an API of ``carried_by``.
            Any other path may have the words for the request and still reach no such endpoint: nothing can be asserted
            there, and the case is not applicable.
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
    served_on: tuple[Surface, ...] = ()
    clients_may_err: str | None = None

    def not_applicable(self, surface: Surface | None) -> str | None:
        """Why nothing can be asserted of a backend that asks on ``surface``; ``None`` where something can."""
        if not self.served_on or surface in self.served_on:
            return None
        asks = "does not say on which path it asks" if surface is None else f"asks on {surface}"
        return f"the endpoint answers on {' and '.join(self.served_on)} alone; this backend {asks}"


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
    for api in carried:
        if case.served_on and not set(case.served_on) & set(SURFACES[api]):
            yield f"served_on names no path that speaks {api}, which carried_by names"
    for surface in case.served_on:
        if not any(surface in SURFACES[api] for api in carried):
            yield f"served_on names {surface}, which speaks no API of carried_by"
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
