"""How is one call made without keeping a client? ``isochat.chat()``, on clients kept per configuration."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Literal, overload

from isochat.client import Client
from isochat.config.settings import BY_NAME
from isochat.config.targets import user_file
from isochat.messages import Messages
from isochat.parameters import CALL_OPTIONS
from isochat.redaction import Secret, hidden, hidden_values
from isochat.results import ChatResult
from isochat.streaming.streams import ChatStream

_MOST_CLIENTS = 32
_clients: OrderedDict[Hashable, Client] = OrderedDict()
_lock = threading.Lock()


@overload
def chat(
    messages: Messages,
    *,
    backend: str | None = None,
    target: str | None = None,
    stream: Literal[False] = False,
    **kw: Any,
) -> ChatResult: ...
@overload
def chat(
    messages: Messages, *, backend: str | None = None, target: str | None = None, stream: Literal[True], **kw: Any
) -> ChatStream: ...
@overload
def chat(
    messages: Messages, *, backend: str | None = None, target: str | None = None, stream: bool, **kw: Any
) -> ChatResult | ChatStream: ...


def chat(
    messages: Messages, *, backend: str | None = None, target: str | None = None, stream: bool = False, **kw: Any
) -> ChatResult | ChatStream:
    """Ask once, on a client that is kept for further calls with the same configuration.

    Args:
        messages: As in :meth:`isochat.Client.chat`.
        backend, target: As in :class:`isochat.Client`.
        stream: As in :meth:`isochat.Client.chat`.
        kw: Arguments of the client (``endpoint``, ``host``, ...) and parameters of the call, together.

    Raises:
        ChatError: as :meth:`isochat.Client.chat`.
    """
    if "token" in kw:
        kw["token"] = hidden(kw["token"])
    for name in ("headers", "extra_headers"):
        if name in kw:
            kw[name] = hidden_values(kw[name])
    settings = {name: kw.pop(name) for name in list(kw) if name in _CLIENT_ONLY}
    return _client(backend, target, settings).chat(messages, stream=stream, **kw)


_CLIENT_ONLY = (BY_NAME.keys() - set(CALL_OPTIONS)) | {"config_file", "retry_budget"}


def _kept(value: Any) -> Hashable:
    if isinstance(value, Secret):
        return value
    if isinstance(value, list | tuple):
        # Of observers the objects themselves, which the client holds: a repr may be that of another, change or raise.
        return tuple(repr(one) if isinstance(one, str) else id(one) for one in value)
    return repr(value)


def _version_of(file: str | os.PathLike[str]) -> Hashable:
    """Changes when the file does, so that a target edited there holds from the next call on."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _client(backend: str | None, target: str | None, settings: dict[str, Any]) -> Client:
    surroundings = sorted((k, Secret(v)) for k, v in os.environ.items() if k.startswith(("ISOCHAT_", "DATABRICKS_")))
    file = settings.get("config_file") or os.environ.get("ISOCHAT_CONFIG") or user_file()
    # Secrets as they are: of two, the reprs are the same.
    given = tuple((k, _kept(v)) for k, v in sorted(settings.items()))
    key = (backend, target, given, tuple(surroundings), _version_of(file), os.getpid())
    with _lock:
        client = _clients.get(key)
        if client is not None:
            _clients.move_to_end(key)
            return client
    client = Client(backend, target=target, **settings)
    with _lock:
        client = _clients.setdefault(key, client)
        while len(_clients) > _MOST_CLIENTS:
            # Not closed: another thread may be in a call on it. Its connections end with it.
            _clients.popitem(last=False)
    return client
