"""How is a secret kept out of what people and logs see?

Two ways. A secret of ours is a :class:`Secret`, whose repr is blank, so that a traceback that shows local variables
(pytest, rich, cgitb, Sentry) does not show it. What a server says is cleaned by a :class:`Redactor`, for it may echo
what it was sent.
"""

from __future__ import annotations

import base64
import functools
import html.entities
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

BLANK = "[token]"


class Secret(str):
    """A text whose repr is blank. In everything else it is the text, so that it goes into a header as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return BLANK

    def __getitem__(self, key: Any) -> Secret:
        # Whoever shows long texts cuts them first (rich does), and a part is as secret as the whole.
        return Secret(str.__getitem__(self, key))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (BLANK,)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()


def hidden(value: Any) -> Any:
    """A secret that somebody passed, so that no frame of ours shows it; of the wrong type, it is not kept at all."""
    if value is None or isinstance(value, Secret):
        return value
    return Secret(value) if isinstance(value, str) else _WRONG_TYPE


_WRONG_TYPE = object()


def hidden_login(host: Any) -> Any:
    """A host that somebody passed; one with a user name or password in it is not shown."""
    return hidden(host) if isinstance(host, str) and "@" in host else host


def hidden_values(headers: Any) -> Any:
    """Headers, each value a :class:`Secret`; what is none stays as it is, for whoever checks it."""
    if not isinstance(headers, Mapping):
        return headers
    return {name: Secret(value) if isinstance(value, str) else value for name, value in headers.items()}


def names_a_secret(name: str) -> bool:
    """Whether the value of something called ``name`` is a secret, as far as a name can say: ``X-Api-Key`` says so."""
    return _SECRET_NAME.search(name) is not None


# Of a body's fields, "max_tokens" and its like are no secrets.
_SECRET_NAME = re.compile(
    r"auth|token(?!s|_|iz)|key(?!w)|secret|passw|credential|signature|session|cookie|jwt", re.IGNORECASE
)


def secrets_among(headers: Mapping[str, str]) -> Iterator[str]:
    """The values of those ``headers`` whose names say that they are secret, each without its scheme (``Bearer``).

    A short one ("X-Cache-Key: prod") is a word that stands in other texts too.
    """
    values = (value.rpartition(" ")[2] for name, value in headers.items() if names_a_secret(name))
    return (value for value in values if len(value) >= _SHORTEST_INSIDE)


class Environment:
    """Environment variables to be looked up, and not shown: ``os.environ`` as a local variable would show them all.

    Args:
        variables: As ``os.environ``.
    """

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def get(self, name: str) -> str | None:
        """The value of ``name``; ``None`` where it is not set, or to nothing."""
        return self._variables.get(name) or None

    def secret(self, name: str) -> Secret | None:
        """The same of a variable whose value nobody may see."""
        return Secret(self._variables[name]) if self._variables.get(name) else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)


class Redactor:
    """Blanks the given secrets, also in base64, hexadecimal, URL, JSON and HTML spelling.

    One of less than four letters stands in every text: to blank it would hide nothing and spoil all.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(Secret(secret) for secret in secrets if len(secret) >= _SHORTEST)
        # The longest first: one form may be part of another.
        self._forms = tuple(sorted({Secret(f) for s in self._secrets for f in _forms(s)}, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """``text`` with every secret blanked."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, BLANK)
        if "\\" in text or "%" in text or "&" in text:
            text = self._spelled.sub(BLANK, text)
        for form in self._forms:
            if form[:_BEGINNING] in text:
                text = _without_beginnings(text, str(form))
        return text

    def clean_bytes(self, data: bytes) -> bytes:
        """``data`` with every secret blanked; untouched where there is none."""
        for form in self._forms:
            if form.encode() in data:
                data = data.replace(form.encode(), BLANK.encode())
        if b"\\" in data or b"%" in data or b"&" in data:
            data = self._spelled_bytes.sub(BLANK.encode(), data)
        if b"\0" in data:
            for wide in _WIDE:
                for form in self._forms:
                    data = data.replace(form.encode(wide), BLANK.encode(wide))
        return data

    def finds(self, data: bytes) -> bool:
        """Whether a secret is in ``data``."""
        if any(form.encode() in data for form in self._forms):
            return True
        return (b"\\" in data or b"%" in data or b"&" in data) and self._spelled_bytes.search(data) is not None

    def clean_headers(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """A reply's ``headers`` with every secret blanked; the same list where there is none."""
        together = "\n".join(value for _, value in headers)
        if self.clean(together) == together:
            return headers
        return [(name, self.clean(value)) for name, value in headers]

    def __repr__(self) -> str:
        return "Redactor()"

    @functools.cached_property
    def _spelled(self) -> re.Pattern[str]:
        return re.compile("|".join(_any_spelling(secret) for secret in self._secrets) or r"(?!)")

    @functools.cached_property
    def _spelled_bytes(self) -> re.Pattern[bytes]:
        return re.compile(self._spelled.pattern.encode())


def _without_beginnings(text: str, secret: str) -> str:
    """``text`` with each part blanked that ``secret`` begins with: whoever quotes a long text cuts it somewhere.

    A short part is one only where a quotation ends.
    """
    pieces: list[str] = []
    start = 0
    while (at := text.find(secret[:_BEGINNING], start)) >= 0:
        same = zip(text[at : at + len(secret)], secret, strict=False)
        end = at + sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], same))
        tells = end - at >= _TELLING or text[end : end + 1] in _ENDS
        pieces += [text[start:at], BLANK if tells else text[at:end]]
        start = end
    return "".join([*pieces, text[start:]])


# Encodings of JSON and pages that have a zero byte beside each letter.
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_BEGINNING = 5
_ENDS = ("", "'", '"', "`", ".", "…")
_TELLING = 12


def _forms(secret: str) -> Iterator[str]:
    """The spellings that are found by looking for a text. Secrets are ASCII, as headers are."""
    encoded = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield base64.b64encode(encoded).decode()
    yield base64.b64encode(b"token:" + encoded).decode()
    if len(encoded) < _SHORTEST_INSIDE:
        return
    for before in range(3):
        # Inside a longer text in base64, such as a whole head: what does not depend on its neighbours.
        inside = base64.b64encode(b"\0" * before + encoded).decode().rstrip("=")
        core = inside[(0, 2, 3)[before] : len(inside) - (1 if (before + len(encoded)) % 3 else 0)]
        yield core
        yield core.translate(_URL_SAFE)
    yield encoded.hex()
    yield encoded.hex().upper()


_SHORTEST = 4
_SHORTEST_INSIDE = 8
_URL_SAFE = str.maketrans("+/", "-_")


def _any_spelling(secret: str) -> str:
    r"""A pattern of ``secret`` with any of its characters as ``%XX``, ``\uXXXX``, ``&#NN;`` or behind a backslash."""
    # Where it cannot begin it is not tried: error pages may be long. JSON in JSON doubles its backslashes, four deep; a
    # page of nothing else would be read anew from each of them.
    return rf"(?=[{re.escape(secret[0])}%\\&])" + "".join(_any_spelling_of(c) for c in map(str, secret))


@functools.cache
def _any_spelling_of(c: str) -> str:
    code = f"{ord(c):02x}"
    named = "|".join(re.escape(name) for name, value in html.entities.html5.items() if value == c and name[-1] == ";")
    return (
        rf"(?:\\{{0,15}}{re.escape(c)}|%(?:25){{0,7}}(?i:{code})"
        rf"|\\{{1,15}}(?:u00(?i:{code})|u\{{0{{0,4}}(?i:{code})\}}|x(?i:{code}))"
        rf"|&(?:amp;){{0,7}}(?:\#0{{0,5}}{ord(c)};?|\#[xX]0{{0,5}}(?i:{code});?|{named or '(?!)'}))"
    )


def without_locals(error: BaseException) -> BaseException:
    """``error``, on its way out of isochat, with the local variables of the frames of ours that it has passed cleared.

    They hold the prompt and whatever the server sent, which may be the token. The lines stay. Nobody else's frame is
    touched, neither the client's nor the caller's.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += linked(one)
        step = one.__traceback__
        while step is not None:
            if str(step.tb_frame.f_globals.get("__name__")).partition(".")[0] in _OURS:
                try:
                    step.tb_frame.clear()
                except RuntimeError:
                    pass  # it still runs
            step = step.tb_next
    return error


def linked(error: BaseException) -> list[BaseException]:
    """What ``error`` came from, whatever its class makes of these names."""
    return [other for link in _LINKS if (other := link.__get__(error)) is not None]


_LINKS = (vars(BaseException)["__cause__"], vars(BaseException)["__context__"])
_OURS = ("isochat", "isochat_adapters")
