"""Which model does a name stand for? `KIND` or `KIND:ARGUMENT`, resolved by one table."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

from isochat.errors import ConfigurationError
from isochat_workspace.models.model import Model
from isochat_workspace.models.reply_file import FileReplay
from isochat_workspace.models.reply_source import ReplySource
from isochat_workspace.models.rules import read_rules
from isochat_workspace.models.scripted import Scripted
from isochat_workspace.recording.cassette_file import is_cassette

AnyModel = Model | ReplySource


@dataclasses.dataclass(frozen=True, slots=True)
class ModelKind:
    """One row of the table.

    `make` gets what follows the colon ("" where nothing does) and the folder that relative paths start from.
    `argument` names for people what follows the colon; None: nothing may. `required`: it must be there.
    """

    make: Callable[[str, Path], AnyModel]
    argument: str | None = None
    required: bool = False


def _scripted(argument: str, folder: Path) -> Model:
    return Scripted(rules=read_rules(folder / argument) if argument else ())


def _smollm2(argument: str, folder: Path) -> Model:
    from isochat_workspace.smollm2.model import SmolLM2

    return SmolLM2()


def _replay(argument: str, folder: Path) -> ReplySource:
    """A cassette, which says in its first line that it is one, or a file with a reply."""
    from isochat_workspace.recording.cassette import Cassette

    file = folder / argument
    return Cassette(file) if is_cassette(file) else FileReplay(file)


def _proxy(argument: str, folder: Path) -> ReplySource:
    from isochat_workspace.recording.proxy import Proxy

    return Proxy(argument or None)


MODEL_KINDS: Mapping[str, ModelKind] = {
    "scripted": ModelKind(_scripted, "RULES.toml"),
    "smollm2": ModelKind(_smollm2),
    "replay": ModelKind(_replay, "FILE", required=True),
    "proxy": ModelKind(_proxy, "HOST"),
}


def make_model(name: str, folder: Path) -> AnyModel:
    """The model that a name stands for. Raises ConfigurationError; `folder` is where relative paths start."""
    word, colon, argument = name.partition(":")
    kind = MODEL_KINDS.get(word)
    if kind is None:
        close = difflib.get_close_matches(word, MODEL_KINDS, n=1)
        raise ConfigurationError(
            f"unknown model {name!r}", remedy=f"Did you mean {close[0]!r}?" if close else f"Use {' or '.join(_shown())}"
        )
    if (colon and kind.argument is None) or (kind.required and not argument) or (colon and not argument):
        raise ConfigurationError(f"the model {name!r} is not written as it should be", remedy=f"Write {_form(word)}")
    return kind.make(argument, folder)


def _shown() -> list[str]:
    return [repr(_form(word)) for word in MODEL_KINDS]


def _form(word: str) -> str:
    kind = MODEL_KINDS[word]
    if kind.argument is None:
        return word
    return f"{word}:{kind.argument}" if kind.required else f"{word}[:{kind.argument}]"
