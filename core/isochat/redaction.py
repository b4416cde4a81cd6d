"""How is a secret kept out of what people and logs see?"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote

BLANK = "[token]"


class Redactor:
    """Blanks the given secrets, also in base64, URL and JSON spelling."""

    __slots__ = ("_forms",)

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if secret:
                encoded = secret.encode("utf-8", "surrogatepass")
                forms |= {
                    secret,
                    quote(secret, safe=""),
                    json.dumps(secret)[1:-1],
                    base64.b64encode(encoded).decode(),
                    base64.b64encode(b"token:" + encoded).decode(),
                }
        # The longest first: one form may be part of another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """``text`` with every secret blanked."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, BLANK)
        return text

    def clean_bytes(self, data: bytes) -> bytes:
        """``data`` with every secret blanked; untouched where there is none."""
        for form in self._forms:
            encoded = form.encode("utf-8", "surrogatepass")
            if encoded in data:
                data = data.replace(encoded, BLANK.encode())
        return data

    def __repr__(self) -> str:
        return "Redactor()"
