"""Do the backends agree with each other, and is what their clients lose told from runs?"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import isochat
from isochat_conformance.agreement import disagreements
from isochat_conformance.case import load_cases
from isochat_conformance.engine import Bench, Outcome
from isochat_conformance.loss_list import loss_list

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, list[Outcome]]:
    with Bench() as bench:
        return {name: bench.run_all(name, load_cases()) for name in BACKENDS}


def test_every_pair_agrees_on_every_case_that_both_carry(outcomes: Mapping[str, list[Outcome]]) -> None:
    found = [line for of_one_case in zip(*outcomes.values(), strict=True) for line in disagreements(of_one_case)]
    assert found == []


def test_a_disagreement_is_seen_between_results_and_between_errors(outcomes: Mapping[str, list[Outcome]]) -> None:
    by_case = {outcome.case: outcome for outcome in outcomes["rest"]}
    said = list(disagreements([by_case["finish-stop"], by_case["finish-length"]]))
    assert said == ["finish-stop: rest and rest differ: choices[0].finish_reason: 'stop' != 'length'"]
    said = list(disagreements([by_case["error-503"], by_case["error-529"]]))
    assert "error-503: rest and rest differ: the error's status_code: 503 != 529" in said
    said = list(disagreements([by_case["error-404-endpoint"], by_case["error-503"]]))
    assert said[0] == "error-404-endpoint: rest and rest differ: NotFoundError != OverloadedError"
    said = list(disagreements([by_case["finish-stop"], by_case["error-503"]]))
    assert said == ["finish-stop: rest and rest differ: a result != OverloadedError"]


def test_raw_http_loses_nothing(outcomes: Mapping[str, list[Outcome]]) -> None:
    assert loss_list(outcomes["rest"]).lost == ()


def test_the_typed_query_of_the_sdk_never_has_a_finish_reason(outcomes: Mapping[str, list[Outcome]]) -> None:
    """Known of every version so far (the wire says finish_reason, the SDK reads finishReason); a version that mends it
    must be noticed, as the documentation tells users of it."""
    lost = {(loss.client_call, loss.field): loss for loss in loss_list(outcomes["databricks-sdk"]).lost}
    loss = lost["serving_endpoints.query", "choices[].finish_reason"]
    assert loss.lost == loss.told > 10
    assert not [call for call, _ in lost if call == "api_client.do"]


def test_refused_cases_lose_nothing(outcomes: Mapping[str, list[Outcome]]) -> None:
    refused = [outcome for outcome in outcomes["openai-responses"] if not outcome.carried]
    assert refused
    assert all(type(outcome.error) is isochat.UnsupportedParameterError for outcome in refused)
    assert loss_list(refused).lost == ()
