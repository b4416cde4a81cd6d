"""How is a plugin's code kept from harming whoever did not write it?

A backend is somebody else's code in the middle of a call. Whatever it raises becomes an error that names it; what it
hands over is checked before it is used; it gets a request of its own to change. What no library can keep it from is
left: a plugin may change the environment, put its own functions in the place of others', or end the process by force.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from isochat.backend import Backend, Capabilities, Reply, StreamReply
from isochat.errors import ChatError, PluginError
from isochat.request import Request

_OURS = "isochat_adapters"
_SHOWN = 80


def shown(value: object) -> str:
    """``value`` in a few letters, whatever its ``repr`` does."""
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def said(error: BaseException) -> str:
    """An exception in one short line: its class and words, whatever its ``str`` does."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "(its text cannot be read)"
    short = text if len(text) <= 4 * _SHOWN else f"{text[: 4 * _SHOWN]}..."
    kind = type(error).__name__[:_SHOWN]
    return f"{kind}: {short}" if short else kind


def check_class(backend: Any, where: str) -> type[Backend]:
    """``backend`` as a class that keeps the seam.

    Raises:
        PluginError: it is none, lacks what its capabilities claim, or these say something unknown.
    """
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise PluginError(f"{where} gives {shown(backend)} where a Backend class is expected")
    missing = sorted(backend.__abstractmethods__)
    if missing:
        raise PluginError(f"{where} has no {', '.join(missing)}()")
    # Exactly these types: those of a plugin's own may answer to comparisons as they like.
    name, options = getattr(backend, "name", None), getattr(backend, "options", None)
    if type(name) is not str or not name:
        raise PluginError(f"{where} has the name {shown(name)}; expected a text")
    named: Any = options
    if type(options) not in (set, frozenset) or not all(type(option) is str for option in named):
        raise PluginError(f"{where} has the options {shown(options)}; expected a set of argument names")
    capabilities = getattr(backend, "capabilities", None)
    if type(capabilities) is not Capabilities:
        raise PluginError(f"{where} has the capabilities {shown(capabilities)}; expected a Capabilities")
    try:
        msgspec.convert(msgspec.structs.asdict(capabilities), Capabilities)
    except msgspec.ValidationError as error:
        raise PluginError(f"{where} has unknown capabilities: {error}") from None
    for method in _claimed(capabilities):
        if getattr(backend, method) is getattr(Backend, method):
            raise PluginError(f"{where} claims in its capabilities what it lacks: {method}()")
    return backend


def _claimed(capabilities: Capabilities) -> Iterable[str]:
    native = capabilities.asynchronous == "native"
    return [
        *(["stream"] if capabilities.streaming else []),
        *(["acomplete"] if native else []),
        *(["astream"] if native and capabilities.streaming else []),
    ]


def is_foreign(backend: Backend | type[Backend]) -> bool:
    """Whether somebody else wrote it."""
    kind = backend if isinstance(backend, type) else type(backend)
    return kind.__module__.partition(".")[0] != _OURS


def own_copy(backend: Backend, request: Request) -> Request:
    """``request`` for ``backend`` to do with as it likes: the caller's messages and the next attempt keep theirs."""
    return copied_request(request) if is_foreign(backend) else request


def copied_request(request: Request) -> Request:
    """A request that shares nothing with ``request`` that could be changed."""
    body, messages, headers = copy.deepcopy((request.body, request.messages, request.headers))
    return msgspec.structs.replace(request, body=body, messages=messages, headers=headers)


def blamed(backend: Backend | type[Backend], what: str, error: BaseException) -> PluginError:
    """The error for a backend that raises ``error`` where none is expected."""
    return PluginError(
        f"backend {shown(backend.name)} {what}: {said(error)}",
        remedy="Report this with the versions of isochat and the client",
    )


def is_its_own(backend: Backend | type[Backend], error: BaseException) -> bool:
    """Whether the plugin itself raises what nobody catches, such as an exit, which is not its business.

    What comes from elsewhere while the backend waits, such as the exit of the host's handler of SIGTERM, is the host's.
    An interrupt is the user's, and on an event loop so is a cancellation, which is raised wherever the backend waits.
    """
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, _ENDS_A_TASK) and _is_on_a_loop()):
        return False
    kind = backend if isinstance(backend, type) else type(backend)
    return ends_in(kind.__module__, error)


def ends_in(name: str, error: BaseException) -> bool:
    """The same of the module ``name``: whether its package raised ``error``."""
    step = error.__traceback__
    module = ""
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__")).partition(".")[0]
        step = step.tb_next
    return module in (name.partition(".")[0], "_sitebuiltins") and module != "__main__"


def check_backend(kind: type[Backend], made: Any) -> Backend:
    """What calling the class gave.

    Raises:
        PluginError: no object of it.
    """
    if not isinstance(made, kind):
        raise PluginError(f"backend {kind.name!r} makes {shown(made)} where an object of its class is expected")
    return made


_ENDS_A_TASK = (asyncio.CancelledError, GeneratorExit)


def _is_on_a_loop() -> bool:
    return asyncio._get_running_loop() is not None


def check_reply(backend: Backend, reply: Any) -> Reply | Mapping[str, Any]:
    """What ``backend`` returned, as it may be read: of types whose methods are Python's own.

    Raises:
        PluginError: it is neither a well-formed Reply nor a mapping.
    """
    if not is_foreign(backend) and isinstance(reply, Reply):
        return reply
    try:
        if isinstance(reply, Mapping):
            return dict(_plain_value(reply, {}))
        if isinstance(reply, Reply):
            return _plain(backend, reply)
    except ChatError:
        raise
    except (Exception, SystemExit) as error:
        kind = "mapping" if isinstance(reply, Mapping) else "Reply"
        raise blamed(backend, f"returned a {kind} that cannot be read", error) from error
    if inspect.iscoroutine(reply):
        reply.close()  # or Python would warn that nobody has awaited it
    raise _wrong(backend, f"returned {type(reply).__name__}; expected a Reply or a chat completion")


def _plain_value(value: Any, known: dict[int, tuple[Any, Any]]) -> Any:
    """``value`` with all that is in it, as JSON would have brought it; what JSON has no type for stays what it is.

    Args:
        known: What has been copied already, by identity, with its copy: it may contain itself.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if id(value) in known:
        return known[id(value)][1]
    if isinstance(value, Mapping):
        plain: dict[Any, Any] = {}
        known[id(value)] = value, plain
        for key in value:
            plain[_plain_value(key, known)] = _plain_value(value[key], known)
        return plain
    if isinstance(value, list | tuple):
        items: list[Any] = []
        known[id(value)] = value, items
        items.extend(_plain_value(item, known) for item in value)
        return items
    return value


def _plain(backend: Backend, reply: Reply) -> Reply:
    status, headers, client_call = _plain_head(backend, reply)
    body, native = reply.body, reply.native
    if not isinstance(body, bytes):
        raise _wrong(backend, f"returned a Reply whose body is {type(body).__name__}; expected bytes")
    if native is not None and not callable(native):
        raise _wrong(backend, "returned a Reply whose native cannot be called")
    body = body if type(body) is bytes else bytes(memoryview(body))
    return Reply(status=status, headers=headers, body=body, native=native, client_call=client_call)


def check_stream(backend: Backend, reply: StreamReply) -> StreamReply:
    """The same of a stream."""
    try:
        status, headers, client_call = _plain_head(backend, reply)
        pieces, delimited = reply.pieces, bool(reply.delimited)
    except ChatError:
        raise
    except (Exception, SystemExit) as error:
        raise blamed(backend, "returned a StreamReply that cannot be read", error) from error
    if not (hasattr(pieces, "__iter__") or hasattr(pieces, "__aiter__")) or isinstance(pieces, bytes | str | Mapping):
        raise _wrong(backend, f"returned a StreamReply whose pieces are {type(pieces).__name__}")
    return StreamReply(status=status, headers=headers, pieces=pieces, delimited=delimited, client_call=client_call)


def _plain_head(backend: Backend, reply: Reply | StreamReply) -> tuple[int, list[tuple[str, str]], str]:
    status, headers, client_call = reply.status, reply.headers, reply.client_call
    number = int.__add__(status, 0) if isinstance(status, int) else 0  # http.HTTPStatus is one too
    if not 100 <= number <= 599:
        raise _wrong(backend, f"returned a reply with the status {shown(status)}")
    well_formed = isinstance(headers, list | tuple) and all(
        isinstance(header, tuple | list) and len(header) == 2 and all(isinstance(part, str) for part in header)
        for header in headers
    )
    if not well_formed:
        raise _wrong(backend, "returned a reply whose headers are no list of names and values")
    if not isinstance(client_call, str):
        raise _wrong(backend, f"returned a reply whose client_call is {shown(client_call)}")
    return number, [(str.__str__(name), str.__str__(value)) for name, value in headers], str.__str__(client_call)


def _wrong(backend: Backend, what: str) -> PluginError:
    return PluginError(f"backend {backend.name!r} {what}", remedy="Report this to the backend's author")


def translated(backend: Backend, error: Exception) -> ChatError | None:
    """What ``backend`` makes of ``error``; ``None`` where it does not know.

    Raises:
        PluginError: its ``translate_error`` fails, or gives something else.
    """
    try:
        known = backend.translate_error(error)
    except BaseException as another:
        if not isinstance(another, Exception) and not is_its_own(backend, another):
            raise
        raise blamed(backend, f"raised {said(error)} and fails to translate it", another) from error
    if known is not None and not isinstance(known, ChatError):
        raise _wrong(backend, f"translates {said(error)} into {type(known).__name__}; expected a ChatError or None")
    return known if known is None else check_error(backend, known)


def check_error(backend: Backend, error: ChatError) -> ChatError:
    """An error that ``backend`` raises as isochat's: itself, or what says that it is none.

    A class of its own may lack what every one has, and refuse what is written into it.
    """
    if not is_foreign(backend):
        return error
    try:
        sound = all(isinstance(getattr(error, name), kinds) for name, kinds in _OF_AN_ERROR.items())
        error.attempts, error.elapsed, error.message = error.attempts, error.elapsed, str.__str__(error.message)
        error.args = (error.message,)
        sound = sound and isinstance(str(error), str)
    except Exception:
        sound = False
    if sound:
        return error
    return _wrong(backend, f"raises {type(error).__name__[:_SHOWN]}, which lacks what a ChatError has")


_OF_AN_ERROR: Mapping[str, Any] = {
    "message": str,
    **dict.fromkeys(("remedy", "code", "request_id", "body", "backend", "endpoint"), str | None),
    **dict.fromkeys(("status_code",), int | None),
    **dict.fromkeys(("retry_after",), int | float | None),
    **dict.fromkeys(("retryable", "may_have_executed"), bool),
    **dict.fromkeys(("attempts", "elapsed"), int | float),
}
