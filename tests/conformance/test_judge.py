"""The judge is judged: a backend with exactly one defect fails exactly the case named for it, and no other.

The defects are those that real adapters have had: a falsy value dropped, a list made of a text, a retry of one's own,
a usage of zero for one that was not reported. Each is a subclass of a real adapter.
"""

from __future__ import annotations

import http.client
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
import pytest

from isochat import Backend, ChatError, Reply, Request, UnsupportedParameterError
from isochat.backend import StreamReply
from isochat.transport.async_wire import AsyncWire
from isochat.transport.wire import Wire
from isochat_adapters.databricks_sdk import DatabricksSDK
from isochat_adapters.mlflow_deployments import MlflowDeployments
from isochat_adapters.openai_chat import OpenAIChat
from isochat_adapters.openai_responses import OpenAIResponses
from isochat_adapters.rest import Rest
from isochat_conformance import BackendConformance
from isochat_conformance.case import load_cases
from isochat_conformance.engine import Bench
from isochat_conformance.modes import MODES, Mode

DEFECTS: list[tuple[type[Backend], str, str, Mode]] = []


def defect(case: str, said: str, mode: Mode = "sync") -> Callable[[type[Backend]], type[Backend]]:
    """Enlist a defective backend with the one case that must fail, words of its finding, and the mode it lives in."""

    def enlist(backend: type[Backend]) -> type[Backend]:
        DEFECTS.append((backend, case, said, mode))
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
            # A text that begins with a space, as the one of this case alone does: Llama's "Hello! " is for other cases.
            if isinstance(text, str) and text != text.lstrip():
                choice["message"]["content"] = text.strip()
                changed = True
        return changed


@defect("finish-unknown-word", 'finish_reason is "stop", expected "unknown"')
class TakesTheUnknownForStop(ChangesTheReply):
    def change(self, data: dict[str, Any]) -> bool:
        known = ("stop", "length", "content_filter", "tool_calls", "function_call", "error", "", None)
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


# -------------------------------------------------------------------------------- on an event loop


@defect("param-top-p", "top_p is absent, expected 0.9", "async")
class DropsTopPOnALoop(OpenAIChat):
    async def acomplete(self, request: Request, wire: AsyncWire) -> Reply:
        kept = {name: value for name, value in request.body.items() if name != "top_p"}
        return await super().acomplete(with_body(request, kept), wire)


@defect("answer-response-headers-case", "meta.request_id is null", "async")
class ReadsHeadersByCaseOnALoop(Rest):
    async def acomplete(self, request: Request, wire: AsyncWire) -> Reply:
        reply = await super().acomplete(request, wire)
        kept = [(name, value) for name, value in reply.headers if name != "X-Request-ID"]
        return msgspec.structs.replace(reply, headers=kept)


@defect("finish-length", "meta.native cannot be read", "async")
class ItsAsyncClientTrips(OpenAIResponses):
    async def acomplete(self, request: Request, wire: AsyncWire) -> Reply:
        reply = await super().acomplete(request, wire)
        cut_off = json.loads(reply.body).get("id") == "finish-length" if reply.status == 200 and reply.body else False
        return msgspec.structs.replace(reply, native=trip) if cut_off else reply


@defect("stream-responses-parameters", "stream_options is", "async-stream")
class AsksResponsesForUsage(OpenAIResponses):
    async def astream(self, request: Request, wire: AsyncWire) -> None:
        body = dict(request.body)
        if (body.get("max_output_tokens"), body.get("temperature")) == (5, 0.5):
            body["stream_options"] = {"include_usage": True}
        await super().astream(with_body(request, body), wire)


# -------------------------------------------------------------------------------- whole or as a stream


@defect("param-presence-penalty", "stream is absent, expected true", "stream")
class FoldsAPlainCall(Rest):
    """Hands out a plain call as if it had been streamed; here where nothing but a presence_penalty is given."""

    def stream(self, request: Request, wire: Wire) -> Any:
        if request.body.keys() != {"messages", "presence_penalty", "stream_options"}:
            return super().stream(request, wire)
        wire.streaming = False
        return super().complete(request, wire)


@defect("param-frequency-penalty", "stream is true, expected absent")
class FoldsAStream(Rest):
    def complete(self, request: Request, wire: Wire) -> Reply:
        more = {"stream": True} if request.body.keys() == {"messages", "frequency_penalty"} else {}
        return super().complete(with_body(request, {**request.body, **more}), wire)


@defect("param-logit-bias", "stream_options is absent, expected", "stream")
class AsksForNoUsage(MlflowDeployments):
    def stream(self, request: Request, wire: Wire) -> None:
        choosy = request.body.keys() == {"messages", "logit_bias", "stream_options"}
        kept = {name: v for name, v in request.body.items() if not choosy or name != "stream_options"}
        super().stream(with_body(request, kept), wire)


# -------------------------------------------------------------------------------- what a stream brings


class _Tampered:
    """The body of a stream, all of it changed at once."""

    def __init__(self, source: Any, change: Callable[[bytes], bytes]) -> None:
        self._source = source
        self._change = change
        self._pieces: list[bytes] | None = None
        self._broken: Exception | None = None
        self.delimited = source.delimited

    def read1(self) -> bytes:
        if self._pieces is None:
            read = []
            try:
                while piece := self._source.read1():
                    read.append(piece)
            except ChatError as error:
                self._broken = error
            self._pieces = [self._change(b"".join(read))]
        if self._pieces:
            return self._pieces.pop() or self.read1()
        if self._broken is not None:
            raise self._broken
        return b""

    def close(self) -> None:
        self._source.close()


class ChangesTheStream(Rest):
    """Reads to the end, changes what it has read, and hands it over."""

    def stream(self, request: Request, wire: Wire) -> None:
        super().stream(request, wire)
        if wire.incoming is not None:
            wire.incoming = _Tampered(wire.incoming, self.change)  # type: ignore[assignment]

    def change(self, data: bytes) -> bytes:
        return data


def data_of(event: bytes) -> Any:
    try:
        return json.loads(event.removeprefix(b"data: "))
    except ValueError:
        return None


@defect("stream-usage-last-chunk", "usage is absent, expected", "stream")
class DropsTheLastChunk(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        finish = b'"delta":{"content":""},"finish_reason":"stop"}]}\n\n'
        before, said, after = data.partition(finish)
        return before + said if said and data.count(b'"usage"') == 1 and b"[DONE]" not in after else data


@defect("stream-done-alone", "StreamTruncatedError expected; the call returned", "stream")
class TakesDoneForCompletion(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        done = b"data: [DONE]"
        if (
            done not in data
            or b'"choices":[{' not in data
            or data.count(b'"finish_reason":null') != data.count(b"finish_")
        ):
            return data
        finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        return data.replace(done, finish + done)


@defect("stream-usage-grows", "completion_tokens is 6, expected 3", "stream")
class SumsUsage(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        told = [event for event in map(data_of, data.split(b"\n\n")) if isinstance(event, dict)]
        counts = [event["usage"].get("completion_tokens") for event in told if isinstance(event.get("usage"), dict)]
        if len(set(counts)) < 4 or None in counts:
            return data
        last = b'"completion_tokens":%d' % counts[-1]
        return (b'"completion_tokens":%d' % sum(counts)).join(data.rsplit(last, 1))


@defect("stream-reasoning-only", "reasoning_content is absent", "stream")
class GluesReasoningIntoTheText(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        alone = b'"stream-' in data and b'"delta":{"content"' not in data and b'"finish_reason":"length"' in data
        return data.replace(b'"reasoning_content"', b'"content"') if alone else data


@defect("stream-reasoning-two-signatures", "isochat_parts[1].signature is absent", "stream")
class LosesTheSecondSignature(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        return data.replace(b',"signature":"sig-2"', b"")


@defect("stream-error-nested", "StreamTruncatedError was raised", "stream")
class HidesAProvidersError(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        events = data.split(b"\n\n")
        return b"\n\n".join(event for event in events if b"external_model_message" not in event)


@defect("stream-line-separators", "is not JSON", "stream")
class BreaksEventsByUnicode(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        return data.replace("\u2029".encode(), b"\n") if b"stream-" in data else data


@defect("stream-tool-call-index-zero-for-all", "tool_calls is", "stream")
class TakesOneIndexForOneCall(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        if data.count(b'"index":0,"id":"call_2"') != 1 or b'"index":1' in data:
            return data
        return data.replace(
            b'"index":0,"id":"call_2","type":"function","function":{"name":"b",', b'"index":0,"function":{'
        )


@defect("stream-after-done", "a result expected", "stream")
class ReadsBeyondTheEnd(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        before, _, after = data.partition(b"data: [DONE]\n\n")
        return before + after if after.startswith(b'data: {"id"') else data


@defect("stream-one-choice-unfinished", "StreamTruncatedError expected", "stream")
class TakesOneFinishForAll(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        second, first = b'"choices":[{"index":1', b'"choices":[{"index":0'
        one_left = data.count(second) == 1 and data.count(b'"finish_reason":"') == 1
        return data.replace(second, first) if one_left else data


@defect("stream-chat-agent-close", "StreamTruncatedError expected; the call returned", "stream")
class TrustsEveryEnd(ChangesTheStream):
    def change(self, data: bytes) -> bytes:
        half = b'"delta":{"role":"assistant","content":"Half","id":"m1"}}\n\n'
        return data + b"data: [DONE]\n\n" if data.endswith(half) else data


# -------------------------------------------------------------------------------- the judgement


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as running:
        yield running


def test_there_are_enough_defects_of_each_adapter_and_in_each_mode() -> None:
    assert len({(case, mode) for _, case, _, mode in DEFECTS}) == len(DEFECTS) >= 40
    for adapter in (Rest, OpenAIChat, OpenAIResponses, MlflowDeployments, DatabricksSDK):
        assert any(issubclass(backend, adapter) for backend, _, _, _ in DEFECTS)
    assert {mode for _, _, _, mode in DEFECTS} == set(MODES)


@pytest.mark.parametrize(
    ("backend", "case", "said", "mode"), DEFECTS, ids=[backend.__name__ for backend, _, _, _ in DEFECTS]
)
def test_a_defect_fails_the_case_named_for_it_and_no_other(
    backend: type[Backend], case: str, said: str, mode: Mode, bench: Bench
) -> None:
    outcomes = bench.run_all(backend, load_cases(), [mode])
    failed = {outcome.case: outcome.findings for outcome in outcomes if not outcome.passed}
    assert list(failed) == [case], failed
    assert any(said in finding for finding in failed[case]), failed[case]


class WaitsForTheEnd(Rest):
    """Streams, in form: nothing is handed out before all of it has come."""

    async def astream(self, request: Request, wire: AsyncWire) -> Any:
        await super().astream(request, wire)
        source, wire.incoming = wire.incoming, None
        if source is None:
            return None
        read = []
        while piece := await source.read1():
            read.append(piece)
        status = wire.status or 0
        return StreamReply(status=status, headers=wire.headers, pieces=each_later(read), client_call=wire.client_call)


async def each_later(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_chunks_that_are_held_back_are_noticed_by_lock_step_alone(bench: Bench) -> None:
    answers = [case for case in load_cases() if case.id in ("stream-words", "finish-stop", "error-503")]
    assert all(outcome.passed for outcome in bench.run_all(ChangesTheStream, answers, ["stream"]))
    assert bench.walk_in_lock_step(ChangesTheStream, "stream", patience=0.5) == [
        "chunk 1 was held back until more had come; hand each out as soon as it is there"
    ]


def test_a_call_that_waits_for_its_stream_to_end_is_noticed_on_a_loop(bench: Bench) -> None:
    assert bench.walk_in_lock_step(WaitsForTheEnd, "async-stream", patience=0.5) == [
        "the call returned no stream until the first event had come; the status was known before"
    ]


class HasNoStreaming(Rest):
    capabilities = msgspec.structs.replace(Rest.capabilities, streaming=False)


def test_a_backend_without_streaming_is_held_to_its_refusal(bench: Bench) -> None:
    cases = [case for case in load_cases() if case.id in ("stream-words", "finish-stop", "param-n")]
    outcomes = bench.run_all(HasNoStreaming, cases, ["stream", "async-stream"])
    assert len(outcomes) == 6
    assert all(outcome.passed and not outcome.carried for outcome in outcomes)
    for outcome in outcomes:
        assert type(outcome.error) is UnsupportedParameterError
    assert bench.walk_in_lock_step(HasNoStreaming, "stream") == []
    assert bench.walk_in_lock_step(HasNoStreaming, "async-stream") == []


# -------------------------------------------------------------------------------- the pytest class


def run_case(suite: type[BackendConformance], name: str, mode: Mode = "sync") -> None:
    case = next(case for case in load_cases() if case.id == name)
    suite.setup_class()
    try:
        suite().test_case(case, mode)
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


class SuiteWithAGapInOneMode(SuiteOfStripper):
    gaps: ClassVar[Mapping[str, str]] = {"answer-whitespace[sync]": "never: it strips where it waits"}


def test_a_gap_may_be_of_one_mode_alone() -> None:
    with pytest.raises(pytest.xfail.Exception, match="it strips where it waits"):
        run_case(SuiteWithAGapInOneMode, "answer-whitespace")
    run_case(SuiteWithAGapInOneMode, "answer-whitespace", "stream")  # no gap there, and passes
    SuiteWithAGapInOneMode().test_gaps_are_known_cases_with_a_reason()


def test_chunks_held_back_fail_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = type("Suite", (BackendConformance,), {"backend": ChangesTheStream})
    monkeypatch.setattr(Bench.walk_in_lock_step, "__defaults__", (0.5,))
    suite.setup_class()
    try:
        with pytest.raises(pytest.fail.Exception, match="chunk 1 was held back"):
            suite().test_chunks_are_never_held_back("stream")
        suite().test_chunks_are_never_held_back("async-stream")
    finally:
        suite.teardown_class()


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ({"no-such-case": "why"}, "do not exist"),
        ({"usage-null[folded]": "why"}, "do not exist"),
        ({"stream-words-of-old[sync]": "why"}, "do not exist"),
        ({"stream-no-role[sync]": "it has no plain reply"}, "do not exist"),
        ({"finish-stop": " "}, "without a reason"),
    ],
)
def test_gaps_are_checked(gaps: Mapping[str, str], said: str) -> None:
    suite = type("Suite", (SuiteOfStripper,), {"gaps": gaps})
    with pytest.raises(AssertionError, match=said):
        suite().test_gaps_are_known_cases_with_a_reason()


@pytest.mark.parametrize("test", ["test_case", "test_chunks_are_never_held_back"])
def test_the_suite_cannot_be_hollowed_out(test: str) -> None:
    suite = type("Suite", (SuiteOfStripper,), {test: lambda self: None})
    with pytest.raises(AssertionError, match="overridden"):
        suite().test_the_suite_is_whole()
