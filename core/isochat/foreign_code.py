"""How is a plugin's code kept from harming whoever did not write it?

A backend is somebody else's code in the middle of a call. Whatever it raises becomes an error that names it; what it
hands over is checked before it is used; it gets a request of its own to change. What no library can keep it from is
left: a plugin may change the environment or end the process by force.
"""

from __future__ import annotations

import copy
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
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


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
    name, options = getattr(backend, "name", None), getattr(backend, "options", None)
    if not isinstance(name, str) or not name:
        raise PluginError(f"{where} has the name {shown(name)}; expected a text")
    if not isinstance(options, set | frozenset) or not all(isinstance(option, str) for option in options):
        raise PluginError(f"{where} has the options {shown(options)}; expected a set of argument names")
    capabilities = getattr(backend, "capabilities", None)
    if not isinstance(capabilities, Capabilities):
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


def is_its_exit(backend: Backend | type[Backend], error: SystemExit) -> bool:
    """Whether the plugin itself wants to end the interpreter, which is not its business.

    An exit that comes from elsewhere while the backend waits, such as the host's handler of SIGTERM, is the host's.
    """
    kind = backend if isinstance(backend, type) else type(backend)
    return ends_in(kind.__module__, error)


def ends_in(name: str, error: SystemExit) -> bool:
    """The same of the module ``name``: whether its package raised ``error``."""
    step = error.__traceback__
    module = ""
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__")).partition(".")[0]
        step = step.tb_next
    return module in (name.partition(".")[0], "_sitebuiltins") and module != "__main__"


def check_reply(backend: Backend, reply: Any) -> Reply | Mapping[str, Any]:
    """What ``backend`` returned, as it may be read.

    Raises:
        PluginError: it is neither a well-formed Reply nor a mapping.
    """
    if isinstance(reply, Mapping):
        return reply
    if not isinstance(reply, Reply):
        raise _wrong(backend, f"returned {type(reply).__name__}; expected a Reply or a chat completion")
    if is_foreign(backend):
        _check_head(backend, reply)
        if not isinstance(reply.body, bytes):
            raise _wrong(backend, f"returned a Reply whose body is {type(reply.body).__name__}; expected bytes")
        if reply.native is not None and not callable(reply.native):
            raise _wrong(backend, "returned a Reply whose native cannot be called")
    return reply


def check_stream(backend: Backend, reply: StreamReply) -> StreamReply:
    """The same of a stream."""
    _check_head(backend, reply)
    if not (hasattr(reply.pieces, "__iter__") or hasattr(reply.pieces, "__aiter__")) or isinstance(
        reply.pieces, bytes | str | Mapping
    ):
        raise _wrong(backend, f"returned a StreamReply whose pieces are {type(reply.pieces).__name__}")
    return reply


def _check_head(backend: Backend, reply: Reply | StreamReply) -> None:
    if not isinstance(reply.status, int) or not 100 <= reply.status <= 599:
        raise _wrong(backend, f"returned a reply with the status {shown(reply.status)}")
    well_formed = isinstance(reply.headers, list | tuple) and all(
        isinstance(header, tuple | list) and len(header) == 2 and all(isinstance(part, str) for part in header)
        for header in reply.headers
    )
    if not well_formed:
        raise _wrong(backend, "returned a reply whose headers are no list of names and values")
    if not isinstance(reply.client_call, str):
        raise _wrong(backend, f"returned a reply whose client_call is {shown(reply.client_call)}")


def _wrong(backend: Backend, what: str) -> PluginError:
    return PluginError(f"backend {backend.name!r} {what}", remedy="Report this to the backend's author")


def translated(backend: Backend, error: Exception) -> ChatError | None:
    """What ``backend`` makes of ``error``; ``None`` where it does not know.

    Raises:
        PluginError: its ``translate_error`` fails, or gives something else.
    """
    try:
        known = backend.translate_error(error)
    except Exception as another:
        raise blamed(backend, f"raised {said(error)} and fails to translate it", another) from error
    if known is not None and not isinstance(known, ChatError):
        raise _wrong(backend, f"translates {said(error)} into {type(known).__name__}; expected a ChatError or None")
    return known
