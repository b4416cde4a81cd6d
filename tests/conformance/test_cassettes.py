"""Does what one client has recorded replay to every other one, as the same answer?

All cases of the suite are asked through a recording proxy of a workspace that serves them; the cassette is then
replayed to the same client and to the others. What comes out is the recorded outcome, or a miss that gives a reason.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import isochat
from isochat import plugins
from isochat.results import ChatResult
from isochat_conformance.agreement import disagreements
from isochat_conformance.asking import Answer, ask
from isochat_conformance.case import Case, load_cases
from isochat_conformance.engine import Outcome
from isochat_conformance.modes import Mode
from isochat_workspace import Endpoint, Proxy, Replay, Workspace
from isochat_workspace.http.served_reply import ServerReply

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
TOKEN = "dapi-of-the-test"
# A word of an API that another does not have, and an answer that is none.
REASONS = re.compile(
    r"cannot be said in the other's API: |ha(s|ve) no words for |cannot tell it: |is no whole answer: |breaks off"
)


def asked_cases(every: int) -> list[Case]:
    """Each so-manieth case; those of a target's parameters need a file of their own, and ask nothing else."""
    return [case for case in load_cases() if not case.ask.target_params][::every]


def replies(case: Case, mode: Mode) -> Mapping[str, list[object]]:
    told = {}
    for api in case.carried_by:
        served = case.served(api, mode)
        if isinstance(served, ServerReply):
            told[api] = [served.http_reply()]
        else:
            first = [] if served.refused_first is None else [served.refused_first.http_reply()]
            told[api] = [*first, served.stream_reply()]
    return told


class Bench:
    """Asks cases of a workspace, through any backend."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner

    def outcome(self, backend: str, workspace: Workspace, case: Case, mode: Mode) -> Outcome | None:
        """What comes out; None where the backend's API or path does not carry the case."""
        kind = plugins.load_backend(backend)
        api = kind.capabilities.api
        if api not in case.carried_by or case.not_applicable(kind.capabilities.surface) is not None:
            return None
        client = isochat.Client(
            kind,
            endpoint=case.id,
            host=workspace.url,
            token=workspace.token,
            max_retries=0,
            deadline=30,
            on_unsupported=case.ask.on_unsupported,
        )
        with client:
            params = {**case.ask.params, **dict.fromkeys(case.ask.unset, isochat.UNSET)}
            answer: Answer = ask(client, case.ask.messages, params, mode, self.runner)
        result = answer.outcome if isinstance(answer.outcome, ChatResult) else None
        error = None if result is not None else answer.outcome
        return Outcome(
            case=case.id, backend=backend, mode=mode, api=api, carried=True, findings=(), result=result, error=error
        )

    def record(self, backend: str, cases: Sequence[Case], modes: Sequence[Mode], cassette: Path) -> list[Outcome]:
        """What comes out of all cases, and the cassette of it."""
        outcomes = []
        with (
            Workspace([]) as upstream,
            Workspace(model=Proxy(upstream.url, token=upstream.token, record=cassette), token=TOKEN) as proxy,
        ):
            for case in cases:
                for mode in (mode for mode in case.modes if mode in modes):
                    apis = {"chat-completions": "chat", "responses": "responses"}
                    served = {apis[api]: told for api, told in replies(case, mode).items()}
                    upstream.add(Endpoint(case.id, Replay(served)))
                    outcome = self.outcome(backend, proxy, case, mode)
                    outcomes += [] if outcome is None else [outcome]
        return outcomes


@pytest.fixture
def bench() -> Iterator[Bench]:
    with asyncio.Runner() as runner:
        yield Bench(runner)


def compared(bench: Bench, recorded: Sequence[Outcome], cassette: Path, other: Mapping[Mode, Mode] | None = None):
    """Each backend's number of equal outcomes and of misses, and everything that is wrong."""
    cases = {case.id: case for case in load_cases()}
    counts: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    for backend in BACKENDS:
        counts[backend] = Counter()
        with Workspace(model=f"replay:{cassette}", token=TOKEN) as workspace:
            for one in recorded:
                case = cases[one.case]
                mode = one.mode if other is None else other[one.mode]
                outcome = bench.outcome(backend, workspace, case, mode)
                if outcome is None:
                    continue
                if getattr(outcome.error, "code", None) == "CASSETTE_MISS":
                    counts[backend]["missed"] += 1
                    if not REASONS.search(str(outcome.error)):
                        wrong.append(f"{backend} {mode} {one.case}: {outcome.error}")
                    continue
                counts[backend]["same"] += 1
                wrong += disagreements([one, outcome])
    return counts, wrong


def test_what_rest_records_replays_to_all_the_same_streams_included(bench: Bench, tmp_path: Path) -> None:
    cassette = tmp_path / "rest.cassette"
    recorded = bench.record("rest", asked_cases(1), ("sync", "stream"), cassette)
    counts, wrong = compared(bench, recorded, cassette)
    assert wrong == []
    for backend in ("rest", "mlflow", "databricks-sdk", "openai-chat"):
        assert counts[backend]["missed"] == 0
    assert counts["rest"]["same"] == len(recorded) > 600
    assert counts["openai-chat"]["same"] > 600
    # What it misses: broken replies and streams, n choices, unknown words; each with its reason.
    assert counts["openai-responses"]["same"] > 400
    assert counts["openai-responses"]["missed"] < 80


def test_what_responses_record_replays_to_all(bench: Bench, tmp_path: Path) -> None:
    cassette = tmp_path / "responses.cassette"
    recorded = bench.record("openai-responses", asked_cases(4), ("sync", "stream"), cassette)
    counts, wrong = compared(bench, recorded, cassette)
    assert wrong == []
    assert counts["openai-responses"]["same"] == len(recorded) > 80
    for backend in ("rest", "openai-chat", "mlflow", "databricks-sdk"):
        assert counts[backend]["same"] > 3 * counts[backend]["missed"] > 0


@pytest.mark.parametrize("mode", ["sync", "stream"])
@pytest.mark.parametrize("recorder", ["rest", "openai-responses"])
def test_what_was_asked_plainly_replays_as_a_stream_and_the_other_way_round(
    bench: Bench, tmp_path: Path, recorder: str, mode: Mode
) -> None:
    cassette = tmp_path / "one-mode.cassette"
    recorded = bench.record(recorder, asked_cases(5), (mode,), cassette)
    counts, wrong = compared(bench, recorded, cassette, {"sync": "stream", "stream": "sync"})
    assert wrong == []
    for backend in BACKENDS:
        assert counts[backend]["same"] > 20
