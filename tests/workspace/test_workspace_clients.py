"""Do the clients people use run against a workspace? One plain call and one refusal each."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from isochat_workspace import Workspace

GPT = "databricks-gpt-5"
CLAUDE = "databricks-claude-sonnet-4-5"
ASKED = 'You asked: "Hi".'


def test_openai(workspace: Workspace) -> None:
    import openai
    from openai.types.chat import ChatCompletion
    from openai.types.responses import Response

    with openai.OpenAI(base_url=f"{workspace.url}/serving-endpoints", api_key=workspace.token, max_retries=0) as client:
        chat = client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": "Hi"}])
        response = client.responses.create(model=GPT, input="Hi")
        cut = client.responses.create(model=GPT, input="Hi", max_output_tokens=2)
        called = client.responses.create(
            model=GPT,
            input="Hi",
            tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
            tool_choice={"type": "function", "name": "f"},
        )
        with pytest.raises(openai.BadRequestError, match="passthrough is not supported"):
            client.responses.create(model=CLAUDE, input="Hi")
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="nope", messages=[])
    assert (chat.choices[0].message.content or "").startswith(ASKED)
    assert response.output_text.startswith(ASKED)
    assert cut.status == "incomplete"
    assert called.output[0].type == "function_call"
    # The client builds its objects without looking; this is the strict reading of the same types.
    ChatCompletion.model_validate(chat.to_dict())
    for one in (response, cut, called):
        Response.model_validate(one.to_dict())


def test_databricks_sdk(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied
    from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

    for name in ("DATABRICKS_CONFIG_PROFILE", "DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    client = WorkspaceClient(host=workspace.url, token=workspace.token)
    reply = client.serving_endpoints.query(
        GPT, messages=[ChatMessage(role=ChatMessageRole.USER, content="Hi")], max_tokens=3
    )
    listed = [endpoint.name for endpoint in client.serving_endpoints.list()]
    one = client.serving_endpoints.get(CLAUDE)
    assert reply.choices is not None
    assert reply.choices[0].message is not None
    assert reply.choices[0].message.content == ASKED
    assert reply.served_model_name == "gpt-5-2025-08-07"
    assert listed == [endpoint.name for endpoint in workspace.endpoints]
    assert one.task == "llm/v1/chat"
    with pytest.raises(NotFound):
        client.serving_endpoints.query("nope", messages=[])
    with pytest.raises(BadRequest):
        client.serving_endpoints.query(GPT, inputs=["Hi"])
    bare = WorkspaceClient(host=workspace.url, token="wrong")
    with pytest.raises(PermissionDenied):
        list(bare.serving_endpoints.list())
    # Its first request, for the host's metadata, came without a token and was answered.
    assert workspace.requests[0].target == "/.well-known/databricks-config"
    assert workspace.requests[0].status == 200


def test_mlflow_deployments(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow's own, at import
        from mlflow.deployments import get_deploy_client

        client = get_deploy_client("databricks")  # type: ignore[no-untyped-call]
        assert client is not None
        reply = client.predict(endpoint=GPT, inputs={"messages": [{"role": "user", "content": "Hi"}]})
    assert reply["choices"][0]["message"]["content"].startswith(ASKED)
