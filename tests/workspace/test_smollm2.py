"""Does the real model answer, always the same, and token by token?"""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import Workspace

pytestmark = pytest.mark.smollm2

Send = Callable[..., urllib3.BaseHTTPResponse]
QUESTION = [{"role": "user", "content": "What is a mixture of experts model?"}]
PATH = "/serving-endpoints/smollm2/invocations"


def ask(send: Send, workspace: Workspace, **body: Any) -> dict[str, Any]:
    reply = send(workspace, "POST", PATH, {"messages": QUESTION, "max_tokens": 12, **body})
    assert reply.status == 200, reply.data
    answer: dict[str, Any] = reply.json()
    return answer


def text(answer: dict[str, Any]) -> str:
    content: str = answer["choices"][0]["message"]["content"]
    return content


def test_it_answers_on_every_default_endpoint_and_says_who_it_is(smollm2: Workspace, send: Send) -> None:
    assert smollm2.model_name == "SmolLM2-135M-Instruct-Q4_1"
    assert smollm2.default_endpoint == "smollm2"
    for name in ("databricks-claude-sonnet-4-5", "smollm2"):
        body = {"messages": QUESTION, "max_tokens": 4}
        reply = send(smollm2, "POST", f"/serving-endpoints/{name}/invocations", body)
        assert reply.json()["model"] == reply.headers["served-model-name"] == smollm2.model_name
        assert reply.json()["choices"][0]["finish_reason"] == "length"
        assert reply.json()["usage"]["completion_tokens"] == 4


def test_one_question_has_one_answer_also_in_a_crowd_and_over_both_apis(smollm2: Workspace, send: Send) -> None:
    alone = [text(ask(send, smollm2)) for _ in range(3)]
    alone.append(text(ask(send, smollm2, temperature=0, seed=5)))
    with concurrent.futures.ThreadPoolExecutor(8) as crowd:
        others = list(crowd.map(lambda _: text(ask(send, smollm2)), range(8)))
    asked = {"model": "smollm2", "input": QUESTION[0]["content"], "max_output_tokens": 12}
    response = send(smollm2, "POST", "/serving-endpoints/responses", asked).json()
    assert len({*alone, *others, response["output"][0]["content"][0]["text"]}) == 1
    assert response["status"] == "incomplete"


def test_history_and_parameters_reach_it(smollm2: Workspace, send: Send) -> None:
    plain = ask(send, smollm2)
    history = ask(
        send,
        smollm2,
        messages=[
            {"role": "system", "content": "You answer in one word."},
            *QUESTION,
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]},
        ],
    )  # fmt: skip
    first_word = text(plain).split()[1]
    stopped = ask(send, smollm2, stop=[first_word])
    two = ask(send, smollm2, n=2, temperature=1.0, max_tokens=12)
    assert history["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]
    assert first_word not in text(stopped)
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert len({choice["message"]["content"] for choice in two["choices"]}) == 2


def test_a_forced_tool_and_a_schema_give_json(smollm2: Workspace, send: Send) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    }
    tool = {"type": "function", "function": {"name": "weather", "parameters": schema}}
    called = ask(send, smollm2, tools=[tool], tool_choice="required", max_tokens=200)["choices"][0]
    form = {"type": "json_schema", "json_schema": {"name": "w", "schema": schema}}
    shaped = ask(send, smollm2, response_format=form, max_tokens=200)
    assert called["finish_reason"] == "tool_calls"
    for written in (called["message"]["tool_calls"][0]["function"]["arguments"], text(shaped)):
        value = json.loads(written)
        assert isinstance(value["city"], str)
        assert isinstance(value["days"], int)


def test_too_long_a_prompt_is_the_services_400(smollm2: Workspace, send: Send) -> None:
    body = {"messages": [{"role": "user", "content": "word " * 4000}]}
    reply = send(smollm2, "POST", PATH, body)
    assert (reply.status, reply.json()["error_code"]) == (400, "BAD_REQUEST")
    assert reply.json()["message"].startswith("Bad request: prompt token count (")


def events(data: bytes) -> list[dict[str, Any]]:
    lines = data.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"n": 2, "temperature": 0.9, "seed": 7},
        {"messages": [{"role": "user", "content": "Repeat: \N{RAINBOW}\N{SNOWMAN}\N{RAINBOW}"}], "max_tokens": 20},
        {"stop": ["expert"], "max_tokens": 40},
        {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60},
        {"response_format": {"type": "json_object"}, "max_tokens": 30},
    ],
    ids=["text", "n", "emoji", "stop", "tool", "json"],
)
def test_the_stream_is_the_plain_answer_token_by_token(smollm2: Workspace, send: Send, asked: dict[str, Any]) -> None:
    plain = ask(send, smollm2, **asked)
    body = {"messages": QUESTION, "max_tokens": 12, **asked, "stream": True}
    chunks = events(send(smollm2, "POST", PATH, body).data)
    for choice in plain["choices"]:
        mine = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        texts = [part["delta"].get("content") for part in mine]
        calls = [call["function"]["arguments"] for part in mine for call in part["delta"].get("tool_calls", ())]
        if "tools" in asked:
            assert "".join(calls) == choice["message"]["tool_calls"][0]["function"]["arguments"]
            assert len([piece for piece in calls if piece]) > 3
        else:
            assert "".join(text or "" for text in texts) == choice["message"]["content"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
    assert chunks[-1]["usage"] == plain["usage"]
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3


def test_a_responses_stream_of_the_real_model(smollm2: Workspace, send: Send) -> None:
    body = {"model": "smollm2", "input": QUESTION[0]["content"], "max_output_tokens": 12}
    plain = send(smollm2, "POST", "/serving-endpoints/responses", body).json()
    streamed = send(smollm2, "POST", "/serving-endpoints/responses", {**body, "stream": True}).data.decode()
    last = json.loads(streamed.strip().split("\n\n")[-1].partition("data: ")[2])
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["content"] == plain["output"][0]["content"]
    assert last["response"]["usage"] == plain["usage"]


def test_too_long_a_prompt_is_a_400_for_a_stream_as_well(smollm2: Workspace, send: Send) -> None:
    body = {"messages": [{"role": "user", "content": "word " * 4000}], "stream": True}
    reply = send(smollm2, "POST", PATH, body)
    assert reply.status == 400
    assert reply.json()["message"].startswith("Bad request: prompt token count (")
