"""How do exchanges lie in a file that a killed recorder must not spoil?

The first line says what the file is, `{"isochat_cassette": 1}`; the exchanges follow, one JSON document each, in the
order in which they ended (`jq` reads such a file as it is). An exchange is appended by one write. What a recorder
that was killed, or a disk that was full, left of a last one has no line of `}` to end it: it is told from damage by
that, passed over by a replay, and cut off by the next recorder.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import threading
from pathlib import Path
from typing import Final, NoReturn

from isochat.errors import ConfigurationError
from isochat_workspace.recording.exact_json import DEEPEST, TwiceError, check_depth, strict_decoder
from isochat_workspace.recording.exchange import Exchange, FormatError, read_exchange, write_exchange

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment,unused-ignore]

VERSION: Final = 1
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a cassette: it is held in memory while it is replayed."""

_HEAD_KEY = "isochat_cassette"
_HEAD = json.dumps({_HEAD_KEY: VERSION}) + "\n"
_END_OF_EXCHANGE = re.compile(r"^\}[ \t]*$", re.MULTILINE)
_BLANKS = re.compile(r"[ \t\r\n]*")


class CassetteError(ConfigurationError):
    """A cassette cannot be used; the message names the file, the line and the key."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One exchange of a cassette: its number, from 1, and the line on which it begins."""

    number: int
    line: int
    exchange: Exchange

    def __str__(self) -> str:
        return f"exchange {self.number} (line {self.line})"


@dataclasses.dataclass(frozen=True, slots=True)
class Contents:
    """What a cassette holds. `torn` is where a last exchange begins, in bytes, that was not written to its end."""

    path: Path
    entries: tuple[Entry, ...]
    torn: int | None = None


def is_cassette(path: str | os.PathLike[str]) -> bool:
    """Whether the file says in its beginning that it is a cassette; an empty one is a cassette just made."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as stream:
            begin = stream.read(200).lstrip()
    except OSError:
        return False
    return not begin or _HEAD_KEY in begin.partition(":")[0]


def read_cassette(path: str | os.PathLike[str]) -> Contents:
    """Read a cassette.

    Raises:
        CassetteError: it cannot be read, is too large, or something in it is no exchange.
    """
    file = Path(path)
    text = _read_text(file)
    entries: list[Entry] = []
    decoder = strict_decoder()
    at, line, counted = _past_the_head(file, text), 1, 0
    while (at := _skip_blanks(text, at)) < len(text):
        try:
            document, end = decoder.raw_decode(text, at)
            check_depth(document, DEEPEST + 10)
            exchange = read_exchange(document)
        except FormatError as error:
            _refuse(file, text, at, str(error), error.key)
        except TwiceError as error:
            _refuse(file, text, at, str(error), error.name, last=True)
        except (ValueError, RecursionError) as error:
            if isinstance(error, json.JSONDecodeError) and _END_OF_EXCHANGE.search(text, at) is None:
                return Contents(file, tuple(entries), len(text[:at].encode()))
            where = error.pos if isinstance(error, json.JSONDecodeError) else at
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            _refuse(file, text, where, f"this is no JSON: {reason}")
        line, counted = line + text.count("\n", counted, at), at
        entries.append(Entry(len(entries) + 1, line, exchange))
        at = end
    return Contents(file, tuple(entries))


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
    except OSError as error:
        raise CassetteError(
            f"cannot read the cassette {file}: {error.strerror or error}", remedy="Record one with --record"
        ) from None
    if len(raw) > LARGEST:
        raise CassetteError(
            f"the cassette {file} is larger than {LARGEST // 2**20} MiB", remedy="Record into several files"
        )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if raw.find(b"\n}", error.start) < 0 and error.end == len(raw):
            return raw[: error.start].decode()  # torn inside a character
        line = raw.count(b"\n", 0, error.start) + 1
        raise CassetteError(f"{file}, line {line}: this is no UTF-8", remedy=_REMEDY) from None


def _past_the_head(file: Path, text: str) -> int:
    """Where the first exchange begins. A file without content, which a recorder has only just made, is one of none."""
    if _HEAD.startswith(text):
        return len(text)
    try:
        head, end = strict_decoder().raw_decode(text, _skip_blanks(text, int(text.startswith(_MARK))))
    except (ValueError, RecursionError):
        head, end = None, 0
    if not isinstance(head, dict) or _HEAD_KEY not in head:
        _refuse(file, text, 0, f"this is no cassette: its first line is not {_HEAD.strip()}")
    for key in head:
        if key != _HEAD_KEY:
            _refuse(file, text, 0, f"the first line has the unknown key {key[:60]!r}", key)
    if head[_HEAD_KEY] != VERSION or isinstance(head[_HEAD_KEY], bool):
        version = json.dumps(head[_HEAD_KEY])[:20]
        raise CassetteError(
            f"{file}, line 1, key {_HEAD_KEY!r}: version {version}; this isochat reads version {VERSION}",
            remedy="Record it anew, or use the isochat that wrote it",
        )
    return end


_REMEDY = "Correct the file, or record it anew"
_MARK = "\ufeff"  # some editors put it before the first character


def _refuse(file: Path, text: str, at: int, reason: str, key: str | None = None, *, last: bool = False) -> NoReturn:
    """Raise for what is wrong at or behind `at`, at the first place where `key` stands (or the second, if `last`)."""
    where = ""
    if key is not None:
        found = list(_places(text, at, key))[: 2 if last else 1]
        at = found[-1] if found else at
        where = f", key {key[:60]!r}"
    raise CassetteError(f"{file}, line {_line_of(text, at)}{where}: {reason}", remedy=_REMEDY)


def _places(text: str, at: int, key: str) -> list[int]:
    end = _END_OF_EXCHANGE.search(text, at)
    written = re.compile(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:")
    return [match.start() for match in written.finditer(text, at, end.end() if end else len(text))]


def _skip_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


class CassetteWriter:
    """Appends exchanges to a file; what it holds already stays. Safe to use from any thread.

    Attributes:
        kept: How many exchanges the file had before.
        mended: Whether a last one was torn, and has been cut off.

    Raises:
        CassetteError: the file is no cassette, cannot be written, or another recorder has it open.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.kept = 0
        self.mended = False
        self._lock = threading.Lock()
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._file = os.open(self.path, flags, 0o666)
        except OSError as error:
            raise CassetteError(
                f"cannot write the cassette {self.path}: {error.strerror}", remedy="Name a file in a folder of yours"
            ) from None
        try:
            self._begin()
        except BaseException:
            os.close(self._file)
            raise

    def _begin(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CassetteError(
                    f"another recorder writes the cassette {self.path}", remedy="End it, or name another file"
                ) from None
        held = read_cassette(self.path)
        self.kept, self.mended = len(held.entries), held.torn is not None
        if held.torn is not None:
            os.ftruncate(self._file, held.torn)
        size = os.fstat(self._file).st_size
        if size < len(_HEAD):  # new, or killed at its first line
            os.ftruncate(self._file, 0)
            self._append(_HEAD.encode())
            return
        os.lseek(self._file, -1, os.SEEK_END)
        if os.read(self._file, 1) != b"\n":  # of an editor that ends no last line
            self._append(b"\n")

    def write(self, exchange: Exchange) -> None:
        """Append one exchange, all of it or nothing.

        Raises CassetteError where it has no room any more: on the disk, or under the largest size of a cassette.
        """
        document = write_exchange(exchange)
        with self._lock:
            if self._file < 0:
                raise CassetteError(f"the cassette {self.path} is closed", remedy="Record while the workspace runs")
            if os.fstat(self._file).st_size + len(document) > LARGEST:
                raise CassetteError(
                    f"the cassette {self.path} would be larger than {LARGEST // 2**20} MiB",
                    remedy="Record into another file",
                )
            self._append(document)

    def _append(self, data: bytes) -> None:
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, data)
            reason = "the disk is full"
        except OSError as error:
            written, reason = 0, error.strerror or str(error)
        if written < len(data):
            os.ftruncate(self._file, before)
            raise CassetteError(f"cannot write the cassette {self.path}: {reason}", remedy="Make room for it")

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
