"""What does a backend bring to a call, with the settings it is used with?

A client has one. With ``fallback=`` others stand behind it; see :mod:`isochat.fallback`.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from isochat import plugins
from isochat.backend import Backend, Capabilities
from isochat.call import STREAM_OPTIONS, with_usage, without_stream_options
from isochat.config.credentials import Credentials
from isochat.config.settings import BY_NAME, Settings
from isochat.connections import Connections
from isochat.errors import ConfigurationError, UnsupportedParameterError
from isochat.messages import Messages
from isochat.parameters import UNSET
from isochat.policy import RetryBudget, RetryPolicy
from isochat.request import Api, Options, Request, build, call_options
from isochat.routes import check_route, choose_route
from isochat.text_safety import check_endpoint, check_headers


class Carrier:
    """One backend with its settings, its login and its connections.

    Attributes:
        name: The backend's name.
        endpoint: Whom it asks, over ``route``.
        native: Whether it serves event loops by itself.
        refused: Fields that the endpoint turned out not to know.

    Args:
        budget: What its retries are spent from.
        credentials: The login of another carrier, to share it; by default the settings say which.

    Raises:
        ConfigurationError: settings, credentials or backend are not usable; the message names which.
        UnsafeInputError: a name, host, token or header could break out of its place on the wire.
    """

    def __init__(
        self,
        settings: Settings,
        backend: type[Backend],
        budget: RetryBudget,
        credentials: Credentials | None = None,
    ) -> None:
        self._settings = settings
        self.name = backend.name
        self.endpoint: str | None = settings["endpoint"]
        self.capabilities = _installed(backend.capabilities)
        self.native = self.capabilities.asynchronous == "native"
        self.route = checked_route(settings, backend)
        self._served_model: str | None = settings.options.get("served_model")
        self._api: Api = settings.options.get("api") or backend.capabilities.api
        self._options = Options(settings["timeout"], settings["deadline"], settings["max_retries"])
        self.policy = RetryPolicy(settings["retry_after_execution"], budget)
        self.refused: set[str] = set()
        self.connections = Connections(settings, backend, self.route, credentials)

    def prepare(self, messages: Messages, stream: bool, params: Mapping[str, Any]) -> tuple[Request, Options]:
        """What is sent for one call, and how it is carried.

        Raises:
            InvalidInputError: messages or parameters that no request can be made of, or none of this backend.
            ConfigurationError: no endpoint is named.
        """
        if stream and not self.capabilities.streaming:
            raise UnsupportedParameterError(
                f"the backend {self.name!r} does not stream", remedy="Leave stream=True out"
            )
        given = dict(params)
        options = call_options(given, self._call_defaults())
        usage_unwanted = given.get("stream_options") is UNSET
        request = build(
            self._endpoint(),
            self._api,
            messages,
            given,
            self._target_params(),
            self._settings["on_unsupported"],
            self._served_model,
        )
        if stream and STREAM_OPTIONS in self.refused:
            request = without_stream_options(request)
        elif stream and not usage_unwanted:
            request = with_usage(request)
        return request, options

    def _endpoint(self) -> str:
        if self.endpoint is None:
            raise ConfigurationError(
                "no endpoint is named", remedy="Pass endpoint=, set ISOCHAT_ENDPOINT, or name one in the target"
            )
        return self.endpoint

    def _target_params(self) -> Mapping[str, Any]:
        return {name: value for name, value in self._settings.params.items() if name not in _CALL_OPTION_NAMES}

    def _call_defaults(self) -> Options:
        given = {name: value for name, value in self._settings.params.items() if name in _CALL_OPTION_NAMES}
        return call_options(given, self._options) if given else self._options


_CALL_OPTION_NAMES = ("timeout", "deadline", "max_retries")


def check_names(settings: Settings) -> None:
    """Raises UnsafeInputError, or ConfigurationError, unless what ``settings`` name may stand on the wire."""
    if settings["product"] is not None:
        check_headers({"User-Agent": settings["product"]}, "product")
    if settings["endpoint"] is not None:
        check_endpoint(settings["endpoint"])
    if settings.options.get("served_model") is not None:
        check_endpoint(settings.options["served_model"], "served_model")


def checked_route(settings: Settings, backend: type[Backend]) -> str:
    """The route that ``backend`` takes with ``settings``, which fit it.

    Raises:
        ConfigurationError: it has no such option, or cannot take that route.
        UnsafeInputError: as :func:`check_names`.
    """
    _check_options(backend, settings.options)
    check_names(settings)
    api = settings.options.get("api") or backend.capabilities.api
    if api not in ("chat-completions", "responses"):
        raise ConfigurationError(f"api is {api!r}", remedy="It may be chat-completions or responses")
    route = choose_route(settings["route"], settings["endpoint"])
    check_route(route, backend.capabilities.routes, backend.name, settings.options.get("served_model"))
    return route


def _installed(capabilities: Capabilities) -> Capabilities:
    if capabilities.asynchronous != "native":
        return capabilities
    try:
        found = importlib.util.find_spec("aiohttp") is not None
    except ImportError:  # of a finder that keeps it out
        found = False
    return capabilities if found else msgspec.structs.replace(capabilities, asynchronous="threads")


def _check_options(backend: type[Backend], options: Mapping[str, Any]) -> None:
    unknown = sorted(options.keys() - backend.options)
    if unknown:
        close = difflib.get_close_matches(unknown[0], [*BY_NAME, *backend.options], n=1)
        raise ConfigurationError(
            f"unknown argument {unknown[0]!r} for a client with the backend {backend.name!r}",
            remedy=_option_remedy(unknown[0], close),
        )


def _option_remedy(name: str, close: Sequence[str]) -> str:
    takers = plugins.backends_with_option(name)
    if takers:
        return f"Leave {name} out, or use a backend that takes it: {', '.join(takers)}"
    return f"Did you mean {close[0]!r}?" if close else "See help(isochat.Client)"
