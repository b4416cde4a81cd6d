"""The judge is judged: a backend with exactly one defect fails exactly the case named for it, and no other.

The defects are those that real adapters have had: a falsy value dropped, a list made of a text, a retry of one's own,
a usage of zero for one that was not reported. Each is a subclass of a real adapter.
"""

from __future__ import annotations

import http.client
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
import pytest

from isochat import Backend, Reply, Request
from isochat.transport.wire import Wire
from isochat_adapters.databricks_sdk import DatabricksSDK
from isochat_adapters.mlflow_deployments import MlflowDeployments
from isochat_adapters.openai_chat import OpenAIChat
from isochat_adapters.openai_responses import OpenAIResponses
from isochat_adapters.rest import Rest
from isochat_conformance import BackendConformance
from isochat_conformance.case import load_cases
from isochat_conformance.engine import Bench

DEFECTS: list[tuple[type[Backend], str, str]] = []


def defect(case: str, said: str) -> Callable[[type[Backend]], type[Backend]]:
    """Enlist a defective backend with the one case that must fail, and words of its finding."""

    def enlist(backend: type[Backend]) -> type[Backend]:
        DEFECTS.append((backend, case, said))
        return backend

    return enlist


def with_body(request: Request, body: dict[str, Any]) -> Request:
    return msgspec.structs.replace(request, body=body)


# -------------------------------------------------------------------------------- what is asked


@defect("param-top-p", "top_p is absent, expected 0.9")
class DropsTopP(OpenAIChat):
    def complete(self, request: Request, wire: Wire) -> Reply:
        kept = {name: value for name, value in request.body.items() if name != "top_p"}
        return super().complete(with_body(request, kept), wire)


@defect("param-temperature-zero", "temperature is absent, expected 0")
class DropsZero(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        kept = {name: value for name, value in request.body.items() if value is False or value != 0}
        return super().complete(with_body(request, kept), wire)


@defect("param-parallel-tool-calls", "parallel_tool_calls is absent, expected false")
class DropsFalse(MlflowDeployments):
    def complete(self, request: Request, wire: Wire) -> Reply:
        kept = {name: value for name, value in request.body.items() if value is not False}
        return super().complete(with_body(request, kept), wire)


@defect("param-stop-list", 'stop is "END", expected ["END", "\\n\\n"]')
class TakesTheFirstStop(DatabricksSDK):
    def complete(self, request: Request, wire: Wire) -> Reply:
        body = dict(request.body)
        if isinstance(body.get("stop"), list):
            body["stop"] = body["stop"][0]
        return super().complete(with_body(request, body), wire)


@defect("param-databricks-options", "extra_params")
class NestsDatabricksOptions(DatabricksSDK):
    def complete(self, request: Request, wire: Wire) -> Reply:
        body = dict(request.body)
        if body.keys() == {"messages", "databricks_options"}:
            body["extra_params"] = {"databricks_options": body.pop("databricks_options")}
        return super().complete(with_body(request, body), wire)


@defect("param-usage-context", "usage_context is absent")
class DropsUsageContext(OpenAIResponses):
    def complete(self, request: Request, wire: Wire) -> Reply:
        kept = {name: value for name, value in request.body.items() if name != "usage_context"}
        return super().complete(with_body(request, kept), wire)


@defect("param-extra-headers", "the header X-Team is None, expected 'search'")
class DropsExtraHeaders(MlflowDeployments):
    def complete(self, request: Request, wire: Wire) -> Reply:
        wire.own_headers = {}
        return super().complete(request, wire)


@defect("messages-developer-role", 'messages[0].role is "system", expected "developer"')
class MakesDeveloperSystem(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        messages = [
            {**message, "role": "system" if message["role"] == "developer" else message["role"]}
            for message in request.messages
        ]
        return super().complete(with_body(request, {**request.body, "messages": messages}), wire)


@defect("messages-line-separators", "messages[0].content is")
class BreaksLinesByUnicode(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        messages = [
            {**message, "content": message["content"].replace("\u2028", "\n")}
            if isinstance(message.get("content"), str)
            else message
            for message in request.messages
        ]
        return super().complete(with_body(request, {**request.body, "messages": messages}), wire)


@defect("messages-thought-signature", "tool_calls[0].thoughtSignature is absent")
class LosesThoughtSignatures(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        body = json.loads(json.dumps(request.body))
        for message in body["messages"]:
            for call in message.get("tool_calls") or ():
                call.pop("thoughtSignature", None)
        return super().complete(with_body(request, body), wire)


@defect("agent-chat-custom-inputs", "in the body on the wire, custom_inputs.filters is absent")
class DropsNullsForAgents(MlflowDeployments):
    def complete(self, request: Request, wire: Wire) -> Reply:
        inputs = request.body.get("custom_inputs")
        if not isinstance(inputs, Mapping) or inputs.keys() != {"session", "filters"}:
            return super().complete(request, wire)
        kept = {name: value for name, value in inputs.items() if value is not None}
        return super().complete(with_body(request, {**request.body, "custom_inputs": kept}), wire)


# -------------------------------------------------------------------------------- what is sent


@defect("error-529", "the server received 2 POST requests, expected exactly 1")
class RetriesOverloadItself(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        reply = super().complete(request, wire)
        if reply.status == 529:
            send_outside_the_wire(self, "POST", wire, wire.request_body)
        return reply


@defect("error-404-endpoint", "the call also sent GET /api/2.0/serving-endpoints")
class LooksForTheEndpoint(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        reply = super().complete(request, wire)
        if reply.status == 404 and b"RESOURCE_DOES_NOT_EXIST" in reply.body:
            send_outside_the_wire(self, "GET", wire, b"", "/api/2.0/serving-endpoints")
        return reply


def send_outside_the_wire(backend: Backend, method: str, wire: Wire, body: bytes, path: str | None = None) -> None:
    connection = http.client.HTTPConnection(urlsplit(backend.setup.host).netloc, timeout=10)
    headers = {**wire.credentials, "Content-Type": "application/json"}
    connection.request(method, path or urlsplit(wire.url).path, body, headers)
    connection.getresponse().read()
    connection.close()


# -------------------------------------------------------------------------------- what comes out


class ChangesTheReply(Rest):
    """Hands over another reply than the one that stood on the wire."""

    def complete(self, request: Request, wire: Wire) -> Reply:
        reply = super().complete(request, wire)
        try:
            data = json.loads(reply.body)
        except ValueError:
            return reply
        if not isinstance(data, dict) or not self.change(data):
            return reply
        return msgspec.structs.replace(reply, body=json.dumps(data).encode())

    def change(self, data: dict[str, Any]) -> bool:
        raise NotImplementedError


def choices_of(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in data.get("choices") or ():
        if isinstance(choice, dict):
            yield choice


@defect("usage-null", "usage is {")
class InventsUsage(ChangesTheReply):
    def change(self, data: dict[str, Any]) -> bool:
        if "usage" not in data or data["usage"] is not None:
            return False
        data["usage"] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return True


@defect("answer-whitespace", 'content is "A", expected "\\n  A \\n\\n"')
class StripsTheText(ChangesTheReply):
    def change(self, data: dict[str, Any]) -> bool:
        changed = False
        for choice in choices_of(data):
            text = choice["message"].get("content")
            if isinstance(text, str) and text != text.strip():
                choice["message"]["content"] = text.strip()
                changed = True
        return changed


@defect("finish-unknown-word", 'finish_reason is "stop", expected "unknown"')
class TakesTheUnknownForStop(ChangesTheReply):
    def change(self, data: dict[str, Any]) -> bool:
        known = ("stop", "length", "content_filter", "tool_calls", "function_call", "error", None)
        known += ("cancelled", "incomplete")  # a list of its own, which lacks one
        unknown = [choice for choice in choices_of(data) if choice.get("finish_reason") not in known]
        for choice in unknown:
            choice["finish_reason"] = "stop"
        return bool(unknown)


@defect("finish-content-filter", "finish_reason is absent, expected")
class LosesTheFinishReason(ChangesTheReply):
    def change(self, data: dict[str, Any]) -> bool:
        filtered = [
            choice
            for choice in choices_of(data)
            if choice.get("finish_reason") == "content_filter" and choice["message"].get("content")
        ]
        for choice in filtered:
            del choice["finish_reason"]
        return bool(filtered)


@defect("answer-response-headers-case", "meta.request_id is null")
class ReadsHeadersByCase(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        reply = super().complete(request, wire)
        kept = [(name, value) for name, value in reply.headers if name != "X-Request-ID"]
        return msgspec.structs.replace(reply, headers=kept)


@defect("error-503", "the error's retry_after is 2.0, expected 2.5")
class ReadsWholeSecondsOnly(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        reply = super().complete(request, wire)
        wire.headers = [(name, "2" if value == "2.5" else value) for name, value in wire.headers]
        return reply


@defect("error-429-empty", "RateLimitError expected; the call returned")
class SwallowsTheRateLimit(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        reply = super().complete(request, wire)
        if reply.status == 429 and not reply.body:
            wire.status = 200
            body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}}]}
            return msgspec.structs.replace(reply, status=200, body=json.dumps(body).encode())
        return reply


# -------------------------------------------------------------------------------- what the client says of it


@defect("finish-length", "the client's own object contradicts the result")
class ItsClientContradicts(Rest):
    def held_by(self, native: Any) -> Mapping[str, Any] | None:
        first = (native.get("choices") or [{}])[0]
        if first.get("finish_reason") == "length" and first["message"].get("content"):
            return {**native, "choices": [{**first, "finish_reason": "stop"}]}
        return super().held_by(native)


@defect("answer-response-headers", "the client's own object contradicts the result (result != client): meta.request_id")
class ItsClientContradictsTheRequestId(OpenAIChat):
    def held_headers(self, native: Any, sent: Mapping[str, str]) -> Mapping[str, str] | None:
        held = super().held_headers(native, sent)
        if held is None or "served-model-name" not in sent or len(held["x-request-id"]) != 36:
            return held
        return {"x-request-id": held["x-request-id"][:8]}


@defect("answer-long", "what held_by() gives for meta.native is no answer: it holds nothing")
class HidesItsClient(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        reply = super().complete(request, wire)
        return msgspec.structs.replace(reply, native=None) if len(reply.body) > 10_000 else reply


@defect("blocks-unknown-type-only", "reading meta.native warns: an unknown block")
class WarnsOfUnknownBlocks(OpenAIChat):
    def held_by(self, native: Any) -> Mapping[str, Any] | None:
        held = super().held_by(native)
        if "server_tool_use" in json.dumps(held):
            warnings.warn("an unknown block", stacklevel=2)
        return held


@defect("answer-null-content", "meta.native cannot be read")
class ItsClientTripsOverNull(OpenAIResponses):
    def complete(self, request: Request, wire: Wire) -> Reply:
        reply = super().complete(request, wire)
        return msgspec.structs.replace(reply, native=trip) if b'"output":[]' in reply.body and has_id(reply) else reply


def has_id(reply: Reply) -> bool:
    return json.loads(reply.body)["id"] is not None


def trip() -> Any:
    raise KeyError("content")


# -------------------------------------------------------------------------------- the judgement


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as running:
        yield running


def test_there_are_enough_defects_of_each_adapter() -> None:
    assert len({case for _, case, _ in DEFECTS}) == len(DEFECTS) >= 20
    for adapter in (Rest, OpenAIChat, OpenAIResponses, MlflowDeployments, DatabricksSDK):
        assert any(issubclass(backend, adapter) for backend, _, _ in DEFECTS)


@pytest.mark.parametrize(("backend", "case", "said"), DEFECTS, ids=[backend.__name__ for backend, _, _ in DEFECTS])
def test_a_defect_fails_the_case_named_for_it_and_no_other(
    backend: type[Backend], case: str, said: str, bench: Bench
) -> None:
    failed = {outcome.case: outcome.findings for outcome in bench.run_all(backend, load_cases()) if not outcome.passed}
    assert list(failed) == [case], failed
    assert any(said in finding for finding in failed[case]), failed[case]


# -------------------------------------------------------------------------------- the pytest class


def run_case(suite: type[BackendConformance], name: str) -> None:
    case = next(case for case in load_cases() if case.id == name)
    suite.setup_class()
    try:
        suite().test_case(case)
    finally:
        suite.teardown_class()


class SuiteOfStripper(BackendConformance):
    backend = StripsTheText


class SuiteOfStripperWithGap(SuiteOfStripper):
    gaps: ClassVar[Mapping[str, str]] = {"answer-whitespace": "never: this client strips", "finish-stop": "notyet"}


def test_a_failing_case_says_what_it_proves_and_what_is_wrong() -> None:
    with pytest.raises(pytest.fail.Exception) as caught:
        run_case(SuiteOfStripper, "answer-whitespace")
    assert "nobody strips" in str(caught.value)
    assert 'content is "A", expected' in str(caught.value)


def test_a_gap_with_a_reason_is_an_expected_failure() -> None:
    with pytest.raises(pytest.xfail.Exception, match="never: this client strips"):
        run_case(SuiteOfStripperWithGap, "answer-whitespace")


def test_a_gap_that_has_begun_to_pass_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="'finish-stop' has begun to pass"):
        run_case(SuiteOfStripperWithGap, "finish-stop")


@pytest.mark.parametrize(
    ("gaps", "said"), [({"no-such-case": "why"}, "do not exist"), ({"finish-stop": " "}, "without a reason")]
)
def test_gaps_are_checked(gaps: Mapping[str, str], said: str) -> None:
    suite = type("Suite", (SuiteOfStripper,), {"gaps": gaps})
    with pytest.raises(AssertionError, match=said):
        suite().test_gaps_are_known_cases_with_a_reason()


def test_the_suite_cannot_be_hollowed_out() -> None:
    suite = type("Suite", (SuiteOfStripper,), {"test_case": lambda self: None})
    with pytest.raises(AssertionError, match="overridden"):
        suite().test_the_suite_is_whole()
