"""How is one fault put to one backend, in one mode? Over real sockets, in bounded time, its requests counted.

All findings are collected, in words. Pauses between attempts pass at once, on a clock of the bench's own that adds them
up; every other second is real.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import msgspec

from isochat import plugins
from isochat.backend import Backend
from isochat.client import Client
from isochat.request import Api
from isochat_conformance.asking import without_warnings
from isochat_conformance.fault_bytes import Texts
from isochat_conformance.fault_call import SkippingClock, ask_in_thread, ask_on_loop, environment, filled
from isochat_conformance.fault_check import Came, check
from isochat_conformance.fault_row import Asked, Certificate, Fault
from isochat_conformance.fault_server import FaultServer
from isochat_conformance.fault_table import layer_of
from isochat_conformance.fault_tls import Authority
from isochat_conformance.modes import Mode, is_async, is_streamed

TOKEN: Final = "dapi-fault-table-00000000000000000000"
# Whoever has not come back by then hangs.
_LONGEST = 60.0


class FaultOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one fault showed of one backend in one mode.

    Attributes:
        findings: All that is wrong, in words; empty if the row holds.
        not_applicable: Why it was not asked.
        said: The error's class, or ``answer``.
        requests: What the server had read.
        seconds: How long it took.
    """

    fault: str
    backend: str
    mode: Mode
    findings: tuple[str, ...] = ()
    not_applicable: str | None = None
    said: str = ""
    requests: int = 0
    seconds: float = 0.0

    @property
    def case(self) -> str:
        """The row's id, as a case of the suite has it."""
        return self.fault

    @property
    def passed(self) -> bool:
        """Whether the row holds, or does not concern the backend."""
        return not self.findings

    @property
    def carried(self) -> bool:
        """Whether the row was put to it: no fault is refused."""
        return True


class FaultBench:
    """Where faults are put to backends, as a context manager."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        self._authority: Authority | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._folder.cleanup()

    def run(
        self, backend: str | type[Backend], fault: Fault, modes: Sequence[Mode] | None = None
    ) -> list[FaultOutcome]:
        """Put ``fault`` to ``backend`` in each of its modes, at the same time where they do not disturb each other.

        Args:
            modes: In these alone.

        Raises:
            ConfigurationError: there is no such backend, it does not load, or its client is not installed.
            ModuleNotFoundError: a row needs certificates, and the extra ``conformance`` is not installed.
        """
        kind = _loaded(backend)
        # Environment variables are the whole process's.
        workers = 1 if fault.client.environ else len(fault.modes)
        asked = [mode for mode in fault.modes if modes is None or mode in modes]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda mode: self.run_in(mode, kind, fault), asked))

    def run_in(self, mode: Mode, kind: type[Backend], fault: Fault) -> FaultOutcome:
        """Put ``fault`` to a backend's class in one mode."""
        reason = not_applicable(kind, fault, mode)
        if reason is not None:
            return FaultOutcome(fault=fault.id, backend=kind.name, mode=mode, not_applicable=reason)
        started = time.monotonic()
        came, findings = Came(mode=mode), []
        asked: Asked = "stream" if is_streamed(mode) else "call"
        with self.servers(fault, kind.capabilities.api, asked) as (server, proxy, other):
            asking = threading.Thread(target=self._ask, args=(came, kind, fault, server, proxy, other), daemon=True)
            asking.start()
            asking.join(_LONGEST)
            if asking.is_alive():
                findings.append(f"the call hangs: it was not over after {_LONGEST:g} s")
        # The servers are closed: what was under way to them has come, or never will.
        came.requests, came.connections = server.requests, server.connections
        came.proxied, came.other_connections = proxy.requests, other.connections
        for one in (server, proxy, other):
            findings += [f"the fault server itself failed: {failure!r}" for failure in one.failures]
        if not asking.is_alive():
            findings += check(came, fault, kind.name, TOKEN)
        return FaultOutcome(
            fault=fault.id,
            backend=kind.name,
            mode=mode,
            findings=tuple(findings),
            said="answer" if came.error is None else type(came.error).__name__,
            requests=len(came.requests),
            seconds=time.monotonic() - started,
        )

    # -- servers ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def servers(self, fault: Fault, api: Api, asked: Asked) -> Iterator[tuple[FaultServer, FaultServer, FaultServer]]:
        """The server of ``fault``, its proxy, and another one that nobody should ask; closed afterwards."""
        places = {"token": TOKEN}

        def texts(url: str) -> Texts:
            return Texts(api, asked, {"url": url, **places})

        scheme = "https" if fault.client.https or fault.speaks_tls else "http"
        with FaultServer(((),), texts) as other:
            places["other"] = other.url
            with FaultServer(fault.proxy, texts) as proxy:
                places["proxy"] = proxy.url
                with FaultServer(fault.server, texts, self._context, scheme) as server:
                    yield server, proxy, other

    @property
    def authority(self) -> Authority:
        """Who has signed the servers' certificates; made when it is first needed."""
        with self._lock:
            if self._authority is None:
                self._authority = Authority(Path(self._folder.name))
            return self._authority

    def _context(self, certificate: Certificate) -> Any:
        return self.authority.context(certificate)

    # -- the client -------------------------------------------------------------------------------------------

    def _ask(
        self, came: Came, kind: type[Backend], fault: Fault, server: FaultServer, proxy: FaultServer, other: FaultServer
    ) -> None:
        places = {"url": server.url, "proxy": proxy.url, "other": other.url, "port": str(server.port)}
        try:
            with environment({name: filled(text, places) for name, text in fault.client.environ.items()}):
                client = self._client(kind, fault, server, places)
                client._clock = came.clock = clock = SkippingClock()
                settings = fault.client
                messages = filled(settings.ask, places)
                arguments = {"messages": messages * settings.repeat, **settings.params}
                if not is_async(came.mode):
                    with client:
                        ask_in_thread(came, client, settings.before, arguments, clock)
                else:
                    asyncio.run(ask_on_loop(came, client, settings.before, arguments, clock))
        except Exception as error:
            came.error = error

    def _client(self, kind: type[Backend], fault: Fault, server: FaultServer, places: Mapping[str, str]) -> Client:
        settings = fault.client
        trusted = settings.trusts and server.url.startswith("https") and "SSL_CERT_FILE" not in settings.environ
        return Client(
            kind,
            endpoint=settings.endpoint,
            host=server.url if settings.host is None else filled(settings.host, places),
            token=TOKEN if settings.token is None else settings.token,
            headers=settings.headers,
            max_retries=settings.max_retries,
            deadline=settings.deadline,
            timeout=settings.timeout,
            max_connections=settings.max_connections,
            retry_after_execution=settings.retry_after_execution,
            ca_bundle=self.authority.bundle if trusted else None,
            trust_env=bool(settings.environ),
            fallback=(),
        )


def not_applicable(kind: type[Backend], fault: Fault, mode: Mode) -> str | None:
    """Why ``fault`` cannot be put to that backend in that mode; ``None`` where it can."""
    capabilities = kind.capabilities
    if capabilities.own_transport and layer_of(fault.id) == "transport":
        return "the backend moves its bytes itself: this row is about how they are moved"
    if is_streamed(mode) and not capabilities.streaming:
        return "the backend does not stream"
    return fault.not_applicable.get(capabilities.api)


def _loaded(backend: str | type[Backend]) -> type[Backend]:
    with without_warnings():
        kind = plugins.load_backend(backend) if isinstance(backend, str) else backend
        # Imports the client, before threads ask it at the same time.
        Client(kind, endpoint="faults", host="http://127.0.0.1:9", token=TOKEN, trust_env=False).close()
    return kind
