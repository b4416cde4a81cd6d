"""Can an agent endpoint be asked on its invocations path, in the words that it takes?"""

import pytest

import isochat
from isochat_workspace import Endpoint, HttpReply, Replay, Scripted, Workspace

INVOKING = ["rest", "mlflow", "databricks-sdk"]
CALLS = {"rest": "POST invocations", "mlflow": "predict", "databricks-sdk": "api_client.do"}


@pytest.fixture
def agents():
    endpoint = Endpoint("agent", Scripted(), speaks=("responses",), task="agent/v1/responses")
    with Workspace([endpoint]) as workspace:
        yield workspace


@pytest.mark.parametrize("backend", INVOKING)
def test_a_responses_agent_is_asked_with_input(backend, agents, make_client):
    result = make_client(backend, agents, endpoint="agent", api="responses").chat("Hello", max_tokens=3, top_p=0.5)

    assert result.text == 'You asked: "Hello".'[: len(result.text)]
    assert agents.requests[-1].path == "/serving-endpoints/agent/invocations"
    assert agents.requests[-1].json() == {
        "input": [{"role": "user", "content": "Hello"}],
        "max_output_tokens": 3,
        "top_p": 0.5,
    }
    assert result.meta.client_call == CALLS[backend]
    assert result.finish_reason == "length"


@pytest.mark.parametrize("backend", INVOKING)
def test_the_three_give_one_answer(backend, agents, make_client):
    here = make_client(backend, agents, endpoint="agent", api="responses").chat("Hello")
    there = make_client("openai-responses", agents, endpoint="agent").chat("Hello")

    assert isochat.diff(here, there) == []


@pytest.mark.parametrize("backend", INVOKING)
def test_what_the_responses_api_does_not_carry_is_refused(backend, agents, make_client):
    client = make_client(backend, agents, endpoint="agent", api="responses")

    with pytest.raises(isochat.UnsupportedParameterError, match="does not carry stop"):
        client.chat("Hello", stop=["x"])

    assert agents.requests == []


@pytest.mark.parametrize("backend", INVOKING)
def test_custom_inputs_and_outputs(backend, make_client):
    body = b'{"object":"response","output":[{"type":"message","role":"assistant","content":[{"type":"output_text",'
    body += (
        b'"text":"ok","annotations":[]}]}],"custom_outputs":{"k":1},"databricks_output":{"databricks_request_id":"u"}}'
    )
    reply = HttpReply(200, {"content-type": "application/json"}, body)
    with Workspace([Endpoint("agent", Replay({"chat": reply}))]) as workspace:
        client = make_client(backend, workspace, endpoint="agent", api="responses")
        result = client.chat("Hello", custom_inputs={"q": 2}, databricks_options={"return_trace": True})

        sent = workspace.requests[-1].json()
    assert (sent["custom_inputs"], sent["databricks_options"]) == ({"q": 2}, {"return_trace": True})
    assert result.meta.raw["custom_outputs"] == {"k": 1}
    assert result.meta.raw["databricks_output"] == {"databricks_request_id": "u"}
    assert (result.text, result.finish_reason) == ("ok", None)


def test_an_unknown_api_is_refused(agents, make_client):
    with pytest.raises(isochat.ConfigurationError, match="api is 'chat'"):
        make_client("rest", agents, endpoint="agent", api="chat")
