"""Which program can fetch packages in this environment? pip, uv, or the pip of a throw-away environment."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class InstallError(Exception):
    """The model could not be fetched. `remedy` is what to do about it, `log` the last lines of the installer."""

    def __init__(self, message: str, remedy: str, log: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.log = log


@dataclasses.dataclass(frozen=True, slots=True)
class Installer:
    """A command that puts wheels into a folder; `arguments` come before the requirements."""

    name: str
    arguments: tuple[str, ...]

    def command(self, target: Path, requirements: Sequence[str], index_arguments: Sequence[str]) -> list[str]:
        """The full command line. Wheels only, without dependencies, into `target` and nowhere else."""
        options = ("--no-deps", "--only-binary", ":all:", "--target", str(target))
        return [*self.arguments, *options, *index_arguments, *requirements]


def find_installer(workbench: Path) -> Installer:
    """The first that works here. `workbench` is a folder that may be filled. Raises InstallError.

    An environment made by uv has no pip module; one made by `python -m venv --without-pip` may have neither.
    """
    if importlib.util.find_spec("pip") is not None:
        return Installer("pip", (sys.executable, "-m", "pip", *_PIP_INSTALL))
    if uv := _find_uv():
        return Installer("uv", (uv, "pip", "install", "--python", sys.executable))
    if importlib.util.find_spec("ensurepip") is not None:
        return _pip_of_a_new_environment(workbench / "environment")
    raise InstallError(
        "neither pip nor uv nor ensurepip is in this environment",
        f"Run: {sys.executable} -m ensurepip (Debian: apt install python3-venv), or install uv",
    )


_PIP_INSTALL = ("install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")


def installer_environment(workbench: Path) -> dict[str, str]:
    """Environment variables for the installer.

    Its scratch files go into `workbench`: on the file system of the target, counted as progress, and gone
    with it. `PIP_USER` and `PIP_REQUIRE_VIRTUALENV` would contradict `--target`.
    """
    scratch = workbench / "scratch"
    scratch.mkdir(exist_ok=True)
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    return {**os.environ, **places, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}


def _find_uv() -> str | None:
    beside = shutil.which("uv", path=str(Path(sys.executable).parent))
    return beside or shutil.which("uv")


def _pip_of_a_new_environment(folder: Path) -> Installer:
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise InstallError(
            "no installer: there is neither pip nor uv, and an environment with pip could not be made",
            "install uv, or pip into this environment (Debian: apt install python3-venv)",
            log=made.stdout + made.stderr,
        )
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    return Installer("pip", (str(folder / scripts / "python"), "-m", "pip", *_PIP_INSTALL))
