"""Which commands are there? The core's own, and those of the group ``isochat.commands``."""

from __future__ import annotations

import sys
from typing import Any

import click

from isochat.cli import exits
from isochat.cli.backends_command import backends
from isochat.cli.chat_command import chat
from isochat.cli.config_command import config
from isochat.errors import ChatError
from isochat.plugins import command_plugins
from isochat.version import __version__


class Commands(click.Group):
    """The command group; commands of plugins are looked up when they are first needed."""

    _found: dict[str, click.Command] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._of_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.commands.get(cmd_name) or self._of_plugins().get(cmd_name)

    def _of_plugins(self) -> dict[str, click.Command]:
        if self._found is None:
            self._found = {}
            for name, plugin in command_plugins():
                if isinstance(plugin, Exception):
                    click.echo(f"isochat: the command plugin {name!r} does not load: {plugin}", err=True)
                    continue
                for commands in plugin.hook.isochat_commands():
                    self._found.update({command.name: command for command in commands})
        return self._found


@click.group(cls=Commands, epilog=exits.EXPLAINED, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="isochat")
def isochat() -> None:
    """One chat() for Databricks model-serving endpoints, carried by the client you name."""


isochat.add_command(chat)
isochat.add_command(backends)
isochat.add_command(config)


def run() -> None:
    """Run the command line and end the process with one of the documented codes."""
    try:
        code: Any = isochat.main(prog_name="isochat", standalone_mode=False)
    except click.Abort:
        sys.stderr.write("\n")
        code = exits.INTERRUPTED
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        code = exits.INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = exits.NOTHING_SENT
    except ChatError as error:
        exits.fail(error, debug="--debug" in sys.argv)
    except BrokenPipeError:
        # The reader has left (`isochat ... | head`): that is its good right.
        sys.stderr.close()
        code = exits.OK
    raise SystemExit(code if isinstance(code, int) else exits.OK)
