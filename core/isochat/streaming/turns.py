"""Which output item does an event of a Responses stream speak of, and in which turn of an agent?

By its place where the event names one, else by its id, else it is the one of its kind under way. Agents (payload facts
19 and 24) send several responses in one stream, or none at all around the items, and other ids in ``added`` than in
``done``.
"""

from __future__ import annotations

from typing import Any

from isochat.streaming.items import CALLS, Item


class Turns:
    """The items of a stream, turn by turn."""

    def __init__(self) -> None:
        self._turns: list[list[Item]] = [[]]
        self._growing: tuple[tuple[Any, ...], Item] | None = None  # the item of the last delta, and what named it

    @property
    def last(self) -> list[Item]:
        """The items of the turn under way, as they came."""
        return self._turns[-1]

    @property
    def unended(self) -> bool:
        """Whether an item has begun that is not whole."""
        return any(not item.done for item in self.last)

    @property
    def calls_tools(self) -> bool:
        """Whether the turn under way asks for tools, which an agent then runs."""
        return any(item.fields["type"] in CALLS for item in self.last)

    def output(self) -> list[dict[str, Any]]:
        """All items as far as they are known."""
        return [item.value() for turn in self._turns for item in _in_order(turn)]

    def begin(self) -> None:
        """An agent's next turn: places count from 0 again, ids may be the same. Not all agents announce it."""
        self._growing = None
        if self.last:
            self._turns.append([])

    def growing(self, event: dict[str, Any], kind: str) -> Item:
        """The item that a delta belongs to."""
        named = (kind, event.get("output_index"), event.get("item_id"))
        if self._growing is not None and self._growing[0] == named:  # as nearly always
            return self._growing[1]
        item = self._find(event, kind)
        if item.done:
            self.begin()
            item = self._find(event, kind)
        self._growing = (named, item)
        return item

    def mentioned(self, event: dict[str, Any], kind: str, *, new: bool = True) -> Item | None:
        """The item under way of which ``event`` says more than a delta does; ``None`` where it is whole already.

        Args:
            new: Begin one where the event names a place that is free, or there is none of its kind.
        """
        found = self._seek(event, kind)
        if found is None and new:
            placed = isinstance(event.get("output_index"), int)
            if placed or not any(item.fields["type"] == kind for item in self.last):
                found = self._find(event, kind)
        return None if found is None or found.done else found

    def told(self, item: dict[str, Any], event: dict[str, Any], kind: str, done: bool) -> Item:
        """The item that begins with ``item`` or, where it is ``done``, is whole with it.

        Args:
            event: What stands around it; nothing where it came by itself.
        """
        self._growing = None
        named = {"item_id": item.get("id"), **event}
        found = self._find(named, kind, new=not done or not event)
        at_the_end = bool(event) and "item" not in event  # as the response itself lists it
        if found.done and not at_the_end and (not done or found.fields != item):
            self.begin()
            found = self._find(named, kind, new=True)
        return found

    def _find(self, event: dict[str, Any], kind: str, new: bool = False) -> Item:
        found = self._seek(event, kind, new)
        if found is None:
            place = event.get("output_index")
            found = Item(kind, place if isinstance(place, int) else None)
            self.last.append(found)
        its_id = event.get("item_id")
        if isinstance(its_id, str):
            found.ids.add(its_id)
        return found

    def _seek(self, event: dict[str, Any], kind: str, new: bool = False) -> Item | None:
        turn = [item for item in self.last if item.fields["type"] == kind]
        place, its_id = event.get("output_index"), event.get("item_id")
        found = None
        if isinstance(place, int):
            found = next((item for item in turn if item.place == place), None)
        if found is None and isinstance(its_id, str):
            found = next((i for i in turn if its_id in i.ids and (i.place is None or place is None)), None)
        if found is None and not isinstance(place, int) and not new:
            # Nothing names it: the one of its kind that is under way.
            found = next((item for item in reversed(turn) if not item.done), None)
            if found is not None and isinstance(its_id, str) and found.ids and its_id not in found.ids:
                found = None
        return found


def _in_order(turn: list[Item]) -> list[Item]:
    """By place where all have one (they may end out of order), else as they came."""
    if all(item.place is not None for item in turn):
        return sorted(turn, key=lambda item: item.place or 0)
    return turn
