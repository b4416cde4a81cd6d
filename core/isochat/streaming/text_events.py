"""Which chunks of a chat completion bring a piece of text and nothing else?

Nearly all, and to read one into fields of known types takes half as long as into an object with any. What has a field
more, or a value of another type, is no such chunk: it is left to who reads them all.
"""

from __future__ import annotations

import msgspec

from isochat.wire_format.json_weight import LIGHT


class _Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: str | None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None


class TextEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Such a chunk. What names the completion is read to be passed over: the first chunks have told it."""

    choices: tuple[_Choice]
    usage: dict[str, int] | None = None
    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None


_decode = msgspec.json.Decoder(TextEvent).decode
# An exception takes as long as what it spares: who meets so many in a row looks no more.
_MISSES = 8


class TextEvents:
    """Those of one stream.

    Attributes:
        likely: Whether it is worth looking for one.
    """

    __slots__ = ("_misses", "likely")

    def __init__(self) -> None:
        self._misses = 0
        self.likely = True

    def read(self, data: bytes) -> TextEvent | None:
        """The chunk that ``data`` spells; ``None`` where it is no such one."""
        try:
            event = _decode(data) if len(data) < LIGHT else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._misses += 1
            self.likely = self._misses < _MISSES
            return None
        self._misses = 0
        return event
