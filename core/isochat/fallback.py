"""Who carries a call on when a backend cannot, and after which errors?

A client with ``fallback=`` hands a call on, from one member of the list to the next, as long as it is certain that the
model has not run. All of it stays one call: one deadline, one count of attempts, one result or error. The list is the
whole of it: what a target that stands in it says of ``fallback`` itself is not followed, so that two targets may name
each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from isochat import plugins
from isochat.backend import Backend
from isochat.call import Call
from isochat.carrier import Carrier, check_names, checked_route
from isochat.closing import Closing
from isochat.config import targets
from isochat.config.credential_sources import check_credentials
from isochat.config.credentials import Credentials
from isochat.config.settings import ARGUMENT, DEFAULT, ENVIRONMENT, FILE, Settings, names_login, of_target
from isochat.errors import (
    AuthenticationError,
    BackendNotFoundError,
    BadRequestError,
    ChatError,
    ChatTimeoutError,
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectRefusedError,
    RequestTooLargeError,
    ServerError,
    StatusError,
    TLSError,
    TransportError,
    cleaned,
    located,
)
from isochat.member import Member
from isochat.messages import Messages
from isochat.observing import logger
from isochat.policy import RetryBudget
from isochat.routes import SERVING_ENDPOINTS

TARGET = "target:"

Reach = Literal["nobody", "elsewhere", "everybody"]
"""Who may carry a call on: nobody, whoever asks another endpoint or logs in otherwise, or everybody in the list."""


class Rule(NamedTuple):
    """After ``error``, of one of ``statuses`` where they are named, ``reach`` carries on; ``why`` for people."""

    error: type[ChatError]
    reach: Reach
    why: str
    statuses: frozenset[int] = frozenset()


# The rule of the nearest class holds; that of a status before that of its class. Whatever a rule says, nobody carries
# on after an error that leaves it open whether the model has run.
RULES: tuple[Rule, ...] = (
    Rule(ChatError, "nobody", "what is not known to be the service's own trouble is not covered up"),
    Rule(ConfigurationError, "nobody", "a mistake in the set-up is to be mended, not to be worked around"),
    Rule(InvalidInputError, "nobody", "the request is wrong, whoever carries it"),
    Rule(TransportError, "everybody", "the connection failed before the request had left"),
    Rule(TLSError, "nobody", "a certificate that is not trusted is a mistake or an attack: somebody must look at it"),
    Rule(RedirectRefusedError, "nobody", "the host is not the workspace, or a login page stands before it"),
    Rule(ChatTimeoutError, "everybody", "nothing was sent in the time for one step, and time is left for the call"),
    Rule(StatusError, "everybody", "a refusal that is not known to be about the request: 402, 405, 408, 424..."),
    Rule(StatusError, "nobody", "the request is wrong, whoever carries it", frozenset({411, 414, 415, 417, 428, 431})),
    Rule(BadRequestError, "nobody", "the request is wrong; and what a content filter refused is not asked elsewhere"),
    Rule(RequestTooLargeError, "nobody", "the request is too large, whoever carries it"),
    Rule(AuthenticationError, "elsewhere", "the login is refused, and every client of this workspace has the same"),
    Rule(PermissionDeniedError, "elsewhere", "the login may not ask this endpoint, whichever client asks"),
    Rule(NotFoundError, "everybody", "the path may be the client's own: not every endpoint speaks every API"),
    Rule(ConflictError, "everybody", "the endpoint is being changed"),
    Rule(RateLimitError, "everybody", "limits differ by endpoint and path; retries have come to their end by then"),
    Rule(ServerError, "everybody", "without doubt unanswered: 501, the path is not served; 503 and 529, no capacity"),
)
_BY_CLASS: Mapping[type[ChatError], tuple[Rule, ...]] = {
    rule.error: tuple(sorted((r for r in RULES if r.error is rule.error), key=lambda r: not r.statuses))
    for rule in RULES
}


def reach_after(error: ChatError) -> Reach:
    """Who may carry a call on that has ended in ``error``."""
    if error.may_have_executed:
        return "nobody"
    for kind in type(error).__mro__:
        for rule in _BY_CLASS.get(kind, ()):
            if not rule.statuses or error.status_code in rule.statuses:
                return rule.reach
    return "nobody"


class Succession:
    """The members that one call may still be handed to."""

    def __init__(self, members: Sequence[Member], messages: Messages, stream: bool, params: Mapping[str, Any]) -> None:
        self._waiting = iter(members)
        # As they are now: the caller may go on with them long before a stream is handed on.
        self._messages, self._stream = _as_they_are(messages), stream
        self._params: Mapping[str, Any] = _as_they_are(dict(params))
        self._holder: str | None = None  # who carries the call; the client's own carrier goes by its backend's name
        self._failed: list[tuple[str, ChatError]] = []
        self._trail: list[str] = []

    def hand_over(self, call: Call, error: ChatError) -> Iterator[Closing]:
        """Hand ``call``, which has ended in ``error``, to the next member that can carry it.

        Gives, one after the other, what is to be waited for until it closes, or the time of the call is over.

        Raises:
            ChatError: there is none. It is the first error of the call; but if the model may have run, the one that
                says so.
        """
        call.check_wanted(error)
        holder = self._holder or call.carrier.name
        if call.wire is not None:
            error = cleaned(error, call.wire.redactor.clean)  # its words go into meta.warnings
        self._failed.append((holder, error))
        for member in self._following(call, error):
            making = member.making()
            if not making.over.closed:
                yield making.over
                call.check_wanted(error)
                if not making.over.closed:
                    late = f"its client was not imported when the deadline of {call.deadline.seconds:g} s passed"
                    self._failed.append((member.name, ChatTimeoutError(late, phase="connect")))
                    break  # the next call may find it made
            try:
                carrier = making.carrier()
                request, options = carrier.prepare(self._messages, self._stream, self._params_for(member))
            except (ConfigurationError, InvalidInputError) as reason:
                self._failed.append((member.name, reason))
                self._trail.append(f"left out the fallback {member.name}: {_told(reason)}")
                continue
            self._trail.append(f"fell back from {holder} to {member.name}: {_told(error)}")
            if self._params_for(member) is not self._params:
                self._trail.append(f"left out extra_headers for {member.name}: another workspace")
            logger.info("fell back from %s to %s after %s", holder, member.name, _named(error))
            error.with_traceback(None)  # whose frames hold this call
            self._holder = member.name
            warnings = (*self._trail, *request.warnings)
            call.hand_to(carrier, msgspec.structs.replace(request, warnings=warnings), options)
            return
        raise self._last_word(call, error)

    def _params_for(self, member: Member) -> Mapping[str, Any]:
        """The parameters without what may be a secret that is not for the member's workspace."""
        if member.credentials is not None or not self._params.get("extra_headers"):
            return self._params
        return {name: value for name, value in self._params.items() if name != "extra_headers"}

    def _following(self, call: Call, error: ChatError) -> Iterator[Member]:
        reach = reach_after(error)
        if self._holder is not None and isinstance(error, ConfigurationError) and not error.may_have_executed:
            reach = "everybody"  # a member that cannot work is in nobody's way
        if reach == "nobody":
            return
        for member in self._waiting:
            if call.deadline.over():
                return
            if reach == "everybody" or not member.asks_as(call.carrier):
                yield member

    def _last_word(self, call: Call, error: ChatError) -> ChatError:
        if len(self._failed) == 1:
            return error
        first = self._failed[0][1]
        told = error if error.may_have_executed else first
        others = [(name, failed) for name, failed in self._failed if failed is not told]
        outcomes = ", ".join(f"{name} with {_named(failed)}" for name, failed in others)
        told.message = f"{told.message.rstrip('.')}; {'then' if told is first else 'before it'} failed: {outcomes}"
        told.args = (told.message,)
        for name, failed in others:
            told.add_note(f"{name}: {failed}")
        self._failed.clear()
        return located(told, attempts=call.attempts, elapsed=call.deadline.elapsed())


class Fallback:
    """The members that stand behind one client."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    def succession(self, messages: Messages, stream: bool, params: Mapping[str, Any]) -> Succession:
        """The members, for one call."""
        return Succession(self._members, messages, stream, params)

    def retire(self) -> list[Carrier]:
        """The carriers to be closed; no other will be made."""
        return [carrier for member in self._members if (carrier := member.retire()) is not None]


def fallback_of(carrier: Carrier, settings: Settings, backend: type[Backend], config_file: Any) -> Fallback | None:
    """What stands behind ``carrier``; ``None`` where ``settings`` name nobody.

    Nothing is imported that no check needs, and no socket opened.

    Args:
        backend: The class of ``carrier``.
        config_file: Where targets are looked up, as for the client itself.

    Raises:
        ConfigurationError: an unknown name, one that stands there twice, a member that cannot work.
        UnsafeInputError: as :class:`Carrier`.
    """
    names: tuple[str, ...] = settings["fallback"]
    if not names:
        return None
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"fallback names {twice!r} twice", remedy="Name each but once")
    others = [name for name in names if not _is_itself(name, settings, backend)]
    return Fallback([_member(name, carrier, settings, backend, config_file) for name in others]) if others else None


def _is_itself(name: str, settings: Settings, backend: type[Backend]) -> bool:
    """Whether ``name`` is the client's own: left out where another source has chosen that, so that a list stays right
    when one line switches the client; a mistake where nobody has.
    """
    kind, chosen_by = settings.sources["fallback"].kind, settings.sources["backend"].kind
    if name == backend.name:
        # Of a file each section is looked at where it is read: what it inherits may be right elsewhere.
        beside = kind == chosen_by != FILE or (chosen_by == DEFAULT and kind != ENVIRONMENT)
    elif settings.target is not None and name == TARGET + settings.target:
        beside = kind == ARGUMENT
    else:
        return False
    if beside:
        raise ConfigurationError(f"fallback names {name!r}, the client's own", remedy="Name another, or leave it out")
    return True


def _member(name: str, carrier: Carrier, settings: Settings, backend: type[Backend], config_file: Any) -> Member:
    shared: Credentials | None = carrier.connections.credentials
    budget = carrier.policy.budget
    kind: str | type[Backend] = name
    try:
        if name.startswith(TARGET):
            section, scheme = _section(name.removeprefix(TARGET), config_file), settings["auth_scheme"]
            settings = of_target(settings, section)
            kind = section.settings.get("backend", backend)
            if names_login(section):
                check_credentials(settings)
                shared, budget = None, RetryBudget()
            elif settings["auth_scheme"] != scheme:
                raise ConfigurationError(
                    f"{settings.sources['auth_scheme'].name} is {settings['auth_scheme']!r}, but the login is the "
                    f"client's, with {scheme!r}",
                    remedy="Take it out, or name the host and the token of the target",
                )
        if isinstance(kind, str):
            plugins.check_installed(kind)
        check_names(settings)
        if settings.options or settings["route"] != SERVING_ENDPOINTS:
            checked_route(settings, plugins.load_backend(kind) if isinstance(kind, str) else kind)
    except ChatError as error:
        if isinstance(error, BackendNotFoundError) and settings.file and name in targets.names(settings.file):
            error.remedy = f"Did you mean {TARGET + name!r}?"
        error.message = f"fallback {name!r}: {error.message}"
        error.args = (error.message,)
        raise
    return Member(name, settings, kind, shared, budget)


def _section(name: str, config_file: Any) -> targets.Target:
    if not name:
        raise ConfigurationError("no target is named", remedy=f"Write {TARGET}NAME")
    section = targets.find(name, config_file or os.environ.get("ISOCHAT_CONFIG"))
    assert section is not None  # as one is named
    return section


def _as_they_are(value: Any, depth: int = 16) -> Any:
    """``value`` in lists and tables of its own, as deep as messages and tools go."""
    if depth and type(value) is dict:
        return {name: _as_they_are(one, depth - 1) for name, one in value.items()}
    if depth and type(value) in (list, tuple):
        return type(value)(_as_they_are(one, depth - 1) for one in value)
    return value


def _named(error: ChatError) -> str:
    failed = isinstance(error, StatusError) and error.status_code is not None and error.status_code >= _FIRST_ERROR
    return f"{type(error).__name__} {error.status_code}" if failed else type(error).__name__


def _told(error: ChatError) -> str:
    message = error.message if len(error.message) <= _LONGEST else f"{error.message[:_LONGEST]}..."
    return f"{_named(error)}: {message}"


_LONGEST = 200
_FIRST_ERROR = 400  # of the statuses; an error in a stream stands under 200
