"""What does one call remember from attempt to attempt? The same for every way of waiting: in a thread or on a loop."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from isochat.attempt import Opened
from isochat.closing import Closing, apause, pause
from isochat.errors import (
    AuthenticationError,
    BadRequestError,
    ChatError,
    ChatTimeoutError,
    ConfigurationError,
    ConnectionLostError,
    PluginError,
    located,
)
from isochat.notes import ADDED
from isochat.observing import log_attempt
from isochat.output_types import Parsing
from isochat.request import Options, Request
from isochat.results import ChatResult, Meta
from isochat.streaming.reading import StreamReading
from isochat.transport.deadline import LONGEST_WAIT, Clock, Deadline, SystemClock

if TYPE_CHECKING:
    from isochat.carrier import Carrier
    from isochat.fallback import Succession
    from isochat.observers import Watch
    from isochat.transport.exchange import Exchange

X = TypeVar("X", bound="Exchange")

STREAM_OPTIONS = "stream_options"
_OTHERS_CLOCK = SystemClock()  # what another thread does takes its time, whatever the clock of the call is
_REFUSED = re.compile(r"unknown field|Extra inputs|not permitted|unrecognized|unexpected|unsupported|not support", re.I)
ASKED_FOR_USAGE = f'{ADDED} stream_options: {{"include_usage": true}}: some endpoints tell no token counts unasked'
LEFT_OUT = "left out stream_options: this endpoint refuses it, so the stream may come without token counts"


class Call:
    """One call under way.

    Attributes:
        carrier: Who carries it now, over its ``connections``.
        request: What is asked; without ``stream_options`` once the endpoint has refused them.
        attempts: Requests sent so far.
        wire: Where the attempt under way is sent, once it is.
        credentials: The headers that authenticate it.
        succession: Who may carry the call on, where the client has a ``fallback``.
        watch: Who is told of it, where the client has ``observers``.

    Args:
        closing: Of the client.
    """

    succession: Succession | None = None
    watch: Watch | None = None

    def __init__(self, carrier: Carrier, request: Request, options: Options, clock: Clock, closing: Closing) -> None:
        self.carrier = carrier
        self.connections = carrier.connections
        self.request = request
        self.options = options
        self.deadline = Deadline(options.deadline, clock)
        self.clock = clock
        self.attempts = 0
        self.wire: Exchange | None = None
        self.credentials: Mapping[str, str] = {}
        self._closing = closing
        self._leaving = Closing()
        self._logged_in_again = False
        carrier.policy.budget.earn()
        self._tries = 0  # a login that fails is a try without a request

    def begin_try(self) -> Deadline:
        """Another attempt begins, perhaps with a login; gives the deadline that all of them share."""
        self._tries += 1
        self.wire, self.credentials = None, {}
        return self.deadline

    def sending(self, wire: X) -> X:
        """The attempt goes over ``wire``: from here on it counts as a request."""
        self.attempts += 1
        self.wire, self.credentials = wire, wire.credentials
        if self._leaving.closed:
            wire.abort()
        return wire

    def leave(self) -> None:
        """Nobody waits for this call any more: the pause or the attempt under way ends now. From any thread."""
        self._leaving.close()
        if self.wire is not None:
            self.wire.abort()

    def hand_to(self, carrier: Carrier, request: Request, options: Options) -> None:
        """Let ``carrier`` carry the call on, with a login and retries of its own, in the time that is left."""
        if carrier.policy.budget is not self.carrier.policy.budget:
            carrier.policy.budget.earn()
        self.carrier, self.connections = carrier, carrier.connections
        self.request, self.options = request, options
        self._tries, self._logged_in_again = 0, False

    def pause_after(self, error: ChatError) -> float | None:
        """Seconds to wait before the next attempt, or ``None`` when ``error``, now located, is to be raised.

        Raises:
            ConfigurationError: the client was closed before the attempt was sent.
        """
        self.settle(error)
        if self._closing.closed and isinstance(error, PluginError):  # what a client says that was closed meanwhile
            raise self.locate(
                ConfigurationError(
                    "this client was closed before the call was sent", remedy="Close a client when its calls have ended"
                )
            ) from error
        if self._left_out_stream_options(error):
            return 0.0
        return self.carrier.policy.pause(error, self._tries, self.options.max_retries, self.deadline)

    def pause(self, seconds: float, error: ChatError) -> None:
        """Wait before the attempt that follows ``error``.

        Raises:
            ConfigurationError: the client was closed meanwhile.
            ConnectionLostError: the call was left.
        """
        pause(self.clock, seconds, self._closing, self._leaving)
        self.check_wanted(error)

    async def apause(self, seconds: float, error: ChatError) -> None:
        """As :meth:`pause`, on the running event loop."""
        await apause(self.clock, seconds, self._closing, self._leaving)
        self.check_wanted(error)

    def wait_until(self, over: Closing) -> None:
        """Wait until ``over`` closes, the deadline passes, or nobody wants the call any more."""
        with suppress(ChatTimeoutError):  # no time is left
            pause(_OTHERS_CLOCK, self._time_left(), over, self._closing, self._leaving)

    async def await_until(self, over: Closing) -> None:
        """As :meth:`wait_until`, on the running event loop."""
        with suppress(ChatTimeoutError):
            await apause(_OTHERS_CLOCK, self._time_left(), over, self._closing, self._leaving)

    def _time_left(self) -> float:
        return self.deadline.left("connect") or LONGEST_WAIT

    def may_log_in_again(self, error: ChatError) -> bool:
        """Whether ``error`` says that the login has run out, and this call has not renewed it yet."""
        if self._logged_in_again or not isinstance(error, AuthenticationError) or error.status_code != 401:
            return False
        self._logged_in_again = True
        return True

    def check_wanted(self, error: ChatError) -> None:
        """Raises as :meth:`pause` unless an attempt may still follow ``error``."""
        if self._closing.closed:
            raise self.locate(
                ConfigurationError(
                    "this client is closed, and the call was waiting to be sent again",
                    remedy="Close a client when its calls have ended",
                    may_have_executed=error.may_have_executed,
                )
            ) from error
        if self._leaving.closed:
            raise self.locate(ConnectionLostError("the call was cancelled")) from error

    def locate(self, error: ChatError) -> ChatError:
        """Say in ``error`` where and when it happened."""
        return located(
            error,
            backend=self.carrier.name,
            endpoint=self.request.endpoint,
            attempts=self.attempts,
            elapsed=self.deadline.elapsed(),
        )

    def meta(self, **facts: Any) -> Meta:
        """What is known of the call, and ``facts`` of its reply."""
        return Meta(
            backend=self.carrier.name,
            endpoint=self.request.endpoint,
            route=self.carrier.route,
            elapsed=self.deadline.elapsed(),
            attempts=self.attempts,
            warnings=self.request.warnings,
            _parsing=None if self.request.output is None else Parsing(self.request.output),
            **facts,
        )

    def settle(self, error: ChatError | None) -> None:
        """An attempt has ended: well, or in ``error``."""
        if error is not None:
            self.locate(error)
        else:
            self.succession = None  # nobody is needed any more, and whoever failed holds frames of this call
        log_attempt(self.wire, self.carrier.name, self.attempts, error)

    def settled(self, result: ChatResult) -> ChatResult:
        """The call has ended in ``result``."""
        self.settle(None)
        return result

    # -- streams ----------------------------------------------------------------------------------------------

    def reading(self, opened: Opened, wire: Exchange) -> StreamReading:
        """What reads the stream that was ``opened``."""
        options = self.request.body.get(STREAM_OPTIONS)
        return StreamReading(
            self.request.api,
            opened.status,
            opened.headers,
            choices=self.request.body.get("n") or 1,
            on_responses=wire.url.partition("?")[0].endswith("/responses"),
            usage_asked=isinstance(options, Mapping) and bool(options.get("include_usage")),
            redactor=wire.redactor,
            limits=wire.limits,
        )

    def stream_meta(self, opened: Opened) -> Meta:
        """What the head of a stream says of the call."""
        return self.meta(
            client_call=opened.client_call,
            request_id=opened.headers.get("x-request-id"),
            served_model=opened.headers.get("served-model-name"),
            status_code=opened.status,
            headers=opened.headers,
        )

    def _left_out_stream_options(self, error: ChatError) -> bool:
        """Whether ``error`` is the refusal of ``stream_options``, and the request now goes without them, once."""
        if STREAM_OPTIONS not in self.request.body or not isinstance(error, BadRequestError):
            return False
        if STREAM_OPTIONS not in error.message or not _REFUSED.search(error.message):
            return False
        self._tries -= 1  # it was refused unread: no retry is spent on it
        self.request = without_stream_options(self.request)
        self.carrier.refused.add(STREAM_OPTIONS)
        return True


def with_usage(request: Request) -> Request:
    """``request``, asking a stream for its token counts where the caller has said nothing of them.

    Some endpoints report none without being asked (payload fact 16); the Responses API always does.
    """
    if request.api != "chat-completions" or STREAM_OPTIONS in request.body:
        return request
    return msgspec.structs.replace(
        request,
        body={**request.body, STREAM_OPTIONS: {"include_usage": True}},
        warnings=(*request.warnings, ASKED_FOR_USAGE),
    )


def without_stream_options(request: Request) -> Request:
    """``request`` for an endpoint that refuses ``stream_options``."""
    if STREAM_OPTIONS not in request.body:
        return request
    body = {name: value for name, value in request.body.items() if name != STREAM_OPTIONS}
    kept = tuple(warning for warning in request.warnings if warning != ASKED_FOR_USAGE)
    return msgspec.structs.replace(request, body=body, warnings=(*kept, LEFT_OUT))
