"""How does a program get a Databricks workspace of its own? A server on loopback, for as long as it is wanted."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from isochat.errors import ConfigurationError
from isochat.text_safety import check_token
from isochat_workspace.declaration import read_declaration
from isochat_workspace.endpoints import Endpoint, default_endpoints
from isochat_workspace.http.records import KEEP_BYTES, RecordedRequest, RequestLog
from isochat_workspace.http.server import AccessLog, Server
from isochat_workspace.models.model_table import AnyModel, make_model
from isochat_workspace.models.scripted import Scripted
from isochat_workspace.serving.gateway import GatewayState
from isochat_workspace.serving.oidc import ServicePrincipal, TokenIssuer
from isochat_workspace.serving.responder import Responder
from isochat_workspace.serving.service import Service

_START_TIMEOUT_S = 180.0
MAX_SECONDS = 297.0
"""Execution limit of pay-per-token and most other endpoints ("Model Serving limits" page; it was 120 s before, and a
later reading says 597 s for provisioned throughput)."""


class Workspace:
    """A server on loopback that speaks the Databricks model-serving API, for any client of it.

    Args:
        endpoints: what it serves; by default three endpoints with names of the service and one more under the model's
            own name: `scripted`, `smollm2`, `replay`, the `served_name` of a Model of one's own.
        model: what answers behind the default endpoints: "scripted" (deterministic, no weights), "smollm2"
            (a real 135M model; `isochat local install` fetches it), "replay:FILE", a Model or a Replay. A Cassette or a
            Proxy answers in place of all endpoints, whatever the path.
        token: the token it accepts; by default a random one in the service's form (`dapi` + 32 hex digits).
        host: the address to listen on. Anything but a loopback address lets other machines in.
        port: the port to listen on; 0 takes a free one.
        gateway: whether `/ai-gateway` is there: "on", or how a workspace without it says so ("disabled", "absent",
            "not-implemented").
        service_principal: whose client id and secret fetch tokens at `/oidc/v1/token`.
        max_seconds: how long a request may take, from its head to the last byte of its answer; then it is a 504, or a
            stream cut short. None: for ever.
        access_log: called with each RecordedRequest, on the server's thread: once its answer is known; of a
            streamed answer once it has ended. Where the client left before, once that was seen.
        keep_requests: how many requests are remembered; None remembers any number.
        keep_bytes: what the remembered ones may hold together, in bytes; the oldest are forgotten first.

    It starts with `with` or `start()` and ends with the block or `stop()`. All of it is safe to use from any
    thread.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint] | None = None,
        *,
        model: str | AnyModel = "scripted",
        token: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        gateway: GatewayState = "on",
        service_principal: ServicePrincipal | None = None,
        max_seconds: float | None = MAX_SECONDS,
        access_log: AccessLog | None = None,
        keep_requests: int | None = None,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        made = named_model(model) if isinstance(model, str) else model
        served = default_set(made) if endpoints is None else tuple(endpoints)
        self.token = check_token(token) if token else "dapi" + secrets.token_hex(16)
        self._responder = made if endpoints is None and isinstance(made, Responder) else None
        self._service = Service(
            {}, self.token, responder=self._responder, gateway=gateway, issuer=TokenIssuer(service_principal)
        )
        for endpoint in served:
            self._put(endpoint)
        self._default = served[-1] if served else None
        self._address = (host or "127.0.0.1", port)  # "" would be every address
        self._access_log = access_log
        self._max_seconds = max_seconds
        self._log = RequestLog(keep_requests, keep_bytes)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._opened: list[AnyModel] = []

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        token: str | None = None,
        host: str | None = None,
        port: int | None = None,
        access_log: AccessLog | None = None,
        keep_requests: int | None = None,
        keep_bytes: int = KEEP_BYTES,
    ) -> Self:
        """The workspace that a `workspace.toml` declares; an argument given here counts more than the file.

        Raises ConfigurationError for a mistake in the file, with file, key and the nearest valid key.
        """
        declared = read_declaration(path)
        return cls(
            declared.endpoints,
            token=token or declared.token,
            host=host or declared.host or "127.0.0.1",
            port=(declared.port or 0) if port is None else port,
            gateway=declared.gateway,
            service_principal=declared.service_principal,
            max_seconds=MAX_SECONDS if declared.max_seconds is None else declared.max_seconds,
            access_log=access_log,
            keep_requests=keep_requests,
            keep_bytes=keep_bytes,
        )

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`. Raises RuntimeError before the start."""
        if not self._service.url:
            raise RuntimeError("the workspace has not been started: use it in a with block or call start()")
        return self._service.url

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it was told to listen on; 0 is a free port, see `url`."""
        return self._address

    @property
    def requests(self) -> list[RecordedRequest]:
        """What was received so far, refused requests as well, in order of arrival."""
        return self._log.snapshot()

    def clear_requests(self) -> None:
        """Forget the requests so far: for a workspace that outlives one test."""
        self._log.clear()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        return tuple(self._service.endpoints.values())

    @property
    def default_endpoint(self) -> str:
        """The endpoint to use where none is named: it speaks both APIs (the last one given)."""
        return self._default.name if self._default else ""

    @property
    def model_name(self) -> str:
        """The model that answers on the default endpoint."""
        if self._responder is not None:
            return self._responder.served_name
        return self._default.model.served_name if self._default else ""

    def add(self, endpoint: Endpoint) -> None:
        """Serve one more endpoint, or another one under the same name; also while running."""
        with self._lock:
            loop = self._loop
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._open(endpoint.model), loop).result(_START_TIMEOUT_S)
        self._put(endpoint)

    def start(self) -> Self:
        """Listen, and make the models ready. Returns itself once requests are answered.

        Raises OSError if the port is taken, ConfigurationError if the model is not installed.
        """
        with self._lock:
            if self._thread is not None:
                raise RuntimeError("the workspace is running already")
            ready: concurrent.futures.Future[None] = concurrent.futures.Future()
            # A daemon: a program that forgets to stop still ends.
            self._thread = threading.Thread(target=self._run, args=(ready,), name="isochat-workspace", daemon=True)
            self._thread.start()
        try:
            ready.result(_START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it; nothing is left behind. Does nothing if it does not run."""
        with self._lock:
            thread, loop, stopping = self._thread, self._loop, self._stopping
            self._thread = None
        if thread is None:
            return
        if loop is not None and stopping is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(stopping.set)
            except RuntimeError:  # the loop ended in between, after a failed start
                pass
        thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _put(self, endpoint: Endpoint) -> None:
        # A new mapping each time: the server thread may be reading the old one.
        self._service.endpoints = {**self._service.endpoints, endpoint.name: endpoint}

    def _run(self, ready: concurrent.futures.Future[None]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:  # handed to the thread that waits in start()
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, ready: concurrent.futures.Future[None]) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._loop, self._stopping = loop, stopping
        server = Server(self._service, self._log, self._access_log, self._max_seconds)
        try:
            for model in (self._responder, *(endpoint.model for endpoint in self.endpoints)):
                if model is not None:
                    await self._open(model)
            self._service.url = await server.start(*self._address)
            ready.set_result(None)
            await stopping.wait()
        finally:
            with self._lock:
                self._loop = self._stopping = None
            await server.stop()
            while self._opened:
                await self._opened.pop().close()

    async def _open(self, model: AnyModel) -> None:
        """Make a model ready, once for all endpoints it stands behind."""
        if not any(model is other for other in self._opened):
            self._opened.append(model)
            await model.open()


def named_model(name: str) -> AnyModel:
    """The model that a name stands for, paths from the working directory. Raises ValueError for an unknown one."""
    try:
        return make_model(name, Path.cwd())
    except ConfigurationError as error:
        raise ValueError(f"{error.message}. {error.remedy}") from None


def default_set(model: AnyModel) -> tuple[Endpoint, ...]:
    """The default endpoints for a model; for one that answers for endpoints of its own, these."""
    if isinstance(model, Responder):
        return tuple(Endpoint(name, model) for name in model.endpoint_names)
    return default_endpoints(model, disguised=isinstance(model, Scripted))
