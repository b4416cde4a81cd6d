"""What does a client hold open? Its backend, its login, and connections on threads and on event loops.

Everything is made when it is first needed, once, whichever thread or loop needs it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from isochat import plugins
from isochat.backend import Backend, Setup
from isochat.call import Call
from isochat.config.credential_sources import find_credentials
from isochat.config.credentials import Credentials, UnifiedConfig
from isochat.config.settings import Settings
from isochat.errors import ChatError, ConfigurationError
from isochat.foreign_code import blamed, check_backend, is_its_own
from isochat.redaction import hidden_values, secrets_among
from isochat.routes import PATHS
from isochat.text_safety import check_headers
from isochat.transport.deadline import Deadline
from isochat.transport.key_log import named_as_culprit

if TYPE_CHECKING:
    from isochat.transport.async_pools import AsyncPools
    from isochat.transport.async_wire import AsyncWire
    from isochat.transport.pools import Pools
    from isochat.transport.proxies import Proxies
    from isochat.transport.wire import Wire
    from isochat.workers import Workers


class Connections:
    """What one backend of a client holds.

    Args:
        credentials: The login to share; by default the settings say which.

    Raises:
        ConfigurationError: no credentials are found, or the backend cannot be made of them.
    """

    def __init__(
        self, settings: Settings, backend: type[Backend], route: str, credentials: Credentials | None = None
    ) -> None:
        self._settings = settings
        self._backend_class = backend
        self._route = route
        self._headers = hidden_values(check_headers(settings["headers"], "headers"))
        self._lock = threading.Lock()
        self._pools: Pools | None = None
        self._async_pools: AsyncPools | None = None
        self._workers: tuple[Workers, Workers] | None = None
        self.credentials: Credentials = credentials or find_credentials(settings)
        self._backend: Backend | None = None
        if not isinstance(self.credentials, UnifiedConfig):
            self._backend = self._make_backend()

    @property
    def backend(self) -> Backend:
        """The backend object.

        Raises:
            ConfigurationError: the workspace is not known before the first call.
        """
        if self._backend is None:
            raise ConfigurationError("the backend is made with the first call, which finds the workspace")
        return self._backend

    def ready(self, deadline: Deadline) -> tuple[Backend, Mapping[str, str]]:
        """The backend, and the headers that authenticate a request; either may ask the network for a login."""
        if self._backend is None:
            # The host is known only once the credentials are found.
            assert isinstance(self.credentials, UnifiedConfig)
            self.credentials.connect(deadline)
            with self._lock:
                if self._backend is None:
                    self._backend = self._make_backend()
        return self._backend, self.credentials.headers(deadline)

    async def aready(self, deadline: Deadline) -> tuple[Backend, Mapping[str, str]]:
        """As :meth:`ready`; a login that may ask the network waits in a thread."""
        if not isinstance(self.credentials, UnifiedConfig):
            return self.ready(deadline)
        return await self.workers.run(lambda: self.ready(deadline), lambda: None, deadline=deadline)

    def renew_login(self, refused: Mapping[str, str], deadline: Deadline) -> bool:
        """Log in again, as the workspace takes ``refused`` no more; says whether there is something new to try."""
        return self.credentials.renew(refused, deadline)

    async def arenew_login(self, refused: Mapping[str, str], deadline: Deadline) -> bool:
        """As :meth:`renew_login`, waiting in a thread."""
        if not isinstance(self.credentials, UnifiedConfig):
            return self.renew_login(refused, deadline)
        return await self.workers.run(lambda: self.renew_login(refused, deadline), lambda: None, deadline=deadline)

    def wire(self, call: Call, credentials: Mapping[str, str], *, streaming: bool = False) -> Wire:
        """A wire for one attempt of ``call``, for a thread that waits."""
        from isochat.transport.tap import record
        from isochat.transport.wire import Wire

        pools = self._open_pools()
        options = self._options(call, credentials, pools.proxies)
        wire = Wire(pools, call.deadline, streaming=streaming, **options)
        record(wire)
        return wire

    def async_wire(self, call: Call, credentials: Mapping[str, str], *, streaming: bool = False) -> AsyncWire:
        """The same for the running event loop."""
        with named_as_culprit():  # importing aiohttp opens it
            from isochat.transport.async_wire import AsyncWire
        from isochat.transport.tap import record

        pools = self._open_async_pools()
        options = self._options(call, credentials, pools.proxies)
        wire = AsyncWire(pools, call.deadline, streaming=streaming, **options)
        record(wire)
        return wire

    @property
    def workers(self) -> Workers:
        """The threads in which a loop's blocking calls wait."""
        return self._open_workers()[0]

    @property
    def readers(self) -> Workers:
        """The threads in which its streams are read.

        Others than the calls': streams hold the places of a bounded pool, calls wait for these, and no stream may
        wait for a thread until a call has ended.
        """
        return self._open_workers()[1]

    def close(self) -> None:
        """Give everything back.

        Raises:
            PluginError: the backend fails to close; all else is closed.
        """
        if self._async_pools is not None:
            self._async_pools.close()
        self._close_blocking()

    async def aclose(self) -> None:
        """As :meth:`close`, and wait until the connections of the running loop are closed."""
        if self._async_pools is not None:
            await self._async_pools.aclose()
        self._close_blocking()

    def _close_blocking(self) -> None:
        if self._pools is not None:
            self._pools.close()
        for workers in self._workers or ():
            workers.close()
        if self._backend is not None:
            self._close_backend(self._backend)

    def _close_backend(self, backend: Backend) -> None:
        # Last of all, so that nothing is left open by a backend that fails to close.
        try:
            backend.close()
        except BaseException as error:
            if not isinstance(error, Exception) and not is_its_own(backend, error):
                raise
            raise blamed(backend, "does not close", error) from error

    def _options(self, call: Call, credentials: Mapping[str, str], proxies: Proxies) -> dict[str, Any]:
        headers = _merged(self._headers, call.request.headers)
        return {
            "idle": call.options.timeout,
            "credentials": credentials,
            "headers": headers,
            "product": self._settings["product"],
            "redactor": self.credentials.redactor(credentials, (*secrets_among(headers), *proxies.secrets)),
        }

    def _open_workers(self) -> tuple[Workers, Workers]:
        if self._workers is None:
            from isochat.workers import Workers

            with self._lock:
                if self._workers is None:
                    self._workers = Workers(), Workers()
        return self._workers

    def _open_pools(self) -> Pools:
        # urllib3 takes longer to import than all of isochat, so it waits for the first call; aiohttp likewise.
        if self._pools is None:
            from isochat.transport.pools import Pools

            with self._lock:
                if self._pools is None:
                    self._pools = Pools(**self._pool_options())
        return self._pools

    def _open_async_pools(self) -> AsyncPools:
        if self._async_pools is None:
            from isochat.transport.async_pools import AsyncPools

            with self._lock:
                if self._async_pools is None:
                    self._async_pools = AsyncPools(**self._pool_options())
        return self._async_pools

    def _pool_options(self) -> dict[str, Any]:
        return {name: self._settings[name] for name in ("max_connections", "ca_bundle", "trust_env")}

    def _make_backend(self) -> Backend:
        host = self.credentials.host
        setup = Setup(
            host=host,
            route=self._route,
            api_base=host + PATHS[self._route],
            workspace_id=self.credentials.workspace_id,
            options=self._settings.options,
        )
        try:
            with named_as_culprit():
                return check_backend(self._backend_class, self._backend_class(setup))
        except ImportError as error:
            raise plugins.not_installed(self._backend_class.name, error) from error
        except ChatError:
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and not is_its_own(self._backend_class, error):
                raise
            raise blamed(self._backend_class, "cannot be made", error) from error


def _merged(headers: Mapping[str, str], over: Mapping[str, str]) -> Mapping[str, str]:
    if not over:
        return headers
    names = {name.lower() for name in over}
    return {**{name: value for name, value in headers.items() if name.lower() not in names}, **over}
