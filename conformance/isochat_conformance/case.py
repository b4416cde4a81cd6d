"""What is a case? What is asked, what the server replies, what must stand on the wire and what must come out.

The cases lie in ``cases/*.json``, a file for each theme, and are read strictly: a key that no field here names is an
error, and so is a case that contradicts itself. A field means the same in all of them; whoever adds a case adds data.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal

import msgspec

from isochat.backend import Surface
from isochat.request import Api, OnUnsupported
from isochat_conformance.expectation import Expectation, ExpectedMeta
from isochat_conformance.modes import MODES, Mode, is_streamed
from isochat_conformance.strict_json import CaseData, strict_json
from isochat_workspace.http.served_reply import ServerReply, ServerStream

# By API, the paths on which it is spoken.
SURFACES: Mapping[Api, tuple[Surface, ...]] = {
    "chat-completions": ("invocations", "chat/completions"),
    "responses": ("responses",),
}
APIS: tuple[Api, ...] = tuple(SURFACES)


class CaseError(ValueError):
    """A case file is not well formed; the message names file, case and place."""


class Ask(CaseData, frozen=True, kw_only=True):
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


class WireRequest(CaseData, frozen=True, kw_only=True):
    """The request as the server must receive it.

    Attributes:
        body: All of the JSON body but ``model``, ``stream`` and ``stream_options``, which the engine checks by itself:
            ``stream`` is absent in the plain modes and true in the streamed ones.
        headers: Headers it must carry, among others.
        usage: How the streamed modes ask for token counts on chat completions, where ``body`` does not say it: by
            ``stream_options: {"include_usage": true}``; ``refused``: the server refuses a first request that does, and
            a second one does not; ``unasked``: not at all. Never on Responses.
    """

    body: dict[str, Any]
    headers: dict[str, str] = {}
    usage: Literal["asked", "refused", "unasked"] = "asked"

    def bodies(self, api: Api, streamed: bool) -> list[dict[str, Any]]:
        """The bodies of the requests that must arrive, in turn."""
        if not streamed:
            return [self.body]
        plain = {**self.body, "stream": True}
        if api != "chat-completions" or "stream_options" in self.body or self.usage == "unasked":
            return [plain]
        asking = {**plain, "stream_options": {"include_usage": True}}
        return [asking] if self.usage == "asked" else [asking, plain]


class Case(CaseData, frozen=True, kw_only=True):
    """One case.

    Attributes:
        id: Its name, also that of the serving endpoint it is asked of.
        doc: What it proves, and what to mend where it fails.
        source: Where its shapes come from. The ones that were seen on the wire are numbered: ``payload fact 16`` in a
            comment or docstring means the shape of the cases whose source says so.
        carried_by: The APIs that can express it. On any other the request must be refused before it is sent.
        served_on: The paths on which this kind of endpoint answers; left out, all that speak an API of ``carried_by``.
            Any other path may have the words for the request and still reach no such endpoint: nothing can be asserted
            there, and the case is not applicable.
        reply, stream: What the server answers where no stream is asked for, and where one is. With both, the same must
            come out in all four modes: a stream folded is the plain answer. An error status in ``reply`` is also what
            a request for a stream gets, as it comes before anything is streamed.
        clients_may_err: Why a client's own parser may fail at this reply or read something else; the loss list then
            says what. Without it, ``meta.native`` must be readable and contradict nothing.
    """

    id: str
    doc: str
    source: str
    carried_by: tuple[Api, ...]
    ask: Ask
    wire: dict[Api, WireRequest]
    expect: Expectation
    reply: dict[Api, ServerReply] = {}
    stream: dict[Api, ServerStream] = {}
    served_on: tuple[Surface, ...] = ()
    clients_may_err: str | None = None

    def not_applicable(self, surface: Surface | None) -> str | None:
        """Why nothing can be asserted of a backend that asks on ``surface``; ``None`` where something can."""
        if not self.served_on or surface in self.served_on:
            return None
        asks = "does not say on which path it asks" if surface is None else f"asks on {surface}"
        return f"the endpoint answers on {' and '.join(self.served_on)} alone; this backend {asks}"

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes in which it can be asked."""
        refused = bool(self.reply) and all(reply.status >= 400 for reply in self.reply.values())
        kinds = {False: bool(self.reply), True: bool(self.stream) or refused}
        return tuple(mode for mode in MODES if kinds[is_streamed(mode)])

    def served(self, api: Api, mode: Mode) -> ServerReply | ServerStream:
        """What the server answers on ``api``."""
        return self.stream[api] if is_streamed(mode) and api in self.stream else self.reply[api]


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


def _problems(case: Case) -> Iterator[str]:
    carried = set(case.carried_by)
    if not case.id or not case.doc.strip() or not case.source.strip():
        yield "id, doc and source may not be empty"
    if not carried or len(carried) < len(case.carried_by):
        yield "carried_by must name at least one API, each once"
    for name, by_api in (("wire", case.wire), ("reply", case.reply), ("stream", case.stream)):
        if set(by_api) != carried and (by_api or name == "wire"):
            yield f"{name} must be given for exactly the APIs of carried_by"
    if not case.reply and not case.stream:
        yield "there must be a reply, a stream or both"
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
    if expect.stream_error is not None and (expect.error is None or set(case.modes) != set(MODES)):
        yield "stream_error is for a case of all modes that ends in an error in each"
    streamed = any(map(is_streamed, case.modes))
    if not streamed and (expect.chunks or expect.meta.stream_warnings):
        yield "chunks and stream_warnings are for a case that is streamed"
    by_api_told: dict[str, Mapping[Api, Any]] = {
        "raw_finish_reasons": expect.raw_finish_reasons,
        "chunks": expect.chunks,
        "meta.warnings": expect.meta.warnings,
        "meta.stream_warnings": expect.meta.stream_warnings,
        "meta.extra": expect.meta.extra,
    }
    for name, told in by_api_told.items():
        if not set(told) <= carried:
            yield f"{name} is given for an API that does not carry the case"


def _check_distinct(cases: Sequence[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        if seen.setdefault(case.id, case) is not case:
            raise CaseError(f"two cases have the id {case.id!r}")


def exchanges(case: Case) -> Mapping[tuple[Api, str], bytes]:
    """Request and reply by API and kind, as comparable bytes: no two cases may share one."""
    ask = msgspec.to_builtins(case.ask)
    told: dict[tuple[Api, str], bytes] = {}
    for api, reply in case.reply.items():
        answer = [reply.status, reply.sent_headers(), reply.body().hex()]
        told[api, "plain"] = json.dumps([ask, answer], sort_keys=True).encode()
    for api, stream in case.stream.items():
        told[api, "streamed"] = json.dumps([ask, msgspec.to_builtins(stream)], sort_keys=True).encode()
    return told
