"""Which characters may reach a terminal? What others wrote must not give it orders."""

from __future__ import annotations

# Invisible, and needed: they join letters of Indic and Persian words, and emoji.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """``text`` with a blank for every control character; piece by piece it is the same as at once."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or c in _JOINERS else " " for c in text)
