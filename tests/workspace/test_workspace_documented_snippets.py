"""Do the programs of the Databricks documentation run against a workspace, as they are printed there?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from isochat_workspace import Workspace

from . import curl_stand_in

PAGE = Path(__file__).with_name("documented_snippets.md")
HOSTS = (
    "https://example.staging.cloud.databricks.com",
    "https://<workspace_host>.databricks.com",
    "https://<workspace-url>",
)
QUESTION = "What is a mixture of experts model?"


class Snippet(NamedTuple):
    """What to expect of the program under a heading of the page.

    `shows` is a line put at the end of a program that would print nothing; `calls` the target it must ask, and
    `signs` the scheme of its Authorization header.
    """

    heading: str
    calls: str
    signs: str
    shows: str = ""


SNIPPETS = (
    Snippet(
        "OpenAI Chat Completions",
        "/serving-endpoints/chat/completions",
        "Bearer",
        "print(response.choices[0].message.content)",
    ),
    Snippet("OpenAI Responses", "/serving-endpoints/responses", "Bearer", "print(response.output_text)"),
    Snippet("REST API", "/serving-endpoints/databricks-claude-sonnet-4-5/invocations", "Basic"),
    Snippet(
        "MLflow Deployments SDK",
        "/serving-endpoints/databricks-meta-llama-3-3-70b-instruct/invocations",
        "Bearer",
        'print(chat_response["choices"][0]["message"]["content"])',
    ),
    Snippet("Databricks Python SDK", "/serving-endpoints/databricks-claude-sonnet-4-5/invocations", "Bearer"),
    Snippet("OpenAI client at the gateway", "/ai-gateway/mlflow/v1/responses", "Bearer", "print(response.output_text)"),
    Snippet("REST API at the gateway", "/ai-gateway/mlflow/v1/responses", "Basic"),
)


def cut(heading: str) -> tuple[str, str]:
    """The language and the text of the program under a heading."""
    found = re.search(rf"^## {re.escape(heading)}\n\n```(\w+)\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert found, f"no program under {heading!r}"
    return found[1], found[2]


def filled_in(program: str, workspace: Workspace) -> str:
    """The program with what its reader has to fill in, and nothing else: host, token, endpoint, `export` lines.

    An `export` is a line for the shell, also where the page prints it among lines of Python; its value is in
    the environment of the run.
    """
    for host in HOSTS:
        program = program.replace(host, workspace.url)
    program = program.replace("dapi-your-databricks-token", workspace.token)
    program = program.replace("<your-external-model-endpoint>", "databricks-claude-sonnet-4-5")
    return re.sub(r"^export .*\n", "", program, flags=re.M)


def run(language: str, program: str, workspace: Workspace, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as its reader would, with Databricks' two variables and a home without profiles."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "OPENAI_"))}
    environment = {
        **inherited,
        "HOME": str(folder),
        "DATABRICKS_HOST": workspace.url,
        "DATABRICKS_TOKEN": workspace.token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "NO_PROXY": "127.0.0.1",
    }
    if curl_stand_in.ABSENT:
        curl_stand_in.install(folder)
        environment["PATH"] = f"{folder}{os.pathsep}{environment['PATH']}"
    command = [sys.executable, "-c", program] if language == "python" else ["sh", "-c", program]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def asked(body: dict[str, Any]) -> str:
    """The last thing said in a request."""
    last = body.get("messages", body.get("input"))[-1]
    return str(last["content"])


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.heading.replace(" ", "-"))
def test_the_documented_program_runs(snippet: Snippet, workspace: Workspace, tmp_path: Path) -> None:
    language, printed = cut(snippet.heading)
    program = filled_in(printed, workspace) + snippet.shows

    done = run(language, program, workspace, tmp_path)

    assert done.returncode == 0, done.stderr
    request = workspace.requests[-1]
    question = asked(request.json())
    assert question.strip().rstrip("?") + "?" == QUESTION
    # The scripted model repeats the question: the answer is the one to this request.
    assert f'You asked: "{question}"' in done.stdout.replace('\\"', '"')
    assert (request.method, request.target, request.status) == ("POST", snippet.calls, 200)
    authorization = request.header("authorization")
    assert authorization is not None
    assert authorization.split()[0] == snippet.signs
    assert [other for other in workspace.requests if other.status != 200] == []


def test_the_page_has_a_check_for_each_of_its_programs() -> None:
    headings = re.findall(r"^## (.*)$", PAGE.read_text("utf-8"), re.M)

    assert headings == [snippet.heading for snippet in SNIPPETS]


def test_only_what_the_reader_fills_in_is_replaced(workspace: Workspace) -> None:
    for snippet in SNIPPETS:
        _, printed = cut(snippet.heading)
        filled = filled_in(printed, workspace)
        # Put back, it is the page again but for the lines of the shell.
        lines = [line for line in printed.splitlines() if not line.startswith("export ")]
        kept = [
            one == other
            or any(blank in one for blank in (*HOSTS, "dapi-your-databricks-token", "<your-external-model-endpoint>"))
            for one, other in zip(lines, filled.splitlines(), strict=True)
        ]
        assert all(kept), snippet.heading
        assert not re.search(r"<[\w-]+>|dapi-your|example\.staging", filled)


def test_the_stand_in_for_curl_sends_what_curl_sends(workspace: Workspace, tmp_path: Path) -> None:
    program = filled_in(cut("REST API")[1], workspace)
    curl_stand_in.install(tmp_path)
    folder = tmp_path / "real"
    folder.mkdir()

    run("bash", program, workspace, folder)
    run("bash", f'PATH="{tmp_path}:$PATH"; {program}', workspace, folder)

    real, other = (
        (request.method, request.target, request.body, request.header("authorization"), request.header("content-type"))
        for request in workspace.requests
    )
    assert real == other
