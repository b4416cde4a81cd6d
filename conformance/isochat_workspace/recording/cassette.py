"""What if the answers were recorded? A cassette behind an endpoint, or behind the whole workspace."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from isochat.errors import ChatError
from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.recording.asked import Asked, differences, digest, read_asked, shown
from isochat_workspace.recording.cassette_file import Entry, read_cassette
from isochat_workspace.recording.exchange import Question, question_of
from isochat_workspace.recording.retelling import as_recorded, retell
from isochat_workspace.recording.told_as_chat import CannotTellError
from isochat_workspace.serving.responder import Responder
from isochat_workspace.serving.routes import find_route

if TYPE_CHECKING:
    from isochat_workspace.http.records import RecordedRequest
    from isochat_workspace.models.model import Dialect
    from isochat_workspace.models.reply_source import Reply

_SHOWN_DIFFERENCES = 3
_COMPARED = 1000
_DESCRIBED = ("list", "get", "foundation_models")


@dataclasses.dataclass(frozen=True, slots=True)
class _Recorded:
    """An entry, the digest of its request, and what it asks a model, if it does."""

    entry: Entry
    exact: bytes
    asked: Asked | None


class Cassette(Responder):
    """Answers out of a file that a `Proxy` has recorded.

    The request that was recorded gets the reply that was recorded, byte for byte. One that asks the same in other
    words (another path or API, streamed or not) gets the same answer in its own. A request that was recorded several
    times gets those replies in their order, and the last one again and again; who asks on another path is counted
    apart. Anything else is a miss: a 404 of the service with the code CASSETTE_MISS, which tells how the nearest
    request differs.

    Raises CassetteError where the file is no cassette.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        contents = read_cassette(path)
        self.path = contents.path
        self.torn = contents.torn is not None
        self.served_name = f"replay:{self.path.name}"
        self._recorded = [_recorded(entry) for entry in contents.entries]
        self._by_exact: dict[bytes, list[_Recorded]] = defaultdict(list)
        self._by_words: dict[bytes, list[_Recorded]] = defaultdict(list)
        for one in self._recorded:
            self._by_exact[one.exact].append(one)
            for key in _keys(one.asked):
                self._by_words[key].append(one)
        self._served: dict[bytes, int] = defaultdict(int)

    @property
    def count(self) -> int:
        """How many exchanges it holds."""
        return len(self._recorded)

    @property
    def endpoint_names(self) -> tuple[str, ...]:
        """The endpoints that were asked."""
        return tuple(dict.fromkeys(one.asked.name for one in self._recorded if one.asked is not None))

    async def reply(self, api: Dialect, request: RecordedRequest) -> Reply | None:
        """The recorded reply to a request to one endpoint. Raises ServiceError 404 for a miss.

        An endpoint of another name than any that was recorded stands for them all.
        """
        asked = read_asked(question_of(request.method, request.path_and_query, request.body))
        return self._find(request, any_endpoint=asked is not None and asked.name not in self.endpoint_names)

    async def respond(self, request: RecordedRequest) -> Reply | None:
        """The recorded reply to any request. Raises ServiceError 404 for a miss."""
        return self._find(request, any_endpoint=False)

    def _find(self, request: RecordedRequest, *, any_endpoint: bool) -> Reply | None:
        question = question_of(request.method, request.path_and_query, request.body)
        asked = read_asked(question)
        exact = _exact_key(question)
        if asked is None:
            if found := self._by_exact.get(exact):
                chosen = self._next(found, exact)
                self._served[exact] += 1
                return as_recorded(chosen.entry.exchange.reply)
            route = find_route(request.path)
            if route is not None and route.operation in _DESCRIBED:
                return None
            raise self._miss(self._nearest_request(question))
        place = None if any_endpoint else _place(asked)
        reason = ""
        for group in self._groups(asked, exact, place):
            try:
                return self._tell(group, asked, exact)
            except CannotTellError as error:
                reason = reason or f"{group[0].entry} asks the same, but {error}"
        raise self._miss(reason or self._nearest_question(asked, place))

    # -- finding ----------------------------------------------------------------------------------------------

    def _groups(self, asked: Asked, exact: bytes, place: tuple[str, str | None] | None) -> Iterator[list[_Recorded]]:
        """Who asks the same, the likest first: by the bytes, the API, the mode, the path."""
        found: dict[tuple[bool, ...], list[_Recorded]] = defaultdict(list)
        seen: set[int] = set()
        candidates = [*self._by_exact.get(exact, ()), *(o for key in _keys(asked) for o in self._by_words.get(key, ()))]
        for one in sorted(candidates, key=lambda one: one.entry.number):
            other = one.asked
            if other is None or one.entry.number in seen or (place is not None and _place(other) != place):
                continue
            seen.add(one.entry.number)
            if other.api == asked.api and other.own_key != asked.own_key:
                continue  # the same in the words of Responses alone, which are fewer
            likeness: tuple[bool, ...] = (
                one.exact != exact,
                other.api != asked.api,
                other.streamed != asked.streamed,
                other.with_options != asked.with_options,
                other.operation != asked.operation,
            )
            found[likeness].append(one)
        for likest in sorted(found):
            yield found[likest]

    def _tell(self, group: Sequence[_Recorded], asked: Asked, exact: bytes) -> Reply:
        who = digest([asked.operation, asked.api, asked.streamed, [one.entry.number for one in group]])
        chosen = self._next(group, who)
        assert chosen.asked is not None
        reply = chosen.entry.exchange.reply
        told = as_recorded(reply) if chosen.exact == exact else retell(chosen.entry.exchange, chosen.asked, asked)
        self._served[who] += 1
        return told

    def _next(self, group: Sequence[_Recorded], who: bytes) -> _Recorded:
        return group[min(self._served[who], len(group) - 1)]

    # -- missing ----------------------------------------------------------------------------------------------

    def _miss(self, reason: str) -> ServiceError:
        return ServiceError(404, "CASSETTE_MISS", f"{self.path.name} has no reply to this request: {reason}")

    def _nearest_request(self, question: Question) -> str:
        same = [
            one for one in self._recorded
            if (one.entry.exchange.question.method, one.entry.exchange.question.target)
            == (question.method, question.target)
        ]  # fmt: skip
        for one in same[:1]:
            return f"{one.entry} has the same path and another body"
        return f"nothing was recorded for {question.method} {question.target[:200]}"

    def _nearest_question(self, asked: Asked, place: tuple[str, str | None] | None) -> str:
        """How the nearest question differs, in as few words as it takes."""
        nearest: tuple[int, _Recorded, list[str]] | None = None
        for one in self._recorded[:_COMPARED]:
            if one.asked is None:
                continue
            told = list(_told_differences(asked, one.asked, place))
            if nearest is None or len(told) < nearest[0]:
                nearest = (len(told), one, told)
        if nearest is None:
            return "it holds no question to a model"
        count, one, told = nearest
        more = f"; and {count - _SHOWN_DIFFERENCES} more differences" if count > _SHOWN_DIFFERENCES else ""
        return f"the nearest is {one.entry}; " + "; ".join(told[:_SHOWN_DIFFERENCES]) + more


def _recorded(entry: Entry) -> _Recorded:
    question = entry.exchange.question
    return _Recorded(entry, _exact_key(question), read_asked(question))


def _exact_key(question: Question) -> bytes:
    body = question.json if question.is_json else question.raw.hex()
    return digest([question.method, question.target, question.is_json, body])


def _keys(asked: Asked | None) -> list[bytes]:
    return [] if asked is None else [key for key in (asked.own_key, asked.responses_key) if key is not None]


def _place(asked: Asked) -> tuple[str, str | None]:
    return asked.endpoint, asked.served


def _told_differences(asked: Asked, other: Asked, place: tuple[str, str | None] | None) -> Iterator[str]:
    if place is not None:
        for what, mine, theirs in (
            ("endpoint", asked.endpoint, other.endpoint),
            ("served model", asked.served, other.served),
        ):
            if mine != theirs:
                yield f"{what} is {shown(mine)} here and {shown(theirs)} there"
    try:
        if asked.api == other.api:
            here, there = asked.own_words, other.own_words
        else:
            here, there = asked.responses_words, other.responses_words
    except ChatError as error:
        yield f"one of the two cannot be said in the other's API: {error.message}"
        return
    for path, mine, theirs in differences(here, there):
        yield f"{path} is {shown(mine)} here and {shown(theirs)} there"
