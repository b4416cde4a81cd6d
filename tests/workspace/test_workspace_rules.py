"""Does a scripted model say what its rules say, and is a mistake in a rule named?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from isochat.errors import ConfigurationError
from isochat_workspace import Endpoint, Prompt, Scripted, Tool, Workspace
from isochat_workspace.models.rules import When, read_rules

Send = Callable[..., urllib3.BaseHTTPResponse]
RULES = """
[[rules]]
when.contains = ["weather", "Paris"]
when.tools = ["get_weather"]
when.last_role = "user"
answer.tool_calls = [
    { name = "get_weather", arguments = { city = "Paris" } },
    { name = "now", arguments = "{", id = "n" },
]

[[rules]]
when.last_role = "tool"
when.tool_result = "20"
answer.chunks = ["It is ", "", "20 degrees", " in Paris."]
answer.usage = { prompt_tokens = 7, completion_tokens = 4, reasoning_tokens = 1 }

[[rules]]
when.text = "think"
answer.reasoning = "Hm. Well."
answer.signature = "sig"
answer.text = "Thought."

[[rules]]
when.matches = "^refuse [0-9]+$"
answer.error = { status = 429, error_code = "REQUEST_LIMIT_EXCEEDED", message = "no", retry_after = 3 }

[[rules]]
when.text = "break"
answer.chunks = ["one ", "two ", "three"]
answer.error = { status = 500, error_code = "INTERNAL_ERROR", message = "gone", after_chunks = 2 }

[[rules]]
when.text = "filter"
answer.text = "half"
answer.finish_reason = "content_filter"
"""
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
CHAT, RESPONSES = "/serving-endpoints/e/invocations", "/serving-endpoints/responses"


@pytest.fixture
def ruled(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "rules.toml").write_text(RULES, encoding="utf-8")
    declaration = tmp_path / "workspace.toml"
    declaration.write_text('[endpoints.e]\nmodel = "scripted:rules.toml"', encoding="utf-8")
    with Workspace.from_file(declaration) as workspace:
        yield workspace


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def events(reply: urllib3.BaseHTTPResponse) -> list[dict[str, Any]]:
    lines = reply.data.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def test_tool_calls_where_the_tool_is_offered(ruled: Workspace, send: Send) -> None:
    asked = ask("What is the weather in Paris?", tools=[TOOL])
    choice = send(ruled, "POST", CHAT, asked).json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    first, second = choice["message"]["tool_calls"]
    assert (first["id"], first["type"]) == ("call_get_weather_1", "function")
    assert first["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert second == {"id": "n", "type": "function", "function": {"name": "now", "arguments": "{"}}
    output = send(
        ruled, "POST", RESPONSES,
        {"model": "e", "input": "weather in Paris", "tools": [{"type": "function", **TOOL["function"]}]},  # type: ignore[dict-item]
    ).json()["output"]  # fmt: skip
    assert [(item["type"], item["name"], item["arguments"]) for item in output] == [
        ("function_call", "get_weather", '{"city": "Paris"}'),
        ("function_call", "now", "{"),
    ]
    for other in (ask("weather in Paris"), ask("weather in Rome", tools=[TOOL])):
        assert "You asked" in send(ruled, "POST", CHAT, other).json()["choices"][0]["message"]["content"]


def test_chunks_are_streamed_as_written_and_whole_otherwise(ruled: Workspace, send: Send) -> None:
    messages = [{"role": "user", "content": "?"}, {"role": "tool", "tool_call_id": "x", "content": "20 C"}]
    whole = send(ruled, "POST", CHAT, {"messages": messages}).json()
    assert whole["choices"][0]["message"]["content"] == "It is 20 degrees in Paris."
    assert whole["usage"]["total_tokens"] == 11
    asked = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    told = events(send(ruled, "POST", CHAT, asked))
    contents = [c["delta"].get("content") for e in told for c in e["choices"]]
    assert contents == ["", "It is ", "", "20 degrees", " in Paris.", ""]
    assert told[-1]["usage"] == whole["usage"]
    stream = {"model": "e", "input": [{"type": "function_call_output", "call_id": "x", "output": "20"}], "stream": True}
    deltas = [e["delta"] for e in events(send(ruled, "POST", RESPONSES, stream)) if "output_text.delta" in e["type"]]
    assert deltas == ["It is ", "20 degrees", " in Paris."]


def test_reasoning_is_said_where_nobody_asked(ruled: Workspace, send: Send) -> None:
    content = send(ruled, "POST", CHAT, ask("think")).json()["choices"][0]["message"]["content"]
    assert content[0]["summary"] == [{"type": "summary_text", "text": "Hm. Well.", "signature": "sig"}]
    assert content[1] == {"type": "text", "text": "Thought."}


def test_an_error_is_an_error_with_and_without_a_stream(ruled: Workspace, send: Send) -> None:
    for stream in (False, True):
        reply = send(ruled, "POST", CHAT, ask("refuse 12", stream=stream))
        assert (reply.status, reply.headers["retry-after"]) == (429, "3")
        assert reply.json() == {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "no"}


def test_an_error_after_chunks_comes_within_the_stream(ruled: Workspace, send: Send) -> None:
    assert send(ruled, "POST", CHAT, ask("break")).status == 500
    reply = send(ruled, "POST", CHAT, ask("break", stream=True))
    assert reply.status == 200
    told = events(reply)
    assert [c["delta"]["content"] for e in told for c in e.get("choices", ())] == ["", "one ", "two "]
    assert told[-1] == {"error_code": "INTERNAL_ERROR", "message": "gone"}
    assert b"[DONE]" not in reply.data


def test_a_filtered_answer_on_both_apis(ruled: Workspace, send: Send) -> None:
    assert send(ruled, "POST", CHAT, ask("filter")).json()["choices"][0]["finish_reason"] == "content_filter"
    for stream in (False, True):
        reply = send(ruled, "POST", RESPONSES, {"model": "e", "input": "filter", "stream": stream})
        response = events(reply)[-1]["response"] if stream else reply.json()
        assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})


PROMPT = Prompt(
    "chat",
    (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
    ),
    tools=(Tool("f", {}), Tool("g", {})),
    must_call=(Tool("f", {}),),
    body={"temperature": 0, "thinking": {"type": "enabled", "budget_tokens": 2048}, "stream": True},
    endpoint="e",
)


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ({"text": "two"}, {"text": "tw"}),
        ({"contains": "w"}, {"contains": "one"}),
        ({"contains": ["t", "o"]}, {"contains": ["t", "x"]}),
        ({"matches": "^t.o$"}, {"matches": "^o"}),
        ({"system": "brief"}, {"system": "long"}),
        ({"last_role": "user"}, {"last_role": "tool"}),
        ({"turn": 2}, {"turn": 1}),
        ({"tools": True}, {"tools": False}),
        ({"tools": ["g"]}, {"tools": ["g", "h"]}),
        ({"forced_tool": "f"}, {"forced_tool": "g"}),
        ({"endpoint": "e"}, {"endpoint": "f"}),
        ({"api": "chat"}, {"api": "responses"}),
        ({"stream": True}, {"stream": False}),
        ({"body": {"temperature": 0.0}}, {"body": {"temperature": False}}),
        ({"body": {"thinking": {"type": "enabled"}}}, {"body": {"thinking": {"x": 1}}}),
        ({}, {"tool_result": ""} | {"tool_result": "x"}),
    ],
)
def test_each_condition(true: dict[str, Any], false: dict[str, Any]) -> None:
    assert When(**true).holds(PROMPT)
    assert not When(**false).holds(PROMPT)
    one_more = {"text": "tw"} if "turn" in true else {"turn": 1}
    assert not When(**{**true, **one_more}).holds(PROMPT)


def test_nothing_asked_is_no_text() -> None:
    nothing = Prompt("chat", ())
    assert When().holds(nothing)
    assert not When(text="").holds(nothing)
    assert not When(contains="").holds(nothing)
    assert not When(matches="").holds(nothing)
    assert not When(last_role="user").holds(nothing)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the key 'rules' is missing in {file}"),
        ("[[rule]]", "unknown key 'rule' in {file}. Did you mean 'rules'?"),
        ("rules = 1", "rules in {file} is no list of tables"),
        ("[[rules]]", "the key 'answer' is missing in {file} rules 1"),
        ("[[rules]]\nanswer = 'x'", "{file} rules 1 answer is no table"),
        ("[[rules]]\nanswer.text = 'x'\nwhen.contian = 'x'", "{file} rules 1 when. Did you mean 'contains'?"),
        ("[[rules]]\nanswer.text = 1", "text in {file} rules 1 answer: expected `str`, got `int`"),
        ("[[rules]]\nanswer.finish_reason = 'stop'", "nothing is said"),
        ("[[rules]]\nanswer = { text = 'a', chunks = ['b'] }", "in {file} rules 1 answer: text and chunks"),
        ("[[rules]]\nanswer.text = 'x'\nwhen.matches = '('", "{file} rules 1 when: matches is no regular"),
        ("[[rules]]\nanswer.tool_calls = [{ nam = 'x' }]", "{file} rules 1 answer tool_calls 1. Did you mean 'name'"),
        ("[[rules]]\nanswer.text = 'x'\n[[rules]]\nanswer.text = 'y'", "rule 2 in {file} is never reached: rule 1"),
        ("[[rules]]\nanswer.error = { status = 200 }", "status has to be between 400 and 599"),
        ("[[rules]]\nanswer.error = { status = 500, after_chunks = 1 }", "needs text or chunks"),
        ("[[rules]]\nanswer = { text = 'x', finish_reason = 'stopp' }", "is 'stopp'. Did you mean 'stop'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_rule_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_rules(path)
    assert words.format(file=path) in f"{caught.value.message}. {caught.value.remedy}"


def test_a_missing_rules_file_names_the_endpoint_that_wants_it(tmp_path: Path) -> None:
    declaration = tmp_path / "workspace.toml"
    declaration.write_text('[endpoints.e]\nmodel = "scripted:none.toml"', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"there is no file .*none.toml, in .*workspace.toml \[endpoints.e\]"):
        Workspace.from_file(declaration)


def test_rules_in_a_program(tmp_path: Path, send: Send) -> None:
    path = tmp_path / "rules.toml"
    path.write_text("[[rules]]\nanswer.text = 'always'", encoding="utf-8")
    with Workspace([Endpoint("e", Scripted(rules=read_rules(path)))]) as workspace:
        assert send(workspace, "POST", CHAT, ask("x")).json()["choices"][0]["message"]["content"] == "always"
