"""What harm can a plugin do to whoever did not ask for it? All of them are installed at once, and asked for in turn.

They are distributions in a folder of their own, as an installer leaves them; whatever runs with them is another
process.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile_plugins import HOSTILE as DIRECT
from hostile_plugins import PRELUDE
from lying_plugins import LYING

import isochat

BUILT_IN = {"rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk"}
HOSTILE = {**DIRECT, **LYING}
ROWS = "kept-connection-serves-again,status-401-echo,status-429-then-answered,json-html,stream-reset,stream-pings"
HERE = Path(__file__).parent


def distribution(folder: Path, name: str, entry_points: str, metadata: str | None = None) -> None:
    """Lay a distribution's metadata into ``folder``, as an installer leaves them."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    if metadata != "none":
        (info / "METADATA").write_text(metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them are installed."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, hostile in HOSTILE.items():
        module = f"hostile_{name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(f"NAME = {name!r}{PRELUDE}\n{hostile.text}\n")
        distribution(folder, f"dist-{name}", f"[isochat.backends]\n{name} = {module}\n")
    (folder / "usurper.py").write_text(f"NAME = 'twin'{PRELUDE}\ngiven(Whole)\n")
    for number in (1, 2):
        distribution(folder, f"dist-twin-{number}", f"[isochat.backends]\ntwin = usurper{':x' * (number - 1)}\n")
    distribution(folder, "dist-nameless", "[isochat.backends]\nnameless = usurper\n", "Metadata-Version: 2.1\n")
    distribution(folder, "dist-without-metadata", "[isochat.backends]\nbare = usurper\n", "none")
    distribution(folder, "dist-odd-entry", "[isochat.backends]\nodd = not a module at all !\n")
    # Commands: one that hangs when it is loaded, one that ends the process, one that would take another's place.
    (folder / "slow_command.py").write_text("import threading\nthreading.Event().wait()\n")
    (folder / "ending_command.py").write_text("raise SystemExit(9)\n")
    distribution(folder, "dist-slow-command", "[isochat.commands]\nzz-slow = slow_command\n")
    distribution(folder, "dist-ending-command", "[isochat.commands]\naa-ending = ending_command\n")
    return folder


def run(folder: Path, *command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, timeout=timeout, check=False
    )


@functools.cache
def told(folder: Path) -> dict[str, Any]:
    """What asking.py found out."""
    cases = folder / "cases.json"
    cases.write_text(json.dumps({name: hostile.stream for name, hostile in HOSTILE.items()}))
    done = run(folder, str(HERE / "asking.py"), str(cases), ROWS)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_whoever_asks_for_it_is_told_what_is_wrong_with_it(name: str, folder: Path) -> None:
    hostile, said = HOSTILE[name], told(folder)["said"][name]
    kind, _, words = said.partition(": ")

    assert kind == (hostile.error or "answer"), said
    assert hostile.says in words
    assert len(said) < 1500
    if hostile.error == "PluginError":
        assert name in words


def test_the_others_keep_their_rows(folder: Path) -> None:
    found = told(folder)

    assert found["findings"] == []
    assert found["rows"] > 5 * len(ROWS.split(","))


def test_nobody_s_key_but_the_caller_s_went_out(folder: Path) -> None:
    assert told(folder)["sent"] > 5
    assert told(folder)["foreign"] == []


def test_they_are_listed_from_metadata_alone(folder: Path) -> None:
    code = "import isochat, json; print(json.dumps({n: b.problem for n, b in isochat.backends().items()}))"
    listed = json.loads(run(folder, "-c", code).stdout)

    assert set(listed) >= BUILT_IN | set(HOSTILE) | {"nameless", "bare", "odd"}
    assert {name for name, problem in listed.items() if problem} == {"twin"}
    assert "dist-twin-1 and dist-twin-2" in listed["twin"]


@pytest.mark.parametrize("entry_points", [b"[isochat.backends]\n\xff\xfe = x\n", b"[isochat.backends]\njust words\n"])
def test_a_distribution_that_cannot_be_read_is_left_out(entry_points: bytes, tmp_path: Path) -> None:
    distribution(tmp_path, "dist-broken", "")
    (tmp_path / "dist_broken-1.0.dist-info" / "entry_points.txt").write_bytes(entry_points)
    distribution(tmp_path, "dist-good", "[isochat.backends]\ngood = somewhere\n")
    code = (
        "import isochat\n"
        "isochat.Client('rest', endpoint='e', host='http://127.0.0.1:9', token='t')\n"
        "print(sorted((name, info.problem) for name, info in isochat.backends().items()))"
    )
    done = run(tmp_path, "-c", code)

    assert done.stdout.strip() == str(sorted((name, None) for name in BUILT_IN | {"good"})), done.stderr


@pytest.mark.parametrize("name", ["Rest", "databricks_sdk", "OpenAI-Chat", "re\u0455t", "\uff32est", "rest\u200b"])
def test_a_name_that_may_be_taken_for_another_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "usurper.py").write_text(f"NAME = {name!r}{PRELUDE}\ngiven(Whole)\n", encoding="utf-8")
    distribution(tmp_path, "dist-usurper", f"[isochat.backends]\n{name} = usurper\n")
    code = (
        "import isochat, sys\n"
        "try:\n"
        f"    isochat.Client({name!r}, endpoint='e', host='http://127.0.0.1:9', token='t')\n"
        "except isochat.PluginError as error:\n"
        "    print(ascii(str(error)), 'usurper' in sys.modules)\n"
        "print([info.problem for info in isochat.backends().values()].count(None))"
    )
    done = run(tmp_path, "-c", code)

    assert "of dist-usurper may be taken for another" in done.stdout, done.stderr
    assert done.stdout.splitlines()[0].endswith("False")
    assert done.stdout.splitlines()[1] == str(len(BUILT_IN))


def test_the_command_lists_what_each_is_worth(folder: Path) -> None:
    done = run(folder, "-m", "isochat", "backends", "--json")
    assert done.returncode == 0, done.stderr
    problems = {info["name"]: info["problem"] for info in json.loads(done.stdout)}

    assert [name for name in BUILT_IN if problems[name]] == []
    assert "has not loaded after" in problems["import-hangs"]
    assert "KeyboardInterrupt" in problems["import-interrupts"]
    assert "odd" in problems["odd"]
    assert problems["prints"] is None


def test_a_command_plugin_holds_up_no_other_command(folder: Path) -> None:
    done = run(folder, "-m", "isochat", "conformance", "--help")

    assert done.returncode == 0, done.stderr
    assert "--faults" in done.stdout


def test_a_class_that_is_handed_over_is_checked_too() -> None:
    class Claims(isochat.Backend):
        name = "claims"
        capabilities = isochat.Capabilities(api="chat-completions", streaming=True)

        def complete(self, request: Any, wire: Any) -> dict[str, Any]:
            return {}

    with pytest.raises(isochat.PluginError, match=r"Claims claims in its capabilities what it lacks: stream\(\)"):
        isochat.Client(Claims, endpoint="e", host="http://127.0.0.1:9", token="t")


def test_the_host_s_own_exit_passes(folder: Path) -> None:
    code = (
        "import isochat, signal, sys, os\n"
        "class Mine(isochat.Backend):\n"
        "    name = 'mine'\n"
        "    capabilities = isochat.Capabilities(api='chat-completions')\n"
        "    def complete(self, request, wire):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        return {}\n"
        "Mine.__module__ = 'somebody.elses'\n"
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(5))\n"
        "isochat.Client(Mine, endpoint='e', host='http://127.0.0.1:9', token='t').chat('Hi')\n"
    )
    assert run(folder, "-c", code).returncode == 5


def test_a_backend_that_hangs_does_not_hold_up_the_end_of_the_interpreter(folder: Path) -> None:
    code = (
        "import asyncio, isochat, threading\n"
        "class Hangs(isochat.Backend):\n"
        "    name = 'hangs'\n"
        "    capabilities = isochat.Capabilities(api='chat-completions')\n"
        "    def complete(self, request, wire):\n"
        "        reached.set()\n"
        "        threading.Event().wait()\n"
        "async def main():\n"
        "    client = isochat.Client(Hangs, endpoint='e', host='http://127.0.0.1:9', token='t')\n"
        "    call = asyncio.create_task(client.achat('Hi'))\n"
        "    await asyncio.to_thread(reached.wait)\n"
        "    call.cancel()\n"
        "reached = threading.Event()\n"
        "asyncio.run(main())\n"
        "print('over')\n"
    )
    done = run(folder, "-c", code, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


def test_a_stream_that_never_ends_ends_with_the_deadline() -> None:
    class Endless(isochat.Backend):
        name = "endless"
        capabilities = isochat.Capabilities(api="chat-completions", streaming=True, own_transport=True)

        def complete(self, request: Any, wire: Any) -> Any:
            return {}

        def stream(self, request: Any, wire: Any) -> isochat.StreamReply:
            return isochat.StreamReply(status=200, headers=[], pieces=itertools.repeat({}))

    with isochat.Client(Endless, endpoint="e", host="http://127.0.0.1:9", token="t", deadline=0.2) as client:
        stream = client.chat("Hi", stream=True)
        with pytest.raises(isochat.ChatTimeoutError, match="deadline"):
            stream.result()
