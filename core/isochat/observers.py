"""Who watches a client's calls, and how is a call kept from them?

An observer is a plugin with hooks (see :mod:`isochat.hookspecs`). It is told, and has no say: each is given copies of
its own, without a secret, and whatever a hook raises is logged and goes no further; so is what cannot be copied. A hook
that hangs holds up the call of whoever named its observer.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import msgspec
import pluggy

from isochat import plugins
from isochat.config.settings import Settings
from isochat.errors import ChatError, ConfigurationError
from isochat.foreign_code import copied_request, ends_in, said, shown
from isochat.observing import logger
from isochat.once import NOTHING, Later
from isochat.redaction import BLANK
from isochat.request import Request
from isochat.results import ChatResult
from isochat.streaming.stream_state import StreamState

BEFORE, AFTER, FAILED = "isochat_before_call", "isochat_after_call", "isochat_on_error"


class Observer:
    """One plugin with the hooks that it has.

    Args:
        where: The plugin in words.
        hooks: By name.
        module: Where its code stands.
    """

    def __init__(self, where: str, hooks: Mapping[str, pluggy.HookCaller], module: str) -> None:
        self.hooks = hooks
        self.reads_results = AFTER in hooks and any("result" in one.argnames for one in hooks[AFTER].get_hookimpls())
        self._where = where
        self._module = module
        self._failed = False

    def tell(self, name: str, copied: Callable[[], Mapping[str, Any]]) -> None:
        """Call a hook, where it has it, with the facts that ``copied`` gives.

        What either raises does not pass, but for an interrupt and the host's own exit.
        """
        try:
            facts = copied()
            if name in self.hooks:
                _called(self.hooks[name], facts)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, SystemExit) and not ends_in(self._module, error):
                raise
            # Once where it is seen: a broken observer must not fill the log of a busy program. Not the error's words,
            # which may quote the prompt.
            level, self._failed = logging.DEBUG if self._failed else logging.WARNING, True
            logger.log(level, "the %s failed in %s: %s", self._where, name, _place(error))


class Watch:
    """One call, as the observers are told of it: before it, and once at its end."""

    def __init__(self, observers: Sequence[Observer], request: Request) -> None:
        # Each sees the same object before and after, so that it can tell calls apart, and none that another sees.
        self._told: list[tuple[Observer, Request]] = []
        for observer in observers:
            observer.tell(BEFORE, functools.partial(self._begun, observer, request))

    def answered(self, answer: ChatResult | StreamState[Any]) -> None:
        """The call has given ``answer``; of a stream the observers are told when it ends."""
        if isinstance(answer, StreamState):
            answer.on_end = self._ended
            return
        for observer, request in self._told:
            if AFTER in observer.hooks:
                observer.tell(AFTER, functools.partial(_end, request, answer if observer.reads_results else None))

    def failed(self, error: BaseException) -> None:
        """The call has ended in ``error``, which may be a cancellation or an interrupt."""
        for observer, request in self._told:
            if FAILED in observer.hooks:
                observer.tell(FAILED, functools.partial(_bad_end, request, error))

    def _begun(self, observer: Observer, request: Request) -> Mapping[str, Any]:
        own = _without_secrets(request)
        self._told.append((observer, own))
        return {"request": own}

    def _ended(self, outcome: ChatResult | ChatError) -> None:
        if isinstance(outcome, ChatResult):
            self.answered(outcome)
        else:
            self.failed(outcome)


class Observers:
    """The observers of one client, in the order in which they are told."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def watch(self, request: Request) -> Watch:
        """A call begins; they are told."""
        return Watch(self._observers, request)


def observers_of(settings: Settings) -> Observers | None:
    """The observers that ``settings`` name; ``None`` where they name none.

    Raises:
        ConfigurationError: one is named twice.
        PluginError: one cannot be loaded, or has no hook.
    """
    named: tuple[Any, ...] = settings["observers"]
    if not named:
        return None
    observers = []
    for position, one in enumerate(named):
        if any(one is other or (isinstance(one, str) and one == other) for other in named[:position]):
            raise ConfigurationError(f"observers names {shown(one)} twice", remedy="Name each but once")
        where, plugin = plugins.load_observer(one) if isinstance(one, str) else (f"observer {shown(one)}", one)
        hooks = plugins.observer_hooks(plugin, where)
        module = plugin if isinstance(plugin, ModuleType) else type(plugin)
        observers.append(Observer(where, hooks, module.__name__ if module is plugin else module.__module__))
    return Observers(observers)


def _without_secrets(request: Request) -> Request:
    own = copied_request(request)
    # What a caller puts into a header of his own may be a key.
    return msgspec.structs.replace(own, headers=dict.fromkeys(own.headers, BLANK))


def _end(request: Request, result: ChatResult | None) -> Mapping[str, Any]:
    return {"request": request, "result": None if result is None else _own_result(result)}


def _bad_end(request: Request, error: BaseException) -> Mapping[str, Any]:
    return {"request": request, "error": _own_error(error)}


def _called(hook: Callable[..., Any], facts: Mapping[str, Any]) -> None:
    own = facts.get("error")
    if own is None:
        hook(**facts)
        return
    # As if its own copy were being handled: otherwise sys.exc_info() gives the hook, and any logger that it calls, what
    # the client is handling, with its cause and its frames.
    try:
        raise own
    except BaseException as raised:
        if raised is not own:  # an interrupt
            raise
        own.__traceback__ = own.__context__ = None
        hook(**facts)


def _own_result(result: ChatResult) -> ChatResult:
    meta = msgspec.structs.replace(
        result.meta,
        headers=dict(result.meta.headers),
        _raw=Later(functools.partial(_copied, result.meta.raw)),  # large, and few ask for it
        _extra=copy.deepcopy(result.meta._extra),
        _native=NOTHING,
        _parsing=copy.copy(result.meta._parsing),  # which reads anew: the object is not shared
    )
    choices, usage = copy.deepcopy((result.choices, result.usage))
    return msgspec.structs.replace(result, choices=choices, usage=usage, meta=meta)


def _copied(raw: Any) -> Any:
    try:
        return copy.deepcopy(raw)
    except Exception:  # of a backend that returned what cannot be copied
        return None


def _own_error(error: BaseException) -> BaseException:
    # Without cause and traceback, whose frames hold what the client holds.
    if isinstance(error, ChatError):
        rebuild, state = ChatError.__reduce__(error)  # not a plugin's own, of a class of its own
        own: ChatError = rebuild(*state)
        if hasattr(own, "__notes__"):
            own.__notes__ = list(own.__notes__)
        if isinstance(own.partial, ChatResult):
            own.partial = _own_result(own.partial)
        return own
    try:
        return type(error)(*error.args)
    except Exception:
        return RuntimeError(said(error))


def _place(error: BaseException) -> str:
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    where = f" at {step.tb_frame.f_code.co_filename}:{step.tb_lineno}" if step is not None else ""
    return f"{type(error).__name__}{where}"
