"""How does one case run against one backend? Over real HTTP, through the real client, nothing patched.

A :class:`Bench` holds a workspace on loopback and one event loop. For each case and mode it serves an endpoint of the
case's name with the case's replies, makes a client of the backend, asks, and looks at everything: what the server
received, what came out piece by piece and in the end, and what the client's own object says. It collects all findings,
in words, and stops at none.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

import isochat
from isochat import plugins
from isochat.backend import Backend
from isochat.client import Client
from isochat.request import Api
from isochat.results import ChatResult
from isochat_conformance.answer_check import check_error, check_no_streaming, check_refusal, check_result
from isochat_conformance.asking import Answer, ask, without_warnings
from isochat_conformance.case import APIS, Case
from isochat_conformance.client_proof import prove
from isochat_conformance.lock_step import PATIENCE, Gate, gated, walk
from isochat_conformance.modes import MODES, Mode, is_async, is_streamed
from isochat_conformance.request_check import check_nothing_sent, check_request
from isochat_conformance.stream_check import check_stream
from isochat_workspace import Endpoint, HttpReply, RecordedRequest, Replay, StreamReply
from isochat_workspace.http.served_reply import ServerReply, ServerStream

if TYPE_CHECKING:
    from isochat_workspace import Workspace

# It opens nothing but the bench's own workspace.
TOKEN: Final = "dapi-conformance-suite-0000000000000000"
_TOKEN_ECHOED = b"{{token}}"
_DIALECTS: Mapping[Api, Any] = {"chat-completions": "chat", "responses": "responses"}
# A case that hangs fails after this many seconds.
_DEADLINE = 30.0
_EVENTS = {"content-type": "text/event-stream"}
# A pool is made for each case, with a place for each connection that it may ever hold.
_CONNECTIONS = 2


class Outcome(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one case showed of one backend in one mode.

    Attributes:
        carried: Whether the backend's API carries the case, and the backend the mode; if not, the refusal was checked.
        not_applicable: Why nothing was asked: the endpoint of this case does not answer on the backend's path.
        findings: All that is wrong, in words; empty if the case passes.
        client_call: The client's call that carried it.
        result, error: What came out.
        lost, told: Fields of the result that the client's own object lacks; all that have a value.
        altered: Where the client read something else than stood on the wire: the path, and both in words.
        unreadable: Why the client itself could not parse the reply, if it could not.
        seconds: How long it took.
    """

    case: str
    backend: str
    mode: Mode
    api: Api
    carried: bool
    findings: tuple[str, ...]
    not_applicable: str | None = None
    client_call: str = ""
    result: ChatResult | None = None
    error: Exception | None = None
    lost: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    altered: tuple[tuple[str, str], ...] = ()
    unreadable: str | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


class Bench:
    """Where cases run, as a context manager: a workspace on loopback, started once for many cases.

    Raises:
        ModuleNotFoundError: the extra ``conformance`` is not installed; the message says how to get it.
    """

    def __init__(self) -> None:
        from isochat_workspace import Workspace

        self._workspace: Workspace = Workspace([], token=TOKEN)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._workspace.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.close()
        self._workspace.stop()

    def run(self, backend: str | type[Backend], case: Case, mode: Mode = "sync") -> Outcome:
        """Run ``case`` against the backend of that name or class in ``mode``, one of the case's.

        Raises:
            ConfigurationError: there is no such backend, it does not load, or its client is not installed.
        """
        kind = plugins.load_backend(backend) if isinstance(backend, str) else backend
        started = time.monotonic()
        api = kind.capabilities.api
        reason = case.not_applicable(kind.capabilities.surface)
        if reason is not None:
            return Outcome(
                case=case.id, backend=kind.name, mode=mode, api=api, carried=False, findings=(), not_applicable=reason
            )
        self._serve(case, mode)
        seen = len(self._workspace.requests)
        client = self._client(kind, case)
        try:
            unset = dict.fromkeys(case.ask.unset, isochat.UNSET)
            answer = ask(client, case.ask.messages, {**case.ask.params, **unset}, mode, self._runner)
            findings, proof = self._judge(client, case, mode, answer, seen)
        finally:
            self._close(client, mode)
        result = answer.outcome if isinstance(answer.outcome, ChatResult) else None
        return Outcome(
            case=case.id,
            backend=kind.name,
            mode=mode,
            api=api,
            carried=api in case.carried_by and (kind.capabilities.streaming or not is_streamed(mode)),
            findings=tuple(findings),
            client_call="" if result is None else result.meta.client_call,
            result=result,
            error=None if isinstance(answer.outcome, ChatResult) else answer.outcome,
            seconds=time.monotonic() - started,
            **proof,
        )

    def run_all(
        self, backend: str | type[Backend], cases: Sequence[Case], modes: Sequence[Mode] = MODES
    ) -> list[Outcome]:
        """Run each of ``cases`` in each of ``modes`` that it has; raises as :meth:`run`."""
        return [self.run(backend, case, mode) for case in cases for mode in case.modes if mode in modes]

    def walk_in_lock_step(self, backend: str | type[Backend], mode: Mode, patience: float = PATIENCE) -> list[str]:
        """Read a stream in a streamed ``mode`` whose server waits for each chunk to arrive; raises as :meth:`run`.

        Returns:
            What is wrong, in words: a chunk was held back, or a stream came from a backend that says it has none.
        """
        kind = plugins.load_backend(backend) if isinstance(backend, str) else backend
        gates: dict[Api, Gate] = {api: gated(api, patience=patience) for api in APIS}
        replies = {_DIALECTS[api]: StreamReply(200, _EVENTS, gate) for api, gate in gates.items()}
        self._workspace.add(Endpoint("lock-step", Replay(replies)))
        client = self.client(kind, "lock-step")
        try:
            if not kind.capabilities.streaming:
                return [*check_no_streaming(ask(client, "Count.", {}, mode, self._runner).outcome)]
            return walk(client, gates[kind.capabilities.api], mode, self._runner)
        finally:
            self._close(client, mode)

    def _client(self, kind: type[Backend], case: Case) -> Client:
        if not case.ask.target_params:
            return self.client(kind, case.id, on_unsupported=case.ask.on_unsupported)
        with TemporaryDirectory() as folder:
            config = Path(folder, "isochat.toml")
            config.write_text(_target(case.ask.target_params), encoding="utf-8")
            return self.client(kind, case.id, on_unsupported=case.ask.on_unsupported, target="case", config_file=config)

    def client(self, kind: type[Backend], endpoint: str, **arguments: Any) -> Client:
        """A client of the bench's workspace, which sends each request once."""
        with without_warnings():
            return Client(
                kind,
                endpoint=endpoint,
                host=self._workspace.url,
                token=TOKEN,
                max_retries=0,
                max_connections=_CONNECTIONS,
                deadline=_DEADLINE,
                trust_env=False,
                fallback=(),
                **arguments,
            )

    def _close(self, client: Client, mode: Mode) -> None:
        if is_async(mode):
            self._runner.run(client.aclose())
        else:
            client.close()

    def _serve(self, case: Case, mode: Mode) -> None:
        replies = {_DIALECTS[api]: _replies(case.served(api, mode)) for api in case.carried_by}
        self._workspace.add(Endpoint(case.id, Replay(replies)))

    def _judge(
        self, client: Client, case: Case, mode: Mode, answer: Answer, seen: int
    ) -> tuple[list[str], dict[str, Any]]:
        api, streamed, outcome = client.capabilities.api, is_streamed(mode), answer.outcome
        requests: list[RecordedRequest] = self._workspace.requests[seen:]
        if streamed and not client.capabilities.streaming:
            return [*check_nothing_sent(requests), *check_no_streaming(outcome)], {}
        if api not in case.carried_by:
            return [*check_nothing_sent(requests), *check_refusal(outcome, case)], {}
        surface = client.capabilities.surface
        findings = [*check_request(requests, case.wire[api], api, surface, case.id, TOKEN, streamed)]
        if streamed:
            findings += check_stream(answer.chunks, outcome, answer.opened, case, api)
        if not isinstance(outcome, ChatResult):
            return [*findings, *check_error(outcome, case, api, mode, client.backend.name, TOKEN)], {}
        findings += check_result(outcome, case, api, mode, client.backend.name)
        if streamed:
            return findings, {}
        proof = prove(client.backend, outcome, case.clients_may_err is not None)
        findings += proof.findings
        # Reading the client's own object must not send anything, and a late second request shows by now.
        if len(self._workspace.requests) > seen + len(requests):
            findings.append("a further request was sent after the call had returned")
        return findings, {
            "lost": proof.lost,
            "told": proof.told,
            "altered": proof.altered,
            "unreadable": proof.unreadable,
        }


def _target(params: Mapping[str, Any]) -> str:
    # JSON writes numbers, booleans, texts and lists of them as TOML does.
    lines = [f"{name} = {json.dumps(value)}" for name, value in params.items()]
    return "\n".join(["[targets.case.params]", *lines, ""])


def _echoing(reply: HttpReply) -> HttpReply:
    """A server may echo the token; a case's file does not hold it."""
    return dataclasses.replace(reply, body=reply.body.replace(_TOKEN_ECHOED, TOKEN.encode()))


def _replies(served: ServerReply | ServerStream) -> list[HttpReply | StreamReply]:
    if isinstance(served, ServerReply):
        return [_echoing(served.http_reply())]
    first = [] if served.refused_first is None else [served.refused_first.http_reply()]
    return [*first, served.stream_reply()]
