"""Which flags of `isochat serve` have a recording answer, or a real workspace?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from isochat_workspace.serving.responder import Responder

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--replay", type=click.Path(path_type=Path), help="Answer out of this cassette, byte for byte."),
    click.option(
        "--record",
        type=click.Path(path_type=Path),
        help="Pass each request on to a real workspace and append the exchange to this cassette, without secrets.",
    ),
    click.option(
        "--upstream",
        metavar="URL",
        help="The real workspace to ask [default: that of Databricks' environment, DATABRICKS_HOST or a profile].",
    ),
    click.option(
        "--upstream-token",
        envvar="ISOCHAT_UPSTREAM_TOKEN",
        show_envvar=True,
        help="Its token [default: DATABRICKS_TOKEN, if DATABRICKS_HOST is the same host]. Clients never need it.",
    ),
    click.option("--upstream-profile", metavar="NAME", help="A profile of ~/.databrickscfg in place of a token."),
)


def source_options(command: Command) -> Command:
    """Add the flags to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_responder(given: dict[str, Any]) -> Responder | None:
    """What the flags, by their names, have answer; None where they have none.

    Raises:
        click.UsageError: flags that exclude each other, or that lack another one.
        ConfigurationError: the cassette or the credentials cannot be used.
    """
    of_upstream = [name for name in ("record", "upstream", "upstream_profile") if given[name] is not None]
    # In the environment it may stand for other days.
    if click.get_current_context().get_parameter_source("upstream_token") is ParameterSource.COMMANDLINE:
        of_upstream.append("upstream_token")
    if given["replay"] is not None:
        if of_upstream:
            raise click.UsageError(f"--replay asks no workspace: leave out --{of_upstream[0].replace('_', '-')}")
        from isochat_workspace.recording.cassette import Cassette

        return Cassette(given["replay"])
    if not of_upstream:
        return None
    if of_upstream == ["upstream_token"]:
        raise click.UsageError("--upstream-token is for a workspace to be asked: add --upstream or --record")
    if given["upstream"] == "":
        raise click.UsageError("--upstream is empty: give the URL of the workspace, or leave it out")
    from isochat_workspace.recording.proxy import Proxy

    profile = given["upstream_profile"]
    return Proxy(
        given["upstream"],
        # A token that stands in the environment gives way to a profile that is named.
        token=None if profile else given["upstream_token"],
        profile=profile,
        record=given["record"],
    )


def told_source(responder: Responder) -> Iterator[str]:
    """Lines for people: what answers, and what is kept of it."""
    from isochat_workspace.recording.cassette import Cassette
    from isochat_workspace.recording.proxy import Proxy

    if isinstance(responder, Cassette):
        yield f"Replaying {_counted(responder.count)} of {responder.path}"
        if responder.torn:
            yield "The last exchange of the cassette was not written to its end and is left out"
    if isinstance(responder, Proxy) and (writer := responder.writer) is not None:
        yield f"Recording into {writer.path}" + (f", behind {_counted(writer.kept)}" if writer.kept else "")
        if writer.mended:
            yield "The last exchange of the cassette was not written to its end and has been cut off"


@contextmanager
def warnings_shown() -> Iterator[None]:
    """While it lasts, what is not recorded is told on stderr, beside whatever stdout is read by."""
    logger, handler = logging.getLogger("isochat.workspace.proxy"), _OnStderr(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"isochat: {record.getMessage()}", err=True)


def _counted(exchanges: int) -> str:
    return "1 exchange" if exchanges == 1 else f"{exchanges} exchanges"
