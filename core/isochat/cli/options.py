"""Which options do several commands share, and how do they become a client?"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from isochat.cli.interrupts import leaving_at_once
from isochat.client import Client
from isochat.config.targets import names_default
from isochat.errors import ConfigurationError
from isochat.plugins import command_plugins
from isochat.redaction import Secret

LOCAL_MODEL = "smollm2"


class Where(NamedTuple):
    """Which workspace a command talks to: arguments for :class:`isochat.Client`, and its names for people."""

    client: Mapping[str, Any]
    local: Any = None
    config_file: str | None = None

    def open(self, backend: str | None, **more: Any) -> Client:
        """A client on that workspace."""
        return Client(backend, **{**self.client, **more})


def where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which workspace and endpoint to talk to."""
    for option in reversed(
        (
            click.option("--target", metavar="NAME", help="A target of isochat.toml."),
            click.option("--endpoint", metavar="NAME", help="The serving endpoint."),
            click.option("--host", metavar="URL", help="The workspace. Its token comes from the environment."),
            click.option("--profile", metavar="NAME", help="A profile of ~/.databrickscfg."),
            click.option("--local", is_flag=True, help="Start a workspace on this machine for this command."),
            click.option(
                "--model",
                metavar="NAME",
                help=f"With --local: the model behind it, {LOCAL_MODEL} (real, the default) or scripted.",
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
            click.option("--debug", is_flag=True, help="Show a traceback when the command fails."),
        )
    ):
        command = option(command)
    return command


def parameter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that become parameters of the call."""
    for option in reversed(
        (
            click.option("--system", metavar="TEXT", help="A system message before the prompt."),
            click.option("--max-tokens", type=int, metavar="N"),
            click.option("--temperature", metavar="X", help="A number, or 'none' to send none."),
            click.option("--top-p", type=float, metavar="X"),
            click.option("--stop", multiple=True, metavar="TEXT", help="May be repeated."),
        )
    ):
        command = option(command)
    return command


def parameters(
    max_tokens: int | None, temperature: str | None, top_p: float | None, stop: tuple[str, ...]
) -> dict[str, Any]:
    """The parameters that were given, by isochat's names."""
    given: dict[str, Any] = {"max_tokens": max_tokens, "top_p": top_p, "stop": list(stop) or None}
    if temperature is not None and temperature.lower() != "none":
        try:
            given["temperature"] = float(temperature)
        except ValueError:
            raise click.BadParameter(
                f"{temperature!r} is neither a number nor 'none'", param_hint="--temperature"
            ) from None
    return {name: value for name, value in given.items() if value is not None}


def read_prompt(argument: str) -> str:
    """The prompt: the argument, or for ``-`` what standard input holds.

    Raises:
        UsageError: there is nothing in it.
    """
    prompt = sys.stdin.read() if argument == "-" else argument
    if not prompt.strip():
        raise click.UsageError("the prompt is empty")
    return prompt


def conversation(system: str | None, prompt: str) -> Any:
    """The messages of one question."""
    if system is None:
        return prompt
    return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]


@contextmanager
def opened(
    *,
    target: str | None,
    endpoint: str | None,
    host: str | None,
    profile: str | None,
    local: bool,
    model: str | None,
    fallback: Sequence[str] | None = (),
    on_local: Callable[[str], None] | None = None,
) -> Iterator[Where]:
    """The workspace that the options name; a local one runs as long as the block.

    Args:
        fallback: Who carries a call on; ``None`` leaves that to the settings. By default nobody.

    Raises:
        ConfigurationError: options that exclude each other, or no local workspace is installed.
    """
    if not local:
        if model is not None:
            raise ConfigurationError("--model goes with --local", remedy="Name an endpoint= of the workspace instead")
        file = config_file_here(target, fallback)
        where = {"target": target, "endpoint": endpoint, "host": host, "profile": profile}
        client: dict[str, Any] = {**where, "config_file": file, "fallback": fallback}
        yield Where({name: value for name, value in client.items() if value is not None}, config_file=file)
        return
    excluded = [f"--{name}" for name, value in (("target", target), ("host", host), ("profile", profile)) if value]
    excluded += [f"--fallback {name}" for name in fallback or () if name.startswith("target:")]
    if excluded:
        raise ConfigurationError(f"--local excludes {', '.join(excluded)}", remedy="Keep one of them")
    model = model or LOCAL_MODEL
    if on_local is not None:
        on_local(model)
    with _local_workspace(model) as workspace:
        client = {
            "host": workspace.url,
            "token": Secret(workspace.token),
            "endpoint": endpoint or workspace.default_endpoint,
            "fallback": fallback or (),  # whatever the environment says: nothing leaves this machine
        }
        yield Where(client, local=workspace)


def missing_extra(error: ImportError) -> ConfigurationError:
    """The error for a workspace on this machine that does not load; its own words may say what to install."""
    install = "pip install 'isochat[local]'"
    said = str(error).removesuffix(f": {install}")
    return ConfigurationError(f"the local workspace does not load: {said}", remedy=install)


@leaving_at_once()
def _local_workspace(model: str) -> Any:
    for _, plugin in command_plugins():
        if not isinstance(plugin, Exception):
            try:
                workspace = plugin.hook.isochat_local_workspace(model=model)
            except ValueError as error:
                raise ConfigurationError(str(error), remedy="Name another model with --model") from None
            except ImportError as error:
                raise missing_extra(error) from None
            if workspace is not None:
                return workspace
    raise ConfigurationError("no local workspace is installed", remedy="pip install 'isochat[local]'")


def config_file_here(target: str | None, fallback: Sequence[str] | None = None) -> str | None:
    """``isochat.toml``, or a ``pyproject.toml`` with a ``[tool.isochat]``, of the working directory.

    Only the command line looks here: a library must not take settings from wherever it happens to run. A file that
    names no default target is of use to those alone who name one.
    """
    if os.environ.get("ISOCHAT_CONFIG"):
        return None
    file = "isochat.toml" if Path("isochat.toml").is_file() else "pyproject.toml" if _has_section() else None
    listed = os.environ.get("ISOCHAT_FALLBACK", "") if fallback is None else " ".join(fallback)
    named = target or os.environ.get("ISOCHAT_TARGET") or "target:" in listed
    if file is not None and (named or names_default(file)):
        return file
    return None


def _has_section() -> bool:
    try:
        data = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "isochat" in data.get("tool", {})
