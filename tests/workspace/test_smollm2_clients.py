"""Does the real model say the same through all five clients, one at a time and eight at once?"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jsonschema
import pytest
import urllib3

import isochat
from isochat_workspace import Workspace

pytestmark = pytest.mark.smollm2

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
PROMPTS = (
    "What is a mixture of experts model?",
    "Name three rivers of Europe.",
    "Écris une phrase sur la mer.",
    "Repeat: \N{RAINBOW}\N{SNOWMAN} 日本",
    "Write one line of Python.",
    "2 + 2 =",
    "Why is the sky blue? " * 12,
    "",
)
TOKENS = 8


class Said(NamedTuple):
    """What a client brought back."""

    text: str
    prompt_tokens: int
    completion_tokens: int


Ask = Callable[[str], Said]


@pytest.fixture
def through_isochat(smollm2: Workspace) -> Iterator[list[Ask]]:
    there = {"endpoint": "smollm2", "host": smollm2.url, "token": smollm2.token}
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(isochat.Client(name, **there)) for name in BACKENDS]

        def through(client: isochat.Client) -> Ask:
            def ask(prompt: str) -> Said:
                result = client.chat([{"role": "user", "content": prompt}], temperature=0, max_tokens=TOKENS)
                assert result.usage is not None
                return Said(result.text, result.usage.prompt_tokens or 0, result.usage.completion_tokens or 0)

            return ask

        yield [through(client) for client in clients]


@pytest.fixture
def bare(smollm2: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[list[Ask]]:
    """The same calls without isochat, as the clients' own documentation has them."""
    monkeypatch.setenv("DATABRICKS_HOST", smollm2.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", smollm2.token)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import openai
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow's own, at import
        from mlflow.deployments import get_deploy_client

        deployments: Any = get_deploy_client("databricks")  # type: ignore[no-untyped-call]
    sdk = WorkspaceClient()
    base_url = smollm2.url + "/serving-endpoints"

    def rest(prompt: str) -> Said:
        body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": TOKENS}
        headers = {"authorization": f"Bearer {smollm2.token}"}
        return of_chat(http.request("POST", f"{base_url}/smollm2/invocations", json=body, headers=headers).json())

    def chat(prompt: str) -> Said:
        asked: Any = [{"role": "user", "content": prompt}]
        return of_chat(
            client.chat.completions.create(model="smollm2", messages=asked, temperature=0, max_tokens=TOKENS).to_dict()
        )

    def responses(prompt: str) -> Said:
        asked: Any = [{"role": "user", "content": prompt}]
        reply = client.responses.create(model="smollm2", input=asked, temperature=0, max_output_tokens=TOKENS)
        assert reply.usage is not None
        return Said(reply.output_text, reply.usage.input_tokens, reply.usage.output_tokens)

    def mlflow(prompt: str) -> Said:
        body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": TOKENS}
        return of_chat(deployments.predict(endpoint="smollm2", inputs=body))

    def query(prompt: str) -> Said:
        asked = [ChatMessage(role=ChatMessageRole.USER, content=prompt)]
        return of_chat(
            sdk.serving_endpoints.query("smollm2", messages=asked, temperature=0.0, max_tokens=TOKENS).as_dict()
        )

    with (
        urllib3.PoolManager(maxsize=8, retries=False, timeout=300) as http,
        openai.OpenAI(base_url=base_url, api_key=smollm2.token, max_retries=0) as client,
    ):
        yield [rest, chat, responses, mlflow, query]


def of_chat(completion: Any) -> Said:
    usage = completion["usage"]
    text = completion["choices"][0]["message"].get("content") or ""
    return Said(text, usage["prompt_tokens"], usage["completion_tokens"])


@pytest.mark.parametrize("clients", ["through_isochat", pytest.param("bare", marks=pytest.mark.long)])
def test_eight_at_once_get_what_each_gets_alone(clients: str, request: pytest.FixtureRequest) -> None:
    asks: list[Ask] = request.getfixturevalue(clients)
    alone = [asks[0](prompt) for prompt in PROMPTS]
    assert len({said.text for said in alone}) >= len(PROMPTS) - 1
    for prompt_tokens in (said.prompt_tokens for said in alone):
        assert prompt_tokens > 10

    def all_five(place: int) -> list[Said]:
        # Each thread begins with another client, so that all five are under way together.
        return [asks[(place + turn) % len(asks)](PROMPTS[place]) for turn in range(len(asks))]

    with concurrent.futures.ThreadPoolExecutor(len(PROMPTS)) as crowd:
        together = list(crowd.map(all_five, range(len(PROMPTS))))
    assert together == [[said] * len(asks) for said in alone]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schema_and_a_forced_call_through_isochat(smollm2: Workspace, backend: str, stream: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
        "required": ["city", "days"],
    }
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {**schema, "title": name}}}
        for name in ("forecast", "history")
    ]
    asked = "How was the weather in Paris last week?"
    with isochat.Client(backend, endpoint="smollm2", host=smollm2.url, token=smollm2.token) as client:

        def result_of(**parameters: Any) -> isochat.ChatResult:
            if stream:
                return client.chat(asked, stream=True, **parameters).result()
            return client.chat(asked, **parameters)

        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        shaped, called = result_of(response_format=form), result_of(tools=tools, tool_choice="required")
    jsonschema.validate(json.loads(shaped.text), schema)
    [call] = called.tool_calls
    jsonschema.validate(json.loads(call.function.arguments), schema)
    assert call.function.name in ("forecast", "history")
    assert (shaped.finish_reason, called.finish_reason) == ("stop", "tool_calls")
    with isochat.Client("rest", endpoint="smollm2", host=smollm2.url, token=smollm2.token) as other:
        assert isochat.diff(shaped, other.chat(asked, response_format=form)) == []
        assert isochat.diff(called, other.chat(asked, tools=tools, tool_choice="required")) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_logprobs_and_stop_through_isochat(smollm2: Workspace, backend: str) -> None:
    with isochat.Client(backend, endpoint="smollm2", host=smollm2.url, token=smollm2.token) as client:
        told = client.chat(PROMPTS[0], max_tokens=TOKENS, logprobs=True, top_logprobs=2)
        streamed = client.chat(PROMPTS[0], max_tokens=TOKENS, logprobs=True, top_logprobs=2, stream=True).result()
        assert told.choices[0].logprobs is not None
        assert isochat.diff(told, streamed) == []
        entries = told.choices[0].logprobs["content"]
        assert "".join(entry["token"] for entry in entries) == told.text
        assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
        word = told.text.split()[2]
        if backend == "openai-responses":
            with pytest.raises(isochat.errors.UnsupportedParameterError):
                client.chat(PROMPTS[0], stop=word)
            return
        stopped = client.chat(PROMPTS[0], max_tokens=TOKENS, stop=[word])
    assert stopped.text == told.text[: told.text.index(word)]


@pytest.mark.parametrize("usage", ["every", "last", "never"])
def test_the_three_usage_styles(smollm2: Workspace, usage: Any) -> None:
    from isochat_workspace import Endpoint

    model = smollm2.endpoints[0].model
    smollm2.add(Endpoint(f"smollm2-{usage}", model, family="open", stream_usage=usage))
    there = {"host": smollm2.url, "token": smollm2.token, "endpoint": f"smollm2-{usage}"}
    with isochat.Client("rest", **there) as client:
        plain = client.chat(PROMPTS[0], max_tokens=TOKENS)
        stream = client.chat(PROMPTS[0], max_tokens=TOKENS, stream=True)
        counted = [chunk.usage.completion_tokens for chunk in stream if chunk.usage is not None]
    assert plain.usage is not None
    assert plain.usage.completion_tokens == TOKENS
    if usage == "never":
        assert counted == []
    else:
        assert counted[-1] == TOKENS
        assert (len(set(counted)) > 3) == (usage == "every")
