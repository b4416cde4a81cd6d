"""What does a person see of ``isochat serve`` at a terminal, wide and narrow?"""

import json
import re
import urllib.request

import pytest

from isochat_workspace import Endpoint, RecordedRequest, Scripted, Workspace
from isochat_workspace.cli.client_names import client_name
from isochat_workspace.cli.reported_tokens import ReplyTail
from isochat_workspace.cli.serve_output import JsonLines, Lines, endpoint_of
from isochat_workspace.cli.ways_in import ways_in

LLAMA = "databricks-meta-llama-3-3-70b-instruct"
TOKEN = "dapi-of-the-screen"


def bare(shown):
    """What a person reads: without the styles."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def ask(url, endpoint, token=TOKEN):
    request = urllib.request.Request(
        f"{url}/serving-endpoints/{endpoint}/invocations",
        b'{"messages": [{"role": "user", "content": "Hi"}], "stream": true}',
        {"Authorization": f"Bearer {token}", "User-Agent": "AsyncOpenAI/Python 3.54.0 isochat/0.1"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return reply.read()


def url_of(shown):
    return re.search(r"http://127\.0\.0\.1:\d+", bare(shown))[0]


@pytest.mark.canary_allows("the command shows the token that it is given: it is there to be copied")
@pytest.mark.parametrize("columns", [46, 80, 120])
def test_a_request_is_one_line_or_two_and_fits(terminal, columns):
    screen = terminal("serve", "--token", TOKEN, columns=columns)
    screen.until("Requests")

    ask(url_of(screen.shown), LLAMA)

    shown = bare(screen.until("isochat openai"))
    if columns == 120:
        shown = bare(screen.until("invo"))
    lines = [line for line in shown.partition("Requests")[2].splitlines()[1:] if line.strip()]
    told = " ".join(lines)
    assert len(lines) == (1 if columns == 120 else 2)
    assert all(len(line) <= columns for line in lines)
    assert re.match(r"\d\d:\d\d:\d\d 200 +[\d.]+ → [\d.]+  ", lines[0])
    assert ("POST …/databricks" if columns < 80 else f"POST …/{LLAMA}/invo") in told
    assert re.search(r"stream +1\+14  isochat openai", told)
    screen.press_ctrl_c()
    assert screen.end() == 0
    assert bare(screen.shown).rstrip().endswith("stopped")


def test_a_client_that_left_before_there_was_an_answer(capsys):
    left = RecordedRequest("POST", "/serving-endpoints/a/invocations", (), b"", 1.0, ended_at=3.5, closed_early=True)

    Lines().request(left)
    JsonLines().request(left)

    line, told = capsys.readouterr().out.splitlines()
    assert re.search(r" --- +2500  plain +unknown +POST /serving-endpoints/a/invocations  client left early$", line)
    told = json.loads(told)
    assert (told["status"], told["total_ms"], told["closed_early"], told["client"]) == (None, 2500, True, "unknown")


def test_a_line_for_programs(capsys):
    chat = "/serving-endpoints/chat/completions"
    JsonLines().request(RecordedRequest("POST", chat, (), b'{"model": "a"}', 1, 1.1, 200, 1.2, False, True, (3, 4)))

    told = json.loads(capsys.readouterr().out)
    assert (told["endpoint"], told["stream"], told["prompt_tokens"], told["completion_tokens"]) == ("a", True, 3, 4)


@pytest.mark.parametrize(
    ("endpoints", "shown", "absent"),
    [
        ([Endpoint("c", Scripted(), speaks=("chat",))], {"REST API": "c", "OpenAI Chat Completions": "c"}, "Responses"),
        (
            [Endpoint("c", Scripted(), speaks=("chat",)), Endpoint("r", Scripted(), speaks=("responses",))],
            {"OpenAI Chat Completions": "c", "OpenAI Responses": "r", "Databricks Python SDK": "c"},
            None,
        ),
        (
            [Endpoint("a", Scripted(), dress="agent-like", task="agent/v1/responses", speaks=("responses",))],
            {"OpenAI Responses": "a"},
            "SDK",
        ),
        ([], {"REST API": "ENDPOINT", "OpenAI Responses": "ENDPOINT", "isochat": "ENDPOINT"}, None),
    ],
    ids=["chat-alone", "one-each", "agent", "unknown"],
)
def test_the_ways_in_are_those_that_lead_somewhere(endpoints, shown, absent):
    with Workspace(endpoints) as workspace:
        ways = {way.client: "\n".join(way.lines) for way in ways_in(workspace)}

    assert {client: name for client, name in shown.items() if re.search(rf"\b{name}\b", ways[client])} == shown
    assert absent is None or not any(absent in client for client in ways)


# ---------------------------------------------------------------------------------------- who, where, how much


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"User-Agent": "OpenAI/Python 3.54.0"}, "openai 3.54.0"),
        ({"User-Agent": "AsyncOpenAI/Python 1.109.1"}, "openai 1.109.1"),
        ({"User-Agent": "OpenAI/JS 6.49.0"}, "openai 6.49.0"),
        ({"User-Agent": "AsyncDatabricksOpenAI/Python 2.54.0"}, "DatabricksOpenAI 2.54.0"),
        ({"User-Agent": "unknown/0.0.0 databricks-sdk-py/0.156.0 python/3.11.7 os/linux"}, "databricks-sdk 0.156.0"),
        (
            {"User-Agent": "unknown/0.0.0 databricks-sdk-py/0.156.0", "X-MLflow-Client-Version": "3.17.2"},
            "mlflow 3.17.2",
        ),
        ({"User-Agent": "Agents/Python 0.20.0"}, "Agents 0.20.0"),
        ({"User-Agent": "litellm/1.106.2"}, "litellm 1.106.2"),
        ({"User-Agent": "curl/8.5.0"}, "curl 8.5.0"),
        ({"User-Agent": "isochat/0.1"}, "isochat 0.1"),
        ({"User-Agent": "OpenAI/Python 3.54.0 isochat/0.1"}, "isochat openai"),
        ({"User-Agent": "node"}, "node"),
        ({}, "unknown"),
    ],
)
def test_the_client_is_named(headers, name):
    assert client_name(RecordedRequest("POST", "/", tuple(headers.items()), b"", 0.0)) == name


@pytest.mark.parametrize(
    ("target", "body", "endpoint"),
    [
        ("/serving-endpoints/a%20b/invocations?x=1", b"", "a b"),
        ("/serving-endpoints/a/served-models/m/invocations", b'{"model": "b"}', "a"),
        ("/serving-endpoints/chat/completions", b'{"model": "b"}', "b"),
        ("/ai-gateway/mlflow/v1/responses", b'{"model": "system.ai.gpt-5"}', "system.ai.gpt-5"),
        ("/api/2.0/serving-endpoints/a", b"", "a"),
        ("/api/2.0/serving-endpoints", b"", None),
        ("/serving-endpoints/chat/completions", b"[" * 100_000, None),
        ("/serving-endpoints/chat/completions", b'{"model": 7}', None),
        ("/serving-endpoints/chat/completions", b"\xff", None),
        ("/nowhere", b'{"model": "b"}', None),
    ],
)
def test_the_endpoint_is_told_by_path_or_body(target, body, endpoint):
    assert endpoint_of(RecordedRequest("POST", target, (), body, 0.0)) == endpoint


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [
        ([b'{"usage": {"prompt_tokens": 7, "completion_tokens": 74}}'], (7, 74)),
        ([b'{"usage":{"prompt_tok', b'ens":7,"completion_tokens":7', b"4}}"], (7, 74)),
        ([b'data: {"usage":{"input_tokens": 1,"output_tokens": %d}}\n\n' % n for n in range(5)], (1, 4)),
        ([b"x" * 200_000, b'{"usage": {"prompt_tokens": 7, "completion_tokens": 74}}', b"y" * 20_000], (7, 74)),
        ([b'{"usage": {"prompt_tokens": 7, "completion_tokens": 74}}', b"y" * 70_000], None),
        ([rb'{"text": "{\"prompt_tokens\": 1, \"completion_tokens\": 2}"}'], None),
        ([b'{"usage": {"prompt_tokens": 7, "completion_tokens": null}}'], None),
        ([], None),
    ],
)
def test_the_tokens_are_what_the_answer_reports(pieces, tokens):
    tail = ReplyTail()
    for piece in pieces:
        tail.add(piece)

    assert tail.tokens() == tokens
