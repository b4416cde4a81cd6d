"""What harm can an observer do? To whoever does not name it none; to a call of whoever does, only to hold it up.

All are installed at once, as distributions in a folder of their own, and named in turn by one program.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_hostile_plugins import distribution

from isochat_workspace import Workspace


class Hostile(NamedTuple):
    text: str
    says: str
    outcome: str = "PluginError"


def hook(body: str, name: str = "isochat_before_call", arguments: str = "request") -> str:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"@isochat.hookimpl\ndef {name}({arguments}):\n{lines}\n"


AFTER = {"name": "isochat_after_call", "arguments": "request, result"}
HOSTILE = {
    "import-raises": Hostile("raise RuntimeError('half installed')", "does not load: RuntimeError: half installed"),
    "import-exits": Hostile("raise SystemExit(3)", "does not load: SystemExit"),
    "import-cancels": Hostile("import asyncio\nraise asyncio.CancelledError", "CancelledError"),
    "import-syntax": Hostile("def (:", "SyntaxError"),
    "import-hangs": Hostile("threading.Event().wait()", "", "hangs"),
    "import-prints": Hostile("print('noise')\n" + hook("pass"), "", "answer"),
    "import-client": Hostile("import no_such_client", "no_such_client"),
    "no-hook": Hostile("x = 1", "has none of the hooks"),
    "unknown-hook": Hostile(hook("pass", "isochat_before_calls"), "unknown hook 'isochat_before_calls'"),
    "odd-arguments": Hostile(hook("pass", arguments="what"), "what"),
    "coroutine": Hostile("@isochat.hookimpl\nasync def isochat_before_call(): pass", "is a coroutine"),
    "before-exits": Hostile(hook("sys.exit(7)"), "", "answer"),
    "before-quits": Hostile(hook("exit(7)"), "", "answer"),
    "before-raises": Hostile(hook("class Own(BaseException): pass\nraise Own"), "", "answer"),
    "before-recurses": Hostile(hook("isochat_before_call(request)"), "", "answer"),
    "before-interrupts": Hostile(hook("raise KeyboardInterrupt"), "", "KeyboardInterrupt"),
    "before-hangs": Hostile(hook("threading.Event().wait()"), "", "hangs"),
    "before-changes": Hostile(
        hook(
            "request.body.clear()\nrequest.messages[0].clear()\nrequest.headers.clear()\n"
            "import msgspec\nmsgspec.structs.force_setattr(request, 'endpoint', 'another')"
        ),
        "",
        "answer",
    ),
    "after-changes": Hostile(
        hook(
            "result.meta.raw.clear()\nimport msgspec\nmsgspec.structs.force_setattr(result, 'choices', ())\n"
            "msgspec.structs.force_setattr(result.message, 'content', 'changed')",
            **AFTER,
        ),
        "",
        "answer",
    ),
    "after-exits": Hostile(hook("raise SystemExit", **AFTER), "", "answer"),
    "after-asks-the-client": Hostile(hook("result.meta.native.choices", **AFTER), "", "answer"),
    "after-closes-files": Hostile(hook("raise OSError(9, 'Bad file descriptor')", **AFTER), "", "answer"),
    "object-attributes": Hostile(
        "class Odd:\n    def __getattr__(self, name): raise RuntimeError('no ' + name)\n"
        "    @isochat.hookimpl\n    def isochat_before_call(self): raise RuntimeError\n"
        "sys.modules[__name__] = Odd()",
        "has a wrong hook: RuntimeError: no ",
    ),
}
PROGRAM = """
import json, sys, threading, isochat
names, url, token = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
def ask(observers, stream=False):
    said = []
    def work():
        try:
            with isochat.Client("rest", endpoint="scripted", host=url, token=token, observers=observers) as client:
                answer = client.chat([{"role": "user", "content": "Hi"}], stream=stream, extra_headers={"X-Own": "1"})
                said.append("answer: " + (answer.result() if stream else answer).text)
        except BaseException as error:
            said.append(f"{type(error).__name__}: {error}")
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(3)
    return said[0] if said else "hangs"
told = {name: [ask([name]), ask([name], True), ask([])] for name in names}
print("\\n" + json.dumps(told), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them are installed."""
    folder = tmp_path_factory.mktemp("observers")
    for name, hostile in HOSTILE.items():
        module = f"watching_{name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(f"import sys, threading, isochat\n{hostile.text}\n")
        distribution(folder, f"dist-{name}", f"[isochat.observers]\n{name} = {module}\n")
    for number in (1, 2):
        distribution(folder, f"dist-twin-{number}", f"[isochat.observers]\ntwin = watching_no_hook{':x' * number}\n")
    return folder


def run(folder: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        timeout=300,
        check=False,
    )


@functools.cache
def told(folder: Path) -> Any:
    """What the program was told; and how often the workspace was asked, and with which bodies."""
    with Workspace() as workspace:
        names = json.dumps([*HOSTILE, "twin"])
        done = run(folder, PROGRAM, names, workspace.url, workspace.token)
        assert done.returncode == 0, done.stderr[-3000:]
        bodies = {request.body for request in workspace.requests}
        heads = {request.header("x-own") for request in workspace.requests}
    return json.loads(done.stdout.splitlines()[-1]), bodies, heads


@pytest.mark.parametrize("name", HOSTILE)
def test_whoever_names_it_is_told_or_gets_his_answer(name: str, folder: Path) -> None:
    hostile = HOSTILE[name]
    for said in told(folder)[0][name][:2]:
        kind, _, words = said.partition(": ")
        assert kind == hostile.outcome, said
        assert hostile.says in words
        if kind == "answer":
            assert words.startswith('You asked: "Hi"')
        if kind == "PluginError":
            assert f"dist-{name}" in words


def test_whoever_does_not_name_it_is_not_concerned(folder: Path) -> None:
    assert {said[2].partition(".")[0] for said in told(folder)[0].values()} == {'answer: You asked: "Hi"'}


def test_what_was_sent_is_what_was_asked(folder: Path) -> None:
    _, bodies, heads = told(folder)
    assert {json.dumps(json.loads(body)["messages"]) for body in bodies} == {'[{"role": "user", "content": "Hi"}]'}
    assert len(bodies) == 2, "a plain call and a stream"
    assert heads == {"1"}


def test_two_of_one_name(folder: Path) -> None:
    assert told(folder)[0]["twin"][0].startswith(
        "PluginError: observer 'twin' is claimed by 2 plugins of dist-twin-1 and dist-twin-2"
    )


def test_backends_are_listed_whoever_watches(folder: Path) -> None:
    done = run(folder, "import isochat; print(sorted(isochat.backends()))", ISOCHAT_OBSERVERS="import-exits")
    assert "rest" in done.stdout
    assert not done.stderr


def test_the_host_s_own_exit_passes(folder: Path) -> None:
    code = (
        "import isochat, os, signal, sys, types\n"
        "watcher = types.ModuleType('watcher')\n"
        "exec('import isochat, os, signal\\n@isochat.hookimpl\\n"
        "def isochat_before_call(): os.kill(os.getpid(), signal.SIGTERM)\\n', watcher.__dict__)\n"
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(5))\n"
        "isochat.Client('rest', endpoint='e', host='http://127.0.0.1:9', token='t', observers=[watcher]).chat('Hi')\n"
    )
    assert run(folder, code).returncode == 5
