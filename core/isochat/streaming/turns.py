"""Which output item does an event of a Responses stream speak of, and in which turn of an agent?

By its place where the event names one, else by its id, else it is the one of its kind under way. Agents (payload facts
19 and 24) send several responses in one stream, or none at all around the items, and other ids in ``added`` than in
``done``.
"""

from __future__ import annotations

from typing import Any

from isochat.streaming.items import CALLS, Item


class _Turn:
    """The items of one turn, found without a look at each: a stream may have many thousands.

    Attributes:
        items: All of them, as they came.
        kinds: The types that they have.
    """

    __slots__ = ("_anywhere_by_id", "_by_id", "_by_place", "_open", "bare", "items", "kinds")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.kinds: set[str] = set()
        self.bare: set[bytes] = set()
        self._by_place: dict[tuple[str, int], Item] = {}
        # The first of each id, and the first of those without a place.
        self._by_id: dict[tuple[str, str], Item] = {}
        self._anywhere_by_id: dict[tuple[str, str], Item] = {}
        self._open: dict[str, list[Item]] = {}  # by kind, those that were not done when somebody looked last

    def add(self, kind: str, place: Any) -> Item:
        """Another item."""
        item = Item(kind, place if isinstance(place, int) else None)
        self.items.append(item)
        self.kinds.add(kind)
        self._open.setdefault(kind, []).append(item)
        if item.place is not None:
            self._by_place.setdefault((kind, item.place), item)
        return item

    def name(self, item: Item, kind: str, its_id: Any) -> None:
        """``item`` goes by that id too."""
        if isinstance(its_id, str) and its_id not in item.ids:
            item.ids.add(its_id)
            self._by_id.setdefault((kind, its_id), item)
            if item.place is None:
                self._anywhere_by_id.setdefault((kind, its_id), item)

    def at(self, kind: str, place: Any) -> Item | None:
        """The one at ``place``."""
        return self._by_place.get((kind, place)) if isinstance(place, int) else None

    def named(self, kind: str, its_id: Any, place: Any) -> Item | None:
        """The one that goes by that id, and stands at no other place than ``place``."""
        known = self._by_id if place is None else self._anywhere_by_id
        return known.get((kind, its_id)) if isinstance(its_id, str) else None

    def under_way(self, kind: str) -> Item | None:
        """The last one that is not whole."""
        items = self._open.get(kind, [])
        while items and items[-1].done:
            items.pop()
        return items[-1] if items else None


class Turns:
    """The items of a stream, turn by turn."""

    def __init__(self) -> None:
        self._turns = [_Turn()]
        self._growing: tuple[tuple[Any, ...], Item] | None = None  # the item of the last delta, and what named it

    @property
    def last(self) -> list[Item]:
        """The items of the turn under way, as they came."""
        return self._turns[-1].items

    @property
    def bare(self) -> set[bytes]:
        """Digests of the whole items of the turn under way that stand at no place."""
        return self._turns[-1].bare

    @property
    def unended(self) -> bool:
        """Whether an item has begun that is not whole."""
        return any(not item.done for item in self.last)

    @property
    def calls_tools(self) -> bool:
        """Whether the turn under way asks for tools, which an agent then runs."""
        return not self._turns[-1].kinds.isdisjoint(CALLS)

    def output(self) -> list[dict[str, Any]]:
        """All items as far as they are known."""
        return [item.value() for turn in self._turns for item in _in_order(turn.items)]

    def begin(self) -> None:
        """An agent's next turn: places count from 0 again, ids may be the same. Not all agents announce it."""
        self._growing = None
        if self.last:
            self._turns.append(_Turn())

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
        if found is None and new and (isinstance(event.get("output_index"), int) or kind not in self._turns[-1].kinds):
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
        turn = self._turns[-1]
        found = self._seek(event, kind, new)
        if found is None:
            found = turn.add(kind, event.get("output_index"))
        turn.name(found, kind, event.get("item_id"))
        return found

    def _seek(self, event: dict[str, Any], kind: str, new: bool = False) -> Item | None:
        turn, place, its_id = self._turns[-1], event.get("output_index"), event.get("item_id")
        found = turn.at(kind, place) or turn.named(kind, its_id, place)
        if found is None and not isinstance(place, int) and not new:
            # Nothing names it: the one of its kind that is under way.
            found = turn.under_way(kind)
            if found is not None and isinstance(its_id, str) and found.ids and its_id not in found.ids:
                found = None
        return found


def _in_order(turn: list[Item]) -> list[Item]:
    """By place where all have one (they may end out of order), else as they came."""
    if all(item.place is not None for item in turn):
        return sorted(turn, key=lambda item: item.place or 0)
    return turn
