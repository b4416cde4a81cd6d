"""Is the fault table whole, well formed, and strict with whoever extends it?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import isochat
from isochat.backend import Backend, Capabilities, Reply
from isochat_conformance.fault_bench import FaultBench, not_applicable
from isochat_conformance.fault_bytes import Texts, shared_bodies
from isochat_conformance.fault_row import Fault
from isochat_conformance.fault_table import FaultTableError, load_faults, load_left_out, load_themes, read_theme

ROOT = Path(__file__).parents[2]
CATALOGUE = range(1, 161)
FAULTS = {fault.id: fault for fault in load_faults()}
ROW = {"id": "x", "doc": "d", "server": [[{"do": "request"}]], "expect": {"text": "hello"}}


def test_every_fault_of_the_catalogue_is_a_row_or_left_out_with_a_reason() -> None:
    rows = {fault.number for fault in FAULTS.values()} - {None}
    left = [row.number for row in load_left_out()]

    assert rows | set(left) == set(CATALOGUE)
    assert not rows & set(left)
    assert len(left) == len(set(left))
    assert all(row.reason.strip() for row in load_left_out())


@pytest.mark.parametrize("row", [row for row in load_left_out() if row.shown_by], ids=lambda row: str(row.number))
def test_the_tests_that_show_the_others_exist(row) -> None:
    path, _, name = row.shown_by.partition("::")

    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8") if name else (ROOT / path).exists()


def test_there_are_enough_of_them() -> None:
    assert len(FAULTS) >= 150


def test_every_text_of_every_row_can_be_written() -> None:
    places = dict.fromkeys(("url", "other", "proxy", "token", "port"), "x")
    for api in shared_bodies():
        for fault in FAULTS.values():
            for asked in fault.asked:
                texts = Texts(api, asked, places)
                for step in (step for script in (*fault.server, *fault.proxy) for step in script):
                    if step.send is not None:
                        next(iter(texts.body(step.send)), b"")
                    if step.reply is not None:
                        next(texts.reply(step.reply))


def test_every_error_that_a_row_expects_exists() -> None:
    named = {fault.expect.error for fault in FAULTS.values()} - {None}

    assert all(issubclass(getattr(isochat, name), isochat.ChatError) for name in named)


def written(**changes: object) -> str:
    return json.dumps({"theme": "t", "doc": "d", "layer": "answer", "rows": [{**ROW, **changes}]})


MISTAKES = {
    "unknown field": ({"colour": "red"}, "colour"),
    "unknown step": ({"server": [[{"do": "sleep"}]]}, "sleep"),
    "two things in a step": ({"server": [[{"do": "request", "send": "x"}]]}, "exactly one|must be one of"),
    "after the end": ({"server": [[{"do": "reset"}, {"do": "request"}]]}, "nothing can follow 'reset'"),
    "neither error nor text": ({"expect": {}}, "either error or text"),
    "both error and text": ({"expect": {"error": "ChatError", "text": "x"}}, "either error or text"),
    "partial of a call": ({"expect": {"error": "ChatError", "partial": "x"}}, "only a stream"),
    "phase of another error": ({"expect": {"error": "ChatError", "phase": "idle"}}, "only ChatTimeoutError"),
    "departs from nothing": ({"departs": "why"}, "departs"),
    "asked twice": ({"asked": ["call", "call"]}, "each once"),
    "no words": ({"doc": " "}, "may not be empty"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_row_are_named(name: str) -> None:
    changes, said = MISTAKES[name]

    with pytest.raises(FaultTableError, match=said):
        read_theme(written(**changes), "faults.json")


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    with pytest.raises(FaultTableError, match="'doc' twice"):
        read_theme(written().replace('"doc": "d"', '"doc": "d", "doc": "e"', 1), "faults.json")


class Answering(Backend):
    """Gives an answer, whatever the server does: the judge must see through it."""

    name = "answering"
    capabilities = Capabilities(api="chat-completions")

    def complete(self, request, wire) -> Reply:
        body = shared_bodies()["chat-completions"]["answer"].encode()
        return Reply(status=200, headers=[], body=body, client_call="none")


class Twice(Backend):
    """Sends everything twice: the second time by itself."""

    name = "twice"
    capabilities = Capabilities(api="chat-completions")

    def complete(self, request, wire) -> Reply:
        import urllib.request

        url = f"{self.setup.host}/serving-endpoints/{request.endpoint}/invocations"
        head = [("Content-Type", "application/json")]
        urllib.request.urlopen(url, b"{}", 5).close()
        return Reply(status=200, headers=[], body=wire.exchange("POST", url, head, b"{}"), client_call="none")


def judged(backend: type[Backend], fault: Fault) -> list[str]:
    with FaultBench() as bench:
        return [finding for outcome in bench.run(backend, fault) for finding in outcome.findings]


@pytest.mark.parametrize("name", ["status-500", "json-null", "body-short", "no-reply", "refused"])
def test_an_answer_out_of_nothing_is_found(name: str) -> None:
    assert any("expected; the call returned" in finding for finding in judged(Answering, FAULTS[name]))


def test_a_second_request_is_found() -> None:
    findings = judged(Twice, FAULTS["kept-connection-serves-again"])

    assert any(finding.startswith("the server counted 4 requests, expected 2") for finding in findings)


def test_rows_about_bytes_are_not_put_to_a_backend_that_moves_its_own() -> None:
    class Own(Answering):
        capabilities = Capabilities(api="chat-completions", own_transport=True)

    assert "moves its bytes itself" in (not_applicable(Own, FAULTS["body-short"], "sync") or "")
    assert not_applicable(Own, FAULTS["status-500"], "async") is None
    assert not_applicable(Own, FAULTS["events-crlf"], "stream") == "the backend does not stream"


def test_the_table_is_in_themes_of_their_own_layer() -> None:
    assert {theme.layer for theme in load_themes()} == {"transport", "answer"}
