"""Do all tell the same? Every pair of backends in one mode, and every pair of modes of one backend, on each case."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from isochat.comparison import diff
from isochat.errors import ChatError, StreamTruncatedError
from isochat_conformance.case import Case
from isochat_conformance.engine import Outcome
from isochat_conformance.expectation import ERROR_FIELDS
from isochat_conformance.json_difference import shown
from isochat_conformance.modes import is_streamed

# The reply's own words, the same only where both speak one API, and both in a stream or both not. How a connection
# broke, each transport says in its own.
_WORDS = ("message", "body")


def all_disagreements(outcomes: Iterable[Outcome], cases: Iterable[Case]) -> Iterator[str]:
    """Where ``outcomes``, of any of ``cases``, backends and modes, differ: between backends in one mode, between modes
    of one backend.
    """
    two_errors = {case.id for case in cases if case.expect.stream_error is not None}
    groups: dict[tuple[str, str, bool], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.case, outcome.mode, False), []).append(outcome)
        kind = outcome.case in two_errors and is_streamed(outcome.mode)
        groups.setdefault((outcome.case, outcome.backend, kind), []).append(outcome)
    for group in groups.values():
        yield from disagreements(group)


def disagreements(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Where two of ``outcomes``, all of one case, differ. None of them needs to have passed."""
    for left, right in itertools.combinations([outcome for outcome in outcomes if outcome.carried], 2):
        for difference in _differences(left, right):
            yield f"{left.case}: {_who(left)} and {_who(right)} differ: {difference}"


def _who(outcome: Outcome) -> str:
    return f"{outcome.backend}[{outcome.mode}]"


def _differences(left: Outcome, right: Outcome) -> Iterator[str]:
    if left.result is not None and right.result is not None:
        yield from map(str, diff(left.result, right.result))
    elif isinstance(left.error, ChatError) and isinstance(right.error, ChatError):
        if type(left.error) is not type(right.error):
            yield f"{type(left.error).__name__} != {type(right.error).__name__}"
        quoted = (left.api, is_streamed(left.mode)) == (right.api, is_streamed(right.mode))
        quoted = quoted and not isinstance(left.error, StreamTruncatedError)
        for name in (*ERROR_FIELDS, *(_WORDS if quoted else ())):
            ours, theirs = getattr(left.error, name), getattr(right.error, name)
            if ours != theirs:
                yield f"the error's {name}: {shown(ours)} != {shown(theirs)}"
        yield from _partial_differences(left.error, right.error)
    else:
        yield f"{_kind(left)} != {_kind(right)}"


def _partial_differences(left: ChatError, right: ChatError) -> Iterator[str]:
    if left.partial is not None and right.partial is not None:  # a plain call has none
        for difference in diff(left.partial, right.partial):
            yield f"the error's partial: {difference}"


def _kind(outcome: Outcome) -> str:
    return "a result" if outcome.result is not None else type(outcome.error).__name__
