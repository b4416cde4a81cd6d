"""Do backends agree with one another? Every pair of them, on every case that both carry."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from isochat.comparison import diff
from isochat.errors import ChatError
from isochat_conformance.engine import Outcome
from isochat_conformance.json_difference import shown

# What depends on what happened, never on the backend.
_ERROR_FIELDS = ("status_code", "code", "request_id", "retry_after", "retryable", "may_have_executed")
# The reply's own words, the same only where both speak one API.
_WORDS = ("message", "body")


def disagreements(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Where two of ``outcomes``, all of one case, differ. None of them needs to have passed."""
    for left, right in itertools.combinations([outcome for outcome in outcomes if outcome.carried], 2):
        for difference in _differences(left, right):
            yield f"{left.case}: {left.backend} and {right.backend} differ: {difference}"


def _differences(left: Outcome, right: Outcome) -> Iterator[str]:
    if left.result is not None and right.result is not None:
        yield from map(str, diff(left.result, right.result))
    elif isinstance(left.error, ChatError) and isinstance(right.error, ChatError):
        if type(left.error) is not type(right.error):
            yield f"{type(left.error).__name__} != {type(right.error).__name__}"
        for name in (*_ERROR_FIELDS, *(_WORDS if left.api == right.api else ())):
            ours, theirs = getattr(left.error, name), getattr(right.error, name)
            if ours != theirs:
                yield f"the error's {name}: {shown(ours)} != {shown(theirs)}"
    else:
        yield f"{_kind(left)} != {_kind(right)}"


def _kind(outcome: Outcome) -> str:
    return "a result" if outcome.result is not None else type(outcome.error).__name__
