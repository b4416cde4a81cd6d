"""Does each recorded payload, served out of a file by a declared workspace, arrive through each backend as the same?

The payloads lie in the suite's cases. Each such case is written to a file that a `workspace.toml` names as
`replay:FILE`; the suite then asks and judges as ever, but what answers is the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import urllib3

from isochat.errors import ConfigurationError
from isochat_conformance.case import Case, load_cases
from isochat_conformance.engine import TOKEN, Bench
from isochat_conformance.modes import Mode
from isochat_workspace import Workspace

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
CASES = [case for case in load_cases() if re.search(r"payload facts? \d\d", case.source)]


class FileBench(Bench):
    """A bench whose server answers out of files."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        lines = []
        for number, case in enumerate(CASES):
            (folder / f"{number}.json").write_text(_exchange(case), encoding="utf-8")
            lines.append(f"[endpoints.{json.dumps(case.id)}]\nmodel = 'replay:{number}.json'")
        (folder / "workspace.toml").write_text("\n".join(lines), encoding="utf-8")
        self._workspace = Workspace.from_file(folder / "workspace.toml", token=TOKEN)

    def _serve(self, case: Case, mode: Mode) -> None:
        """The file does."""


def _exchange(case: Case) -> str:
    kept = {name: value for name, value in (("reply", case.reply), ("stream", case.stream)) if value}
    return msgspec.json.encode(kept).decode().replace("{{token}}", TOKEN)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileBench]:
    with FileBench(tmp_path_factory.mktemp("replayed")) as running:
        yield running


def test_each_payload_has_a_file() -> None:
    named = {number for case in CASES for number in re.findall(r"payload facts? (\d\d)", case.source)}
    # 36 is an endpoint and no reply.
    assert named == {f"{number:02}" for number in range(1, 36)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_payload_in_a_file_arrives_as_the_same(bench: FileBench, backend: str, case: Case) -> None:
    for mode in case.modes:
        if mode in ("sync", "stream"):
            outcome = bench.run(backend, case, mode)
            assert outcome.findings == (), mode


@pytest.fixture
def replay(tmp_path: Path) -> Callable[[str], Workspace]:
    def declare(text: str) -> Workspace:
        (tmp_path / "payload.json").write_text(text, encoding="utf-8")
        (tmp_path / "workspace.toml").write_text("[endpoints.e]\nmodel = 'replay:payload.json'", encoding="utf-8")
        return Workspace.from_file(tmp_path / "workspace.toml")

    return declare


@pytest.mark.parametrize(
    ("text", "status", "kind", "body"),
    [
        ('{"choices": [], "x": 1}', 200, "application/json", b'{"choices":[],"x":1}'),
        ('{"_tier": "R", "payload": {"id": "x"}}', 200, "application/json", b'{"id":"x"}'),
        ('{"status": 404, "body": {"error_code": "X"}}', 404, "application/json", b'{"error_code":"X"}'),
        ('[{"a": 1}, {"b": "\\u00e9"}]', 200, "text/event-stream", 'data: {"a":1}\n\ndata: {"b":"é"}\n\n'.encode()),
        ('{"payload": [{"a": 1}, "[DONE]"]}', 200, "text/event-stream", b'data: {"a":1}\n\ndata: [DONE]\n\n'),
        ('[": ping\\n\\n"]', 200, "text/event-stream", b": ping\n\n"),
    ],
)
def test_a_payload_goes_out_as_it_is_on_each_api(
    replay: Callable[[str], Workspace], text: str, status: int, kind: str, body: bytes
) -> None:
    with replay(text) as workspace, urllib3.PoolManager(retries=False) as http:
        headers = {"authorization": f"Bearer {workspace.token}"}
        for path in ("/serving-endpoints/e/invocations", "/serving-endpoints/responses"):
            reply = http.request("POST", workspace.url + path, json={"model": "e"}, headers=headers)
            assert (reply.status, reply.headers["content-type"], reply.data) == (status, kind, body)


def test_an_exchange_answers_by_api_and_by_what_is_asked(replay: Callable[[str], Workspace]) -> None:
    exchange = {
        "reply": {"chat-completions": {"json": {"whole": True}}},
        "stream": {"chat-completions": {"events": [{"streamed": True}], "refused_first": {"status": 400, "json": {}}}},
    }
    with replay(json.dumps(exchange)) as workspace, urllib3.PoolManager(retries=False) as http:
        headers = {"authorization": f"Bearer {workspace.token}"}

        def ask(path: str, stream: bool) -> tuple[int, bytes]:
            body = {"model": "e", "stream": stream}
            reply = http.request("POST", workspace.url + path, json=body, headers=headers)
            return reply.status, reply.data

        chat, responses = "/serving-endpoints/chat/completions", "/serving-endpoints/responses"
        assert ask(chat, False) == (200, b'{"whole":true}')
        assert ask(chat, True) == (400, b"{}")
        assert ask(chat, True) == (200, b'data: {"streamed":true}\n\n')
        status, body = ask(responses, False)
        assert (status, b"API type 'mlflow/v1/responses' is not supported by 'e'" in body) == (400, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is nothing that can be replayed: Input data was truncated"),
        ("3", "a payload is an object or a list"),
        ("[3]", "an event is an object or a text"),
        ('{"payload": {}, "tier": 1}', "unknown key 'tier' beside 'payload'"),
        ('{"reply": {"chat": {"json": 1}}}', "chat"),
        ('{"reply": {"responses": {"jsn": 1}}}', "unknown field `jsn`"),
        ('{"reply": {"responses": {}}}', "the reply for responses must have either json or text"),
        ("[" * 100_000, "is nothing that can be replayed"),
    ],
)
def test_a_mistake_in_a_file_is_named(replay: Callable[[str], Workspace], text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        replay(text)
    assert words in caught.value.message
    assert "payload.json" in caught.value.message
    assert "[endpoints.e]" in caught.value.message
