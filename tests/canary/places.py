"""Where might a token show? Every text that a person or a log could get to see of an object, with its place."""

from __future__ import annotations

import contextlib
import pickle
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import isochat
import isochat_adapters
import isochat_conformance
from isochat.redaction import Secret

# Not the workspace: it is a server, there to know its token. Nor the suite, some of whose cases quote the token that
# its own server echoes; of it, what compares for a user.
PACKAGES = (
    str(Path(isochat.__file__).parent),
    str(Path(isochat_adapters.__file__).parent),
    str(Path(isochat_conformance.__file__).parent / "compare"),
)
Text = tuple[str, str]


def ours(frame: FrameType) -> bool:
    """Whether isochat's code runs in ``frame``."""
    return frame.f_code.co_filename.startswith(PACKAGES)


def shown(value: Any) -> str:
    """What a traceback with local variables would show of ``value``."""
    if type(value) is str:
        return value
    if type(value) in (bytes, bytearray):
        return value.decode("latin-1")  # type: ignore[no-any-return]
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - no concern of the canary's
        return f"<repr failed: {type(error).__name__}>"


def of_frame(frame: FrameType) -> Iterator[Text]:
    """The local variables of one frame."""
    where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
    for name, value in list(frame.f_locals.items()):
        yield f"local variable {name} of {where}", shown(value)


def of_exception(error: BaseException) -> Iterator[Text]:
    """An exception with all that hangs on it: causes, contexts, groups, and the frames of ours that it passed."""
    for one in _chain(error):
        what = type(one).__name__
        yield f"str of {what}", str(one)
        yield f"repr of {what}", repr(one)
        yield f"traceback of {what}", "".join(traceback.TracebackException.from_exception(one).format_exception_only())
        if isinstance(one, isochat.ChatError):
            yield f"vars of {what}", repr(vars(one))
            with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError):
                yield f"pickle of {what}", pickle.dumps(one).decode("latin-1")
        step = one.__traceback__
        while step is not None:
            if ours(step.tb_frame):
                yield from of_frame(step.tb_frame)
            step = step.tb_next


def of_result(result: isochat.ChatResult) -> Iterator[Text]:
    """A result in every form in which it is kept or passed on."""
    yield "str of a result", str(result)
    yield "repr of a result", repr(result)
    yield "to_dict() of a result", repr(result.to_dict())
    yield "pickle of a result", pickle.dumps(result).decode("latin-1")
    meta = result.meta
    yield "repr of a result's meta", repr(meta)
    for name in type(meta).__struct_fields__:
        if not name.startswith("_"):
            yield f"meta.{name} of a result", shown(getattr(meta, name))


def of_client(client: isochat.Client) -> Iterator[Text]:
    """A client: its repr, and every text that it or an object of isochat's behind it holds and does not hide."""
    yield "repr of a client", shown(client)  # one that failed in the making has none
    for path, text in _held(client):
        yield f"vars of a client: {path}", text


def _held(client: isochat.Client) -> Iterator[Text]:
    seen: set[int] = set()
    waiting: list[tuple[int, str, Any]] = [(0, name, value) for name, value in _fields(client)]
    while waiting:
        depth, path, value = waiting.pop()
        if isinstance(value, Secret) or id(value) in seen or depth > _DEEPEST:
            continue  # a Secret is hidden: its repr is blank, and so is its pickle
        seen.add(id(value))
        yield path, shown(value)
        inner: list[tuple[str, Any]] = []
        if isinstance(value, Mapping):
            inner = [(f"{path}[{key!r}]", held) for key, held in list(value.items())]
            inner += [(f"a key of {path}", key) for key in list(value)]
        elif isinstance(value, list | tuple | set | frozenset):
            inner = [(f"{path}[...]", held) for held in list(value)]
        elif type(value).__module__.partition(".")[0] in _OURS and not _is_a_client_s(value):
            inner = [(f"{path}.{name}", held) for name, held in _fields(value)]
        waiting += [(depth + 1, place, held) for place, held in inner]


def _is_a_client_s(value: Any) -> bool:
    """Whether it is an object of a client library's, of a class that isochat has derived from its own."""
    return any(kind.__module__.partition(".")[0] in ("databricks", "mlflow", "openai") for kind in type(value).__mro__)


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    for name in {*getattr(value, "__dict__", {}), *slots, *getattr(value, "__struct_fields__", ())}:
        if not name.startswith("__"):
            with contextlib.suppress(AttributeError):
                yield name, getattr(value, name)


_DEEPEST = 6
_OURS = ("isochat", "isochat_adapters")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
