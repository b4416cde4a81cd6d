"""Are the case files what they claim to be: distinct, whole, and strict about their own form?"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pytest

import isochat
from isochat import Reply, Request, errors
from isochat.parameters import ALIASES, PARAMETERS, NotCarried
from isochat.transport.wire import Wire
from isochat_adapters.rest import Rest
from isochat_conformance.case import APIS, CaseError, exchanges, load_cases, read_cases
from isochat_conformance.engine import Bench
from isochat_conformance.expectation import ExpectedChunks, ExpectedError, ExpectedMeta
from isochat_conformance.modes import MODES
from isochat_workspace.http.served_reply import ServerStream

CASES = load_cases()
# What never varies in an answer: it is the assistant's, and its tool calls are functions. `wire` keeps what a block
# looked like and is compared by nobody. `raw_finish_reason` differs by API and has expectations of its own.
_CONSTANT = {"Message.role", "ToolCall.type", "Choice.raw_finish_reason", "ChatResult.meta"}


def test_there_are_many_and_each_says_what_it_proves_and_where_it_comes_from() -> None:
    assert len(CASES) >= 430
    for case in CASES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", case.id), case.id
        assert len(case.doc) >= 20, case.id
        assert len(case.source) > 5, case.id


def test_both_apis_are_carried_and_one_of_them_is_refused_often() -> None:
    carried = Counter(api for case in CASES for api in case.carried_by)
    assert set(carried) == set(APIS)
    assert carried["chat-completions"] > carried["responses"] > 50


def test_every_recorded_payload_is_a_case() -> None:
    """Shapes collected from recordings, fixtures and runs, numbered; 36 is an endpoint's description."""
    named = {int(number) for case in CASES for number in re.findall(r"payload facts? (\d\d)", case.source)}
    assert named >= set(range(1, 36))
    streamed = {
        int(number) for case in CASES if case.stream for number in re.findall(r"payload fact (\d\d)", case.source)
    }
    assert streamed >= {1, 2, 8, 11, *range(14, 20), 24}


def test_many_cases_are_streamed_and_most_of_the_answers_in_all_four_modes() -> None:
    modes = Counter(case.modes for case in CASES)
    assert sum(bool(case.stream) for case in CASES) >= 300
    assert modes[MODES] >= 250
    assert modes[("stream", "async-stream")] >= 60
    for api in APIS:
        assert sum(api in case.stream for case in CASES) >= 150


def test_a_refusal_by_its_status_is_the_same_whether_a_stream_was_asked_for_or_not() -> None:
    refused = [case for case in CASES if case.reply and all(r.status >= 400 for r in case.reply.values())]
    assert len(refused) >= 60
    assert all(case.modes == MODES for case in refused)


def test_streams_are_told_in_every_framing_end_and_split() -> None:
    streams = [stream for case in CASES for stream in case.stream.values()]
    for field, known in (
        ("framing", {"chunked", "content-length", "close"}),
        ("end", {"clean", "cut"}),
        ("split", {"events", "bytes"}),
    ):
        assert {getattr(stream, field) for stream in streams} >= known


def test_no_id_reads_as_another_case_in_a_mode() -> None:
    ids = [f"{case.id}-{mode}" for case in CASES for mode in case.modes]
    assert len(set(ids)) == len(ids)


def test_every_parameter_is_asked_on_every_api_and_carried_by_those_that_have_it() -> None:
    carried: Counter[tuple[str, str]] = Counter()
    refused: Counter[str] = Counter()
    for case in CASES:
        for name in case.ask.params:
            carried.update((ALIASES.get(name, name), api) for api in case.carried_by)
            if "responses" not in case.carried_by and not case.served_on:
                refused[name] += 1
    for parameter in PARAMETERS:
        assert carried[parameter.name, "chat-completions"], parameter.name
        if isinstance(parameter.responses, NotCarried):
            assert refused[parameter.name], parameter.name
        else:
            assert carried[parameter.name, "responses"], parameter.name


def test_no_two_cases_share_both_request_and_reply() -> None:
    seen: dict[tuple[Any, bytes], str] = {}
    for case in CASES:
        for where, exchange in exchanges(case).items():
            other = seen.setdefault((where, exchange), case.id)
            assert other == case.id, f"{case.id} and {other} are the same exchange, {where}"


def test_no_two_cases_have_one_doc() -> None:
    assert [doc for doc, count in Counter(case.doc for case in CASES).items() if count > 1] == []


def test_every_field_of_a_result_is_asserted_by_at_least_two_cases() -> None:
    asserted: dict[str, set[str]] = {name: set() for name in _fields_of_results()}
    for case in CASES:
        if case.expect.result is not None:
            for name in _told_fields(isochat.ChatResult.from_dict(case.expect.result)):
                asserted[name].add(case.id)
    thin = {name: sorted(ids) for name, ids in asserted.items() if len(ids) < 2 and name not in _CONSTANT}
    assert thin == {}


def test_what_depends_on_reply_or_api_is_asserted_by_at_least_two_cases() -> None:
    asserted: Counter[str] = Counter()
    for case in CASES:
        expect = case.expect
        asserted["raw_finish_reasons"] += bool(expect.raw_finish_reasons)
        asserted["stream_error"] += bool(expect.stream_error)
        for api in APIS:
            for name in ExpectedChunks.__struct_fields__:
                asserted[f"chunks.{name}"] += bool(getattr(expect.chunks.get(api), name, None))
        for name in ExpectedMeta.__struct_fields__:
            asserted[name] += bool(getattr(expect.meta, name))
        for name in ExpectedError.__struct_fields__:
            asserted[f"error.{name}"] += bool(expect.error is not None and getattr(expect.error, name))
    assert {name: count for name, count in asserted.items() if count < 2} == {}


def test_every_class_of_a_status_error_has_a_case() -> None:
    raised = {case.expect.error.cls for case in CASES if case.expect.error is not None}
    classes = {
        name for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, errors.StatusError)
    }
    assert classes <= raised
    assert raised >= {"BadResponseError", "StreamTruncatedError", "StreamFailedError"}


def test_a_case_that_echoes_the_token_is_served_with_the_one_that_is_sent() -> None:
    echoing = next(case for case in CASES if case.id == "error-401-echoes-the-token")
    assert all(b"{{token}}" in reply.body() for reply in echoing.reply.values())

    class Echoed(Rest):
        bodies: ClassVar[list[bytes]] = []

        def complete(self, request: Request, wire: Wire) -> Reply:
            reply = super().complete(request, wire)
            self.bodies.append(reply.body)
            return reply

    with Bench() as bench:
        assert bench.run(Echoed, echoing).findings == ()
    (body,) = Echoed.bodies
    assert b"bad header: Bearer " in body
    assert b"{{token}}" not in body


GOOD: dict[str, Any] = {
    "id": "a",
    "doc": "d",
    "source": "s",
    "carried_by": ["responses"],
    "ask": {"messages": "Hello"},
    "wire": {"responses": {"body": {"input": []}}},
    "reply": {"responses": {"text": ""}},
    "expect": {"result": {"id": "r"}},
}
ERROR = {"class": "C", "message": "m", "status_code": 400, "retryable": False, "may_have_executed": False}


def test_a_case_says_that_clients_may_err_only_where_one_of_them_does() -> None:
    marked = [case for case in load_cases() if case.clients_may_err is not None]
    unmarked = [msgspec.structs.replace(case, clients_may_err=None) for case in marked]
    with Bench() as bench:
        outcomes = [
            outcome
            for backend in ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
            for outcome in bench.run_all(backend, unmarked, ["sync"])
        ]

    assert marked
    assert {case.id for case in marked} == {outcome.case for outcome in outcomes if outcome.findings}


def test_a_good_case_is_read() -> None:
    (case,) = read_cases(json.dumps([GOOD]), "f.json")
    assert case.reply["responses"].body() == b""
    assert case.expect.error is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": 1}, "unknown field `colour`"),
        ({"ask": {"messages": "Hello", "temperature": 0}}, "unknown field `temperature`"),
        ({"expect": {"error": {**ERROR, "extra": 1}}}, "unknown field `extra`"),
        ({"carried_by": ["soap"]}, "Invalid enum value 'soap'"),
        ({"carried_by": []}, "carried_by must name at least one API"),
        ({"carried_by": ["responses", "chat-completions"]}, "wire must be given for exactly the APIs"),
        ({"served_on": ["invocations"]}, "no path that speaks responses"),
        ({"served_on": ["responses", "invocations"]}, "speaks no API of carried_by"),
        ({"reply": {}}, "there must be a reply, a stream or both"),
        ({"reply": {"chat-completions": {"text": ""}}}, "reply must be given for exactly the APIs"),
        ({"stream": {"chat-completions": {"events": []}}}, "stream must be given for exactly the APIs"),
        ({"stream": {"responses": {"events": [1]}}}, "got `int` - at `$[0].stream[...].events[0]`"),
        ({"stream": {"responses": {"events": [], "end": "soon"}}}, "Invalid enum value 'soon'"),
        ({"wire": {"responses": {"body": {}, "usage": "never"}}}, "Invalid enum value 'never'"),
        ({"expect": {"result": {}, "chunks": {"responses": {}}}}, "for a case that is streamed"),
        ({"expect": {"error": ERROR, "stream_error": ERROR}}, "stream_error is for a case of all modes"),
        ({"reply": {"responses": {}}}, "either json or text"),
        ({"reply": {"responses": {"text": "", "json": None}}}, "either json or text"),
        ({"expect": {}}, "either result or error"),
        ({"expect": {"result": {}, "error": ERROR}}, "either result or error"),
        ({"expect": {"error": ERROR, "meta": {"request_id": "q"}}}, "an error has no meta"),
        ({"expect": {"result": {}, "raw_finish_reasons": {"chat-completions": []}}}, "does not carry the case"),
        ({"doc": " "}, "may not be empty"),
        ({"source": None}, "Expected `str`"),
    ],
)
def test_a_case_that_is_not_well_formed_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(CaseError) as caught:
        read_cases(json.dumps([{**GOOD, **change}]), "f.json")
    assert str(caught.value).startswith("f.json: ")
    assert said in str(caught.value)


def test_an_event_is_sent_as_data_and_a_text_as_it_stands() -> None:
    stream = ServerStream(events=[{"a": "é"}, ": ping\r\r", "data: \udcff\n\n", {"type": "ping"}, "[DONE]", {"b": 1}])
    assert (
        stream.body()
        == b'data: {"a":"\xc3\xa9"}\n\n: ping\r\rdata: \xff\n\ndata: {"type":"ping"}\n\n[DONE]data: {"b":1}\n\n'
    )
    assert len(stream.pieces()) == 6
    assert stream.told() == [{"a": "é"}]
    single = ServerStream(events=[{"a": 1}], split="bytes")
    assert (set(map(len, single.pieces())), single.body()) == ({1}, b'data: {"a":1}\n\n')


@pytest.mark.parametrize(
    ("text", "said"), [('[{"id": "a", "id": "b"}]', "'id' twice"), ("[NaN]", "NaN is not JSON"), ("{", "f.json: ")]
)
def test_a_file_that_is_no_strict_json_is_refused(text: str, said: str) -> None:
    with pytest.raises(CaseError, match=said):
        read_cases(text, "f.json")


def _fields_of_results() -> Iterator[str]:
    for cls in vars(isochat.results).values():
        if isinstance(cls, type) and issubclass(cls, isochat.results.Record) and cls is not isochat.results.Record:
            for name in cls.__struct_fields__:
                if cls is not isochat.Meta and name != "wire":
                    yield f"{cls.__name__}.{name}"


def _told_fields(value: Any) -> Iterator[str]:
    """The fields in and below ``value`` that are not at their defaults."""
    if isinstance(value, tuple):
        for item in value:
            yield from _told_fields(item)
    elif isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            item = getattr(value, field.name)
            default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
            if field.name != "wire" and (default is msgspec.NODEFAULT or item != default):
                yield f"{type(value).__name__}.{field.name}"
                yield from _told_fields(item)
