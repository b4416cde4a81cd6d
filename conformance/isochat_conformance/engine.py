"""How does one case run against one backend? Over real HTTP, through the real client, nothing patched.

A :class:`Bench` holds a workspace on loopback. For each case it serves an endpoint of the case's name with the case's
replies, makes a client of the backend, asks, and looks at everything: what the server received, what came out, and
what the client's own object says. It collects all findings, in words, and stops at none.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from isochat_conformance.answer_check import check_error, check_refusal, check_result
from isochat_conformance.case import Case, ServerReply
from isochat_conformance.client_proof import prove
from isochat_conformance.request_check import check_nothing_sent, check_request
from isochat_workspace import Endpoint, HttpReply, RecordedRequest, Replay

if TYPE_CHECKING:
    from isochat_workspace import Workspace

# Fixed, so that a case's reply can echo it; it opens nothing but the bench's own workspace.
TOKEN: Final = "dapi-conformance-suite-0000000000000000"
_DIALECTS: Mapping[Api, Any] = {"chat-completions": "chat", "responses": "responses"}
# A case that hangs fails after this many seconds.
_DEADLINE = 30.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one case showed of one backend.

    Attributes:
        carried: Whether the backend's API carries the case; if not, the refusal was checked.
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

    def __enter__(self) -> Self:
        self._workspace.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._workspace.stop()

    def run(self, backend: str | type[Backend], case: Case) -> Outcome:
        """Run ``case`` against the backend of that name or class.

        Raises:
            ConfigurationError: there is no such backend, it does not load, or its client is not installed.
        """
        kind = plugins.load_backend(backend) if isinstance(backend, str) else backend
        started = time.monotonic()
        api = kind.capabilities.api
        reason = case.not_applicable(kind.capabilities.surface)
        if reason is not None:
            return Outcome(case=case.id, backend=kind.name, api=api, carried=False, findings=(), not_applicable=reason)
        self._serve(case)
        seen = len(self._workspace.requests)
        with deaf_to_warnings():
            client = self._client(kind, case)
        with client:
            with deaf_to_warnings():
                outcome = _ask(client, case)
            findings, proof = self._judge(client, case, outcome, seen)
        result = outcome if isinstance(outcome, ChatResult) else None
        return Outcome(
            case=case.id,
            backend=kind.name,
            api=api,
            carried=api in case.carried_by,
            findings=tuple(findings),
            client_call="" if result is None else result.meta.client_call,
            result=result,
            error=None if isinstance(outcome, ChatResult) else outcome,
            seconds=time.monotonic() - started,
            **proof,
        )

    def run_all(self, backend: str | type[Backend], cases: Sequence[Case]) -> list[Outcome]:
        """Run each of ``cases`` in turn; raises as :meth:`run`."""
        return [self.run(backend, case) for case in cases]

    def _client(self, kind: type[Backend], case: Case) -> Client:
        with TemporaryDirectory() as folder:
            config = Path(folder, "isochat.toml")
            if case.ask.target_params:
                config.write_text(_target(case.ask.target_params), encoding="utf-8")
            return Client(
                kind,
                target="case" if case.ask.target_params else None,
                config_file=config if case.ask.target_params else None,
                endpoint=case.id,
                host=self._workspace.url,
                token=TOKEN,
                max_retries=0,
                deadline=_DEADLINE,
                on_unsupported=case.ask.on_unsupported,
                trust_env=False,
            )

    def _serve(self, case: Case) -> None:
        replies = {_DIALECTS[api]: _http_reply(reply) for api, reply in case.reply.items()}
        self._workspace.add(Endpoint(case.id, Replay(replies)))

    def _judge(
        self, client: Client, case: Case, outcome: ChatResult | Exception, seen: int
    ) -> tuple[list[str], dict[str, Any]]:
        api = client.capabilities.api
        requests: list[RecordedRequest] = self._workspace.requests[seen:]
        if api not in case.carried_by:
            return [*check_nothing_sent(requests), *check_refusal(outcome, case)], {}
        surface = client.capabilities.surface
        findings = [*check_request(requests, case.wire[api], api, surface, case.id, TOKEN)]
        if not isinstance(outcome, ChatResult):
            return [*findings, *check_error(outcome, case, client.backend.name, TOKEN)], {}
        findings += check_result(outcome, case, api, client.backend.name)
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


@contextmanager
def deaf_to_warnings() -> Iterator[None]:
    """What a client library warns of while it is imported or builds its own errors is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _ask(client: Client, case: Case) -> ChatResult | Exception:
    try:
        unset = dict.fromkeys(case.ask.unset, isochat.UNSET)
        result: ChatResult = client.chat(case.ask.messages, stream=False, **case.ask.params, **unset)
        return result
    except Exception as error:
        return error


def _target(params: Mapping[str, Any]) -> str:
    # JSON writes numbers, booleans, texts and lists of them as TOML does.
    lines = [f"{name} = {json.dumps(value)}" for name, value in params.items()]
    return "\n".join(["[targets.case.params]", *lines, ""])


def _http_reply(reply: ServerReply) -> HttpReply:
    return HttpReply(reply.status, reply.sent_headers(), reply.body())
