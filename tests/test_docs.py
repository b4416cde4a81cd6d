"""Is what the pages for users show true? Links lead somewhere, commands exist, and what they print as code runs.

The README, docs/testing.md, docs/workspace.md and docs/faults.md have tests of their own beside this.
"""

import ast
import asyncio
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import isochat
from isochat.cli.group import isochat as command_line
from isochat.config.settings import BY_NAME
from isochat.policy import LONGEST_RETRY_AFTER
from isochat.transport.limits import DEFAULT_LIMITS
from isochat_conformance import BackendConformance, FaultConformance
from isochat_workspace import Cassette, Workspace

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.name for page in PAGES]
ANSWER = 'You asked: "Hello". There is no system prompt. The conversation has 1 message: user.'
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def block(name: str, language: str, of: str = "") -> str:
    """The one block of the page called ``name`` that has ``of`` in it."""
    (found,) = [code for code in blocks(ROOT / "docs" / name, language) if of in code]
    return found


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(docs/([\w.-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))

    assert linked == {page.name for page in PAGES if page.parent.name == "docs"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_of_code_is_well_formed(page: Path) -> None:
    for code in blocks(page, "python"):
        if not code.startswith(">>>"):
            compile(code, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for text in blocks(page, "toml"):
        tomllib.loads(text)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_and_option_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = [line for code in blocks(page, "sh") for line in code.splitlines() if line.startswith("isochat ")]
    unknown = [line for line in [*lines, *re.findall(r"`(isochat [^`]*)`", text)] if not _is_known(line)]

    assert unknown == []


def _is_known(line: str) -> bool:
    words = shlex.split(line.replace("|", " "), comments=True)[1:]
    command: click.Command = command_line
    context = click.Context(command)
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            break
        found = command.get_command(context, words.pop(0))
        if found is None:
            return False
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {word.partition("=")[0] for word in words if word.startswith("--")} <= options | {"--help"}


def test_every_environment_variable_of_isochat_is_read() -> None:
    """Each that a page names is one that the code names, or the one of a setting."""
    sources = [path for room in ("core", "conformance", "tests/soak") for path in (ROOT / room).rglob("*.py")]
    code = " ".join(path.read_text(encoding="utf-8") for path in sources)
    settings = {f"ISOCHAT_{name.upper()}" for name in BY_NAME}
    named = {name for page in PAGES for name in re.findall(r"\bISOCHAT_[A-Z_]+\b", page.read_text(encoding="utf-8"))}

    assert {name for name in named - settings if name not in code} == set()


def test_a_conversation(
    tmp_path: Path, workspace: Workspace, make_client: Callable[..., isochat.Client], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "isochat.toml").write_text("[targets.calls.params]\ntool_choice = 'required'\n", encoding="utf-8")
    target = {"target": "calls", "config_file": tmp_path / "isochat.toml"}
    names = {
        "client": make_client("rest", workspace, endpoint="scripted", **target),
        "other_client": make_client("openai-responses", workspace, endpoint="scripted"),
        "tools": TOOLS,
        "weather": lambda **arguments: f"20 degrees in {arguments['city']}",
    }

    exec(compile(block("conversations.md", "python"), "conversations.md", "exec"), names)

    kinds = [item.get("type", item.get("role")) for item in workspace.requests[-1].json()["input"]]
    assert kinds == ["user", "function_call", "function_call_output"]
    assert "20 degrees in" in capsys.readouterr().out


def test_an_answer_of_a_type(
    workspace: Workspace, make_client: Callable[..., isochat.Client], capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"client": make_client("openai-chat", workspace, endpoint="scripted"), "__name__": "page"}

    exec(compile(block("typed-answers.md", "python"), "typed-answers.md", "exec"), names)

    assert isinstance(names["result"].parsed, names["City"])
    assert capsys.readouterr().out == f"{names['result'].parsed.population}\n"


def test_the_forms_of_a_call(
    workspace: Workspace, make_client: Callable[..., isochat.Client], capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"client": make_client("rest", workspace, endpoint="scripted"), "messages": "Hello"}
    code = compile(block("streams.md", "python", "achat"), "streams.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    asyncio.run(eval(code, names))

    assert capsys.readouterr().out == ANSWER
    assert names["result"].text == ANSWER


def test_a_stream_that_is_left(
    workspace: Workspace, make_client: Callable[..., isochat.Client], capsys: pytest.CaptureFixture[str]
) -> None:
    names = {
        "client": make_client("rest", workspace, endpoint="scripted"),
        "messages": "Hello",
        "enough": lambda chunk: "asked" in chunk.text,
    }

    exec(compile(block("streams.md", "python", "enough"), "streams.md", "exec"), names)

    assert capsys.readouterr().out.startswith("You asked:")


def test_the_targets_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "isochat.toml").write_text(block("configuration.md", "toml"), encoding="utf-8")
    with Workspace() as ws:
        profiles = "".join(f"[{name}]\nhost = {ws.url}\ntoken = {ws.token}\n" for name in ("DEFAULT", "PROD"))
        (tmp_path / "profiles").write_text(profiles, encoding="utf-8")
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "profiles"))
        for target, backend in (("dev", "rest"), ("prod", "databricks-sdk")):
            with isochat.Client(target=target, config_file=tmp_path / "isochat.toml") as client:
                assert client.chat("Hello").meta.backend == backend


def test_the_targets_of_the_fallback_page(
    tmp_path: Path, clean_environment: Path, workspace: Workspace, nobody
) -> None:
    logins = {"EAST": nobody, "WEST": workspace}
    (clean_environment / ".databrickscfg").write_text(
        "".join(f"[{name}]\nhost = {there.url}\ntoken = {there.token}\n" for name, there in logins.items())
    )
    file = tmp_path / "isochat.toml"
    file.write_text(block("fallback.md", "toml"))

    with isochat.Client(target="prod", config_file=file, max_retries=0) as client:
        result = client.chat("Hello")

    assert (result.text, result.meta.endpoint) == (ANSWER, "databricks-gpt-5")
    printed = [line.partition(":")[0] for line in block("fallback.md", "text").splitlines()]
    assert [warning.partition(": ")[0] for warning in result.meta.warnings[:2]] == [
        "fell back from openai-chat to rest",
        "fell back from rest to target:backup",
    ]
    assert printed == ["fell back from openai-chat to rest", "fell back from rest to target"]


def test_the_observer_of_its_page(
    workspace: Workspace, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    names: dict[str, object] = {}
    exec(block("observers.md", "python"), names)
    with names["client"] as client:
        used = [client.chat("Hello").usage.total_tokens, client.chat("Hello", stream=True).result().usage.total_tokens]

    assert names["tokens"].used == sum(used) > 0


def test_the_bounds_of_the_configuration_page_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    mega = 1024 * 1024
    told = [
        *(f"| `{name}` | {BY_NAME[name].default:g} s |" for name in ("deadline", "timeout")),
        f"| `max_retries` | {BY_NAME['max_retries'].default} |",
        f"has {DEFAULT_LIMITS.connect:g} s to come about",
        f"up to {LONGEST_RETRY_AFTER:g} s",
        f"| status line and headers | {DEFAULT_LIMITS.head // 1024} KB |",
        f"| a whole body, decompressed | {DEFAULT_LIMITS.body // mega} MB |",
        f"| the body of an error | {DEFAULT_LIMITS.error // mega} MB |",
        f"| one event of a stream | {DEFAULT_LIMITS.event // mega} MB |",
        f"| a whole stream | {DEFAULT_LIMITS.stream // mega} MB |",
    ]

    assert [bound for bound in told if bound not in page] == []


def test_a_backend_with_a_transport_of_its_own(
    make_client: Callable[..., isochat.Client], workspace: Workspace
) -> None:
    class Answer:
        status, is_chunked = 200, True
        headers = (("content-type", "text/event-stream"),)

        def iter_raw(self) -> list[bytes]:
            choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
            return [f"data: {json.dumps({'choices': [choice]})}\n\n".encode(), b"data: [DONE]\n\n"]

    class MyClient:
        asked: dict = {}

        def open(self, body: dict) -> Answer:
            self.asked = body
            return Answer()

    names = {"Backend": isochat.Backend, "Capabilities": isochat.Capabilities, "my_client": MyClient()}
    exec(compile(block("backends.md", "python", "StreamReply"), "backends.md", "exec"), names)
    # The page shows what streams; every backend has a complete() as well.
    whole = type("Whole", (names["Mine"],), {"complete": lambda self, request, wire: {"choices": []}})

    assert make_client(whole, workspace).chat("Hello", stream=True).result().text == "Hi"
    assert names["my_client"].asked["stream"] is True


def test_the_proofs_of_a_backend_are_whole_test_classes() -> None:
    for of, base in (("import BackendConformance", BackendConformance), ("import FaultConformance", FaultConformance)):
        names: dict = {}
        exec(block("backends.md", "python", of), names)
        (made,) = [kind for name, kind in names.items() if name.startswith("Test")]
        assert issubclass(made, base)
        assert made.backend == "mine"


def test_a_cassette_as_it_is_printed_is_played_back(tmp_path: Path, make_client: Callable[..., isochat.Client]) -> None:
    (tmp_path / "answers.cassette").write_text(block("record_and_replay.md", "json"), encoding="utf-8")

    with Workspace(model=Cassette(tmp_path / "answers.cassette")) as ws:
        assert make_client("openai-chat", ws, endpoint="databricks-gpt-5").chat("Hello").text == "Hi"


def test_recording_in_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., isochat.Client]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = block("record_and_replay.md", "python").replace("...  #", "said.append(ask(workspace))  #")
    code = code.replace("    ...\n", "    said.append(ask(workspace))\n")
    with Workspace() as real:
        names: dict = {
            "token": real.token,
            "said": [],
            "ask": lambda ws: make_client("rest", ws, endpoint="databricks-gpt-5").chat("Hello").text,
        }
        exec(code.replace("https://my.cloud.databricks.com", real.url), names)

        assert len(real.requests) == 1
    assert names["said"] == [ANSWER] * 2


def test_a_workspace_that_replays_and_passes_on(tmp_path: Path) -> None:
    (tmp_path / "answers.cassette").write_text(block("record_and_replay.md", "json"), encoding="utf-8")
    (tmp_path / "workspace.toml").write_text(block("record_and_replay.md", "toml"), encoding="utf-8")

    names = [endpoint.name for endpoint in Workspace.from_file(tmp_path / "workspace.toml").endpoints]

    assert names == ["my-endpoint", "databricks-gpt-5"]
