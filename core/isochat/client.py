"""How is a chat call made? The client: settings in, one policy around one backend, a normalised result out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, Unpack, overload

from isochat import calling, plugins
from isochat.backend import Backend, Capabilities
from isochat.call import Call
from isochat.carrier import Carrier
from isochat.closing import Closing
from isochat.config.settings import resolve
from isochat.errors import ConfigurationError, InvalidInputError
from isochat.fallback import Fallback, fallback_of
from isochat.foreign_code import check_class
from isochat.messages import Messages
from isochat.observers import observers_of
from isochat.parameters import ChatParams
from isochat.policy import RetryBudget
from isochat.redaction import hidden, hidden_login, hidden_values, without_locals
from isochat.results import ChatResult
from isochat.streaming.streams import AsyncChatStream, ChatStream
from isochat.transport.deadline import Clock, SystemClock
from isochat.wire_format.json_text import type_name

_DEFAULT_BACKEND = "rest"


class Client:
    """Chats with one Databricks serving endpoint through one client library.

    Made without opening a socket; it imports the client of the one backend asked for. One object serves many
    threads. Use it as a context manager, or call :meth:`close`, to give its connections back early.

    Args:
        backend: Name of an installed backend (``isochat.backends()`` lists them), or a :class:`Backend` class.
            Default ``rest``.
        target: A section of ``isochat.toml`` that holds settings and default parameters.
        endpoint: Name of the serving endpoint.
        host: The workspace's URL; a pasted browser URL is cleaned.
        token: A personal access token. Host and token may also come from ``DATABRICKS_HOST`` and
            ``DATABRICKS_TOKEN``; a token from the environment goes only to the host that the environment names.
        profile: A profile of ``~/.databrickscfg``. OAuth, Azure and notebooks go through the Databricks SDK.
        route: ``serving-endpoints``; ``ai-gateway`` for model services, with the backends that can take it; ``auto``
            picks the gateway for a name with two dots.
        timeout: Longest silence once the reply has begun, in seconds.
        deadline: The whole call with retries, login and waiting, in seconds.
        max_retries: Further attempts; 0 means exactly one request.
        retry_after_execution: Also send again when the model may have run already.
        retry_budget: Where retries are spent from, to share one between clients; by default each client has its own.
        on_unsupported: What to do with what the backend's API cannot carry: ``raise``, ``warn`` (drop it with an
            :class:`isochat.UnsupportedParameterWarning`) or ``drop``. Either way ``meta.warnings`` lists it.
        headers: Headers for every request.
        fallback: Who carries a call on where the service cannot be had and the model has certainly not run: names of
            backends, which ask the same endpoint with the same login, or ``target:NAME``, with its own. Inside the same
            deadline; ``meta.backend`` is who answered, ``meta.warnings`` says why. See ``docs/fallback.md``.
        trust_env: Read proxy and certificate settings from the environment.
        ca_bundle: A PEM file of certificate authorities.
        max_connections: Connections at once, those of all threads together, and of each event loop those of its own;
            further calls wait for a free one. A stream holds one until it ends.
        auth_scheme: ``bearer``, or ``basic`` as in ``curl -u token:...``.
        allow_insecure: Allow plain http to a host that is not this machine.
        config_file: The ``isochat.toml`` to read.
        observers: Who is told of each call: names of installed observers, or plugin objects or modules with the hooks
            of :mod:`isochat.hookspecs`. They have no say in it. See ``docs/observers.md``.
        backend_options: What the backend takes beyond these: ``served_model=`` names one of an endpoint's served models
            (``rest``, ``mlflow``, ``databricks-sdk``), ``api="responses"`` asks such a path in the words of the
            Responses API, which ResponsesAgent endpoints take; ``product=`` is appended to the User-Agent.

    Raises:
        ConfigurationError: settings, credentials, target or backend are not usable; the message names which.
        UnsafeInputError: a name, host, token or header could break out of its place on the wire.
    """

    def __init__(
        self,
        backend: str | type[Backend] | None = None,
        *,
        target: str | None = None,
        endpoint: str | None = None,
        host: str | None = None,
        token: str | None = None,
        profile: str | None = None,
        route: str | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        max_retries: int | None = None,
        retry_after_execution: bool | None = None,
        on_unsupported: Literal["raise", "warn", "drop"] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_budget: RetryBudget | None = None,
        fallback: Sequence[str] | None = None,
        trust_env: bool | None = None,
        ca_bundle: str | None = None,
        max_connections: int | None = None,
        auth_scheme: Literal["bearer", "basic"] | None = None,
        allow_insecure: bool | None = None,
        config_file: str | os.PathLike[str] | None = None,
        observers: Sequence[Any] | None = None,
        **backend_options: Any,
    ) -> None:
        # First of all, so that no traceback with local variables shows them, of this frame or one below.
        token, host, headers = hidden(token), hidden_login(host), hidden_values(headers)
        product = backend_options.pop("product", None)
        arguments = {
            "backend": backend if isinstance(backend, str) else None,
            "endpoint": endpoint, "host": host, "token": token, "profile": profile, "route": route,
            "timeout": timeout, "deadline": deadline, "max_retries": max_retries,
            "retry_after_execution": retry_after_execution, "on_unsupported": on_unsupported,
            "headers": headers, "trust_env": trust_env, "ca_bundle": ca_bundle,
            "max_connections": max_connections, "auth_scheme": auth_scheme,
            "allow_insecure": allow_insecure, "product": product, "fallback": fallback, "observers": observers,
        }  # fmt: skip
        settings = resolve(arguments, target=target, config_file=config_file, options=backend_options)
        if isinstance(backend, type) and issubclass(backend, Backend):
            backend_class = check_class(backend, f"the backend class {backend.__qualname__}")
        elif backend is None or isinstance(backend, str):
            backend_class = plugins.load_backend(settings["backend"] or _DEFAULT_BACKEND)
        else:
            raise ConfigurationError(
                f"backend is {backend!r:.80}; expected a name or a Backend class", remedy="See isochat.backends()"
            )
        if retry_budget is not None and not isinstance(retry_budget, RetryBudget):
            raise ConfigurationError(
                f"retry_budget is {retry_budget!r:.80}",
                remedy="Pass an isochat.RetryBudget, to share it, or leave it out",
            )
        self._clock: Clock = SystemClock()
        self._closing = Closing()
        self._carrier = Carrier(settings, backend_class, retry_budget or RetryBudget())
        self._observers = observers_of(settings)
        self._fallback: Fallback | None = fallback_of(self._carrier, settings, backend_class, config_file)

    @property
    def capabilities(self) -> Capabilities:
        """What this client's backend can do here: natively asynchronous ones need the extra ``async``."""
        return self._carrier.capabilities

    @property
    def backend(self) -> Backend:
        """The backend object; ``held_by`` of it reads ``meta.native``.

        Raises:
            ConfigurationError: the workspace is not known before the first call.
        """
        return self._carrier.connections.backend

    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[False] = False, **params: Unpack[ChatParams]
    ) -> ChatResult: ...
    @overload
    def chat(self, messages: Messages, *, stream: Literal[True], **params: Unpack[ChatParams]) -> ChatStream: ...
    @overload
    def chat(self, messages: Messages, *, stream: bool, **params: Unpack[ChatParams]) -> ChatResult | ChatStream: ...

    def chat(
        self, messages: Messages, *, stream: bool = False, **params: Unpack[ChatParams]
    ) -> ChatResult | ChatStream:
        """Ask the endpoint and wait for its whole answer, or for the beginning of a stream.

        Args:
            messages: A string (one user message), or a sequence of ``{"role": ..., "content": ...}`` mappings and
                :class:`isochat.Message` objects.
            stream: Return a :class:`~isochat.streaming.streams.ChatStream` as soon as the reply's status is known.
                Token counts are asked for (``stream_options``) where the endpoint takes that.
            params: See :class:`isochat.parameters.ChatParams`.

        Raises:
            InvalidInputError: the request is refused before anything is sent.
            ChatError: one of the tree in :mod:`isochat.errors`; it says whether the model may have run.
        """
        call = self._begin(messages, stream, params)
        try:
            answer = calling.stream(call) if stream else calling.complete(call)
        except BaseException as error:
            _end_badly(call, error)
            raise
        if call.watch is not None:
            call.watch.answered(answer)
        return answer

    @overload
    async def achat(
        self, messages: Messages, *, stream: Literal[False] = False, **params: Unpack[ChatParams]
    ) -> ChatResult: ...
    @overload
    async def achat(
        self, messages: Messages, *, stream: Literal[True], **params: Unpack[ChatParams]
    ) -> AsyncChatStream: ...
    @overload
    async def achat(
        self, messages: Messages, *, stream: bool, **params: Unpack[ChatParams]
    ) -> ChatResult | AsyncChatStream: ...

    async def achat(
        self, messages: Messages, *, stream: bool = False, **params: Unpack[ChatParams]
    ) -> ChatResult | AsyncChatStream:
        """As :meth:`chat`, on the running event loop: natively, or in bounded threads, as :attr:`capabilities` say.

        One client object serves several loops, and threads beside them. A cancelled call closes its connection, and
        the cancellation passes as it is.
        """
        call = self._begin(messages, stream, params)
        try:
            answer = await (calling.astream(call) if stream else calling.acomplete(call))
        except BaseException as error:
            _end_badly(call, error)
            raise
        if call.watch is not None:
            call.watch.answered(answer)
        return answer

    def close(self) -> None:
        """Give the connections back. A closed client refuses further calls, and one that pauses before it is sent again
        ends.
        """
        self._closing.close()
        with contextlib.ExitStack() as stack:
            for carrier in self._carriers():
                stack.callback(carrier.connections.close)

    async def aclose(self) -> None:
        """As :meth:`close`, and wait until the connections of the running event loop are closed."""
        self._closing.close()
        async with contextlib.AsyncExitStack() as stack:
            for carrier in self._carriers():
                stack.push_async_callback(carrier.connections.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Client({self._carrier.name!r}, endpoint={self._carrier.endpoint!r})"

    def __reduce__(self) -> Any:
        raise ConfigurationError(
            "a Client holds connections and credentials and does not pickle", remedy="Make one in each process"
        )

    def _begin(self, messages: Messages, stream: bool, params: Any) -> Call:
        if self._closing.closed:
            raise ConfigurationError("this client is closed", remedy="Make a new one")
        if not isinstance(stream, bool):
            raise InvalidInputError(f"stream is {type_name(stream)}; expected a boolean")
        if "extra_headers" in params:  # here too, so that no traceback shows what may be a secret
            params["extra_headers"] = hidden_values(params["extra_headers"])
        request, options = self._carrier.prepare(messages, stream, params)
        call = Call(self._carrier, request, options, self._clock, self._closing)
        if self._fallback is not None:
            call.succession = self._fallback.succession(messages, stream, params)
        if self._observers is not None:
            call.watch = self._observers.watch(request)
        return call

    def _carriers(self) -> list[Carrier]:
        return [self._carrier, *(self._fallback.retire() if self._fallback is not None else ())]


def _end_badly(call: Call, error: BaseException) -> None:
    without_locals(error)
    if call.watch is not None:
        call.watch.failed(error)
