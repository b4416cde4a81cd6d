"""What does a client's own object lack of the answer that stood on the wire? The loss list, made by running cases.

It is generated and never written by hand: it changes with the version of the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from isochat_conformance.engine import Outcome
from isochat_conformance.modes import is_streamed

_INDEX = re.compile(r"\[\d+\]")
_MESSAGE = "choices[].message."


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """One field that one call of a client does not hand to its user.

    Attributes:
        client_call: The client's documented call.
        field: Path in the result, without indexes.
        lost: Cases in which the reply has the field and the client's object lacks it.
        told: Cases in which the reply has it; one that was asked in several modes counts once.
    """

    client_call: str
    field: str
    lost: int
    told: int


class Misreading(msgspec.Struct, frozen=True, kw_only=True):
    """One reply that a client's own parser cannot read, or reads as something else."""

    client_call: str
    case: str
    what: str


class LossList(msgspec.Struct, frozen=True, kw_only=True):
    """All losses of one backend's client."""

    lost: tuple[Loss, ...]
    misread: tuple[Misreading, ...]


def loss_list(outcomes: Iterable[Outcome]) -> LossList:
    """What the client behind ``outcomes``, of one backend, loses. Streams are no part of it: isochat reads them."""
    told: dict[tuple[str, str], set[str]] = {}
    lost: dict[tuple[str, str], set[str]] = {}
    misread: dict[Misreading, None] = {}
    for outcome in outcomes:
        if outcome.result is None or is_streamed(outcome.mode):
            continue
        call = outcome.client_call
        if outcome.unreadable is not None:
            # All of it is lost there; counted field by field it would drown the rest.
            misread[Misreading(client_call=call, case=outcome.case, what=outcome.unreadable)] = None
            continue
        for field in _fields(outcome.told):
            told.setdefault((call, field), set()).add(outcome.case)
        for field in _fields(outcome.lost):
            lost.setdefault((call, field), set()).add(outcome.case)
        for path, what in outcome.altered:
            if _fields([path]):
                misread[Misreading(client_call=call, case=outcome.case, what=f"wire != client: {what}")] = None
    return LossList(
        lost=tuple(
            Loss(client_call=call, field=field, lost=len(cases), told=len(told[call, field]))
            for (call, field), cases in sorted(lost.items())
        ),
        misread=tuple(misread),
    )


def _fields(paths: Iterable[str]) -> list[str]:
    fields = dict.fromkeys(_INDEX.sub("[]", path) for path in paths)
    # A part's content stands in the message as well (content, reasoning): one loss is named once.
    return [field for field in fields if not field.startswith(f"{_MESSAGE}parts.") or _is_of_parts_alone(field)]


def _is_of_parts_alone(field: str) -> bool:
    return not field.endswith(("TextPart[].text", "ReasoningPart[].text", "RefusalPart[].text"))
