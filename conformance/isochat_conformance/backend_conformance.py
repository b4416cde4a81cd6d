"""How does a backend's author prove the backend with pytest? By three lines in a test file.

::

    from isochat_conformance import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"

Each case is a test of its own in each mode that it has, ``TestMine::test_case[messages-string-async]``; a failing one
says in words what is wrong and what to mend. One whose endpoint does not answer on the backend's path is skipped, with
that reason. What a backend cannot do yet goes into ``gaps``, with the reason, for all modes of a case or for one::

        gaps = {
            "answer-byte-order-mark": "notyet: the client hands out no bytes",
            "stream-crlf[async-stream]": "never: the client's asynchronous reader splits at LF",
        }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from isochat.backend import Backend
from isochat_conformance.case import Case, load_cases
from isochat_conformance.engine import Bench
from isochat_conformance.modes import MODES, Mode, is_streamed

_RUNS = tuple((case, mode) for case in load_cases() for mode in case.modes)
_STREAMED: tuple[Mode, ...] = tuple(filter(is_streamed, MODES))
_TESTS = ("test_case", "test_chunks_are_never_held_back", "test_gaps_are_known_cases_with_a_reason")


class BackendConformance:
    """The conformance suite of one backend, to be subclassed.

    Attributes:
        backend: The backend's name among the installed ones, or its class.
        gaps: The written reason by case, ``"case-id"``, or by case and mode, ``"case-id[async]"``, for what is known
            to fail. A gap that has begun to pass in one of its modes fails, so that the list stays true.
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

    @pytest.mark.parametrize(("case", "mode"), _RUNS, ids=[f"{case.id}-{mode}" for case, mode in _RUNS])
    def test_case(self, case: Case, mode: Mode) -> None:
        """The backend does what the case demands."""
        __tracebackhide__ = True
        outcome = self._bench.run(self.backend, case, mode)
        if outcome.not_applicable is not None:
            pytest.skip(f"not applicable: {outcome.not_applicable}")
        gap = next((name for name in (f"{case.id}[{mode}]", case.id) if name in self.gaps), None)
        if gap is None:
            if outcome.findings:
                pytest.fail("\n".join([f"{case.id}[{mode}]: {case.doc}", *outcome.findings]), pytrace=False)
        elif outcome.findings:
            pytest.xfail(self.gaps[gap])
        else:
            said = f"the gap {gap!r} has begun to pass ({mode}): remove it from gaps ({self.gaps[gap]})"
            pytest.fail(said, pytrace=False)

    @pytest.mark.parametrize("mode", _STREAMED)
    def test_chunks_are_never_held_back(self, mode: Mode) -> None:
        """Each chunk is handed out before the server sends the next event; without streaming, it is refused."""
        __tracebackhide__ = True
        findings = self._bench.walk_in_lock_step(self.backend, mode)
        if findings:
            pytest.fail("\n".join(findings), pytrace=False)

    def test_gaps_are_known_cases_with_a_reason(self) -> None:
        """``gaps`` names cases that exist, in modes that they have, and says why."""
        known = {case.id for case, _ in _RUNS} | {f"{case.id}[{mode}]" for case, mode in _RUNS}
        assert not sorted(set(self.gaps) - known), "gaps names cases or modes that do not exist"
        assert not sorted(name for name, reason in self.gaps.items() if not reason.strip()), "gaps without a reason"

    def test_the_suite_is_whole(self) -> None:
        """No test of the suite is overridden: what fails goes into ``gaps``, where it can be seen."""
        own, suite = type(self), BackendConformance
        overridden = [name for name in _TESTS if getattr(own, name) is not getattr(suite, name)]
        assert not overridden, f"overridden: {overridden}"
