"""MLflow Deployments: ``get_deploy_client("databricks").predict``.

The door is a subclass. MLflow's client takes no credentials, no session and no retry setting; it looks them up in
module globals on every call. The subclass runs MLflow's own code of its two methods with private copies of those
globals: a workspace client and credentials that only isochat holds. MLflow's modules stay as they are for everybody
else. The names are the same in mlflow 2.20 to 3.17; a version that has moved them is told by name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar

from isochat.backend import Backend, Capabilities, Reply, Setup
from isochat.errors import PluginError
from isochat.hookspecs import hookimpl
from isochat.request import Request
from isochat.transport.wire import Wire
from isochat_adapters.requests_adapter import carried_by, workspace_client


class MlflowDeployments(Backend):
    """``predict`` of MLflow's Databricks deployment client."""

    name: ClassVar[str] = "mlflow"
    capabilities: ClassVar[Capabilities] = Capabilities(api="chat-completions")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._client = _deploy_client(setup)

    def complete(self, request: Request, wire: Wire) -> Reply:
        with carried_by(wire):
            native = self._client.predict(endpoint=request.endpoint, inputs=request.body)
        return Reply(
            status=wire.status or 0,
            headers=wire.headers,
            body=wire.body or b"",
            native=lambda: native,
            client_call="predict",
        )


def _deploy_client(setup: Setup) -> Any:
    from mlflow.deployments.databricks import DatabricksDeploymentClient
    from mlflow.utils import rest_utils

    host_creds = rest_utils.MlflowHostCreds
    options: dict[str, Any] = {"use_databricks_sdk": True}
    if setup.workspace_id and "workspace_id" in inspect.signature(host_creds.__init__).parameters:
        options["workspace_id"] = setup.workspace_id
    creds = host_creds(setup.host, **options)
    workspace = workspace_client(setup)
    http_request = functools.partial(
        _with_globals(rest_utils.http_request, get_workspace_client=lambda *args, **kwargs: workspace),
        max_retries=0,
    )
    private = {"http_request": http_request, "get_databricks_host_creds": lambda server_uri=None: creds}

    class PrivateClient(DatabricksDeploymentClient):
        _call_endpoint = _with_globals(DatabricksDeploymentClient._call_endpoint, **private)

    return PrivateClient("databricks")


def _with_globals(function: Callable[..., Any], **names: Any) -> Any:
    """The same code as ``function``, run with ``names`` in place of its module's globals of those names."""
    function = inspect.unwrap(function)  # MLflow 2 decorates some of them
    assert isinstance(function, FunctionType)
    missing = [name for name in names if name not in function.__code__.co_names]
    if missing:
        import mlflow

        raise PluginError(
            f"mlflow {mlflow.__version__} has moved {', '.join(missing)} out of {function.__qualname__}",
            remedy="pip install 'isochat[mlflow]' for a version that is known to work",
        )
    copy = FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


@hookimpl
def isochat_backend() -> type[Backend]:
    """What this module's entry point gives."""
    return MlflowDeployments
