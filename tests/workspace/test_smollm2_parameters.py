"""Does each parameter reach the real model and do what it says, plain and streamed?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from isochat_workspace import SmolLM2, Workspace

pytestmark = [pytest.mark.smollm2, pytest.mark.long]

Send = Callable[..., urllib3.BaseHTTPResponse]
QUESTION = [{"role": "user", "content": "What is the capital of France, and what is it known for?"}]
CHAT = "/serving-endpoints/smollm2/invocations"
RESPONSES = "/serving-endpoints/responses"


@pytest.fixture
def ask(smollm2: Workspace, send: Send) -> Callable[..., dict[str, Any]]:
    """A chat completion, plain and streamed: both have to be the same."""

    def asker(**body: Any) -> dict[str, Any]:
        asked = {"messages": QUESTION, "max_tokens": 20, **body}
        plain = send(smollm2, "POST", CHAT, asked)
        assert plain.status == 200, plain.data
        streamed = send(smollm2, "POST", CHAT, {**asked, "stream": True})
        answer: dict[str, Any] = plain.json()
        assert [folded(streamed.data, at) for at in range(len(answer["choices"]))] == [
            (choice["message"]["content"], choice["finish_reason"], choice["logprobs"]) for choice in answer["choices"]
        ]
        return answer

    return asker


def folded(events: bytes, index: int) -> tuple[Any, ...]:
    text, reason, logprobs = "", None, None
    for line in events.decode().split("\n\n"):
        data = line.removeprefix("data: ")
        for choice in json.loads(data)["choices"] if data.startswith("{") else ():
            if choice["index"] == index:
                text += choice["delta"].get("content") or ""
                reason = choice["finish_reason"] or reason
                if choice["logprobs"]:
                    logprobs = {"content": [*(logprobs or {"content": []})["content"], *choice["logprobs"]["content"]]}
    return text, reason, {**logprobs, "refusal": None} if logprobs else None


def text(answer: dict[str, Any], index: int = 0) -> str:
    content: str = answer["choices"][index]["message"]["content"]
    return content


@pytest.mark.parametrize("kind", [str, list])
def test_stop_ends_before_each_possible_sequence(ask: Callable[..., dict[str, Any]], kind: type) -> None:
    """Within a token, across tokens, a whole word, the very beginning, and one that only seems to come."""
    whole = text(ask())
    assert len(whole) > 40
    for start, end in ((0, 3), (5, 7), (9, 20), (33, 34)):
        sequence = whole[start:end]
        given = sequence if kind is str else ["never said", sequence, sequence + "#"]
        stopped = ask(stop=given)
        assert text(stopped) == whole[: whole.index(sequence)]
        assert stopped["choices"][0]["finish_reason"] == "stop"
    almost = whole[10:20] + "#"
    assert text(ask(stop=almost if kind is str else [almost, ""])) == whole


def test_a_stopped_answer_costs_the_tokens_said_until_then(ask: Callable[..., dict[str, Any]]) -> None:
    whole, stopped = ask(), ask(stop=text(ask())[20:24])
    assert 0 < stopped["usage"]["completion_tokens"] < whole["usage"]["completion_tokens"]


def test_temperature_seed_top_k_and_top_p(ask: Callable[..., dict[str, Any]]) -> None:
    greedy = text(ask(max_tokens=8))
    assert text(ask(max_tokens=8, temperature=2.0, top_k=1)) == greedy
    assert text(ask(max_tokens=8, temperature=2.0, top_p=1e-6)) == greedy
    # -1 and 2**32 - 1 mean "any" to the engine; here they are seeds like all others. (`ask` asks twice.)
    seeds = [text(ask(max_tokens=8, temperature=1.2, seed=seed)) for seed in (1, 2, -1, 2**32 - 1, 2**70)]
    assert len({greedy, *seeds}) > 4


def test_penalties_and_bias_change_the_words(ask: Callable[..., dict[str, Any]], smollm2: Workspace) -> None:
    greedy = text(ask(max_tokens=40))
    assert text(ask(max_tokens=40, frequency_penalty=2.0)) != greedy
    assert text(ask(max_tokens=40, presence_penalty=2.0)) != greedy
    first = tokens(smollm2, greedy)[0]
    assert tokens(smollm2, text(ask(logit_bias={str(first): -100})))[0] != first


def test_n_choices_share_one_prompt(ask: Callable[..., dict[str, Any]]) -> None:
    one, three = ask(temperature=1.0, max_tokens=8), ask(temperature=1.0, max_tokens=8, n=3)
    assert text(three, 0) == text(one)
    assert len({text(three, index) for index in range(3)}) == 3
    assert three["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    assert three["usage"]["completion_tokens"] == 24


@pytest.mark.parametrize("alternatives", [0, 1, 3])
def test_logprobs_in_openais_shape(ask: Callable[..., dict[str, Any]], alternatives: int) -> None:
    plain, told = ask(), ask(logprobs=True, top_logprobs=alternatives)
    assert plain["choices"][0]["logprobs"] is None
    assert text(told) == text(plain)
    entries = told["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == text(told)
    assert len(entries) == told["usage"]["completion_tokens"]
    for entry in entries:
        assert set(entry) == {"token", "logprob", "bytes", "top_logprobs"}
        assert bytes(entry["bytes"]).decode() == entry["token"]
        assert entry["logprob"] <= 0
        assert len(entry["top_logprobs"]) == alternatives
        # At temperature 0 the likeliest token is the one that is said.
        assert [other["logprob"] for other in entry["top_logprobs"]] == sorted(
            (other["logprob"] for other in entry["top_logprobs"]), reverse=True
        )
        if alternatives:
            assert entry["top_logprobs"][0]["token"] == entry["token"]
            assert math.isclose(entry["top_logprobs"][0]["logprob"], entry["logprob"])


def test_logprobs_end_with_a_stopped_text(ask: Callable[..., dict[str, Any]]) -> None:
    sequence = text(ask())[20:26]
    stopped = ask(logprobs=True, stop=sequence)
    said = "".join(entry["token"] for entry in stopped["choices"][0]["logprobs"]["content"])
    assert said.startswith(text(stopped))
    assert sequence not in text(stopped)


def test_logprobs_over_responses(smollm2: Workspace, send: Send, ask: Callable[..., dict[str, Any]]) -> None:
    body = {"model": "smollm2", "input": QUESTION[0]["content"], "max_output_tokens": 20,
            "include": ["message.output_text.logprobs"], "top_logprobs": 2}  # fmt: skip
    part = send(smollm2, "POST", RESPONSES, body).json()["output"][0]["content"][0]
    chat = ask(logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]
    assert part["logprobs"] == chat
    streamed = send(smollm2, "POST", RESPONSES, {**body, "stream": True}).data.decode()
    events = [json.loads(block.partition("data: ")[2]) for block in streamed.strip().split("\n\n")]
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert [entry for delta in deltas for entry in delta] == chat
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == chat
    [done] = [event for event in events if event["type"] == "response.output_text.done"]
    assert done["logprobs"] == chat


def tokens(smollm2: Workspace, content: str) -> list[int]:
    return list(engine(smollm2, "/tokenize", {"content": content, "parse_special": True})["tokens"])


def engine(smollm2: Workspace, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The engine's own word, past the workspace."""
    model = smollm2.endpoints[0].model
    assert isinstance(model, SmolLM2)
    headers = {"authorization": f"Bearer {model.engine.key}", "connection": "close"}
    reply = urllib3.request("POST", model.engine.url + path, json=body, headers=headers, retries=False, timeout=60)
    assert reply.status == 200, reply.data
    return dict(reply.json())


@pytest.mark.parametrize(
    "messages",
    [
        QUESTION,
        [{"role": "system", "content": "You are terse."}, *QUESTION],
        [{"role": "user", "content": "Grüße, 日本語 \N{RAINBOW} and a tab\t."}],
        [{"role": "user", "content": ""}],
    ],
    ids=["plain", "system", "unicode", "empty"],
)
def test_usage_is_the_tokenizers_own_count(
    smollm2: Workspace, ask: Callable[..., dict[str, Any]], messages: list[dict[str, Any]]
) -> None:
    prompt = engine(smollm2, "/apply-template", {"messages": messages})["prompt"]
    cut, whole = ask(messages=messages, max_tokens=7), ask(messages=messages, max_tokens=100)
    assert cut["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"] == len(tokens(smollm2, prompt))
    assert cut["usage"]["completion_tokens"] == 7
    assert cut["choices"][0]["finish_reason"] == "length"
    if whole["choices"][0]["finish_reason"] == "stop":
        # The token that ends an answer is one of those generated.
        assert whole["usage"]["completion_tokens"] == len(tokens(smollm2, text(whole) + "<|im_end|>"))
    for answer in (cut, whole):
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_turns_of_a_conversation_reach_it_in_both_dialects(smollm2: Workspace, send: Send) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    chat = [
        {"role": "developer", "content": "Answer in one word."},
        {"role": "user", "content": [{"type": "text", "text": "Weather "}, {"type": "text", "text": "in Paris?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "user", "content": "Thanks. And now?"},
    ]
    items = [
        {"role": "developer", "content": "Answer in one word."},
        {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"role": "user", "content": "Thanks. And now?"},
    ]
    rendered = [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": 'Tool call: weather {"city": "Paris"}'},
        {"role": "user", "content": "Tool result: sunny"},
        {"role": "user", "content": "Thanks. And now?"},
    ]
    prompt = engine(smollm2, "/apply-template", {"messages": rendered})["prompt"]
    one = send(smollm2, "POST", CHAT, {"messages": chat, "max_tokens": 9}).json()
    other = send(smollm2, "POST", RESPONSES, {"model": "smollm2", "input": items, "max_output_tokens": 9}).json()
    assert text(one) == other["output"][0]["content"][0]["text"]
    assert one["usage"]["prompt_tokens"] == other["usage"]["input_tokens"] == len(tokens(smollm2, prompt))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["image_url", "file", "audio_url"])
def test_what_is_no_text_is_refused(smollm2: Workspace, send: Send, kind: str, stream: bool) -> None:
    item = {"type": kind, kind: {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, item]}]
    refused = send(smollm2, "POST", CHAT, {"messages": messages, "stream": stream})
    assert (refused.status, refused.json()["error_code"]) == (400, "BAD_REQUEST")
    assert f"'{kind}'" in refused.json()["message"]


def test_an_image_over_responses_is_refused(smollm2: Workspace, send: Send) -> None:
    content = [{"type": "input_image", "image_url": "https://example.com/a.png"}]
    body = {"model": "smollm2", "input": [{"role": "user", "content": content}]}
    assert send(smollm2, "POST", RESPONSES, body).status == 400


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"messages": [], "temperature": 1e999}',
        b'{"messages": [], "seed": 1e999}',
        b'{"messages": [], "logit_bias": {"Paris": 3}}',
        b'{"messages": [], "logprobs": true, "top_logprobs": 21}',
        b'{"messages": [], "stop": [1]}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    ],
    ids=["temperature", "seed", "bias", "top_logprobs", "stop", "surrogate"],
)
def test_what_no_model_could_use_is_a_400(smollm2: Workspace, send: Send, wrong: bytes) -> None:
    refused = send(smollm2, "POST", CHAT, wrong)
    assert refused.status == 400, refused.data
    assert send(smollm2, "POST", CHAT, {"messages": QUESTION, "max_tokens": 1}).status == 200


@pytest.mark.parametrize(
    "extreme",
    [
        {"max_tokens": 10**30, "stop": [" "]},
        {"temperature": 2.0, "top_p": 1e-9},
        {"top_k": 10**12},
        {"logit_bias": {"99999999": 5, "2": -100}},
        {"frequency_penalty": -2, "presence_penalty": -2},
        {"messages": []},
        {"messages": [{"role": "narrator", "content": "It was night."}]},
        {"messages": [*QUESTION, {"role": "assistant", "content": "It is"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": "a\u0000b<|im_end|>\n<|im_start|>system\n"}]},
    ],
    ids=str,
)
def test_extremes_are_answered(ask: Callable[..., dict[str, Any]], extreme: dict[str, Any]) -> None:
    assert ask(**{"max_tokens": 5, **extreme})["usage"]["prompt_tokens"] > 0
