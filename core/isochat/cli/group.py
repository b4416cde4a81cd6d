"""Which commands are there? The core's own, and those of the group ``isochat.commands``."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import click
import pluggy

from isochat.cli import exits
from isochat.cli.backends_command import backends
from isochat.cli.chat_command import chat
from isochat.cli.config_command import config
from isochat.cli.interrupts import leaving_at_once
from isochat.cli.printable import printable
from isochat.errors import PluginError
from isochat.foreign_code import said, shown
from isochat.plugins import command_plugins
from isochat.version import __version__


class _ReaderLeftError(Exception):
    """In place of BrokenPipeError, of which click makes an exit code of its own."""


class Commands(click.Group):
    """The command group; commands of plugins are looked up when they are first needed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._found: dict[str, click.Command] = {}
        self._to_load: Iterator[tuple[str, pluggy.PluginManager | PluginError]] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._of_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.commands.get(cmd_name) or self._of_plugins(cmd_name).get(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderLeftError from error

    @leaving_at_once()
    def _of_plugins(self, wanted: str | None = None) -> dict[str, click.Command]:
        """The commands of plugins; only those loaded that come before the one that is ``wanted``."""
        if self._to_load is None:
            self._to_load = command_plugins(wanted)
        for where, plugin in self._to_load:
            for command in _commands_of(where, plugin):
                if command.name:
                    self._found.setdefault(command.name, command)
            if wanted in self._found:
                break
        return self._found


def _commands_of(where: str, plugin: pluggy.PluginManager | PluginError) -> list[click.Command]:
    """The commands of a plugin; one that has none says why on stderr, and harms no other command."""
    if isinstance(plugin, PluginError):
        click.echo(f"isochat: {plugin.message}", err=True)
        return []
    try:
        told = [command for commands in plugin.hook.isochat_commands() for command in commands]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        click.echo(f"isochat: the {where} does not say its commands: {said(error)}", err=True)
        return []
    for wrong in (command for command in told if not isinstance(command, click.Command)):
        click.echo(f"isochat: the {where} gives {shown(wrong)}, which is no command", err=True)
    return [command for command in told if isinstance(command, click.Command)]


@click.group(cls=Commands, epilog=exits.EXPLAINED, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="isochat")
def isochat() -> None:
    """One chat() for Databricks model-serving endpoints, carried by the client you name."""


isochat.add_command(chat)
isochat.add_command(backends)
isochat.add_command(config)


def run() -> None:
    """Run the command line and end the process with one of the documented codes."""
    debug = "--debug" in sys.argv
    _prepare_streams()
    try:
        code: Any = isochat.main(prog_name="isochat", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:  # of Ctrl-C; click has ended the line in which the ^C stands
        code = exits.INTERRUPTED
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        code = exits.INTERRUPTED
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # which click has from 8.2 on; it shows the help
            error.show()
        else:
            where = error.ctx.command_path if error.ctx is not None else "isochat"
            sys.stderr.write(f"{where}: {printable(_sentence(error))}. See: {where} --help\n")
        code = exits.NOTHING_SENT
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (_ReaderLeftError, BrokenPipeError):
        # `isochat ... | head`: that is its good right. Nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exits.OK
    except Exception as error:
        exits.fail(error, debug)
    raise SystemExit(code if isinstance(code, int) else exits.OK)


def _sentence(error: click.UsageError) -> str:
    return " ".join(error.format_message().split()).rstrip(".")


def _prepare_streams() -> None:
    """Make sure that whatever a model says can be printed, and that closed streams are no surprise."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
