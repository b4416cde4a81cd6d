"""Do the backends agree with each other, and is what their clients lose told from runs?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec
import pytest

import isochat
from isochat_conformance.agreement import all_disagreements, disagreements
from isochat_conformance.case import load_cases
from isochat_conformance.engine import Bench, Outcome
from isochat_conformance.loss_list import loss_list

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, list[Outcome]]:
    with Bench() as bench:
        return {name: bench.run_all(name, load_cases()) for name in BACKENDS}


def test_every_pair_of_backends_agrees_in_every_mode_and_every_pair_of_modes_on_every_backend(
    outcomes: Mapping[str, list[Outcome]],
) -> None:
    asked = Counter((one.case, one.mode) for of_backend in outcomes.values() for one in of_backend if one.carried)
    assert sum(count > 1 for count in asked.values()) > 1000  # pairs of backends
    told = [one for of_backend in outcomes.values() for one in of_backend]
    assert list(all_disagreements(told, load_cases())) == []


def test_a_disagreement_is_seen_between_results_and_between_errors(outcomes: Mapping[str, list[Outcome]]) -> None:
    by_run = {(outcome.case, outcome.mode): outcome for outcome in outcomes["rest"]}
    stop, overloaded = by_run["finish-stop", "sync"], by_run["error-503", "sync"]
    said = list(disagreements([stop, by_run["finish-length", "async-stream"]]))
    assert said == [
        "finish-stop: rest[sync] and rest[async-stream] differ: choices[0].finish_reason: 'stop' != 'length'"
    ]
    said = list(disagreements([overloaded, by_run["error-529", "sync"]]))
    assert "error-503: rest[sync] and rest[sync] differ: the error's status_code: 503 != 529" in said
    said = list(disagreements([by_run["error-404-endpoint", "sync"], overloaded]))
    assert said[0] == "error-404-endpoint: rest[sync] and rest[sync] differ: NotFoundError != OverloadedError"
    said = list(disagreements([stop, overloaded]))
    assert said == ["finish-stop: rest[sync] and rest[sync] differ: a result != OverloadedError"]
    said = list(disagreements([by_run["stream-truncated", "stream"], by_run["stream-empty-body", "async-stream"]]))
    assert any("the error's partial: choices[0].message.content: 'A B' != None" in line for line in said)


def test_a_disagreement_is_looked_for_between_backends_and_between_modes(
    outcomes: Mapping[str, list[Outcome]],
) -> None:
    told = [one for name in ("rest", "mlflow") for one in outcomes[name] if one.case == "finish-stop"]
    other = next(one for one in outcomes["rest"] if one.case == "finish-length")
    told[1] = msgspec.structs.replace(told[1], result=other.result)
    said = list(all_disagreements(told, load_cases()))
    assert [line.partition(" differ")[0] for line in said] == [
        "finish-stop: rest[sync] and rest[async]",
        "finish-stop: rest[async] and rest[stream]",
        "finish-stop: rest[async] and rest[async-stream]",
        "finish-stop: rest[async] and mlflow[async]",
    ]


def test_the_loss_list_counts_a_case_once_however_often_it_is_asked(outcomes: Mapping[str, list[Outcome]]) -> None:
    for of_backend in outcomes.values():
        alone = loss_list(one for one in of_backend if one.mode == "sync")
        both = loss_list(one for one in of_backend if one.mode in ("sync", "async"))
        calls = {one.client_call for one in of_backend if one.mode == "sync"}
        assert tuple(loss for loss in both.lost if loss.client_call in calls) == alone.lost
        assert loss_list(of_backend) == both
        assert loss_list(one for one in of_backend if one.mode in ("stream", "async-stream")).lost == ()


def test_raw_http_loses_nothing(outcomes: Mapping[str, list[Outcome]]) -> None:
    assert loss_list(outcomes["rest"]).lost == ()


def test_the_typed_query_of_the_sdk_never_has_a_finish_reason(outcomes: Mapping[str, list[Outcome]]) -> None:
    """Known of every version so far (the wire says finish_reason, the SDK reads finishReason); a version that mends it
    must be noticed, as the documentation tells users of it."""
    lost = {(loss.client_call, loss.field): loss for loss in loss_list(outcomes["databricks-sdk"]).lost}
    loss = lost["serving_endpoints.query", "choices[].finish_reason"]
    assert loss.lost == loss.told > 10
    # `do` hands over all of the JSON and no header that it was not asked for.
    assert {field for call, field in lost if call == "api_client.do"} - OF_HEADERS == set()
    assert ("api_client.do", "meta.headers") in lost


OF_HEADERS = {"meta.headers", "meta.request_id", "meta.served_model"}
# What `query` hands over of a reply was found by hand with databricks-sdk 0.49 to 0.156: content, role, three counts.
LOST_BY_QUERY = {
    "choices[].finish_reason",
    "choices[].message.reasoning",
    "choices[].message.refusal",
    "choices[].message.tool_calls[].extra",
    "choices[].message.tool_calls[].function.arguments",
    "choices[].message.tool_calls[].function.name",
    "choices[].message.tool_calls[].id",
    "choices[].message.tool_calls[].type",
    "meta.headers",
    "meta.request_id",
    "meta.raw.databricks_output",
    "meta.raw.custom_outputs",
    "usage.cache_creation_tokens",
    "usage.cache_read_tokens",
    "usage.reasoning_tokens",
}


def test_the_loss_list_holds_all_that_the_typed_query_is_known_to_lose(outcomes: Mapping[str, list[Outcome]]) -> None:
    lost = {loss.field: loss for loss in loss_list(outcomes["databricks-sdk"]).lost}
    assert lost.keys() >= LOST_BY_QUERY
    # What stands in blocks of the content is held: `query` keeps a list of content as it is. All else is always lost.
    in_blocks = ("choices[].message.reasoning", "choices[].message.parts.TextPart[].citations[]")
    assert [field for field, loss in lost.items() if loss.lost < loss.told and not field.startswith(in_blocks)] == []


def test_the_typed_query_holds_the_served_model_alone_of_the_headers(outcomes: Mapping[str, list[Outcome]]) -> None:
    lost = {loss.field for loss in loss_list(outcomes["databricks-sdk"]).lost if loss.client_call != "api_client.do"}
    assert OF_HEADERS & lost == {"meta.headers", "meta.request_id"}


def test_the_typed_query_holds_nothing_of_an_agents_reply(outcomes: Mapping[str, list[Outcome]]) -> None:
    misread = {(one.client_call, one.case) for one in loss_list(outcomes["databricks-sdk"]).misread}
    assert {("serving_endpoints.query", "agent-chat"), ("serving_endpoints.query", "agent-responses")} <= misread


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("mlflow", OF_HEADERS),
        ("openai-chat", OF_HEADERS - {"meta.request_id"}),
        ("openai-responses", OF_HEADERS - {"meta.request_id"}),
    ],
)
def test_the_clients_that_keep_all_of_the_json_lose_headers_alone(
    outcomes: Mapping[str, list[Outcome]], name: str, lost: set[str]
) -> None:
    """The OpenAI client's objects keep the request id; none of the three keeps another header."""
    losses = loss_list(outcomes[name]).lost
    assert {loss.field for loss in losses} == lost
    assert all(loss.lost == loss.told for loss in losses)


def test_what_a_bare_client_reads_wrongly_is_listed(outcomes: Mapping[str, list[Outcome]]) -> None:
    for name in ("mlflow", "databricks-sdk"):  # requests guesses the charset, and takes no byte order mark
        misread = {one.case for one in loss_list(outcomes[name]).misread}
        assert {"answer-byte-order-mark", "answer-charset-lie"} <= misread


def test_what_is_not_applicable_is_told_with_its_reason_and_follows_from_the_case(
    outcomes: Mapping[str, list[Outcome]],
) -> None:
    for name, of_backend in outcomes.items():
        surface = isochat.backends(load=True)[name].capabilities.surface  # type: ignore[union-attr]
        told = {outcome.case: outcome.not_applicable for outcome in of_backend if outcome.not_applicable is not None}
        assert told.keys() == {case.id for case in load_cases() if case.served_on and surface not in case.served_on}
        assert all(f"asks on {surface}" in reason for reason in told.values())
    asked = {outcome.case for of_backend in outcomes.values() for outcome in of_backend if outcome.carried}
    assert asked == {case.id for case in load_cases()}


def test_refused_cases_lose_nothing(outcomes: Mapping[str, list[Outcome]]) -> None:
    refused = [
        outcome for outcome in outcomes["openai-responses"] if not outcome.carried and outcome.not_applicable is None
    ]
    assert refused
    assert all(type(outcome.error) is isochat.UnsupportedParameterError for outcome in refused)
    assert loss_list(refused).lost == ()
