"""Do the clients people use read what a cassette tells them, each by its own call, whole and streamed?"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isochat_workspace import StreamReply, Workspace
from isochat_workspace.recording.cassette_file import CassetteWriter
from isochat_workspace.recording.exchange import Exchange, question_of

NAME = "databricks-gpt-5"
HI: Any = [{"role": "user", "content": "Hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def completion(message: dict[str, Any], reason: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    told = {"id": "c1", "object": "chat.completion", "created": 5, "model": "m", "choices": [choice], "usage": USAGE}
    return json.dumps(told).encode()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """What the REST client has recorded: a text, and a call of a tool. Nothing was streamed."""
    writer = CassetteWriter(tmp_path / "c.cassette")
    for asked, told in (
        ({"messages": HI}, completion({"content": "Hello there, you."}, "stop")),
        ({"messages": HI, "tools": TOOLS}, completion({"content": None, "tool_calls": [CALL]}, "tool_calls")),
    ):
        question = question_of("POST", f"/serving-endpoints/{NAME}/invocations", json.dumps(asked).encode())
        reply = StreamReply(200, {"content-type": "application/json"}, (told,), framing="content-length")
        writer.write(Exchange(question, reply))
    writer.close()
    with Workspace(model=f"replay:{tmp_path / 'c.cassette'}") as running:
        yield running


def test_openai_chat(workspace: Workspace) -> None:
    import openai
    from openai.types.chat import ChatCompletionChunk

    with openai.OpenAI(base_url=f"{workspace.url}/serving-endpoints", api_key=workspace.token, max_retries=0) as client:
        plain = client.chat.completions.create(model=NAME, messages=HI)
        chunks = list(client.chat.completions.create(model=NAME, messages=HI, stream=True))
        with client.chat.completions.stream(model=NAME, messages=HI, tools=TOOLS) as stream:
            folded = stream.get_final_completion()
        with pytest.raises(openai.NotFoundError, match="n is 2 here and absent there"):
            client.chat.completions.create(model=NAME, messages=HI, n=2)
    assert plain.choices[0].message.content == "Hello there, you."
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello there, you."
    assert chunks[-1].usage == plain.usage
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.to_dict())
    calls = folded.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.arguments == '{"a": 1}'


def test_openai_responses(workspace: Workspace) -> None:
    import openai

    flat: Any = [{"type": "function", "strict": False, **TOOLS[0]["function"]}]
    with openai.OpenAI(base_url=f"{workspace.url}/serving-endpoints", api_key=workspace.token, max_retries=0) as client:
        plain = client.responses.create(model=NAME, input="Hi")
        with client.responses.stream(model=NAME, input="Hi") as events:
            texts = [event.delta for event in events if event.type == "response.output_text.delta"]
            folded = events.get_final_response()
        called = client.responses.create(model=NAME, input="Hi", tools=flat)
        with client.responses.stream(model=NAME, input="Hi", tools=flat) as events:
            streamed = events.get_final_response()
    assert plain.output_text == folded.output_text == "".join(texts) == "Hello there, you."
    assert len(texts) > 1
    assert plain.usage is not None
    assert (plain.usage.input_tokens, plain.usage.output_tokens, plain.usage.total_tokens) == (3, 4, 7)
    for response in (called, streamed):
        item = response.output[0]
        assert item.type == "function_call"
        assert (item.call_id, item.name, item.arguments) == ("call_1", "f", '{"a": 1}')


def test_mlflow(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.deployments import get_deploy_client

    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    client: Any = get_deploy_client("databricks")
    plain = client.predict(endpoint=NAME, inputs={"messages": HI})
    chunks = list(client.predict_stream(endpoint=NAME, inputs={"messages": HI}))
    assert plain["choices"][0]["message"]["content"] == "Hello there, you."
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == "Hello there, you."


def test_databricks_sdk(workspace: Workspace) -> None:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

    client = WorkspaceClient(host=workspace.url, token=workspace.token)
    answer = client.serving_endpoints.query(name=NAME, messages=[ChatMessage(role=ChatMessageRole.USER, content="Hi")])
    assert answer.choices is not None
    assert answer.choices[0].message is not None
    assert answer.choices[0].message.content == "Hello there, you."
