"""Is a declared workspace what the file says, and is a mistake in the file named to the key?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from click.testing import CliRunner

from isochat.errors import ConfigurationError
from isochat_workspace import Workspace
from isochat_workspace.cli.serve_command import serve

Send = Callable[..., urllib3.BaseHTTPResponse]
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
TOKEN = "dapi-declared"


@pytest.fixture
def declare(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "workspace.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


Declare = Callable[[str], Path]


def test_endpoints_are_served_as_declared(declare: Declare, send: Send) -> None:
    path = declare(f"""
        token = "{TOKEN}"
        host = "localhost"

        [endpoints.claude]
        family = "claude"
        served_model = "us.anthropic.claude"
        speaks = ["chat"]
        stream_usage = "every"

        [endpoints.custom]
        model = "scripted"
        unknown_fields = ["stream_options"]
        """)
    with Workspace.from_file(path) as workspace:
        assert workspace.token == TOKEN
        assert TOKEN not in repr(vars(workspace))
        refused = send(workspace, "POST", "/serving-endpoints/claude/invocations", {**ASK, "reasoning_effort": "low"})
        assert refused.status == 400
        reply = send(workspace, "POST", "/serving-endpoints/claude/invocations", ASK)
        assert (reply.status, reply.headers["served-model-name"]) == (200, "us.anthropic.claude")
        unknown = send(workspace, "POST", "/serving-endpoints/custom/invocations", {**ASK, "stream_options": {}})
        assert unknown.json()["message"] == 'Bad request: json: unknown field "stream_options"\n'
        assert [endpoint.name for endpoint in workspace.endpoints] == ["claude", "custom"]
        one, other = (endpoint.model for endpoint in workspace.endpoints)
        assert one is other


def test_what_is_not_declared_is_as_without_a_file(declare: Declare) -> None:
    workspace = Workspace.from_file(declare(""), token="mine", port=0)
    assert workspace.token == "mine"
    assert workspace.address == ("127.0.0.1", 0)
    assert len(workspace.endpoints) == 4


def test_an_argument_counts_more_than_the_file(declare: Declare) -> None:
    workspace = Workspace.from_file(declare(f'token = "{TOKEN}"\nport = 81'), token="mine", port=0, host="127.0.0.2")
    assert (workspace.token, workspace.address) == ("mine", ("127.0.0.2", 0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tokn = 'x'", ["unknown key 'tokn' in {file}", "Did you mean 'token'?"]),
        ("port = '80'", ["port in {file}: expected `int`, got `str`"]),
        ("port = \nhost = 1", ["{file} cannot be read", "line 1"]),
        ("port = 65536", ["in {file}: port has to be between 0 and 65535"]),
        ("host = ''", ["in {file}: host is empty: write an address"]),
        ("token = ''", ["in {file}: token has to be ASCII without blanks"]),
        ("token = 'a b'", ["in {file}: token has to be ASCII without blanks"]),
        ("max_seconds = 0", ["in {file}: max_seconds has to be above 0"]),
        ("max_seconds = 'x'", ["max_seconds in {file}: expected `float`, got `str`"]),
        ("[endpoints.'a/b']", ["{file} [endpoints.a/b]: a path cannot carry the name 'a/b'"]),
        ("[endpoints.a]\nspeaks = []", ["speaks names no API"]),
        ("[endpoints.a]\ntask = 'chat'", ["a task is written like llm/v1/chat or agent/v1/responses, not 'chat'"]),
        ('[endpoints.a]\nserved_model = "a\\r\\nX: y"', ["served_model stands in a header and in a path"]),
        ("[endpoints.a]\nmax_output_tokens = 0", ["max_output_tokens has to be 1 or more"]),
        ("endpoints = 3", ["endpoints in {file} is no table. Write [endpoints.NAME]"]),
        ("[endpoints]", ["[endpoints] in {file} is empty", "[endpoints.NAME]"]),
        ("[endpoints]\na = 1", ["{file} [endpoints.a] is no table"]),
        ("[endpoints.a]\nfamly = 'x'", ["unknown key 'famly' in {file} [endpoints.a]", "Did you mean 'family'?"]),
        ("[endpoints.a]\nname = 'x'", ["unknown key 'name'", "Keys are: model, dress, "]),
        ("[endpoints.a]\nmodle = 'x'", ["unknown key 'modle' in {file} [endpoints.a]. Did you mean 'model'?"]),
        ("[endpoints.a]\ndress = 'agent-like'", ["has a task like agent/v1/responses, not 'llm/v1/chat'"]),
        ("[endpoints.a]\ndress = 'claude'", ["dress in {file} [endpoints.a] is 'claude'. Did you mean 'claude-like'?"]),
        ("[endpoints.a]\nmodel = 1", ["model in {file} [endpoints.a] is no text"]),
        ("[endpoints.a]\nmodel = 'scriptd'", ["unknown model 'scriptd', in {file} [endpoints.a]", "'scripted'?"]),
        ("[endpoints.a]\nmodel = 'smollm2:x'", ["model 'smollm2:x' is not written as", "Write smollm2"]),
        ("[endpoints.a]\nstream_usage = 'evry'", ["stream_usage in {file} [endpoints.a] is 'evry'", "'every'?"]),
        (
            "[endpoints.a]\nspeaks = ['chat', 'x']",
            ["speaks[1] in {file} [endpoints.a] is 'x'", "It can be: chat, "],
        ),
        ("[endpoints.a]\nspeaks = ['chatt']", ["speaks[0] in {file} [endpoints.a] is 'chatt'. Did you mean 'chat'?"]),
        ("[endpoints.a]\nspeaks = ['chat', 1]", ["speaks[1] in {file} [endpoints.a]: expected `str`, got `int`"]),
        ("[endpoints.a]\ntask = 'llm/v1/embeddings'", ["no model here answers the task llm/v1/embeddings", "replay:"]),
        ("[endpoints.a]\ntask = 'llm/v1/completions'", ["no model here answers the task llm/v1/completions"]),
        (
            "[endpoints.a]\ntask = 'agent/v1/responses'\nspeaks = ['chat']",
            ["in {file} [endpoints.a]: the task agent/v1/responses takes responses", "add 'responses' to speaks"],
        ),
        ("[endpoints.a]\ntask = 'agent/v2/chat'\nspeaks = ['responses']", ["add 'chat' to speaks"]),
        ("[endpoints.a]\nspeaks = 'chat'", ["speaks in {file} [endpoints.a]: expected `array`, got `str`"]),
    ],
)
def test_a_mistake_is_named_with_file_and_key(declare: Declare, text: str, words: list[str]) -> None:
    path = declare(text)
    with pytest.raises(ConfigurationError) as caught:
        Workspace.from_file(path)
    told = f"{caught.value.message}. {caught.value.remedy}"
    for word in words:
        assert word.format(file=path) in told
    assert "\n" not in told


def test_a_hosted_model_may_speak_responses_alone(declare: Declare, send: Send) -> None:
    with Workspace.from_file(declare("[endpoints.codex]\nspeaks = ['responses']")) as workspace:
        asked = send(workspace, "POST", "/serving-endpoints/responses", {"model": "codex", "input": "Hi"})
        assert asked.status == 200
        assert send(workspace, "POST", "/serving-endpoints/codex/invocations", ASK).status == 400


def test_a_recording_may_stand_behind_a_task_that_no_model_here_answers(
    declare: Declare, send: Send, tmp_path: Path
) -> None:
    vectors = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]}
    (tmp_path / "vectors.json").write_text(json.dumps(vectors))
    file = declare("[endpoints.vectors]\ntask = 'llm/v1/embeddings'\nmodel = 'replay:vectors.json'")
    with Workspace.from_file(file) as workspace:
        told = send(workspace, "GET", "/api/2.0/serving-endpoints/vectors").json()
        assert told["task"] == "llm/v1/embeddings"
        asked = send(workspace, "POST", "/serving-endpoints/vectors/invocations", {"input": ["Hi"]})
        assert (asked.status, asked.json()) == (200, vectors)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no file"):
        Workspace.from_file(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--endpoint", "a"], "the endpoint 'a' is not NAME=MODEL. Write it like my-endpoint=scripted"),
        (["--endpoint", "a=scripted", "--endpoint", "a=scripted"], "names an endpoint twice"),
        (["--endpoint", "a=nope"], "unknown model 'nope', in command line [endpoints.a]"),
        (["--config", "none.toml"], "there is no file none.toml"),
        (["--model", "nonsense"], "unknown model 'nonsense'. Use 'scripted[:RULES.toml]' or 'smollm2' or "),
        (["--model", "scriptd"], "unknown model 'scriptd'. Did you mean 'scripted'?"),
        (["--model", ""], "unknown model ''. Use "),
        (["--model", "scripted:"], "the model 'scripted:' is not written as it should be. Write scripted[:RULES.toml]"),
        (["--model", "replay:none.json"], "none.json. Name a file that exists"),
    ],
)
def test_serve_says_what_is_wrong_in_one_line(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(serve, arguments)
    assert result.exit_code == 3
    assert words in result.output
    assert len(result.output.splitlines()) == 1


def test_serve_takes_endpoints_from_one_place() -> None:
    result = CliRunner().invoke(serve, ["--model", "scripted", "--endpoint", "a=scripted"])
    assert result.exit_code == 2
    assert "--endpoint and --model both say what is served" in result.output


def test_an_empty_host_is_loopback_and_not_every_address() -> None:
    assert Workspace(host="").address == ("127.0.0.1", 0)
