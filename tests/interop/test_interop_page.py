"""Is the page about other people's clients the output of the command, for the versions that are pinned?"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "interop.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| (.*?) \|(.* \|)$", PAGE, re.M))
PROGRAMS = [path for path in (HERE / "clients").iterdir() if path.stem != "checks"]


def pinned() -> dict[str, set[str]]:
    """Versions by package, over all lists."""
    versions: dict[str, set[str]] = {}
    for path in (HERE / "requirements").glob("*.txt"):
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", path.read_text("utf-8"), re.M):
            versions.setdefault(name, set()).add(version)
    for path in (HERE / "requirements").glob("*.json"):
        for name, version in json.loads(path.read_text("utf-8"))["dependencies"].items():
            versions.setdefault(name, set()).add(version)
    return versions


def test_the_page_has_a_row_for_every_client_and_all_of_it_works() -> None:
    source = (HERE / "run.py").read_text("utf-8")
    titles = [
        node.args[1].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Client"
        and isinstance(node.args[1], ast.Constant)
    ]

    assert len(titles) == len(PROGRAMS)
    assert [title for title in titles if title not in ROWS] == []
    for title in titles:
        cells = [cell.strip() for cell in ROWS[str(title)].strip("|").split("|")]
        assert set(cells) <= {"yes", "-"}, title


def test_the_versions_of_the_page_are_those_that_are_pinned() -> None:
    versions = pinned()
    told = re.findall(r"(?:: |, )(@?[a-z][\w/-]+) (\d+(?:\.\w+)+)", PAGE.partition("<!--")[2])

    checked = [(name, version) for name, version in told if name != "node"]

    assert len(checked) >= len(PROGRAMS)
    assert [(name, version) for name, version in checked if version not in versions.get(name, ())] == []
    assert versions["litellm"] == {"1.106.2"}
