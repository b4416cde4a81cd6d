"""Does ``isochat compare`` tell same from different, and show what each client did?"""

import json
import re

import pytest

from isochat_workspace import Endpoint, HttpReply, Replay

ALL = ["rest", "databricks-sdk", "mlflow", "openai-chat", "openai-responses"]


def completion(text, finish_reason="stop", status=200):
    body = {
        "id": "chatcmpl_x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    return HttpReply(status, (("content-type", "application/json"),), json.dumps(body).encode())


def response(text):
    body = {
        "id": "resp_x",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "completed",
        "output": [
            {
                "type": "message",
                "id": "msg_x",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }
        ],
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    }
    return HttpReply(200, (("content-type", "application/json"),), json.dumps(body).encode())


def test_five_clients_one_answer(isochat_cli):
    ran = isochat_cli("compare", "--local", "--model", "scripted", "--json", "Hello")

    document = json.loads(ran.out)
    assert ran.code == 0
    assert document["same"] is True
    assert document["models"] == ["scripted"]
    assert [row["backend"] for row in document["rows"]] == ALL
    assert {row["state"] for row in document["rows"]} == {"same"}
    assert [row["client_call"] for row in document["rows"]] == [
        "POST invocations", "serving_endpoints.query", "predict", "chat.completions.create", "responses.create",
    ]  # fmt: skip
    assert document["requests_logged"] == [
        "POST /serving-endpoints/scripted/invocations 200",
        "POST /serving-endpoints/scripted/invocations 200",
        "POST /serving-endpoints/scripted/invocations 200",
        "POST /serving-endpoints/chat/completions 200",
        "POST /serving-endpoints/responses 200",
    ]
    assert [row["contradictions"] for row in document["rows"]] == [[]] * 5
    lost = {row["backend"]: row["lost"] for row in document["rows"]}
    assert lost == {
        "rest": [],
        "databricks-sdk": ["choices[0].finish_reason", "meta.request_id", "meta.headers"],
        "mlflow": ["meta.request_id", "meta.served_model", "meta.headers"],
        "openai-chat": ["meta.served_model", "meta.headers"],
        "openai-responses": ["meta.served_model", "meta.headers"],
    }
    assert all(row["milliseconds"]["total"] > 0 for row in document["rows"])


def test_the_report_for_a_person(isochat_cli):
    ran = isochat_cli("compare", "--local", "--model", "scripted", "What is this?")

    assert ran.code == 0
    assert "scripted answered" in ran.out
    assert "5 results through 5 clients: all the same" in ran.out
    assert len(re.findall(r"^  \S+ +same  ", ran.out, re.M)) == 5
    assert "finish_reason" in ran.out
    assert "x-stainless-*" in ran.out


def test_a_different_answer_exits_1_and_names_the_field(isochat_cli, workspace):
    workspace.add(Endpoint("two-tongues", Replay({"chat": completion("yes"), "responses": response("no")})))

    ran = isochat_cli("compare", "--endpoint", "two-tongues", "Hello")

    assert ran.code == 1
    assert "1 of 5 results differ, in message.content" in ran.out
    assert "openai-responses: choices[0].message.content: 'yes' != 'no'" in ran.out


def test_only_the_backends_asked_for(isochat_cli, workspace):
    ran = isochat_cli(
        "compare", "--endpoint", "scripted", "--backend", "mlflow", "--backend", "rest", "--json", "Hello"
    )

    assert [row["backend"] for row in json.loads(ran.out)["rows"]] == ["mlflow", "rest"]
    assert len(workspace.requests) == 2


@pytest.mark.parametrize(
    ("endpoint", "options", "reason"),
    [
        ("databricks-claude-sonnet-4-5", [], "Responses API passthrough is not supported"),
        ("scripted", ["--stop", "x"], "does not carry stop"),
    ],
)
def test_what_an_api_cannot_carry_is_not_applicable(isochat_cli, workspace, endpoint, options, reason):
    ran = isochat_cli("compare", "--endpoint", endpoint, "--json", *options, "Hello")

    states = {row["backend"]: row["state"] for row in json.loads(ran.out)["rows"]}
    assert ran.code == 0
    assert states == {**dict.fromkeys(ALL, "same"), "openai-responses": "not applicable"}
    assert reason in next(row["reason"] for row in json.loads(ran.out)["rows"] if row["backend"] == "openai-responses")


def test_a_failing_call_exits_3_and_says_why(isochat_cli, workspace):
    failing = HttpReply(404, (("content-type", "application/json"),), b'{"error_code":"NOT_FOUND","message":"gone"}')
    workspace.add(Endpoint("half", Replay({"chat": failing, "responses": response("yes")})))

    ran = isochat_cli("compare", "--endpoint", "half", "--json", "Hello")

    rows = {row["backend"]: row for row in json.loads(ran.out)["rows"]}
    assert ran.code == 3
    assert rows["mlflow"]["state"] == "failed"
    assert "gone" in rows["mlflow"]["reason"]
    assert json.loads(ran.out)["same"] is False


def test_a_reason_that_several_have_stands_once_and_the_request_ids_on_the_wire(isochat_cli, workspace):
    ran = isochat_cli("compare", "--endpoint", "nope", "Hello")

    assert ran.code == 3
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    [first] = [line for line in lines if line.startswith("rest, databricks-sdk, mlflow: there is no such endpoint: ")]
    assert first.endswith("does not exist. (status 404, code")
    assert len([line for line in lines if line.startswith("openai-chat, openai-responses: there is no such")]) == 1
    assert len([line for line in lines if line.startswith("answered as request ")]) == 5
    assert "What the bare client hands" not in ran.out


def test_what_no_backend_could_send_is_one_line(isochat_cli, workspace):
    for arguments, said in (
        (["--endpoint", "", "Hello"], "endpoint"),
        (["--endpoint", "a b", "Hello"], "endpoint"),
        (["--endpoint", "scripted", "--host", "http://elsewhere.invalid", "Hello"], "http"),
    ):
        ran = isochat_cli("compare", *arguments)

        assert (ran.code, ran.out) == (2, ""), ran.out
        assert said in ran.err
        assert ran.err.count("\n") == 1
    assert workspace.requests == []


def test_a_zero_is_asked_as_it_is(isochat_cli, workspace):
    ran = isochat_cli("compare", "--endpoint", "scripted", "--max-tokens", "0", "--backend", "rest", "Hello")

    assert ran.code == 3
    assert workspace.requests[0].json()["max_tokens"] == 0


def test_one_request_is_one_and_a_dict_is_a_dict(isochat_cli):
    ran = isochat_cli("compare", "--local", "--model", "scripted", "--backend", "rest", "Hello")

    assert "The workspace logged one request" in ran.out
    assert "  rest     dict        nothing" in ran.out


def test_the_token_is_not_in_the_report(isochat_cli, workspace):
    for options in (["--json"], []):
        ran = isochat_cli("compare", "--endpoint", "scripted", *options, "Hello")

        assert workspace.token not in ran.out + ran.err


def test_an_unknown_backend_is_refused_before_anything_is_sent(isochat_cli, workspace):
    ran = isochat_cli("compare", "--endpoint", "scripted", "--backend", "opeani-chat", "Hello")

    assert ran.code == 2
    assert workspace.requests == []
