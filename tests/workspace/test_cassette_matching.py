"""Which recorded exchange answers a request, and what is told where none does?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from isochat_workspace import Cassette, Endpoint, StreamReply, Workspace
from isochat_workspace.recording.cassette_file import CassetteWriter
from isochat_workspace.recording.exchange import Exchange, question_of

Send = Callable[..., urllib3.BaseHTTPResponse]
CHAT, RESPONSES = "/serving-endpoints/chat/completions", "/serving-endpoints/responses"
INVOCATIONS = "/serving-endpoints/e/invocations"
HI = [{"role": "user", "content": "Hi"}]
TOOL = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}


def completion(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"id": "c", "object": "chat.completion", "created": 1, "choices": [choice], **more}).encode()


def recorded(path: str, body: Any, reply: bytes = completion("A"), status: int = 200, **headers: str) -> Exchange:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = StreamReply(status, tuple(headers.items()), (reply,), framing="content-length")
    return Exchange(question_of("POST", path, raw), answer)


@contextmanager
def replaying(folder: Path, *exchanges: Exchange, endpoints: bool = False) -> Iterator[Workspace]:
    path = folder / "c.cassette"
    writer = CassetteWriter(path)
    for exchange in exchanges:
        writer.write(exchange)
    writer.close()
    with Workspace([Endpoint("other", Cassette(path))]) if endpoints else Workspace(model=Cassette(path)) as running:
        yield running


SAME: dict[str, tuple[str, Any, str, Any]] = {
    "spelling": (INVOCATIONS, b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":5}', INVOCATIONS,
                 b'{ "max_tokens": 5.0, "messages": [ {"content": "\\u0048i", "role": "user"} ] }'),
    "path": (INVOCATIONS, {"messages": HI}, CHAT, {"model": "e", "messages": HI}),
    "v1": (CHAT, {"model": "e", "messages": HI}, "/serving-endpoints/v1/chat/completions",
           {"model": "e", "messages": HI}),
    "open responses": (RESPONSES, {"model": "e", "input": "Hi"}, "/serving-endpoints/open-responses",
                       {"model": "e", "input": "Hi", "stream": False}),
    "gateway": (CHAT, {"model": "databricks-e", "messages": HI}, "/ai-gateway/mlflow/v1/chat/completions",
                {"model": "system.ai.e", "messages": HI}),
    "model in the body of an invocation": (INVOCATIONS, {"messages": HI, "model": "x"}, INVOCATIONS, {"messages": HI}),
    "not streamed": (INVOCATIONS, {"messages": HI, "stream": False}, INVOCATIONS, {"messages": HI}),
    "nulls": (INVOCATIONS, {"messages": HI, "tools": None, "stop": None}, INVOCATIONS, {"messages": HI}),
    "client_request_id": (INVOCATIONS, {"messages": HI, "client_request_id": "1"}, INVOCATIONS,
                          {"messages": HI, "client_request_id": "2"}),
    "max_completion_tokens": (INVOCATIONS, {"messages": HI, "max_completion_tokens": 5}, INVOCATIONS,
                              {"messages": HI, "max_tokens": 5}),
    "one text block": (INVOCATIONS, {"messages": HI}, INVOCATIONS,
                       {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
    "responses": (INVOCATIONS, {"messages": HI, "max_tokens": 5, "temperature": 1}, RESPONSES,
                  {"model": "e", "input": "Hi", "max_output_tokens": 5, "temperature": 1.0}),
    "responses with items": (INVOCATIONS, {"messages": HI}, RESPONSES,
                  {"model": "e", "input": [{"type": "message", "role": "user",
                                            "content": [{"type": "input_text", "text": "Hi"}]}]}),
    "instructions": (INVOCATIONS, {"messages": [{"role": "system", "content": "Be"}, *HI]}, RESPONSES,
                     {"model": "e", "instructions": "Be", "input": "Hi"}),
    "developer": (INVOCATIONS, {"messages": [{"role": "system", "content": "Be"}, *HI]}, RESPONSES,
                  {"model": "e", "input": [{"role": "developer", "content": "Be"}, *HI]}),
    "tools": (INVOCATIONS,
              {"messages": HI, "tools": [{"type": "function", "function": TOOL}],
               "tool_choice": {"type": "function", "function": {"name": "f"}}},
              RESPONSES,
              {"model": "e", "input": "Hi", "tools": [{"type": "function", "strict": False, **TOOL}],
               "tool_choice": {"type": "function", "name": "f"}}),
    "format": (INVOCATIONS, {"messages": HI, "response_format": {"type": "json_object"}, "reasoning_effort": "low"},
               RESPONSES,
               {"model": "e", "input": "Hi", "text": {"format": {"type": "json_object"}},
                "reasoning": {"effort": "low"}}),
    "history": (INVOCATIONS,
                {"messages": [*HI, {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                    {"role": "tool", "tool_call_id": "1", "content": "x"}]},
                RESPONSES,
                {"model": "e", "input": [*HI,
                    {"type": "function_call", "id": "fc", "call_id": "1", "name": "f", "arguments": "{}",
                     "status": "completed"},
                    {"type": "function_call_output", "call_id": "1", "output": "x"}]}),
    "reasoning in the history": (INVOCATIONS,
                {"messages": [*HI, {"role": "assistant", "content": [
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "T", "signature": "s"}]},
                    {"type": "text", "text": "A"}]}, *HI]},
                RESPONSES,
                {"model": "e", "input": [*HI, {"type": "reasoning", "id": "r", "summary": []},
                    {"role": "assistant", "content": [{"type": "output_text", "text": "A", "annotations": []}]}, *HI]}),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_same_question_in_other_words_has_the_same_answer(name: str, tmp_path: Path, send: Send) -> None:
    path, body, other_path, other_body = SAME[name]
    for turn, (first, second) in enumerate(
        [((path, body), (other_path, other_body)), ((other_path, other_body), (path, body))]
    ):
        reply = completion("A") if "input" not in (first[1] if isinstance(first[1], dict) else {}) else RESPONSE
        folder = tmp_path / str(turn)
        folder.mkdir()
        with replaying(folder, recorded(*first, reply)) as workspace:
            got = send(workspace, "POST", *second)
            assert got.status == 200, got.data
            said = got.json()
            text = (
                said["choices"][0]["message"]["content"]
                if "choices" in said
                else said["output"][0]["content"][0]["text"]
            )
            assert text == "A"


RESPONSE = json.dumps(
    {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m",
     "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A"}]}]}
).encode()  # fmt: skip

OTHER: dict[str, tuple[Any, str, Any, str]] = {
    "parameter": ({"messages": HI, "max_tokens": 5}, INVOCATIONS, {"messages": HI, "max_tokens": 6},
                  "max_tokens is 6 here and 5 there"),
    "absent": ({"messages": HI}, INVOCATIONS, {"messages": HI, "seed": 1}, "seed is 1 here and absent there"),
    "true is not 1": ({"messages": HI, "seed": 1}, INVOCATIONS, {"messages": HI, "seed": True},
                      "seed is true here and 1 there"),
    "endpoint": ({"messages": HI}, "/serving-endpoints/f/invocations", {"messages": HI},
                 'endpoint is "f" here and "e" there'),
    "served model": ({"messages": HI}, "/serving-endpoints/e/served-models/m/invocations", {"messages": HI},
                     'served model is "m" here and null there'),
    "text": ({"messages": HI}, INVOCATIONS, {"messages": [{"role": "user", "content": "x" * 500}]},
             'messages[0].content is "' + "x" * 56 + '... here and "Hi" there'),
    "turns": ({"messages": HI}, INVOCATIONS, {"messages": [*HI, *HI]}, "messages[1] is {"),
    "strict": ({"messages": HI, "tools": [{"type": "function", "function": TOOL}]}, RESPONSES,
               {"model": "e", "input": "Hi", "tools": [{"type": "function", "strict": True, **TOOL}]},
               "tools[0].strict is true here and absent there"),
    "other API": ({"messages": HI, "stop": "x"}, RESPONSES, {"model": "e", "input": "Hi"},
                  "cannot be said in the other's API: the Responses API does not carry stop"),
    "many": ({"messages": HI}, INVOCATIONS, {"messages": HI, **dict.fromkeys("abcdefgh", 1)}, "and 5 more differences"),
    "other path": ({"messages": HI}, "/api/2.0/x", {}, "nothing was recorded for POST /api/2.0/x"),
    "no JSON": ({"messages": HI}, INVOCATIONS, b"{", "exchange 1 (line 2) has the same path and another body"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_a_miss_says_how_the_nearest_differs(name: str, tmp_path: Path, send: Send) -> None:
    body, path, asked, told = OTHER[name]
    far = recorded("/serving-endpoints/far/invocations", {"messages": [*HI, *HI, *HI], "n": 3, "top_p": 0.5})
    with replaying(tmp_path, recorded(INVOCATIONS, body), far) as workspace:
        missed = send(workspace, "POST", path, asked)
    assert missed.status == 404
    assert missed.json()["error_code"] == "CASSETTE_MISS"
    message = missed.json()["message"]
    assert told in message
    assert len(message) < 700
    assert missed.headers["x-request-id"]


def test_a_cassette_without_questions_says_so(tmp_path: Path, send: Send) -> None:
    with replaying(tmp_path) as workspace:
        assert workspace.endpoints == ()
        missed = send(workspace, "POST", INVOCATIONS, {"messages": HI})
    assert "it holds no question to a model" in missed.json()["message"]


def test_what_an_api_has_no_words_for_is_a_miss_with_the_reason(tmp_path: Path, send: Send) -> None:
    choices = [{"index": i, "message": {"content": "A"}, "finish_reason": "stop"} for i in (0, 1)]
    with replaying(tmp_path, recorded(INVOCATIONS, {"messages": HI}, completion("", choices=choices))) as workspace:
        missed = send(workspace, "POST", RESPONSES, {"model": "e", "input": "Hi"})
        assert send(workspace, "POST", CHAT, {"model": "e", "messages": HI}).status == 200
    assert missed.json()["message"] == (
        "c.cassette has no reply to this request: exchange 1 (line 2) asks the same, but the Responses API has no words"
        " for 2 choices"
    )


def test_several_replies_to_one_request_come_in_their_order_for_each_path(tmp_path: Path, send: Send) -> None:
    question = {"messages": HI}
    exchanges = [
        recorded(INVOCATIONS, question, b'{"error_code":"X"}', 429, **{"retry-after": "3"}),
        recorded(INVOCATIONS, question, completion("B")),
        recorded(INVOCATIONS, question, completion("C")),
    ]
    with replaying(tmp_path, *exchanges) as workspace:
        asked = [send(workspace, "POST", INVOCATIONS, {**question, "client_request_id": str(i)}) for i in range(5)]
        others = [send(workspace, "POST", CHAT, {"model": "e", **question}) for _ in range(2)]
        responses = [send(workspace, "POST", RESPONSES, {"model": "e", "input": "Hi"}) for _ in range(3)]
    assert [reply.status for reply in (*asked, *others, *responses)] == [
        429,
        200,
        200,
        200,
        200,
        429,
        200,
        429,
        200,
        200,
    ]
    assert asked[0].headers["retry-after"] == "3"
    texts = [reply.json()["choices"][0]["message"]["content"] for reply in asked[1:]]
    assert texts == ["B", "C", "C", "C"]
    assert responses[2].json()["output"][0]["content"][0]["text"] == "C"


def test_a_refused_option_of_streams_replays_to_a_client_that_asks_again_without_it(tmp_path: Path, send: Send) -> None:
    events = b'data: {"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    asking = {"messages": HI, "stream": True, "stream_options": {"include_usage": True}}
    plain = {"messages": HI, "stream": True}
    refused = recorded(INVOCATIONS, asking, b'{"error_code":"BAD_REQUEST"}', 400)
    streamed = recorded(INVOCATIONS, plain, events, **{"content-type": "text/event-stream"})
    with replaying(tmp_path, refused, streamed) as workspace:
        assert send(workspace, "POST", CHAT, {"model": "e", **asking}).status == 400
        assert send(workspace, "POST", CHAT, {"model": "e", **plain}).data == events


def test_what_is_likest_is_taken_first(tmp_path: Path, send: Send) -> None:
    exchanges = [
        recorded(RESPONSES, {"model": "e", "input": "Hi"}, RESPONSE),
        recorded(CHAT, {"model": "e", "messages": HI}, completion("chat")),
        recorded(INVOCATIONS, {"messages": HI}, completion("invocations")),
    ]
    with replaying(tmp_path, *exchanges) as workspace:
        assert send(workspace, "POST", INVOCATIONS, {"messages": HI}).data == completion("invocations")
        assert send(workspace, "POST", CHAT, {"messages": HI, "model": "e"}).data == completion("chat")
        assert send(workspace, "POST", RESPONSES, {"model": "e", "input": "Hi"}).data == RESPONSE
        gateway = send(workspace, "POST", "/ai-gateway/mlflow/v1/responses", {"model": "e", "input": "Hi"})
    assert gateway.status == 404  # on the gateway `e` is system.ai.e


def test_a_cassette_behind_an_endpoint_of_another_name(tmp_path: Path, send: Send) -> None:
    with replaying(tmp_path, recorded(INVOCATIONS, {"messages": HI}), endpoints=True) as workspace:
        for path, body in (
            ("/serving-endpoints/other/invocations", {"messages": HI}),
            (CHAT, {"model": "other", "messages": HI}),
            (RESPONSES, {"model": "other", "input": "Hi"}),
        ):
            assert send(workspace, "POST", path, body).status == 200
        missed = send(workspace, "POST", "/serving-endpoints/other/invocations", {"messages": HI, "n": 2})
        assert missed.json()["error_code"] == "CASSETTE_MISS"
        assert send(workspace, "POST", INVOCATIONS, {"messages": HI}).json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_a_cassette_stands_in_a_workspace_file(tmp_path: Path, send: Send) -> None:
    with replaying(tmp_path, recorded(INVOCATIONS, {"messages": HI})):
        pass
    declared = tmp_path / "workspace.toml"
    declared.write_text('[endpoints.e]\nmodel = "replay:c.cassette"\n[endpoints.mine]\nmodel = "scripted"\n')
    with Workspace.from_file(declared) as workspace:
        assert send(workspace, "POST", INVOCATIONS, {"messages": HI}).data == completion("A")
        assert send(workspace, "POST", "/serving-endpoints/mine/invocations", {"messages": HI}).status == 200


def test_endpoints_that_were_asked_are_listed_and_described(tmp_path: Path, send: Send) -> None:
    with replaying(tmp_path, recorded(INVOCATIONS, {"messages": HI})) as workspace:
        listed = send(workspace, "GET", "/api/2.0/serving-endpoints").json()["endpoints"]
        assert [one["name"] for one in listed] == ["e"]
        assert send(workspace, "GET", "/api/2.0/serving-endpoints/e").status == 200
        assert send(workspace, "GET", "/.well-known/databricks-config", authorization=None).status == 200
        assert send(workspace, "POST", INVOCATIONS, {"messages": HI}, authorization="Bearer no").status == 403
        assert send(workspace, "POST", INVOCATIONS, b"x" * 5_000_000).status == 413
