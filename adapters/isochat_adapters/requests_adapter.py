"""The door for clients on requests: a Databricks SDK client that only isochat holds, on isochat's wire.

The SDK's HTTP session is private, but it stands in the same place in every version from 0.20 to 0.162, and a
``requests`` session takes adapters by its public ``mount``. Its retries end at the public ``Config(clock=)``: on a
clock whose ``sleep`` jumps past every deadline, one request is all there is time for. MLflow's deployment client
sends through the same object.
"""

from __future__ import annotations

import functools
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType, MappingProxyType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from isochat.backend import Reply, Setup
from isochat.errors import ConfigurationError, PluginError
from isochat_adapters.private_globals import with_globals

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

_wire: ContextVar[Wire | _Kept | None] = ContextVar("isochat_requests_wire", default=None)
_joined: ContextVar[Mapping[str, Any]] = ContextVar("isochat_requests_joined")

_UNFRAMED = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_PAST_EVERY_DEADLINE = 1e7
# Bytes of a body that is not read twice in one call, by isochat and by the client.
_HEAVY = 64 * 1024
_EMPTY = b"{}"  # the SDK's parser wants an object


class _Kept:
    """A reply that has come. To read it once more nothing is sent."""

    def __init__(self, wire: Wire) -> None:
        self.status = wire.status
        self.reason = wire.reason
        self.headers = wire.headers
        self._body = wire.body or b""

    def exchange(self, *request: Any) -> bytes:
        return self._body


def reply_over(wire: Wire, call: Callable[[], Any]) -> Reply:
    """Have the client make its ``call`` over ``wire``, and give its reply.

    The client reads a reply before it returns, into a text and objects of its own, which takes three times the body's
    memory and more. Of a large one it is shown an empty object; the same call, made again on what has been kept, reads
    it when ``native`` is asked for.
    """
    with carried_by(wire):
        native = call()
    return Reply(
        status=wire.status or 0,
        headers=wire.headers,
        body=wire.body or b"",
        native=functools.partial(_read, _Kept(wire), call) if _is_put_off(wire) else lambda: native,
        client_call=wire.client_call,
    )


def _read(kept: _Kept, call: Callable[[], Any]) -> Any:
    with carried_by(kept):
        return call()


def _is_put_off(wire: Wire) -> bool:
    return (wire.status or 0) < 400 and len(wire.body or b"") > _HEAVY


@contextmanager
def carried_by(wire: Wire | _Kept, joined: Mapping[str, Any] = MappingProxyType({})) -> Iterator[None]:
    """Inside, requests of clients made by :func:`workspace_client` go over ``wire``.

    Args:
        joined: Fields that join the request's JSON body, for which the client's call has no argument.
    """
    token, joining = _wire.set(wire), _joined.set(joined)
    try:
        yield
    except TimeoutError as error:
        # No time passed: the one-shot clock ends the SDK's retries, and the SDK calls that a timeout. What it wanted
        # to send again for is the cause.
        if isinstance(error.__cause__, Exception):
            raise error.__cause__ from None
        raise
    finally:
        _wire.reset(token)
        _joined.reset(joining)


def workspace_client(setup: Setup) -> Any:
    """A ``databricks.sdk.WorkspaceClient`` whose requests go over the wire of :func:`carried_by`.

    Raises:
        ImportError: the SDK is not installed.
        PluginError: the installed version keeps its session elsewhere.
    """
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.version import __version__

    client = WorkspaceClient(config=_config(setup))
    session = _session(client)
    if session is None:
        raise PluginError(
            f"databricks-sdk {__version__} keeps its HTTP session where isochat does not find it",
            remedy="pip install 'isochat[databricks-sdk]' for a version that is known to work",
        )
    _quieten(client)
    session.trust_env = False
    session.adapters.clear()
    adapter = _adapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return client


def _session(client: Any) -> Any:
    import requests

    api_client = client.api_client
    session = getattr(getattr(api_client, "_api_client", api_client), "_session", None)
    return session if isinstance(session, requests.Session) else None


def _quieten(client: Any) -> None:
    """Keep the SDK's error parser from setting up the host's root logger.

    It logs by the functions of the module ``logging``, and these put a handler on a root logger that has none: the
    host's own ``basicConfig`` would do nothing afterwards. This parser is the one of a client that only isochat holds.
    """
    parser: Any = getattr(getattr(client.api_client, "_api_client", client.api_client), "_error_parser", None)
    if parser is None:
        return
    silent = {"logging": SimpleNamespace(debug=lambda *args, **kwargs: None)}
    parser._error_parsers = [_silenced(step, silent) for step in getattr(parser, "_error_parsers", ())]
    # What prepares the SDK's own retries, which are off; up to 0.49 it warns the user of a deprecated field besides.
    parser._error_customizers = []
    parser.get_api_error = MethodType(with_globals(type(parser).get_api_error, silent), parser)


def _silenced(step: Any, silent: dict[str, Any]) -> Any:
    kind = type(step)
    methods: dict[str, Any] = {}
    for name, value in vars(kind).items():
        if isinstance(value, FunctionType):
            methods[name] = with_globals(value, silent)
        elif isinstance(value, classmethod | staticmethod):
            methods[name] = type(value)(with_globals(value.__func__, silent))
    quiet: Any = type(kind.__name__, (kind,), methods)
    copy = object.__new__(quiet)
    copy.__dict__.update(step.__dict__)
    return copy


def _config(setup: Setup) -> Any:
    from databricks.sdk.core import Config
    from databricks.sdk.credentials_provider import CredentialsStrategy

    class WireAuthenticates(CredentialsStrategy):
        """Nothing to add: the wire sets the headers of isochat's one owner of credentials."""

        def auth_type(self) -> str:
            return "isochat"

        def __call__(self, cfg: Any) -> Any:
            return dict

    class CarrierConfig(Config):
        """A Config that asks the host nothing and takes nothing from the surroundings."""

        @classmethod
        def attributes(cls) -> Any:
            # Config collects them from the class it is called on, where a subclass has none.
            return Config.attributes()

        def _resolve_host_metadata(self) -> None:
            # A GET on a connection outside isochat's wire, without a clock, whose answer is not needed here.
            pass

        def _load_from_env(self) -> None:
            # Another workspace's DATABRICKS_* is no business of a client that was given its host.
            pass

        def _known_file_config_loader(self) -> None:
            pass

        @property
        def user_agent(self) -> str:
            # Behind the way of authentication stands what the environment says of the runtime, the CI and others.
            own, auth, _ = str(super().user_agent).partition(" auth/isochat")
            return own + auth

    options: dict[str, Any] = {"workspace_id": setup.workspace_id} if setup.workspace_id else {}
    return CarrierConfig(
        host=setup.host,
        credentials_strategy=WireAuthenticates(),
        auth_type="isochat",
        clock=_one_shot_clock(),
        **options,
    )


def _one_shot_clock() -> Any:
    from databricks.sdk.clock import Clock

    class OneShotClock(Clock):
        """Time stands still; a sleep, which is a retry, jumps past every deadline, in this thread only."""

        def __init__(self) -> None:
            self._local = threading.local()

        def time(self) -> float:
            now: float = getattr(self._local, "now", 0.0)
            return now

        def sleep(self, seconds: float) -> None:
            self._local.now = self.time() + _PAST_EVERY_DEADLINE

    return OneShotClock()


def _adapter() -> Any:
    import requests
    from requests.adapters import BaseAdapter
    from requests.structures import CaseInsensitiveDict
    from requests.utils import get_encoding_from_headers

    class WireAdapter(BaseAdapter):
        """Carries a prepared request over isochat's wire. Failures pass as isochat's own exceptions, which the
        SDK neither wraps nor retries.
        """

        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            wire = _wire.get()
            if wire is None:
                raise ConfigurationError("a request outside a call was refused")
            body = request.body or b""
            if joined := _joined.get():
                body = json.dumps({**json.loads(body), **joined})
            reply = wire.exchange(
                request.method,
                request.url,
                list(request.headers.items()),
                body.encode() if isinstance(body, str) else body,
            )
            if not isinstance(wire, _Kept) and (wire.incoming is not None or _is_put_off(wire)):
                reply = _EMPTY  # isochat reads what has come; a stream is read off the wire
            response = requests.Response()
            response.status_code = wire.status or 0
            response.reason = wire.reason
            response.url = request.url
            response.request = request
            response.headers = CaseInsensitiveDict(
                (name, value) for name, value in wire.headers if name.lower() not in _UNFRAMED
            )
            response.encoding = get_encoding_from_headers(response.headers)
            response.raw = io.BytesIO(reply)
            # What reading it would come to, without a copy of a body that may be large.
            response._content, response._content_consumed = reply, True
            return response

        def close(self) -> None:
            pass

    return WireAdapter()
