"""Is the page of the faults the page of this table, of this measurement, and of a run in which every row holds?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isochat import plugins
from isochat_conformance import fault_page
from isochat_conformance.fault_bench import FaultOutcome, not_applicable
from isochat_conformance.fault_page import BACKENDS, bare_clients, page
from isochat_conformance.fault_table import load_faults, load_themes

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def outcomes() -> list[FaultOutcome]:
    """Those of a run in which every row holds; test_faults.py shows that it does."""
    kinds = {name: plugins.load_backend(name) for name in BACKENDS}
    return [
        FaultOutcome(fault=fault.id, backend=name, mode=mode, not_applicable=not_applicable(kind, fault, mode))
        for name, kind in kinds.items()
        for fault in load_faults()
        for mode in fault.modes
    ]


def test_it_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == page(outcomes()), "python -m isochat_conformance.fault_page docs/faults.md"


def test_a_row_that_does_not_hold_shows() -> None:
    run = outcomes()
    one = next(place for place, outcome in enumerate(run) if outcome.fault == "refused" and outcome.mode == "async")
    run[one] = FaultOutcome(fault="refused", backend="rest", mode="async", findings=("it hangs",))
    (row,) = (line for line in page(run).splitlines() if line.startswith("| `refused`"))

    assert row.split(" | ")[2].startswith("**held in 3 of 4 modes**<br>")
    assert "held" not in "".join(row.split(" | ")[3:])


def test_every_row_was_put_to_every_bare_client_that_speaks_its_api() -> None:
    measured = bare_clients().outcomes
    for fault in load_faults():
        for name in BACKENDS:
            if plugins.load_backend(name).capabilities.api not in fault.not_applicable:
                assert set(measured[fault.id][name]) == set(fault.asked), f"{fault.id}, {name}: bench/bare_faults.py"
    assert not set(measured) - {fault.id for fault in load_faults()}


def test_a_table_is_a_table() -> None:
    """Each line of a table has as many cells as its head, whatever stands in the words."""
    widths = set()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            widths.add(line.replace("\\|", "").count("|"))
    assert widths == {3, 4, 5, len(BACKENDS) + 2, len(BACKENDS) + 3}


def test_every_link_leads_to_a_chapter() -> None:
    text = PAGE.read_text(encoding="utf-8")
    chapters = {title.lower().replace(" ", "-") for title in re.findall("^## (.*)$", text, re.MULTILINE)}

    assert {theme.theme.replace("_", "-").replace(" ", "-") for theme in load_themes()} <= chapters
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= chapters


def test_every_row_stands_under_its_outcome_once() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("| outcome | rows in |")[2].partition("\n\n")[0]

    assert sum(map(int, re.findall(r"\) (\d+)", text))) == len(load_faults())


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert fault_page.main([]) == 2
    assert "fault_page FILE" in capsys.readouterr().err
