"""Does ``isochat compare --stream`` tell what each client's stream folds to, and how it came?"""

import json
import re

import pytest

from isochat_workspace import Endpoint, HttpReply, Replay, StreamReply

from .stage import DONE, USAGE, chunk

ALL = ["rest", "databricks-sdk", "mlflow", "openai-chat", "openai-responses"]
CHAT = ["--backend", "rest", "--backend", "mlflow"]


def streamed(*pieces, **options):
    return StreamReply(200, {"content-type": "text/event-stream"}, pieces, **options)


def test_five_clients_one_stream(isochat_cli):
    ran = isochat_cli("compare", "--local", "--model", "scripted", "--stream", "--json", "Hello")

    document = json.loads(ran.out)
    assert ran.code == 0
    assert (document["same"], document["streamed"]) == (True, True)
    assert [row["backend"] for row in document["rows"]] == ALL
    assert {row["state"] for row in document["rows"]} == {"same"}
    assert [row["client_call"] for row in document["rows"]] == [
        "POST invocations", "serving_endpoints.query", "predict_stream", "chat.completions.create", "responses.create",
    ]  # fmt: skip
    words = len(document["rows"][0]["result"]["choices"][0]["message"]["content"].split())
    for row in document["rows"]:
        assert row["sent"]["body"]["stream"] is True
        assert row["stream"]["with_text"] == words < row["stream"]["chunks"]
        assert row["stream"]["plain_answer"] == {"state": "holds", "differences": [], "reason": None}
        times = row["milliseconds"]
        assert 0 < times["head"] <= times["first_chunk"] <= times["first_text"] <= times["total"]
        assert 0 <= times["longest_gap"] <= times["total"]
        assert times["isochat"] > 0
        assert (row["native"], row["lost"], row["contradictions"]) == (None, None, None)
    # Each stream, and the plain call that it is held against.
    assert len(document["requests_logged"]) == 10


def test_plain_calls_are_compared_as_before(isochat_cli):
    ran = isochat_cli("compare", "--local", "--model", "scripted", "--json", "Hello")

    document = json.loads(ran.out)
    assert document["streamed"] is False
    assert all("stream" not in row and "stream" not in row["sent"]["body"] for row in document["rows"])


@pytest.mark.parametrize("columns", [80, 120])
def test_the_report_for_a_person(terminal, columns):
    screen = terminal("compare", "--local", "--model", "scripted", "--stream", "What is this?", columns=columns)

    assert screen.end() == 0
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip() for line in screen.shown.splitlines()]
    assert max(len(line.rpartition("\r")[2]) for line in lines) <= columns
    rows = "\n".join(lines)
    for backend in ALL:
        assert re.search(
            rf"^  {backend} +\d+ +\d+  holds +(too quick to tell|one by one, as made|all at once: held back\?)$",
            rows,
            re.M,
        )
        assert re.search(rf"^  {backend}( +\d+(\.\d)? m?s){{7}}$", rows, re.M)
    assert "What the bare client" not in rows
    assert rows.endswith("5 streams through 5 clients: all the same; folded, each is the plain answer")


def test_a_stream_that_folds_to_something_else_exits_1_and_names_the_field(isochat_cli, workspace):
    one = [chunk(content="yes"), chunk("stop", usage=USAGE), DONE]
    other = [chunk(content="yes"), chunk("length", usage=USAGE), DONE]
    workspace.add(Endpoint("staged", Replay({"chat": [streamed(*one), streamed(*other)]})))

    ran = isochat_cli("compare", "--endpoint", "staged", "--stream", *CHAT, "Hello")

    assert ran.code == 1
    assert "mlflow: choices[0].finish_reason: 'stop' != 'length'" in ran.out
    assert "1 of 2 streams differ, in finish_reason" in ran.out


def test_a_model_of_a_real_workspace_is_not_asked_twice(isochat_cli, workspace):
    ran = isochat_cli("compare", "--endpoint", "scripted", "--stream", *CHAT, "Hello")

    assert ran.code == 0
    assert len(workspace.requests) == 2
    assert "not checked: this model need not say the same twice, so it was not asked again" in ran.out
    assert ran.out.endswith("2 streams through 2 clients: all the same\n")


def test_a_broken_stream_exits_3_and_says_how_far_it_came(isochat_cli, workspace):
    cut = streamed(chunk(content="One "), chunk(content="two"), end="cut")
    workspace.add(Endpoint("staged", Replay({"chat": [cut]})))

    ran = isochat_cli("compare", "--endpoint", "staged", "--stream", "--json", "--backend", "openai-chat", "Hello")

    [row] = json.loads(ran.out)["rows"]
    assert (ran.code, row["state"], row["stream"]["chunks"]) == (3, "failed", 2)
    assert "the stream broke off after 2 events" in row["reason"]


def test_an_endpoint_that_refuses_to_stream_through_one_api(isochat_cli, workspace):
    ran = isochat_cli("compare", "--endpoint", "databricks-claude-sonnet-4-5", "--stream", "--json", "Hello")

    states = {row["backend"]: row["state"] for row in json.loads(ran.out)["rows"]}
    assert ran.code == 0
    assert states == {**dict.fromkeys(ALL, "same"), "openai-responses": "not applicable"}


@pytest.mark.parametrize("options", [["--stream"], []])
def test_what_others_wrote_is_no_markup_and_no_order_to_the_terminal(isochat_cli, workspace, options):
    evil = "a\x1b]0;title\x07[/red][bold]b\x9b1m"
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": evil}, "finish_reason": "stop"}]}
    headers = {"x-request-id": "[/red]", "served-model-name": "[bold]m"}
    if options:
        reply = StreamReply(200, headers, [chunk(content=evil), chunk("stop", usage=USAGE), DONE])
    else:
        reply = HttpReply(200, {"content-type": "application/json", **headers}, json.dumps(whole).encode())
    workspace.add(Endpoint("staged", Replay({"chat": reply})))

    ran = isochat_cli("compare", "--endpoint", "staged", "--backend", "rest", *options, "Say \x1b[2J[/red]")

    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\x9b" not in ran.out
    assert "  a ]0;title [/red][bold]b 1m\n" in ran.out
    assert "  Say  [2J[/red]\n" in ran.out
    assert "[bold]m answered" in ran.out


def test_the_token_is_not_in_the_report(isochat_cli, workspace):
    for options in (["--json"], []):
        ran = isochat_cli("compare", "--stream", "--endpoint", "scripted", *options, "Hello")

        assert workspace.token not in ran.out + ran.err
