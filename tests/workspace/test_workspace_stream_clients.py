"""Do the clients people use stream from a workspace, piece by piece, and is it noticed when they stop reading?"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from isochat_workspace import Endpoint, Replay, Scripted, StreamReply, Workspace

LLAMA = "databricks-meta-llama-3-3-70b-instruct"
GPT = "databricks-gpt-5"
Until = Callable[[Callable[[], bool]], None]
QUESTION = "Hi \u2028 \u0085 \N{SNOWMAN}"
ASKED = f'You asked: "{QUESTION}".'


def test_openai_chat(workspace: Workspace) -> None:
    import openai
    from openai.types.chat import ChatCompletionChunk

    with openai.OpenAI(base_url=f"{workspace.url}/serving-endpoints", api_key=workspace.token, max_retries=0) as client:
        chunks = list(
            client.chat.completions.create(
                model=GPT,
                messages=[{"role": "user", "content": QUESTION}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        plain = client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": QUESTION}])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content
    assert text.startswith(ASKED)
    assert chunks[-1].usage == plain.usage
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.to_dict())


def test_openai_folds_the_streams_itself(workspace: Workspace) -> None:
    """The client's own folding, of both APIs."""
    import openai

    tool: Any = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}},
    }
    with openai.OpenAI(base_url=f"{workspace.url}/serving-endpoints", api_key=workspace.token, max_retries=0) as client:
        asked: Any = {"model": GPT, "messages": [{"role": "user", "content": "Hi"}], "n": 2}
        asked |= {"tools": [tool], "tool_choice": "required"}
        plain = client.chat.completions.create(**asked)
        with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            folded = stream.get_final_completion()
        with client.responses.stream(model=GPT, input="Hi") as events:
            response = events.get_final_response()
        said = client.responses.create(model=GPT, input="Hi")
    assert folded.usage == plain.usage
    for one, other in zip(folded.choices, plain.choices, strict=True):
        assert (one.finish_reason, one.message.content) == (other.finish_reason, other.message.content)
        assert one.message.tool_calls is not None
        [call], [expected] = one.message.tool_calls, other.to_dict()["message"]["tool_calls"]  # type: ignore[index]
        assert (call.id, call.function.arguments) == (expected["id"], expected["function"]["arguments"])
    assert response.output_text == said.output_text
    assert (response.status, response.usage) == (said.status, said.usage)


def test_openai_responses(workspace: Workspace) -> None:
    import openai

    with openai.OpenAI(base_url=f"{workspace.url}/serving-endpoints", api_key=workspace.token, max_retries=0) as client:
        events = list(client.responses.create(model=GPT, input=QUESTION, stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text.startswith(ASKED)
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == text


def test_a_client_that_stops_reading_is_on_record(until: Until) -> None:
    """Left in the middle of a stream of which the next piece never comes."""
    import openai

    event = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'

    async def stalled() -> Any:
        yield event
        await asyncio.Event().wait()

    reply = StreamReply(200, {"content-type": "text/event-stream"}, stalled)
    with (
        Workspace([Endpoint("r", Replay({"chat": reply}))]) as workspace,
        openai.OpenAI(base_url=f"{workspace.url}/serving-endpoints", api_key=workspace.token, max_retries=0) as client,
    ):
        stream = client.chat.completions.create(model="r", messages=[], stream=True)
        assert next(stream).id == "c"
        assert workspace.requests[0].closed_early is False
        stream.close()
        until(lambda: workspace.requests[0].closed_early)


def test_a_stream_read_to_its_end_was_not_left_early(workspace: Workspace, until: Until) -> None:
    import openai

    with openai.OpenAI(base_url=f"{workspace.url}/serving-endpoints", api_key=workspace.token, max_retries=0) as client:
        for _ in range(20):
            list(client.chat.completions.create(model=GPT, messages=[], stream=True))
            list(client.responses.create(model=GPT, input="Hi", stream=True))
    until(lambda: all(request.ended_at for request in workspace.requests))
    assert not any(request.closed_early for request in workspace.requests)


@pytest.mark.parametrize("endpoint", [GPT, LLAMA, "agent"])
def test_mlflow_predict_stream(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    workspace.add(Endpoint("agent", Scripted(), task="agent/v1/responses"))
    messages = [{"role": "user", "content": QUESTION}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow's own, at import
        from mlflow.deployments import get_deploy_client

        client = get_deploy_client("databricks")
        inputs = {"input": messages} if endpoint == "agent" else {"messages": messages}
        chunks: list[Any] = list(client.predict_stream(endpoint=endpoint, inputs=inputs))
    if endpoint == "agent":
        text = "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "response.output_text.delta")
    else:
        text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks if chunk["choices"])
        assert all(("usage" in chunk) == (endpoint == LLAMA or not chunk["choices"]) for chunk in chunks)
        assert "usage" in chunks[-1]
    assert text.startswith(ASKED)


def test_databricks_sdk_reads_the_raw_stream(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from databricks.sdk import WorkspaceClient

    for name in ("DATABRICKS_CONFIG_PROFILE", "DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    client = WorkspaceClient(host=workspace.url, token=workspace.token)
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    reply = client.api_client.do("POST", f"/serving-endpoints/{GPT}/invocations", body=body, raw=True)
    with reply["contents"] as contents:  # type: ignore[index,call-overload]
        lines = contents.read().decode().split("\n\n")
    assert lines[-2] == "data: [DONE]"
    assert json.loads(lines[0].removeprefix("data: "))["object"] == "chat.completion.chunk"


def test_aiohttp_and_many_streams_at_once(workspace: Workspace) -> None:
    """One loop, many streams: each is whole."""

    async def read(session: aiohttp.ClientSession, number: int) -> str:
        body = {"messages": [{"role": "user", "content": f"{number}"}], "stream": True}
        text = ""
        async with session.post(f"/serving-endpoints/{LLAMA}/invocations", json=body) as reply:
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    text += json.loads(line[6:])["choices"][0]["delta"]["content"]
        return text

    async def read_all() -> list[str]:
        headers = {"authorization": f"Bearer {workspace.token}"}
        async with aiohttp.ClientSession(workspace.url, headers=headers) as session:
            return await asyncio.gather(*(read(session, number) for number in range(50)))

    for number, text in enumerate(asyncio.run(read_all())):
        assert text.startswith(f'You asked: "{number}".')
        assert text.endswith("user.")
