"""What does a file declare a workspace to be? A `workspace.toml`: its address, token, endpoints and their models."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isochat.errors import ConfigurationError
from isochat_workspace.endpoints import Endpoint
from isochat_workspace.models.model_table import AnyModel, make_model
from isochat_workspace.serving.gateway import GatewayState
from isochat_workspace.serving.oidc import ServicePrincipal
from isochat_workspace.strict_table import check_keys, read_table, read_toml

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_TOKEN = re.compile(r"[!-~]+")
_ENDPOINT_KEYS = (
    "model",
    *(field.name for field in dataclasses.fields(Endpoint) if field.name not in ("name", "model")),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Declaration:
    """A workspace as a file declares it: each field is a key. None is what the file leaves to others."""

    endpoints: tuple[Endpoint, ...] | None = None
    token: str | None = None
    host: str | None = None
    port: int | None = None
    gateway: GatewayState = "on"
    service_principal: ServicePrincipal | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ValueError("token has to be ASCII without blanks, as it stands in a header")
        if self.port is not None and not 0 <= self.port <= 65535:
            raise ValueError("port has to be between 0 and 65535")
        if self.host is not None and not self.host.strip():
            raise ValueError("host is empty: write an address, 127.0.0.1 for this machine alone")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError("max_seconds has to be above 0")


_KEYS = tuple(field.name for field in dataclasses.fields(Declaration))


def read_declaration(path: str | os.PathLike[str]) -> Declaration:
    """Read a `workspace.toml`.

    Raises:
        ConfigurationError: the file cannot be read, or has a mistake: an unknown key, a wrong type, a model that is
            none. The message names file, table and key, and the nearest valid one.
    """
    file = Path(path).expanduser()
    data = read_toml(file)
    check_keys(data, _KEYS, str(file))
    # Endpoints are tables by name, and their models objects: these are no values that a table of the file holds.
    endpoints = _Endpoints(file).read(data.pop("endpoints")) if "endpoints" in data else None
    return read_table(Declaration, data, str(file), endpoints=endpoints)


def declared_endpoints(lines: Sequence[str]) -> tuple[Endpoint, ...]:
    """Endpoints as a command line names them, each `NAME=MODEL`; paths start from the working directory.

    Raises:
        ConfigurationError: a line is not of this form, or its model is none.
    """
    tables: dict[str, Any] = {}
    for line in lines:
        name, equals, model = line.partition("=")
        if not name or not equals or not model or name in tables:
            problem = "names an endpoint twice" if name in tables else "is not NAME=MODEL"
            raise ConfigurationError(f"the endpoint {line!r} {problem}", remedy="Write it like my-endpoint=scripted")
        tables[name] = {"model": model}
    return _Endpoints(Path("command line")).read(tables)


class _Endpoints:
    """The endpoints of one file. A model named twice is one model, so that weights are loaded once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._models: dict[str, AnyModel] = {}

    def read(self, tables: Any) -> tuple[Endpoint, ...]:
        if not isinstance(tables, dict):
            raise ConfigurationError(f"endpoints in {self._file} is no table", remedy="Write [endpoints.NAME]")
        if not tables:
            raise ConfigurationError(f"[endpoints] in {self._file} is empty", remedy="Write [endpoints.NAME]")
        return tuple(self._endpoint(name, table) for name, table in tables.items())

    def _endpoint(self, name: str, table: Any) -> Endpoint:
        where = f"{self._file} [endpoints.{name}]"
        if not isinstance(table, dict):
            raise ConfigurationError(f"{where} is no table", remedy=f"Write [endpoints.{name}]")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{where}: a path cannot carry the name {name!r}",
                remedy="Use letters, digits, dots, dashes and underscores",
            )
        check_keys(table, _ENDPOINT_KEYS, where)
        if not isinstance(model := table.get("model", "scripted"), str):
            raise ConfigurationError(f"model in {where} is no text", remedy='Write model = "scripted"')
        settings = {key: value for key, value in table.items() if key != "model"}
        return read_table(Endpoint, settings, where, name=name, model=self._model(model, where))

    def _model(self, name: str, where: str) -> AnyModel:
        if name not in self._models:
            try:
                self._models[name] = make_model(name, self._file.parent)
            except ConfigurationError as error:
                raise ConfigurationError(f"{error.message}, in {where}", remedy=error.remedy) from None
        return self._models[name]
