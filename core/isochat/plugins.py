"""Which backends are there, and how is one loaded?

By name, from the entry points of installed distributions, and only the one asked for: a broken plugin harms
nobody who did not ask for it. The brackets of an entry point name the extra that brings its client.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib.metadata
import re
from types import ModuleType
from typing import Any

import msgspec
import pluggy

from isochat import hookspecs
from isochat.backend import Backend, Capabilities
from isochat.errors import BackendNotFoundError, BackendNotInstalledError, PluginError

BACKENDS = "isochat.backends"
COMMANDS = "isochat.commands"


class BackendInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One backend as its distribution's metadata describe it.

    Attributes:
        installed: Whether every distribution that its extra names is installed.
        install: The line that installs what is missing.
        capabilities: Known after :func:`backends` with ``load=True``.
        problem: Why loading failed, with ``load=True``.
    """

    name: str
    distribution: str
    installed: bool
    install: str
    capabilities: Capabilities | None = None
    problem: str | None = None


def backends(*, load: bool = False) -> dict[str, BackendInfo]:
    """The backends of all installed distributions, by name, in the order of their names.

    Reads metadata alone. ``load=True`` also imports each backend's module (never its client) and asks it for its
    capabilities; one that is broken has its reason in ``problem``.
    """
    found: dict[str, BackendInfo] = {}
    for name in sorted({entry.name for entry in _entry_points(BACKENDS)}):
        entry = next(iter(_entry_points(BACKENDS, name)))
        info = BackendInfo(
            name=name,
            distribution=_distribution(entry),
            installed=not _missing(entry),
            install=install_line(entry),
        )
        if load:
            try:
                info = msgspec.structs.replace(info, capabilities=load_backend(name).capabilities)
            except PluginError as error:
                info = msgspec.structs.replace(info, problem=str(error))
        found[name] = info
    return found


@functools.lru_cache(maxsize=64)
def load_backend(name: str) -> type[Backend]:
    """The backend class called ``name``.

    Raises:
        BackendNotFoundError: no distribution offers it; the message names the nearest.
        PluginError: its module does not import, does not keep the seam, or two distributions claim the name.
    """
    entry = _one_entry_point(name)
    where = f"backend {name!r} of distribution {_distribution(entry)!r}"
    try:
        module = entry.load()
        backend = _ask(module)
    except Exception as error:
        raise PluginError(
            f"{where} does not load: {type(error).__name__}: {error}", remedy="Repair or uninstall that distribution"
        ) from error
    except SystemExit as error:
        raise PluginError(f"{where} ended the interpreter while loading", remedy="Uninstall it") from error
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise PluginError(f"{where} gives {backend!r} where a Backend class is expected")
    if getattr(backend, "name", None) != name or not isinstance(getattr(backend, "capabilities", None), Capabilities):
        raise PluginError(
            f"{where} gives a class that calls itself {getattr(backend, 'name', None)!r}",
            remedy="name must equal the entry point's name, capabilities must be a Capabilities",
        )
    return backend


def backends_with_option(option: str) -> list[str]:
    """Names of the backends whose clients take the argument ``option``; one that does not load is passed over."""
    found = []
    for name in sorted({entry.name for entry in _entry_points(BACKENDS)}):
        with contextlib.suppress(PluginError):
            if option in load_backend(name).options:
                found.append(name)
    return found


def not_installed(name: str, error: ImportError) -> BackendNotInstalledError:
    """The error for a backend whose client does not import."""
    entries = list(_entry_points(BACKENDS, name))
    line = install_line(entries[0]) if entries else f"pip install {error.name or name}"
    return BackendNotInstalledError(
        f"backend {name!r} needs a client that does not import: {error}", remedy=line, backend=name
    )


def install_line(entry: importlib.metadata.EntryPoint) -> str:
    """The command that installs the backend's client."""
    extras = ",".join(_extras(entry))
    return f"pip install '{_distribution(entry)}[{extras}]'" if extras else f"pip install {_distribution(entry)}"


def command_plugins() -> list[tuple[str, pluggy.PluginManager | Exception]]:
    """The plugins of the command line: each with a hook caller of its own, or the reason why it does not load."""
    loaded: list[tuple[str, pluggy.PluginManager | Exception]] = []
    for entry in sorted(_entry_points(COMMANDS), key=lambda e: e.name):
        try:
            loaded.append((entry.name, _manager_of(entry.load())))
        except Exception as error:
            loaded.append((entry.name, error))
    return loaded


def _one_entry_point(name: str) -> importlib.metadata.EntryPoint:
    entries = list(_entry_points(BACKENDS, name))
    if not entries:
        known = sorted({entry.name for entry in _entry_points(BACKENDS)})
        close = difflib.get_close_matches(name, known, n=1)
        raise BackendNotFoundError(
            f"there is no backend {name!r}",
            remedy=(f"Did you mean {close[0]!r}? " if close else "") + f"Installed are: {', '.join(known)}",
        )
    owners = sorted({_distribution(entry) for entry in entries})
    if len(owners) > 1 or len({entry.value for entry in entries}) > 1:
        raise PluginError(
            f"backend {name!r} is claimed by {len(entries)} plugins of {' and '.join(owners)}",
            remedy="Uninstall one of them",
        )
    return entries[0]


def _ask(module: ModuleType) -> Any:
    return _manager_of(module).hook.isochat_backend()


def _manager_of(module: ModuleType) -> pluggy.PluginManager:
    # One manager for one plugin: another plugin's hook can neither raise in nor shadow this call.
    manager = pluggy.PluginManager("isochat")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    return manager


def _entry_points(group: str, name: str | None = None) -> importlib.metadata.EntryPoints:
    found = importlib.metadata.entry_points(group=group)
    return found if name is None else found.select(name=name)


def _distribution(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _extras(entry: importlib.metadata.EntryPoint) -> list[str]:
    # EntryPoint.extras takes "databricks-sdk" for two extras.
    brackets = re.search(r"\[([^\]]*)\]", entry.value)
    return [extra.strip() for extra in brackets[1].split(",")] if brackets else []


def _missing(entry: importlib.metadata.EntryPoint) -> list[str]:
    """The distributions that the entry point's extras require and that are not installed."""
    missing = []
    extras = _extras(entry)
    for requirement in (entry.dist.requires if entry.dist else None) or ():
        name, _, marker = requirement.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if extra is None or extra[1] not in extras:
            continue
        project = re.match(r"[A-Za-z0-9._-]+", name.strip())
        if project is not None and not _is_installed(project[0]):
            missing.append(project[0])
    return missing


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
