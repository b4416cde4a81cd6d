"""Does the fault table find a backend out that has a transport of its own, and does it wrong?"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

import isochat
from isochat_conformance.fault_bench import FaultBench
from isochat_conformance.fault_table import load_faults

SORRY = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "sorry"}, "finish_reason": "stop"}]}


class Upright(isochat.Backend):
    """A connection for each request, as plain clients have it."""

    name: ClassVar[str] = "own"
    capabilities: ClassVar[isochat.Capabilities] = isochat.Capabilities(
        api="chat-completions", surface="invocations", own_transport=True
    )

    def complete(self, request: isochat.Request, wire: Any) -> isochat.Reply | Mapping[str, Any]:
        url = urlsplit(f"{self.setup.api_base}/{request.endpoint}/invocations")
        connection = http.client.HTTPConnection(url.netloc, timeout=wire.deadline.left("first_byte"))
        try:
            headers = {"Content-Type": "application/json", **wire.own_headers, **wire.credentials}
            connection.request("POST", url.path, json.dumps(request.body), headers)
            reply = connection.getresponse()
            body = reply.read()
        finally:
            connection.close()
        return isochat.Reply(
            status=reply.status,
            headers=reply.getheaders(),
            body=body,
            native=lambda: json.loads(body),
            client_call="HTTPConnection.request",
        )


class RetriesItself(Upright):
    def complete(self, request: isochat.Request, wire: Any) -> isochat.Reply | Mapping[str, Any]:
        for _ in range(2):
            super().complete(request, wire)
        return super().complete(request, wire)


class SwallowsErrors(Upright):
    def complete(self, request: isochat.Request, wire: Any) -> isochat.Reply | Mapping[str, Any]:
        reply = super().complete(request, wire)
        return SORRY if isinstance(reply, isochat.Reply) and reply.status >= 400 else reply


class LosesHeaders(Upright):
    def complete(self, request: isochat.Request, wire: Any) -> isochat.Reply | Mapping[str, Any]:
        reply = super().complete(request, wire)
        assert isinstance(reply, isochat.Reply)
        return isochat.Reply(status=reply.status, headers=[], body=reply.body, native=None, client_call="own")


def findings(kind: type[isochat.Backend], row: str) -> str:
    fault = next(fault for fault in load_faults() if fault.id == row)
    with FaultBench() as bench:
        return "\n".join(finding for outcome in bench.run(kind, fault) for finding in outcome.findings)


@pytest.mark.parametrize(
    "row", ["status-503", "status-429-then-answered", "retry-after-1", "json-html", "status-400-request-id"]
)
def test_an_upright_one_passes(row: str) -> None:
    assert not findings(Upright, row)


@pytest.mark.parametrize(
    ("kind", "row", "words"),
    [
        (RetriesItself, "status-400", "the server counted 3 requests, expected 1"),
        (RetriesItself, "retry-after-99999", "the server counted 3 requests, expected 1"),
        (SwallowsErrors, "status-400", "BadRequestError expected; the call returned"),
        (SwallowsErrors, "status-503", "the server counted 1 requests, expected 3"),
        (LosesHeaders, "retry-after-99999", "the error's retry_after is null, expected 99999.0"),
        (LosesHeaders, "status-400-request-id", "the error's request_id is null"),
        (LosesHeaders, "status-503-then-request-id", "meta.request_id is null"),
    ],
)
def test_a_faulty_one_is_told_what_is_wrong(kind: type[isochat.Backend], row: str, words: str) -> None:
    assert words in findings(kind, row)
