"""How does a backend's author prove with pytest that no fault of network or server confuses it?

::

    from isochat_conformance import FaultConformance

    class TestMyFaults(FaultConformance):
        backend = "mine"

Each row of the fault table is a test in each mode that it applies to, ``TestMyFaults::test_fault[refused-async]``.
What cannot be put to the backend is skipped, with the reason. What it does not do right yet goes into ``gaps``, with
the reason, by the row's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from isochat.backend import Backend
from isochat_conformance.fault_bench import FaultBench, FaultOutcome
from isochat_conformance.fault_row import Fault
from isochat_conformance.fault_table import load_faults
from isochat_conformance.modes import Mode

_ASKED = [(fault, mode) for fault in load_faults() for mode in fault.modes]
_GAPS_TEST = "test_gaps_are_known_rows_with_a_reason"


class FaultConformance:
    """The fault table of one backend, to be subclassed.

    Attributes:
        backend: The backend's name among the installed ones, or its class.
        gaps: The written reason by row, for rows known to fail in some mode. One that has begun to pass in all of them
            fails, so that the list stays true.
    """

    backend: ClassVar[str | type[Backend]]
    gaps: ClassVar[Mapping[str, str]] = {}

    _bench: ClassVar[FaultBench]
    _outcomes: ClassVar[dict[str, dict[Mode, FaultOutcome]]]

    @classmethod
    def setup_class(cls) -> None:
        """Make room for the servers' certificates."""
        cls._bench = FaultBench()
        cls._outcomes = {}

    @classmethod
    def teardown_class(cls) -> None:
        """Remove them."""
        cls._bench.__exit__()

    @pytest.mark.parametrize(("fault", "mode"), _ASKED, ids=[f"{fault.id}-{mode}" for fault, mode in _ASKED])
    def test_fault(self, fault: Fault, mode: Mode) -> None:
        """The backend gives the row's verdict."""
        __tracebackhide__ = True
        outcomes = self._all_modes(fault)
        outcome = outcomes[mode]
        if outcome.not_applicable is not None:
            pytest.skip(f"not applicable: {outcome.not_applicable}")
        reason = self.gaps.get(fault.id)
        if reason is None:
            if outcome.findings:
                pytest.fail("\n".join([f"{fault.id}, {mode}: {fault.doc}", *outcome.findings]), pytrace=False)
        elif any(other.findings for other in outcomes.values()):
            pytest.xfail(reason)
        else:
            pytest.fail(f"the gap {fault.id!r} has begun to pass: remove it from gaps ({reason})", pytrace=False)

    def test_gaps_are_known_rows_with_a_reason(self) -> None:
        """``gaps`` names rows that exist, and says why."""
        known = {fault.id for fault in load_faults()}
        assert not sorted(set(self.gaps) - known), "gaps names rows that do not exist"
        assert not sorted(name for name, reason in self.gaps.items() if not reason.strip()), "gaps without a reason"

    def test_the_table_is_whole(self) -> None:
        """No test of the table is overridden: what fails goes into ``gaps``, where it can be seen."""
        own, table = type(self), FaultConformance
        overridden = [name for name in ("test_fault", _GAPS_TEST) if getattr(own, name) is not getattr(table, name)]
        assert not overridden, f"overridden: {overridden}"

    def _all_modes(self, fault: Fault) -> Mapping[Mode, FaultOutcome]:
        # At the same time, once, whichever of them is asked for first: most of a fault is waiting.
        known = self._outcomes.get(fault.id)
        if known is None:
            outcomes = self._bench.run(self.backend, fault)
            known = self._outcomes[fault.id] = {outcome.mode: outcome for outcome in outcomes}
        return known
