"""Do the clients that others wrote run against a workspace? Each in an environment of its own, as its users have it.

    python tests/interop/run.py [CLIENT ...] [--folder FOLDER] [--write]

Runs in isochat's own environment. It makes the environments (in the user's cache, or in FOLDER; kept for the next
time), starts a workspace, runs the programs of `clients/` against it and prints a table, which `--write` puts into
`docs/interop.md` if all of it is good. Exit code 0 if every check passed, 1 if one did not, 2 if an environment could
not be made: its clients were not tried, the others were.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

from isochat_workspace import RecordedRequest, Workspace

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "interop.md"
COLUMNS = ("plain", "stream", "tools", "JSON schema", "reasoning", "async", "Responses", "gateway", "errors")
BEGIN, END = "<!-- What follows is printed by tests/interop/run.py -->", "<!-- end -->"
PROGRAM_TIMEOUT_S = 300


@dataclasses.dataclass(frozen=True)
class Client:
    """A client, its program in `clients/` and its requirements: `requirements/NAME.txt`, or `NAME.json` for npm."""

    name: str
    title: str
    program: str
    requirements: str

    @property
    def requirements_file(self) -> Path:
        return HERE / "requirements" / self.requirements

    @property
    def in_node(self) -> bool:
        return self.requirements_file.suffix == ".json"


CLIENTS = (
    Client("litellm", "LiteLLM, provider `databricks/`", "litellm_provider.py", "litellm.txt"),
    Client("langchain", "LangChain's `ChatDatabricks`", "langchain_chat_databricks.py", "databricks-langchain.txt"),
    Client(
        "databricks-openai",
        "`DatabricksOpenAI`, `AsyncDatabricksOpenAI`",
        "databricks_openai_clients.py",
        "databricks-openai.txt",
    ),
    Client(
        "get-open-ai-client",
        "Databricks SDK's `get_open_ai_client()`",
        "sdk_open_ai_client.py",
        "databricks-sdk.txt",
    ),
    Client("openai-agents", "OpenAI Agents, `AsyncDatabricksOpenAI`", "openai_agents.py", "databricks-openai.txt"),
    Client("any-llm", "any-llm, provider `databricks`", "any_llm_provider.py", "any-llm.txt"),
    Client("pydantic-ai", "Pydantic AI, `OpenAIProvider`", "pydantic_ai_agent.py", "pydantic-ai.txt"),
    Client("node-openai", "OpenAI's client for Node", "node_openai.mjs", "node.json"),
    Client("node-ai-sdk", "Vercel's AI SDK, `@databricks/ai-sdk-provider`", "node_ai_sdk.mjs", "node.json"),
)


class EnvironmentFailed(Exception):
    """The packages of a client could not be installed; the message ends in what the installer said."""


@dataclasses.dataclass
class Outcome:
    """What came of one client: its versions, the checks it failed by name, and the requests it sent."""

    client: Client
    versions: dict[str, str]
    passed: dict[str, bool]
    reasons: list[str]
    requests: list[RecordedRequest]

    @property
    def good(self) -> bool:
        return not self.reasons and bool(self.passed)

    def row(self) -> str:
        cells = {name: "yes" if passed else "**no**" for name, passed in self.passed.items()}
        return f"| {self.client.title} | {' | '.join(cells.get(column, '-') for column in COLUMNS)} |"

    def details(self) -> list[str]:
        """Versions, and what the server saw: paths and the names the client gives itself."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        agents = sorted({_agent(request) for request in self.requests})
        paths = sorted({request.path for request in self.requests})
        return [
            f"- {self.client.title}: {versions}. Calls itself {', '.join(f'`{one}`' for one in agents)};"
            f" asked {', '.join(f'`{one}`' for one in paths)} in {len(self.requests)} requests.",
            *(f"    - FAILED {reason}" for reason in self.reasons),
        ]


def run_client(client: Client, folder: Path) -> Outcome:
    """Run a client's program in its environment against a workspace of its own."""
    command = _command_of(client, folder)
    with Workspace() as workspace:
        try:
            done = subprocess.run(
                command,
                env=_variables(workspace, folder),
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=PROGRAM_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(client, {}, {}, [f"no end after {PROGRAM_TIMEOUT_S} s"], workspace.requests)
        requests = workspace.requests
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    outcome = Outcome(client, {}, {}, [], requests)
    for line in told:
        if "versions" in line:
            outcome.versions = line["versions"]
            continue
        name = line["check"]
        outcome.passed[name] = outcome.passed.get(name, True) and line["passed"]
        if not line["passed"]:
            outcome.reasons.append(f"{name}: {line['reason']}")
    if done.returncode != 0 or not outcome.passed:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        outcome.reasons.append(f"the program ended with {done.returncode}: {last}")
    outcome.reasons += [f"the workspace answered {r.status} to {r.path}" for r in requests if r.status >= 500]
    return outcome


def _variables(workspace: Workspace, folder: Path) -> dict[str, str]:
    """Databricks' two variables; nothing of the caller's own accounts; no look beyond this machine."""
    foreign = ("DATABRICKS_", "OPENAI_", "LITELLM_", "LANGCHAIN_", "LANGSMITH_", "MLFLOW_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "HOME": str(folder),
        "DATABRICKS_HOST": workspace.url,
        "DATABRICKS_TOKEN": workspace.token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def _command_of(client: Client, folder: Path) -> list[str]:
    """The command line of the client's program, in its environment, which is made where it is missing or old."""
    place = folder / client.requirements_file.stem
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = hashlib.sha256(client.requirements_file.read_bytes() + sys.version.encode()).hexdigest()
    stamp = place / "made-of"
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        print(f"installing {client.requirements} ...", file=sys.stderr, flush=True)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if client.in_node:
            shutil.copy(client.requirements_file, place / "package.json")
            _install(client, place, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
        else:
            venv.create(place, with_pip=True)
            # The list is whole, so that nothing has to be resolved.
            pip = (str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r")
            _install(client, place, *pip, str(client.requirements_file))
        stamp.write_text(wanted, encoding="utf-8")
    programs = HERE / "clients"
    if not client.in_node:
        return [str(python), str(programs / client.program)]
    # Node looks for packages from where a program stands.
    for program in programs.glob("*.mjs"):
        shutil.copy(program, place)
    return ["node", str(place / client.program)]


def _install(client: Client, place: Path, *command: str) -> None:
    if shutil.which(command[0]) is None:
        raise EnvironmentFailed(f"{client.name} needs {command[0]}, which is not on the PATH")
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentFailed(f"{client.name}: {(done.stderr or done.stdout).strip()[-500:]}")


def _agent(request: RecordedRequest) -> str:
    """What a client calls itself in its User-Agent, with its version and without its platform."""
    words = (request.header("user-agent") or "nothing").split(" ")
    # The OpenAI family puts its version into a word of its own, the SDK's first word is the caller's to set.
    return " ".join(words[:2]) if words[0].endswith(("/Python", "/JS")) or words[0] == "unknown/0.0.0" else words[0]


def table(outcomes: list[Outcome]) -> list[str]:
    """All outcomes as lines of Markdown."""
    return [
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "",
        f"| client | {' | '.join(COLUMNS)} |",
        "|---" * (len(COLUMNS) + 1) + "|",
        *(outcome.row() for outcome in outcomes),
        "",
        *(line for outcome in outcomes for line in outcome.details()),
    ]


def write(lines: list[str]) -> None:
    """Put the lines into the page, in the place of those of the last time."""
    page = PAGE.read_text("utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]), encoding="utf-8")


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [client.name for client in CLIENTS]
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"all by default: {', '.join(names)}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--folder", type=Path, default=cache / "isochat" / "interop", help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="write the table into docs/interop.md")
    given = parser.parse_args()
    if unknown := set(given.clients) - set(names):
        parser.error(f"no such client: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if given.write and given.clients:
        parser.error("--write is for all clients at once")
    folder: Path = given.folder.resolve()
    outcomes: list[Outcome] = []
    untried = 0
    for client in CLIENTS:
        if not given.clients or client.name in given.clients:
            try:
                outcomes.append(run_client(client, folder))
            except EnvironmentFailed as error:
                untried += 1
                print(f"NOT TRIED {error}", file=sys.stderr, flush=True)
    lines = table(outcomes)
    print("\n".join(lines))
    if any(not outcome.good for outcome in outcomes):
        return 1
    if untried:
        return 2
    if given.write:
        write(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
