"""What does a person at a shell get: answers, exit codes, one line for a failure?"""

import json
import os
import subprocess
import sys

import pytest

import isochat
from isochat.cli.printable import printable
from isochat_workspace import Endpoint, HttpReply, Replay

ALL = ["databricks-sdk", "mlflow", "openai-chat", "openai-responses", "rest"]


@pytest.mark.parametrize("backend", ALL)
def test_chat_prints_the_answer(isochat_cli, workspace, backend):
    ran = isochat_cli(
        "chat", "--backend", backend, "--endpoint", "databricks-gpt-5", "--max-tokens", "3", "Hello there"
    )

    assert (ran.code, ran.out, ran.err) == (0, 'You asked: "Hello\n', "")
    assert len(workspace.requests) == 1


def test_chat_as_json_reads_back_as_the_result(isochat_cli, workspace):
    ran = isochat_cli("chat", "--json", "--endpoint", "scripted", "--system", "Be brief.", "Hello")

    document = json.loads(ran.out)
    assert isochat.ChatResult.from_dict(document).text == document["choices"][0]["message"]["content"]
    assert document["meta"]["client_call"] == "POST invocations"
    assert [m["role"] for m in workspace.requests[0].json()["messages"]] == ["system", "user"]


def test_chat_with_a_local_workspace(isochat_cli):
    ran = isochat_cli("chat", "--local", "--model", "scripted", "--backend", "openai-chat", "Hello")

    assert ran.code == 0
    assert 'You asked: "Hello"' in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["chat", "Hello"], 2, "no endpoint is named"),
        (["chat", "--endpoint", "x", "--backend", "opnai-chat", "Hello"], 2, "Did you mean 'openai-chat'?"),
        (["chat", "--endpoint", "x", "--target", "prod", "Hello"], 2, "isochat.toml"),
        (["chat", "--endpoint", "a/../b", "Hello"], 2, "is not a serving endpoint's name"),
        (["chat", "--endpoint", "scripted", "--temperature", "warm", "Hello"], 2, "neither a number nor 'none'"),
        (["chat", "--endpoint", "scripted", "--temperature", "nan", "Hello"], 2, "JSON cannot carry"),
        (["chat", "--endpoint", "nobody", "Hello"], 3, "there is no such endpoint"),
        (["chat", "--model", "scripted", "Hello"], 2, "--model goes with --local"),
        (["chat", "--local", "--host", "https://x.example", "Hello"], 2, "--local excludes --host"),
        (["chat", "--local", "--model", "gpt-9", "Hello"], 2, "gpt-9"),
        (["chat", "--local", "Hello"], 2, "isochat local install"),
        (["chat"], 2, "PROMPT"),
        (["nothing"], 2, "No such command"),
    ],
)  # fmt: skip
def test_a_failure_is_said_on_stderr_with_its_exit_code(
    isochat_cli, workspace, arguments, code, says, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-model-here"))

    ran = isochat_cli(*arguments)

    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert workspace.token not in ran.err


def test_an_error_of_isochat_is_one_line(isochat_cli, workspace):
    ran = isochat_cli("chat", "--endpoint", "nobody", "Hello")

    assert ran.err.count("\n") == 1


def test_debug_shows_the_traceback(isochat_cli, workspace):
    ran = isochat_cli("chat", "--debug", "--endpoint", "nobody", "Hello")

    assert ran.code == 3
    assert "NotFoundError" in ran.err


def test_backends_lists_the_registry(isochat_cli):
    ran = isochat_cli("backends", "--json")

    rows = {row["name"]: row for row in json.loads(ran.out)}
    assert [name for name in rows if rows[name]["distribution"] == "isochat"] == ALL
    assert rows["mlflow"]["install"] == "pip install 'isochat[mlflow]'"
    assert all(rows[name]["installed"] for name in ALL)


def test_config_show_names_the_source_and_masks_the_token(isochat_cli, monkeypatch, tmp_path):
    (tmp_path / "isochat.toml").write_text(
        '[targets.dev]\nendpoint = "e"\nhost = "https://h.example"\ntoken = "dapi-x"\nheaders = { X-Key = "hush" }\n'
    )
    monkeypatch.setenv("ISOCHAT_TIMEOUT", "30")

    ran = isochat_cli("config", "show", "--target", "dev", "--json")

    shown = json.loads(ran.out)
    assert shown["endpoint"] == {"value": "e", "source": "isochat.toml [targets.dev] endpoint"}
    assert shown["timeout"] == {"value": 30.0, "source": "ISOCHAT_TIMEOUT"}
    assert shown["max_retries"] == {"value": 2, "source": "default"}
    assert shown["token"]["value"] == "***"
    assert shown["headers"]["value"] == {"X-Key": "***"}
    assert "dapi-x" not in ran.out
    assert "hush" not in ran.out


def test_the_working_directory_is_searched_by_the_command_line_alone(isochat_cli, workspace, tmp_path):
    (tmp_path / "isochat.toml").write_text(
        'default_target = "d"\n[targets.d]\nendpoint = "scripted"\nbackend = "mlflow"\n'
    )

    ran = isochat_cli("chat", "--json", "Hello")

    assert json.loads(ran.out)["meta"]["backend"] == "mlflow"
    assert ran.err == "settings: isochat.toml\n"
    with isochat.Client() as client, pytest.raises(isochat.ConfigurationError, match="no endpoint"):
        client.chat("Hello")


def test_without_its_extra_the_script_names_the_install_line():
    code = "import sys; sys.modules['click'] = None; from isochat.cli import main; main()"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "pip install 'isochat[cli]'" in ran.stderr


def test_ctrl_c_while_modules_load_ends_quietly():
    """At each module that the command line loads before it runs a command."""
    code = """
import importlib.abc, os, signal, sys
from isochat.cli import main
class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
module, sys.argv[1] = sys.argv[1], "chat"
sys.meta_path.insert(0, Interrupting())
main()
"""
    for module in ("click", "rich", "isochat.cli.group", "isochat.cli.displays", "aiohttp"):
        command = [sys.executable, "-c", code, module, "--local", "--model", "scripted", "Hello"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)

        assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", ""), module


def test_a_reader_that_leaves_is_no_failure(workspace):
    command = f"{sys.executable} -m isochat --help | true"

    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=dict(os.environ))

    assert ran.stderr == ""


def test_a_file_without_a_default_target_is_left_alone_unless_one_is_named(isochat_cli, workspace, tmp_path):
    (tmp_path / "isochat.toml").write_text('[targets.d]\nendpoint = "scripted"\nbackend = "mlflow"\n')

    plain = isochat_cli("chat", "--json", "--endpoint", "scripted", "Hello")
    named = isochat_cli("chat", "--json", "--target", "d", "Hello")

    assert json.loads(plain.out)["meta"]["backend"] == "rest"
    assert json.loads(named.out)["meta"]["backend"] == "mlflow"


LONE = HttpReply(
    200,
    {"content-type": "application/json"},
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"a\\ud800b \\u2603"},"finish_reason":"stop"}]}',
)


@pytest.mark.parametrize(
    ("shell", "code", "out", "err"),
    [
        ("chat --endpoint scripted Hello", 0, 'You asked: "Hello"', ""),
        ("chat --endpoint scripted - <&-", 2, "", "the prompt is empty"),
        ("chat --endpoint scripted Hello >&-", 0, "", ""),
        ("chat --endpoint scripted Hello >/dev/full", 3, "", "No space left"),
        ("chat --endpoint odd Hello", 0, "b", ""),
        ("compare --endpoint odd --backend rest Hello", 0, "b", ""),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_odd_streams_and_odd_answers(workspace, shell, code, out, err, encoding):
    workspace.add(Endpoint("odd", Replay({"chat": LONE})))
    environment = {**os.environ, "PYTHONIOENCODING": encoding}

    ran = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m isochat {shell}"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )

    assert ran.returncode == code, ran.stderr
    assert out in ran.stdout
    assert err in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_answer_gives_no_orders_to_the_terminal():
    assert printable("a\x1b]0;title\x07b\nc\td\x9be") == "a ]0;title b\nc\td e"


@pytest.mark.parametrize(
    ("missing", "arguments", "remedy"),
    [
        ("aiohttp", ["chat", "--local", "--model", "scripted", "x"], "pip install 'isochat[local]'"),
        ("aiohttp", ["conformance", "rest"], "pip install 'isochat[local]'"),
        (
            "databricks",
            ["compare", "--endpoint", "e", "--profile", "p", "x"],
            "Set DATABRICKS_HOST and DATABRICKS_TOKEN",
        ),
        ("databricks", ["chat", "--endpoint", "e", "--profile", "p", "x"], "pip install 'isochat[databricks-sdk]'"),
    ],
)
def test_without_an_extra_one_line_says_what_to_do(missing, arguments, remedy, tmp_path, monkeypatch):
    (tmp_path / "cfg").write_text("[p]\nhost = https://h.invalid\nauth_type = oauth-m2m\n")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "cfg"))
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {arguments!r}"

    ran = subprocess.run(
        [sys.executable, "-c", f"{code}; from isochat.cli import main; main()"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 2
    assert remedy in ran.stderr
    assert ran.stderr.count("pip install") == 1
    assert (ran.stdout, ran.stderr.count("\n")) == ("", 1)


@pytest.fixture
def falling_back(workspace, tmp_path):
    """An isochat.toml here with a backup for endpoints that do not exist."""
    (tmp_path / "isochat.toml").write_text(
        '[targets.backup]\nendpoint = "scripted"\n'
        '[targets.dev]\nendpoint = "nowhere"\nbackend = "mlflow"\nfallback = ["rest", "target:backup"]\n'
    )
    return workspace


@pytest.mark.parametrize("stream", [[], ["--stream"], ["--no-stream"]])
def test_another_carries_on_and_it_is_said(isochat_cli, falling_back, stream):
    ran = isochat_cli("chat", *stream, "--target", "dev", "Hello")

    assert (ran.code, ran.out.startswith('You asked: "Hello"')) == (0, True)
    assert "warning: fell back from mlflow to rest: NotFoundError 404: " in ran.err
    assert "warning: fell back from rest to target:backup: NotFoundError 404: " in ran.err
    assert len(falling_back.requests) == 3


def test_fallback_is_an_option_and_a_variable(isochat_cli, falling_back, monkeypatch):
    chosen = isochat_cli("chat", "--json", "--endpoint", "nowhere", "--fallback", "target:backup", "Hello")
    assert json.loads(chosen.out)["meta"]["endpoint"] == "scripted"

    monkeypatch.setenv("ISOCHAT_FALLBACK", "target:backup")
    assert isochat_cli("chat", "--endpoint", "nowhere", "Hello").code == 0
    shown = json.loads(isochat_cli("config", "show", "--json").out)
    assert shown["fallback"] == {"value": "target:backup", "source": "ISOCHAT_FALLBACK"}
    over = isochat_cli("chat", "--endpoint", "nowhere", "--fallback", "mlflow", "Hello")
    assert (over.code, "then failed: mlflow with NotFoundError 404" in over.err) == (3, True)
    wrong = isochat_cli("chat", "--endpoint", "nowhere", "--fallback", "target:bakup", "Hello")
    assert (wrong.code, "Did you mean 'backup'?" in wrong.err) == (2, True)


def test_nothing_local_and_no_comparison_falls_back(isochat_cli, falling_back, monkeypatch):
    monkeypatch.setenv("ISOCHAT_FALLBACK", "target:backup")
    local = isochat_cli("chat", "--local", "--model", "scripted", "--endpoint", "nowhere", "Hello")
    assert (local.code, falling_back.requests) == (3, [])

    for where in (["--target", "dev"], ["--endpoint", "nowhere"]):
        falling_back.clear_requests()
        compared = isochat_cli("compare", *where, "--backend", "rest", "Hello")
        assert (compared.code, len(falling_back.requests)) == (3, 1)
    excluded = isochat_cli("chat", "--local", "--model", "scripted", "--fallback", "target:backup", "Hello")
    assert (excluded.code, "--local excludes --fallback target:backup" in excluded.err) == (2, True)
