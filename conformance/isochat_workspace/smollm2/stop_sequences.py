"""Where does a text end that may not contain certain sequences? Token by token, nothing is said too early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from isochat_workspace.models.answers import TokenLogprob


class Said(NamedTuple):
    """Text as a model made it, with the log probability of its token where it was asked for."""

    text: str
    logprob: TokenLogprob | None = None


class StopSequences:
    """Lets tokens through until one of the sequences has been said; neither it nor what follows gets through.

    A token that may be the beginning of a sequence waits for the tokens that decide. `stopped` tells that a
    sequence was found. Done here and not by the engine, whose tokens lose their log probabilities while they wait.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = sequences
        self._waiting: list[Said] = []
        self.stopped = False

    def add(self, token: Said) -> Iterator[Said]:
        """What is certain once this token has been said."""
        self._waiting.append(token)
        text = "".join(said.text for said in self._waiting)
        places = [at for sequence in self._sequences if (at := text.find(sequence)) >= 0]
        if places:
            self.stopped = True
            yield from self._release(min(places), cut=True)
        else:
            yield from self._release(len(text) - self._undecided(text), cut=False)

    def end(self) -> Iterator[Said]:
        """What had waited for a token that did not come."""
        yield from self._waiting
        self._waiting = []

    def _undecided(self, text: str) -> int:
        """The length of the longest end of the text that a sequence begins with."""
        return max(
            (
                length
                for sequence in self._sequences
                for length in range(1, min(len(sequence), len(text) + 1))
                if text.endswith(sequence[:length])
            ),
            default=0,
        )

    def _release(self, end: int, *, cut: bool) -> Iterator[Said]:
        """The whole tokens before `end`; with `cut` also the first part of the one it lies in."""
        while self._waiting and len(self._waiting[0].text) <= end:
            said = self._waiting.pop(0)
            end -= len(said.text)
            yield said
        if cut:
            if end > 0:
                yield Said(self._waiting[0].text[:end], self._waiting[0].logprob)
            self._waiting = []
