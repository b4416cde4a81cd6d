"""How is a secret kept out of what other libraries' exceptions say?

They become the causes of isochat's errors and are printed with them, and they quote what a server or a proxy has sent,
which may be what it was sent. Each is isochat's alone when it is cleaned: it has just been caught.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from isochat.errors import ChatError
from isochat.redaction import linked


def cleaned_chain(error: BaseException, clean: Callable[[str], str]) -> BaseException:
    """``error``, each secret blanked in its words and in those of all that it came from.

    What it came from is taken out of the chain where it cannot be cleaned, as it shows some object of its own.
    """
    met: dict[int, BaseException] = {}
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) not in met:
            met[id(one)] = one
            if not isinstance(one, ChatError):  # those are cleaned where they are made
                _clean(one, clean)
            waiting += [*linked(one), *(arg for arg in one.args if isinstance(arg, BaseException))]
            waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    for one in met.values():
        for link in ("__cause__", "__context__"):
            with suppress(Exception):  # of a class that makes something else of these names
                other = getattr(one, link)
                if other is not None and not isinstance(other, ChatError) and _shows(other, clean):
                    setattr(one, link, None)
    return error


def _shows(error: BaseException, clean: Callable[[str], str]) -> bool:
    try:
        said = f"{error}\n{error!r}"
    except Exception:  # noqa: BLE001 whatever is wrong with it
        return True
    return clean(said) != said


def _clean(error: BaseException, clean: Callable[[str], str]) -> None:
    with suppress(Exception):  # whose attributes are what they are; it is cut off if it still shows something
        args = _blank(error.args, clean)
        if args is not error.args:
            error.args = args
        for name, value in list(vars(error).items()):
            if (blank := _blank(value, clean)) is not value:
                setattr(error, name, blank)


def _blank(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return value if (blank := clean(value)) == value else blank
    if isinstance(value, bytes):
        text = value.decode("latin-1")
        return value if (blank := clean(text)) == text else blank.encode("latin-1", "replace")
    if type(value) in (list, tuple):
        kept = [_blank(item, clean) for item in value]
        return value if all(new is old for new, old in zip(kept, value, strict=True)) else type(value)(kept)
    if isinstance(value, BaseException) or clean(shown := repr(value)) == shown:
        return value
    return None  # a reply's headers, say
