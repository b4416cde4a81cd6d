"""Is what came out what the case expects: the result field by field, the meta data, or the error?"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import isochat
from isochat.errors import ChatError
from isochat.notes import ADDED
from isochat.request import Api
from isochat.results import ChatResult
from isochat_conformance.case import Case
from isochat_conformance.expectation import ERROR_FIELDS, ExpectedError
from isochat_conformance.json_difference import differences, shown, without_empty
from isochat_conformance.modes import Mode, is_streamed
from isochat_conformance.strict_json import strict_json
from isochat_workspace.http.served_reply import ServerReply, ServerStream

_BOM = "\ufeff"


def check_result(result: ChatResult, case: Case, api: Api, mode: Mode, backend: str) -> Iterator[str]:
    """What is wrong with the result, a finding each."""
    expected = case.expect.result
    if expected is None:
        wanted = case.expect.error_in(is_streamed(mode))
        assert wanted is not None
        yield f"{wanted.cls} expected; the call returned {shown(result.to_dict())}"
        return
    for difference in _result_differences(expected, result):
        yield f"in the result, {difference}"
    raw_words = case.expect.raw_finish_reasons.get(api)
    if raw_words is not None and raw_words != [choice.raw_finish_reason for choice in result.choices]:
        words = [choice.raw_finish_reason for choice in result.choices]
        yield f"raw_finish_reason is {shown(words)}, expected {shown(raw_words)}"
    yield from _check_meta(result, case, api, mode, backend)
    if ChatResult.from_dict(result.to_dict()) != result:
        yield "ChatResult.from_dict(result.to_dict()) is not equal to the result"
    if pickle.loads(pickle.dumps(result)) != result:
        yield "the result does not survive pickling"


def _result_differences(expected: dict[str, Any] | None, result: ChatResult) -> Iterator[str]:
    # `object` names the shape itself; each result has it.
    found = {name: value for name, value in result.to_dict().items() if name != "object"}
    return differences(without_empty(expected), without_empty(found))


def _check_meta(result: ChatResult, case: Case, api: Api, mode: Mode, backend: str) -> Iterator[str]:
    meta, expected, reply = result.meta, case.expect.meta, case.served(api, mode)
    facts = {
        "backend": (backend, meta.backend),
        "endpoint": (case.id, meta.endpoint),
        "route": ("serving-endpoints", meta.route),
        "request_id": (expected.request_id, meta.request_id),
        "served_model": (expected.served_model, meta.served_model),
        "status_code": (reply.status, meta.status_code),
        "attempts": (len(case.wire[api].bodies(api, is_streamed(mode))), meta.attempts),
    }
    for name, (wanted, found) in facts.items():
        if wanted != found:
            yield f"meta.{name} is {shown(found)}, expected {shown(wanted)}"
    if not meta.client_call:
        yield "meta.client_call is empty; name the client's documented call in Reply.client_call"
    if not meta.elapsed > 0:
        yield f"meta.elapsed is {meta.elapsed!r}, expected seconds above 0"
    for header, sent in reply.sent_headers().items():
        name = header.lower()
        if meta.headers.get(name) != sent:
            yield f"meta.headers[{name!r}] is {shown(meta.headers.get(name))}, expected {shown(sent)}"
    if isinstance(reply, ServerStream):
        if meta.raw is not None:
            yield f"meta.raw is {shown(meta.raw)}; a folded stream has none"
    else:
        for difference in differences(_sent_json(reply), meta.raw):
            yield f"in meta.raw, {difference}"
    for difference in differences(expected.extra.get(api, meta.extra), meta.extra):
        yield f"in meta.extra, {difference}"
    words = expected.warnings.get(api, [])
    if is_streamed(mode):
        words = [*words, *expected.stream_warnings.get(api, [])]
    added = [warning for warning in meta.warnings if warning.startswith(f"{ADDED} ")]
    others = [warning for warning in meta.warnings if warning not in added]
    yield from _warning_differences(words, others)
    yield from _warning_differences([*_additions(case, api, mode)], added)


def _warning_differences(words: list[str], warnings: list[str]) -> Iterator[str]:
    if len(words) != len(warnings) or any(w not in told for w, told in zip(words, warnings, strict=False)):
        yield f"meta.warnings holds {shown(warnings)}, expected warnings that contain {shown(words)}"


def _additions(case: Case, api: Api, mode: Mode) -> Iterator[str]:
    """What stands on the wire that nobody asked for, and is to be told."""
    body = case.wire[api].bodies(api, is_streamed(mode))[-1]
    asked = {**case.ask.target_params, **case.ask.params}
    said = [tool.get("function", tool).get("strict") for tool in asked.get("tools") or ()]
    if api == "responses" and [tool.get("strict") for tool in body.get("tools", ())] != said:
        yield "strict"
    if "stream_options" in body and "stream_options" not in {**asked, **(asked.get("extra_body") or {})}:
        yield "stream_options"


def check_error(error: Exception, case: Case, api: Api, mode: Mode, backend: str, token: str) -> Iterator[str]:
    """What is wrong with the error, a finding each."""
    expected = case.expect.error_in(is_streamed(mode))
    if not isinstance(error, ChatError):
        yield f"{type(error).__name__} came through, which is no isochat error: {shown(str(error))}"
        return
    if expected is None:
        yield f"a result expected; the call raised {type(error).__name__}: {shown(str(error))}"
        return
    yield from _check_error_fields(error, expected)
    yield from _check_partial(error, expected, is_streamed(mode))
    yield from _check_located(error, case, backend, attempts=len(case.wire[api].bodies(api, is_streamed(mode))))
    if token in f"{error!r} {error} {error.body} {error.remedy}":
        yield "the token stands in the error"


def _check_error_fields(error: ChatError, expected: ExpectedError) -> Iterator[str]:
    if type(error) is not getattr(isochat, expected.cls, None):
        yield f"{type(error).__name__} was raised ({shown(error.message)}), expected {expected.cls}"
    for name in ERROR_FIELDS:
        wanted, found = getattr(expected, name), getattr(error, name)
        if wanted != found:
            yield f"the error's {name} is {shown(found)}, expected {shown(wanted)}"
    if expected.message not in error.message:
        yield f"the error's message is {shown(error.message)}, expected one with {shown(expected.message)}"
    if expected.remedy is not None and expected.remedy not in (error.remedy or ""):
        yield f"the error's remedy is {shown(error.remedy)}, expected one with {shown(expected.remedy)}"


def _check_partial(error: ChatError, expected: ExpectedError, streamed: bool) -> Iterator[str]:
    if error.partial is None:
        if streamed and (expected.partial is not None or isinstance(error, isochat.StreamError)):
            yield "the error has no partial; what had come before it must stand there"
    elif not streamed:
        yield f"the error's partial is {shown(error.partial.to_dict())}; a plain call has none"
    else:
        for difference in _result_differences(expected.partial, error.partial):
            yield f"in the error's partial, {difference}"


def _check_located(error: ChatError, case: Case, backend: str, attempts: int) -> Iterator[str]:
    facts = {"backend": backend, "endpoint": case.id, "attempts": attempts}
    for name, wanted in facts.items():
        if getattr(error, name) != wanted:
            yield f"the error's {name} is {shown(getattr(error, name))}, expected {shown(wanted)}"
    copy = pickle.loads(pickle.dumps(error))
    if type(copy) is not type(error) or str(copy) != str(error):
        yield "the error does not survive pickling"


def check_refusal(outcome: ChatResult | Exception, case: Case) -> Iterator[str]:
    """What is wrong with the refusal of a request that the backend's API cannot carry."""
    if isinstance(outcome, ChatResult):
        yield "UnsupportedParameterError expected, as the API cannot carry this request; the call returned a result"
    elif type(outcome) is not isochat.UnsupportedParameterError:
        yield (
            f"UnsupportedParameterError expected, as the API cannot carry this request; "
            f"{type(outcome).__name__} was raised: {shown(str(outcome))}"
        )
    elif not any(name in outcome.message for name in (*case.ask.params, "messages[")):
        yield f"the refusal does not name what cannot be carried: {shown(outcome.message)}"


def check_no_streaming(outcome: ChatResult | Exception) -> Iterator[str]:
    """What is wrong with the refusal of a stream by a backend that has none."""
    if type(outcome) is not isochat.UnsupportedParameterError or "stream" not in outcome.message:
        came = "a result" if isinstance(outcome, ChatResult) else f"{type(outcome).__name__}: {shown(str(outcome))}"
        yield f"UnsupportedParameterError naming the stream expected, as the backend has no streaming; got {came}"


def _sent_json(reply: ServerReply) -> Any:
    return strict_json(reply.body().decode().removeprefix(_BOM))
