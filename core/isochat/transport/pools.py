"""Which connection carries a request: straight or through a proxy, trusted by which certificates?

The pools are urllib3's; this module gives them isochat's connections, one TLS context and the proxy settings,
and drops them in a forked child, whose parent goes on using the same sockets.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from queue import Empty, Full
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from isochat.errors import ConfigurationError
from isochat.transport.connection import HttpPool, HttpsPool
from isochat.transport.proxies import Proxies, Proxy
from isochat.transport.tls import trusting

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

_POOL_CLASSES: Mapping[str, Any] = {"http": HttpPool, "https": HttpsPool}
# Idle connections kept where no bound is asked for: so many that urllib3 never logs of a full pool.
_KEPT_CONNECTIONS = 1024


class Pools:
    """The connections of one client object.

    Args:
        max_connections: Connections at once to one host; more wait for a free one. ``None``: no bound.
        ca_bundle: A file of certificate authorities to trust in place of the system's.
        trust_env: Read ``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE`` and ``REQUESTS_CA_BUNDLE``.
    """

    def __init__(
        self, *, max_connections: int | None = None, ca_bundle: str | None = None, trust_env: bool = True
    ) -> None:
        self._max_connections = max_connections
        self._ca_bundle = ca_bundle
        self._trust_env = trust_env
        self.proxies = Proxies(trust_env)
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str, int | None], urllib3.HTTPConnectionPool] = {}
        self._pid = os.getpid()

    def urlopen(self, wire: Wire) -> Any:
        """Send ``wire``'s request; the reply's body is left on the connection."""
        url = urlsplit(wire.url)
        return self._pool(url.scheme, url.hostname or "", url.port).urlopen(
            wire.method,
            url.path + (f"?{url.query}" if url.query else ""),
            body=wire.request_body or None,
            headers=wire.request_headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            timeout=None,
            pool_timeout=wire.deadline.left("pool") if self._max_connections else None,  # type: ignore[arg-type]
        )

    def drop_idle(self, address: str) -> None:
        """Close the connections to the host of ``address`` that are not in use."""
        url = urlsplit(address)
        pool = self._pools.get((url.scheme, url.hostname or "", url.port))
        queue = None if pool is None else pool.pool
        if queue is None:
            return
        places = 0
        with suppress(Empty):
            while True:
                connection = queue.get(block=False)
                places += 1
                if connection is not None:
                    connection.close()
        for _ in range(places):
            with suppress(Full):  # a place was given back meanwhile
                queue.put(None, block=False)

    def close(self) -> None:
        """Close the connections that are idle; those in use end with their replies."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def _pool(self, scheme: str, host: str, port: int | None) -> urllib3.HTTPConnectionPool:
        if self._pid != os.getpid():
            self._lock, self._pools, self._pid = threading.Lock(), {}, os.getpid()
        key = (scheme, host, port)
        pool = self._pools.get(key)
        if pool is None:
            with self._lock:
                pool = self._pools.get(key)
                if pool is None:
                    manager = self._new_manager(scheme, self.proxies.way_to(scheme, host, port))
                    pool = self._pools[key] = manager.connection_from_host(host, port, scheme)
        return pool

    def _new_manager(self, scheme: str, proxy: Proxy | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "maxsize": self._max_connections or _KEPT_CONNECTIONS,
            "block": self._max_connections is not None,
        }
        if scheme == "https":  # the system's certificates take longer to load than a local call
            options["ssl_context"] = self._tls_context()
        manager = urllib3.PoolManager(**options) if proxy is None else self._through(proxy, options)
        manager.pool_classes_by_scheme = dict(_POOL_CLASSES)
        return manager

    def _through(self, proxy: Proxy, options: dict[str, Any]) -> urllib3.ProxyManager:
        try:
            return urllib3.ProxyManager(
                proxy.url, proxy_headers=proxy.headers, proxy_ssl_context=self._tls_context(), **options
            )
        except (ValueError, urllib3.exceptions.HTTPError):
            raise ConfigurationError(
                "HTTPS_PROXY (or ALL_PROXY) is not a proxy's URL",
                remedy="Write it as http://HOST:PORT, or set trust_env=False",
            ) from None

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = trusting(self._ca_bundle, self._trust_env)
        return self._tls
