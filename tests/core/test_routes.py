"""Which of the workspace's routes does a call take?"""

import pytest

import isochat

INVOKING = ["rest", "mlflow", "databricks-sdk"]
GATEWAY = ["rest", "openai-chat", "openai-responses"]
PATHS = {
    "rest": "/ai-gateway/mlflow/v1/chat/completions",
    "openai-chat": "/ai-gateway/mlflow/v1/chat/completions",
    "openai-responses": "/ai-gateway/mlflow/v1/responses",
}


@pytest.mark.parametrize("backend", GATEWAY)
@pytest.mark.parametrize("route", ["ai-gateway", "auto"])
def test_a_model_service_is_asked_through_the_gateway(backend, route, workspace, make_client):
    result = make_client(backend, workspace, endpoint="system.ai.gpt-5", route=route).chat("Hello")

    request = workspace.requests[-1]
    assert request.path == PATHS[backend]
    assert request.json()["model"] == "system.ai.gpt-5"
    assert result.meta.route == "ai-gateway"


@pytest.mark.parametrize("backend", GATEWAY)
def test_the_gateway_and_the_endpoint_give_the_same_answer(backend, workspace, make_client):
    there = make_client(backend, workspace, endpoint="system.ai.gpt-5", route="ai-gateway").chat("Hello")
    here = make_client(backend, workspace, endpoint="databricks-gpt-5").chat("Hello")

    assert isochat.diff(there, here) == []


@pytest.mark.parametrize("backend", INVOKING + GATEWAY[1:])
def test_auto_takes_the_serving_endpoints_for_a_name_without_two_dots(backend, workspace, make_client):
    result = make_client(backend, workspace, endpoint="databricks-gpt-5", route="auto").chat("Hello")

    assert workspace.requests[-1].path.startswith("/serving-endpoints/")
    assert result.meta.route == "serving-endpoints"


@pytest.mark.parametrize("backend", ["mlflow", "databricks-sdk"])
@pytest.mark.parametrize("route", ["ai-gateway", "auto"])
def test_a_client_that_cannot_take_the_gateway_is_refused_by_name(backend, route, workspace, make_client):
    with pytest.raises(isochat.ConfigurationError, match="cannot take the route 'ai-gateway'") as caught:
        make_client(backend, workspace, endpoint="system.ai.gpt-5", route=route)

    assert "openai-chat" in caught.value.remedy
    assert workspace.requests == []


@pytest.mark.parametrize("backend", INVOKING)
@pytest.mark.parametrize("params", [{}, {"top_p": 0.5}], ids=["narrow", "wide"])
def test_one_served_model_of_an_endpoint(backend, params, workspace, make_client):
    client = make_client(backend, workspace, endpoint="databricks-gpt-5", served_model="gpt-5-2025-08-07")

    result = client.chat("Hello", **params)

    assert workspace.requests[-1].path == (
        "/serving-endpoints/databricks-gpt-5/served-models/gpt-5-2025-08-07/invocations"
    )
    assert result.meta.endpoint == "databricks-gpt-5"


@pytest.mark.parametrize("backend", ["openai-chat", "openai-responses"])
def test_a_served_model_has_no_place_where_the_body_names_the_endpoint(backend, workspace, make_client):
    with pytest.raises(isochat.ConfigurationError, match="unknown argument 'served_model'") as caught:
        make_client(backend, workspace, endpoint="databricks-gpt-5", served_model="m")

    assert caught.value.remedy == (
        "Leave served_model out, or use a backend that takes it: databricks-sdk, mlflow, rest"
    )


@pytest.mark.parametrize("backend", ["openai-chat", "openai-responses"])
def test_an_api_that_a_client_has_no_choice_of_names_the_backends_that_have(backend, workspace, make_client):
    with pytest.raises(isochat.ConfigurationError, match="unknown argument 'api'") as caught:
        make_client(backend, workspace, api="responses")

    assert caught.value.remedy == "Leave api out, or use a backend that takes it: databricks-sdk, mlflow, rest"


def test_a_served_model_has_no_place_on_the_gateway(workspace, make_client):
    with pytest.raises(isochat.ConfigurationError, match="served_model= has no place"):
        make_client("rest", workspace, endpoint="system.ai.gpt-5", route="ai-gateway", served_model="m")


@pytest.mark.parametrize("name", ["../x", "a/b", "a?b", "a b", "", 5])
def test_an_unsafe_served_model_is_refused(name, workspace, make_client):
    with pytest.raises(isochat.InvalidInputError, match="served_model"):
        make_client("rest", workspace, endpoint="databricks-gpt-5", served_model=name)


def test_an_unknown_route_names_the_known_ones(workspace, make_client):
    with pytest.raises(isochat.ConfigurationError, match="route=") as caught:
        make_client("rest", workspace, endpoint="databricks-gpt-5", route="gateway")

    assert caught.value.remedy == "It may be serving-endpoints or ai-gateway or auto"
