"""In which spellings may a token stand in a text? What the canary looks for; written apart from isochat's Redactor."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

# Shorter ones ("t", "mine") stand in any text by chance.
SHORTEST = 8


def spellings(token: str) -> Iterator[tuple[str, str]]:
    """What to look for, each with the name of its form."""
    encoded = token.encode()
    yield "plain", token
    yield "url", quote(token, safe="")
    yield "url", quote_plus(token)
    yield "url", "".join(f"%{byte:02X}" for byte in encoded)
    yield "url", "".join(f"%{byte:02x}" for byte in encoded)
    yield "json", json.dumps(token)[1:-1]
    yield "json", json.dumps(token)[1:-1].replace("/", "\\/")
    yield "json", "".join(f"\\u{ord(character):04x}" for character in token)
    yield "json", "".join(f"\\u{ord(character):04X}" for character in token)
    yield "json", "".join(f"\\x{byte:02x}" for byte in encoded)
    yield "html", html.escape(token)
    yield "html", "".join(f"&#{byte};" for byte in encoded)
    yield "html", "".join(f"&#x{byte:x};" for byte in encoded)
    yield "hex", encoded.hex()
    yield "hex", encoded.hex().upper()
    yield "hex", encoded.hex(" ")
    yield "basic", base64.b64encode(b"token:" + encoded).decode().rstrip("=")
    for before in range(3):
        # The characters that encode nothing but the token, wherever in a longer text it begins.
        first, last = -(-before * 8 // 6), (before + len(encoded)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield "base64", encode(b"." * before + encoded).decode()[first:last]


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """What a reader might make of ``text``, by the form that it takes it for."""
    if "%" in text:
        yield "url", unquote(unquote(unquote(text)))
    if "&" in text:
        yield "html", html.unescape(html.unescape(text))
    if "\\u" in text or "\\x" in text:
        yield "json", re.sub(r"\\(?:u00|x)([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), text)


class Watched:
    """The tokens that nobody may see."""

    def __init__(self) -> None:
        self._spellings: dict[str, dict[str, str]] = {}

    def add(self, token: str) -> None:
        """Watch ``token`` from here on, unless it is too short to be told from a word."""
        if token not in self._spellings and len(token) >= SHORTEST:
            # The plain form names itself, though others look the same for a token of letters and digits.
            self._spellings[token] = {text: form for form, text in reversed(list(spellings(token)))}

    def remove(self, token: str) -> None:
        """Watch it no more."""
        self._spellings.pop(token, None)

    def copy(self) -> Watched:
        """Another one that watches the same tokens."""
        same = Watched()
        same._spellings = dict(self._spellings)
        return same

    def forms_in(self, text: str) -> list[str]:
        """The forms in which a token stands in ``text``."""
        while "\\\\" in text:  # a repr of a repr
            text = text.replace("\\\\", "\\")
        forms = {form for known in self._spellings.values() for s, form in known.items() if s in text}
        # Some of its letters spelt so, or all of them several times over.
        forms |= {form for form, read in _readings(text) if any(token in read for token in self._spellings)}
        return sorted(forms)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._spellings))
