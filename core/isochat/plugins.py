"""Which backends are there, and how is one loaded?

By name, from the entry points of installed distributions, and only the one asked for: a broken plugin harms
nobody who did not ask for it. The brackets of an entry point name the extra that brings its client.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib.metadata
import inspect
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pluggy

from isochat import hookspecs
from isochat.backend import Backend, Capabilities
from isochat.errors import BackendNotFoundError, BackendNotInstalledError, PluginError
from isochat.foreign_code import check_class, said, shown

BACKENDS = "isochat.backends"
COMMANDS = "isochat.commands"
OBSERVERS = "isochat.observers"


class BackendInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One backend as its distribution's metadata describe it.

    Attributes:
        installed: Whether every distribution that its extra names is installed.
        install: The line that installs what is missing.
        capabilities: Known after :func:`backends` with ``load=True``.
        problem: Why it cannot be used, as far as metadata say; with ``load=True`` also why loading failed.
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
    capabilities; one that is broken, or has not loaded after five seconds, has its reason in ``problem``.
    """
    found: dict[str, BackendInfo] = {}
    for name in sorted({entry.name for entry in _entry_points(BACKENDS)}):
        entries = _owners_first(_entry_points(BACKENDS, name))
        found[name] = BackendInfo(
            name=name,
            distribution=_distribution(entries[0]),
            installed=not _missing(entries[0]),
            install=install_line(entries[0]),
            problem=str(_unfit(name, entries) or "") or None,
        )
    if load:
        loading = {name: _Loading(name) for name, info in found.items() if info.problem is None}
        until = time.monotonic() + _PATIENCE
        for name, one in loading.items():
            found[name] = msgspec.structs.replace(found[name], **one.outcome(until))
    return found


class _Loading:
    """One backend's module being loaded, beside the others: one that hangs holds nobody up."""

    def __init__(self, name: str) -> None:
        self._kind: type[Backend] | None = None
        self._problem = f"has not loaded after {_PATIENCE:g} s"
        self._over = threading.Event()
        threading.Thread(target=self._load, args=(name,), name=f"isochat-load-{name}", daemon=True).start()

    def _load(self, name: str) -> None:
        try:
            self._kind = load_backend(name)
        except BaseException as error:  # an interrupt that the module itself raises, too
            self._problem = str(error) if isinstance(error, PluginError) else said(error)
        finally:
            self._over.set()

    def outcome(self, until: float) -> dict[str, Any]:
        """Capabilities or problem, at the monotonic time ``until`` at the latest."""
        self._over.wait(max(0.0, until - time.monotonic()))
        return {"problem": self._problem} if self._kind is None else {"capabilities": self._kind.capabilities}


_PATIENCE = 5.0


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
        backend = check_class(_manager_of(entry.load()).hook.isochat_backend(), where)
    except (KeyboardInterrupt, PluginError):
        raise
    except SystemExit as error:
        raise PluginError(f"{where} ended the interpreter while loading", remedy="Uninstall it") from error
    except BaseException as error:
        raise PluginError(
            f"{where} does not load: {said(error)}", remedy="Repair or uninstall that distribution"
        ) from error
    if backend.name != name:
        raise PluginError(
            f"{where} gives a class that calls itself {shown(backend.name)}",
            remedy="name must equal the entry point's name",
        )
    return backend


def check_installed(name: str) -> None:
    """Raises as :func:`load_backend` where metadata alone say that ``name`` cannot be loaded; imports nothing.

    Raises:
        BackendNotInstalledError: its client is not installed.
    """
    entry = _one_entry_point(name)
    missing = _missing(entry)
    if missing:
        raise BackendNotInstalledError(
            f"backend {name!r} needs what is not installed: {', '.join(missing)}",
            remedy=install_line(entry),
            backend=name,
        )


def backends_with_option(option: str) -> list[str]:
    """Names of the built-in backends whose clients take the argument ``option``.

    Others are not loaded for that: whoever makes a mistake with one backend has not asked for another's code.
    """
    found = []
    for name in sorted({entry.name for entry in _entry_points(BACKENDS) if _is_ours(entry)}):
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


@functools.lru_cache(maxsize=64)
def load_observer(name: str) -> tuple[str, Any]:
    """The observer called ``name``, in words and as the plugin that it is.

    Raises:
        PluginError: no distribution offers it, two do, or it does not import.
    """
    entries = list(_entry_points(OBSERVERS, name))
    if not entries:
        known = sorted({entry.name for entry in _entry_points(OBSERVERS)})
        close = difflib.get_close_matches(name, known, n=1)
        raise PluginError(
            f"there is no observer {name!r}",
            remedy=(f"Did you mean {close[0]!r}? " if close else "")
            + (f"Installed are: {', '.join(known)}" if known else "None is installed: pass the plugin itself"),
        )
    twice = _claimed_twice(f"observer {name!r}", entries)
    if twice is not None:
        raise twice
    where = f"observer {name!r} of distribution {_distribution(entries[0])!r}"
    try:
        return where, entries[0].load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(
            f"the {where} does not load: {said(error)}", remedy="Repair or uninstall that distribution"
        ) from error


def observer_hooks(plugin: Any, where: str) -> dict[str, pluggy.HookCaller]:
    """The hooks of an observer by name, only those that it has.

    Raises:
        PluginError: it has none, or one that cannot be called as it is specified.
    """
    if isinstance(plugin, type):
        raise PluginError(f"the {where} is a class", remedy=f"Pass an object of it: {plugin.__name__}()")
    try:
        callers = {name: getattr(_manager_of(plugin).hook, name) for name in _OBSERVER_HOOKS}
        hooks = {name: caller for name, caller in callers.items() if caller.get_hookimpls()}
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"the {where} has a wrong hook: {said(error)}", remedy="See isochat.hookspecs") from error
    if not hooks:
        raise PluginError(
            f"the {where} has none of the hooks {', '.join(_OBSERVER_HOOKS)}",
            remedy="Mark its functions with @isochat.hookimpl",
        )
    for name, caller in hooks.items():
        if any(inspect.iscoroutinefunction(hook.function) for hook in caller.get_hookimpls()):
            raise PluginError(f"{name} of the {where} is a coroutine", remedy="Make it a plain function, and quick")
    return hooks


_OBSERVER_HOOKS = ("isochat_before_call", "isochat_after_call", "isochat_on_error")


def command_plugins(wanted: str | None = None) -> Iterator[tuple[str, pluggy.PluginManager | PluginError]]:
    """The plugins of the command line, one after the other: each with a hook caller of its own, or why it has none.

    isochat's own come first, so that nobody can take their place. They are loaded as they are asked for.

    Args:
        wanted: The command that is looked for; a plugin of its name comes before others of the same distribution.
    """
    for entry in sorted(_entry_points(COMMANDS), key=lambda e: (not _is_ours(e), e.name != wanted, e.name)):
        where = f"command plugin {entry.name!r} of distribution {_distribution(entry)!r}"
        gives: pluggy.PluginManager | PluginError
        try:
            gives = _manager_of(entry.load())
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            gives = PluginError(f"the {where} does not load: {said(error)}")
        yield where, gives


def _one_entry_point(name: str) -> importlib.metadata.EntryPoint:
    entries = list(_entry_points(BACKENDS, name))
    if not entries:
        known = sorted({entry.name for entry in _entry_points(BACKENDS)})
        close = difflib.get_close_matches(name, known, n=1)
        raise BackendNotFoundError(
            f"there is no backend {name!r}",
            remedy=(f"Did you mean {close[0]!r}? " if close else "") + f"Installed are: {', '.join(known)}",
        )
    unfit = _unfit(name, entries)
    if unfit is not None:
        raise unfit
    return entries[0]


def _unfit(name: str, entries: Sequence[importlib.metadata.EntryPoint]) -> PluginError | None:
    """Why no backend of this name is loaded, as far as metadata say."""
    plain = name.casefold().replace("_", "-")
    if not name.isascii() or (plain != name and any(map(_is_ours, _entry_points(BACKENDS, plain)))):
        return PluginError(
            f"the backend name {name!r} of {_distribution(entries[0])} may be taken for another",
            remedy="Names are ASCII, and no other spelling of a built-in one: uninstall that distribution",
        )
    return _claimed_twice(f"backend {name!r}", entries)


def _claimed_twice(what: str, entries: Sequence[importlib.metadata.EntryPoint]) -> PluginError | None:
    owners = sorted({_distribution(entry) for entry in entries})
    if len(owners) <= 1 and len({entry.value for entry in entries}) <= 1:
        return None
    return PluginError(
        f"{what} is claimed by {len(entries)} plugins of {' and '.join(owners)}",
        remedy="Uninstall one of them",
    )


def _manager_of(module: Any) -> pluggy.PluginManager:
    # One manager for one plugin: another plugin's hook can neither raise in nor shadow this call.
    manager = pluggy.PluginManager("isochat")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    return manager


def _entry_points(group: str, name: str | None = None) -> importlib.metadata.EntryPoints:
    try:
        found = importlib.metadata.entry_points(group=group)
    except Exception:  # one distribution's are broken: it goes without, and nobody else
        found = importlib.metadata.EntryPoints(entry for one in _distributions() for entry in _read(one, group))
    return found if name is None else found.select(name=name)


def _distributions() -> Iterator[importlib.metadata.Distribution]:
    # The first of a name on the path is the one that is imported.
    return iter({_folder(one): one for one in reversed(list(importlib.metadata.distributions()))}.values())


def _folder(distribution: importlib.metadata.Distribution) -> str:
    path = getattr(distribution, "_path", None)
    return str(id(distribution)) if path is None else str(path.name).partition("-")[0].lower()


def _read(distribution: importlib.metadata.Distribution, group: str) -> list[importlib.metadata.EntryPoint]:
    try:
        return list(distribution.entry_points.select(group=group))
    except Exception:
        return []


def _owners_first(entries: Iterable[importlib.metadata.EntryPoint]) -> list[importlib.metadata.EntryPoint]:
    return sorted(entries, key=lambda entry: not _is_ours(entry))


def _is_ours(entry: importlib.metadata.EntryPoint) -> bool:
    return _distribution(entry) == _OURS


_OURS = "isochat"


def _distribution(entry: importlib.metadata.EntryPoint) -> str:
    try:
        name: str | None = entry.dist.name if entry.dist else None
    except Exception:  # its metadata cannot be read
        name = None
    return name or "unknown"


def _extras(entry: importlib.metadata.EntryPoint) -> list[str]:
    # EntryPoint.extras takes "databricks-sdk" for two extras.
    brackets = re.search(r"\[([^\]]*)\]", entry.value)
    return [extra.strip() for extra in brackets[1].split(",")] if brackets else []


def _missing(entry: importlib.metadata.EntryPoint) -> list[str]:
    """The distributions that the entry point's extras require and that are not installed."""
    missing = []
    extras = _extras(entry)
    for requirement in _requirements(entry):
        name, _, marker = requirement.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if extra is None or extra[1] not in extras:
            continue
        project = re.match(r"[A-Za-z0-9._-]+", name.strip())
        if project is not None and not _is_installed(project[0]):
            missing.append(project[0])
    return missing


def _requirements(entry: importlib.metadata.EntryPoint) -> Sequence[str]:
    try:
        return (entry.dist.requires if entry.dist else None) or ()
    except Exception:  # its metadata cannot be read
        return ()


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    except Exception:  # it is there, and what it says of itself cannot be read
        return True
    return True
