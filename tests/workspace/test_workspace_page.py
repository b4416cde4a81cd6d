"""Is docs/workspace.md true: do its examples run, and does it name each key and each cap?"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from isochat_workspace import Endpoint, Failures, Latency, RateLimit, Workspace
from isochat_workspace.declaration import Declaration
from isochat_workspace.dialects.dressings import DRESSINGS
from isochat_workspace.http.guard import AHEAD_BYTES, HEAD_SECONDS, MOST_CONNECTIONS
from isochat_workspace.http.records import KEEP_BYTES
from isochat_workspace.http.server import BODIES_BYTES, KEEP_ALIVE_SECONDS
from isochat_workspace.models.model_table import MODEL_KINDS
from isochat_workspace.models.rules import Rule, RuledCall, RuledError, RuledUsage, Said, When, read_rules
from isochat_workspace.serving.service import MAX_BODY_BYTES

PAGE = Path(__file__).parents[2].joinpath("docs", "workspace.md").read_text(encoding="utf-8")
DECLARATION, RULES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
MEBIBYTE = 1024 * 1024


def test_the_examples_are_read(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES, encoding="utf-8")
    (tmp_path / "workspace.toml").write_text(DECLARATION, encoding="utf-8")
    workspace = Workspace.from_file(tmp_path / "workspace.toml", port=0)
    assert [one.name for one in workspace.endpoints] == ["databricks-claude-sonnet-4-5", "limited", "my-agent"]
    assert len(read_rules(tmp_path / "rules.toml")) == 4


@pytest.mark.parametrize(
    "kind", [Declaration, Endpoint, RateLimit, Latency, Failures, Rule, When, Said, RuledCall, RuledError, RuledUsage]
)
def test_each_key_stands_on_the_page(kind: type) -> None:
    named = set(re.findall(r"\w+", PAGE))
    keys = {field.name for field in dataclasses.fields(kind) if field.init}
    assert keys - {"name"} <= named


def test_each_dress_and_model_stands_on_the_page() -> None:
    for name in (*DRESSINGS, *MODEL_KINDS):
        assert f"`{name}" in PAGE


def test_the_caps_on_the_page_are_those_of_the_code() -> None:
    told = PAGE.partition("## What it takes")[2]
    caps = [
        f"{MOST_CONNECTIONS:,} connections",
        f"{AHEAD_BYTES // MEBIBYTE} MiB for a head",
        f"{MAX_BODY_BYTES // MEBIBYTE} MiB for a body",
        f"{BODIES_BYTES // MEBIBYTE} MiB for all",
        f"{HEAD_SECONDS:g} s for the first head",
        f"{KEEP_ALIVE_SECONDS:g} s between two requests",
        f"at most {KEEP_BYTES // MEBIBYTE} MiB",
    ]
    assert [cap for cap in caps if cap not in re.sub(r"\s+", " ", told)] == []
