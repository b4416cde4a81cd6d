"""How does a backend's author prove the backend with pytest? By three lines in a test file.

::

    from isochat_conformance import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"

Each case is a test of its own, ``TestMine::test_case[messages-string]``; a failing one says in words what is wrong and
what to mend. One whose endpoint does not answer on the backend's path is skipped, with that reason. What a backend
cannot do yet goes into ``gaps``, with the reason::

        gaps = {"answer-byte-order-mark": "notyet: the client hands out no bytes"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from isochat.backend import Backend
from isochat_conformance.case import Case, load_cases
from isochat_conformance.engine import Bench

_CASES = load_cases()
_GAPS_TEST = "test_gaps_are_known_cases_with_a_reason"


class BackendConformance:
    """The conformance suite of one backend, to be subclassed.

    Attributes:
        backend: The backend's name among the installed ones, or its class.
        gaps: The written reason by case, for cases known to fail. A gap that has begun to pass fails, so that the
            list stays true.
    """

    backend: ClassVar[str | type[Backend]]
    gaps: ClassVar[Mapping[str, str]] = {}

    _bench: ClassVar[Bench]

    # Not a fixture: one of class scope is written differently in pytest 8 and in pytest 9.
    @classmethod
    def setup_class(cls) -> None:
        """Start one workspace on loopback for all cases of the class."""
        cls._bench = Bench()
        cls._bench.__enter__()

    @classmethod
    def teardown_class(cls) -> None:
        """Stop it."""
        cls._bench.__exit__()

    @pytest.mark.parametrize("case", _CASES, ids=[case.id for case in _CASES])
    def test_case(self, case: Case) -> None:
        """The backend does what the case demands."""
        __tracebackhide__ = True
        outcome = self._bench.run(self.backend, case)
        if outcome.not_applicable is not None:
            pytest.skip(f"not applicable: {outcome.not_applicable}")
        reason = self.gaps.get(case.id)
        if reason is None:
            if outcome.findings:
                pytest.fail("\n".join([f"{case.id}: {case.doc}", *outcome.findings]), pytrace=False)
        elif outcome.findings:
            pytest.xfail(reason)
        else:
            pytest.fail(f"the gap {case.id!r} has begun to pass: remove it from gaps ({reason})", pytrace=False)

    def test_gaps_are_known_cases_with_a_reason(self) -> None:
        """``gaps`` names cases that exist, and says why."""
        known = {case.id for case in _CASES}
        assert not sorted(set(self.gaps) - known), "gaps names cases that do not exist"
        assert not sorted(name for name, reason in self.gaps.items() if not reason.strip()), "gaps without a reason"

    def test_the_suite_is_whole(self) -> None:
        """No test of the suite is overridden: what fails goes into ``gaps``, where it can be seen."""
        own, suite = type(self), BackendConformance
        overridden = [name for name in ("test_case", _GAPS_TEST) if getattr(own, name) is not getattr(suite, name)]
        assert not overridden, f"overridden: {overridden}"
