"""Is the oracle right? It is held against the specification's own examples, in section 9.2.6, and its side remarks."""

from __future__ import annotations

import ast
from pathlib import Path

import event_oracle
import pytest
from event_oracle import events_of

STOCKS = b"data: YHOO\ndata: +2\ndata: 10\n\n"
COMMENT_AND_IDS = (
    b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
)  # fmt: skip
EMPTY_DATA = b"data\n\ndata\ndata\n\ndata:"
SPACE = b"data:test\n\ndata: test\n\n"


def seen(stream: bytes) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in events_of(stream)]


def test_the_example_of_stocks():
    assert seen(STOCKS) == [("message", "YHOO\n+2\n10")]


def test_the_example_of_a_comment_and_ids():
    assert [(event.data, event.last_event_id) for event in events_of(COMMENT_AND_IDS)] == [
        ("first event", "1"),
        ("second event", ""),
        (" third event", ""),
    ]


def test_the_example_of_empty_data():
    assert seen(EMPTY_DATA) == [("message", ""), ("message", "\n")]


def test_the_example_of_one_space():
    assert seen(SPACE) == [("message", "test"), ("message", "test")]


def test_the_example_of_event_types():
    stream = b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n"

    assert seen(stream) == [("add", "73857293"), ("remove", "2153"), ("add", "113411")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_is_the_same(end):
    assert seen(STOCKS.replace(b"\n", end)) == [("message", "YHOO\n+2\n10")]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [("message", "a")], id="a BOM is ignored"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="one BOM only"),
        pytest.param(b"data: a\n\xef\xbb\xbfdata: b\n\n", [("message", "a")], id="a BOM inside is no BOM"),
        pytest.param(b"data: a\rdata: b\ndata: c\r\n\r", [("message", "a\nb\nc")], id="mixed line ends"),
        pytest.param(b"data: a\r\r\ndata: b\n\r", [("message", "a"), ("message", "b")], id="CR CRLF is two ends"),
        pytest.param("data: a\u2028b\u0085c\u2029\n\n".encode(), [("message", "a\u2028b\u0085c\u2029")], id="U+2028"),
        pytest.param(b"data: a\n", [], id="no blank line"),
        pytest.param(b"event: x\n\ndata: a\n\n", [("message", "a")], id="a type without data is forgotten"),
        pytest.param(b"event: x\nevent\ndata: a\n\n", [("message", "a")], id="an empty type is no type"),
        pytest.param(b"data : a\nDATA: b\n data: c\ndata: d\n\n", [("message", "d")], id="names are exact"),
        pytest.param(b"data:a:b\n\n", [("message", "a:b")], id="the first colon ends the name"),
        pytest.param(b"retry: 10\nfoo: bar\nfoo\n:\ndata:\t\n\n", [("message", "\t")], id="other fields"),
        pytest.param(b"data: \xff\n\n", [("message", "\ufffd")], id="not UTF-8"),
    ],
)
def test_its_side_remarks(stream, events):
    assert seen(stream) == events


def test_it_imports_nothing_of_what_it_judges():
    tree = ast.parse(Path(event_oracle.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert imported == {"__future__", "re", "typing"}
