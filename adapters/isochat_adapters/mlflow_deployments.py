"""MLflow Deployments: ``predict`` and ``predict_stream`` of ``get_deploy_client("databricks")``.

The door is a subclass. MLflow's client takes no credentials, no session and no retry setting; it looks them up in
module globals on every call. The subclass runs MLflow's own code of its two methods with private copies of those
globals: a workspace client and credentials that only isochat holds. MLflow's modules stay as they are for everybody
else. The names are the same in mlflow 2.20 to 3.17; a version that has moved them is told by name.

``predict_stream`` sends the request; the stream itself is read off the wire. MLflow's own reading of it ends at the
first comment, ``event:`` line or U+2028 (seen in 2.20 to 3.17), which keep-alives and other languages bring.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from isochat.backend import Backend, Capabilities, Reply, Setup
from isochat.errors import PluginError
from isochat.hookspecs import hookimpl
from isochat.request import Request
from isochat_adapters.private_globals import unused, with_globals
from isochat_adapters.requests_adapter import carried_by, reply_over, workspace_client

if TYPE_CHECKING:
    from isochat.transport.wire import Wire

# In no logger's tree, so that nothing of the host's logging is touched.
_silent = logging.Logger("isochat.mlflow", logging.CRITICAL + 1)


class MlflowDeployments(Backend):
    """``predict`` of MLflow's Databricks deployment client."""

    name: ClassVar[str] = "mlflow"
    capabilities: ClassVar[Capabilities] = Capabilities(api="chat-completions", surface="invocations", streaming=True)
    options: ClassVar[frozenset[str]] = frozenset({"served_model", "api"})

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._client = _deploy_client(setup)

    def complete(self, request: Request, wire: Wire) -> Reply:
        wire.client_call = "predict"
        return reply_over(wire, lambda: self._client.predict(endpoint=request.path, inputs=request.body))

    def stream(self, request: Request, wire: Wire) -> None:
        wire.client_call = "predict_stream"
        with carried_by(wire):
            # A generator: the request leaves with the first step.
            next(self._client.predict_stream(endpoint=request.path, inputs=request.body), None)


def _deploy_client(setup: Setup) -> Any:
    rest_utils, databricks = _mlflow_modules()
    host_creds = rest_utils.MlflowHostCreds
    options: dict[str, Any] = {"use_databricks_sdk": True}
    if setup.workspace_id and "workspace_id" in inspect.signature(host_creds.__init__).parameters:
        options["workspace_id"] = setup.workspace_id
    creds = host_creds(setup.host, **options)
    workspace = workspace_client(setup)
    http_request = functools.partial(
        _private(
            rest_utils.http_request,
            {"get_workspace_client": lambda *args, **kwargs: workspace},
            _side_effects(rest_utils),
        ),
        max_retries=0,
    )
    base = databricks.DatabricksDeploymentClient
    private = {"http_request": http_request, "get_databricks_host_creds": lambda server_uri=None: creds}

    # MLflow's own timeouts do not hold here; it need not warn about what the environment says of them.
    unwarned = {"validate_deployment_timeout_config": lambda *args: None}

    class PrivateClient(base):  # type: ignore[misc, valid-type]
        _call_endpoint = _private(base._call_endpoint, private, unwarned)
        _open_stream = _private(base._call_endpoint_stream, private, unwarned)

        def _call_endpoint_stream(self, **request: Any) -> Iterator[str]:
            self._open_stream(**request)
            return iter(("data: [DONE]",))

    return PrivateClient("databricks")


def _mlflow_modules() -> tuple[Any, Any]:
    """MLflow's modules; what importing them adds to the environment (a telemetry session) is taken out again."""
    first = "mlflow" not in sys.modules
    before = {name for name in os.environ if "MLFLOW" in name}
    from mlflow.deployments import databricks
    from mlflow.utils import rest_utils

    if first:
        for name in [name for name in os.environ if "MLFLOW" in name and name not in before]:
            os.environ.pop(name, None)
    return rest_utils, databricks


def _side_effects(rest_utils: Any) -> dict[str, Any]:
    """Stand-ins for what MLflow's request code does to the whole process, where the version does it.

    It swaps the process's warning filters during a call, which is not safe with threads, and warns in the log of
    retries that are used up; isochat's error says it all.
    """
    quiet: dict[str, Any] = {
        "warnings": SimpleNamespace(catch_warnings=nullcontext, filterwarnings=lambda *args, **kwargs: None)
    }
    retry = "_retry_databricks_sdk_call_with_exponential_backoff"
    if hasattr(rest_utils, retry):
        quiet[retry] = _private(getattr(rest_utils, retry), {}, {"_logger": _silent})
    return quiet


def _private(function: Callable[..., Any], needed: Mapping[str, Any], welcome: Mapping[str, Any] | None = None) -> Any:
    """``function`` with other values for some of its globals.

    Args:
        needed: Names that the code must use, or this is not the version it was written for.
        welcome: Names that it may use.
    """
    missing = unused(function, needed)
    if missing:
        import mlflow

        raise PluginError(
            f"mlflow {mlflow.__version__} has moved {', '.join(missing)} out of {function.__qualname__}",
            remedy="pip install 'isochat[mlflow]' for a version that is known to work",
        )
    return with_globals(function, {**(welcome or {}), **needed})


@hookimpl
def isochat_backend() -> type[Backend]:
    """What this module's entry point gives."""
    return MlflowDeployments
