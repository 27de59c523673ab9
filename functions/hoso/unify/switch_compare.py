"""Where the live people and a rebuild in the shadow differ, read in step from both tables: no table is held in memory.

What is compared is what ``hoso.unify.compare`` says. A difference in a fragment that has received events since the
rebuild's last one is no fault of either: it is counted as *later*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hoso.model.identifiers import Identifier
from hoso.platform.dynamo import Item, Key, Table
from hoso.unify.compare import MOST_NAMED, Print, print_of
from hoso.unify.identity_items import IdentityKeys
from hoso.unify.store import hot_key

CHUNK = 100


@dataclass(slots=True)
class Compared:
    """Fragments and people that are the same, differ, are on one side only, or have received events since; some keys
    of what differs. ``people`` are the profile ids with events on the live side, ``changed`` those of them whose
    fragments differ, ``rebuilt`` the profile ids of the shadow's fragments that differ."""

    same: int = 0
    differ: int = 0
    only_live: int = 0
    only_shadow: int = 0
    later: int = 0
    named: list[str] = field(default_factory=list[str])
    people: set[str] = field(default_factory=set[str])
    changed: set[str] = field(default_factory=set[str])
    rebuilt: set[str] = field(default_factory=set[str])

    @property
    def equal(self) -> bool:
        """Whether both hold the same people, as far as the rebuild goes."""
        return not (self.differ or self.only_live or self.only_shadow)

    def counts(self) -> dict[str, Any]:
        """The counts and names, for a report."""
        names = ("same", "differ", "only_live", "only_shadow", "later", "named", "equal")
        return {name: getattr(self, name) for name in names}


class Tables:
    """The live table and the shadow of a workspace; the rebuild ends before the receipt at ``until`` (UTC ms)."""

    def __init__(self, live: Table, shadow: Table, keys: IdentityKeys, until: int) -> None:
        self.live = live
        self.shadow = shadow
        self._keys = keys
        self._until = until

    def compare(self) -> Compared:
        """All differences."""
        found = Compared()
        for chunk in _chunks(self._items(self.live)):
            others = self.shadow.batch_get([_key(item) for item in chunk], consistent=True)
            for item in chunk:
                if item["sk"] == "H" and item.get("n"):
                    found.people.add(owner_of(item))
                made, other = print_of(item), others.get(_key(item))
                if made is not None:
                    self._judge(found, item, made, other)
        for chunk in _chunks(self._items(self.shadow)):
            others = self.live.batch_get([_key(item) for item in chunk], consistent=True)
            for item in chunk:
                other = others.get(_key(item))
                if print_of(item) is None or (other is not None and print_of(other) is not None):
                    continue
                if self._is_later(item):
                    found.later += 1
                    continue
                found.only_shadow += 1
                _name(found, item)
                if item["sk"] == "H":
                    found.rebuilt.add(owner_of(item))
        return found

    def others(self, people: Iterable[Item], where: Table) -> dict[str, dict[Identifier, str]]:
        """Per person (of items with their identifiers) the profile id of each identifier in that table."""
        answer: dict[str, dict[Identifier, str]] = {}
        for item in people:
            ids = [Identifier(*one) for one in item["ids"]]
            names = {one: self._keys.identifier_key(one) for one in ids}
            held = where.batch_get(names.values(), consistent=True)
            answer[item["pk"].rpartition("#")[2]] = {
                one: held.get(name, {}).get("p") or self._keys.profile(one) for one, name in names.items()
            }
        return answer

    def people(self, where: Table) -> Iterator[Item]:
        """The items of people of several identifiers."""
        prefix = f"{self._keys.workspace}#P#"
        for item in where.scan():
            if item["pk"].startswith(prefix) and item["sk"] == "P" and "to" not in item and len(item["ids"]) > 1:
                yield item

    def _judge(self, found: Compared, item: Item, made: Print, other: Item | None) -> None:
        theirs = print_of(other) if other is not None else None
        if theirs is not None and made.equals(theirs):
            found.same += 1
            return
        if self._is_later(item):
            found.later += 1
            return
        if theirs is None:
            found.only_live += 1
        else:
            found.differ += 1
        _name(found, item)
        if item["sk"] == "H":
            found.changed.add(owner_of(item))
            if other is not None:
                found.rebuilt.add(owner_of(other))

    def _is_later(self, item: Item) -> bool:
        """Whether a fragment, or one of a person's, has received live events since the rebuild's last one."""
        workspace, kind, name = item["pk"].split("#", 2)
        fids: list[str] = [name] if kind == "F" else item.get("fr", [])
        hots = self.live.batch_get([hot_key(workspace, fid) for fid in fids], consistent=True)
        newest = [(hot["pk"], hot["g"]) for hot in hots.values() if "g" in hot]
        pages = self.live.batch_get(newest, consistent=True)
        return any(page["at"] >= self._until for page in pages.values())

    def _items(self, table: Table) -> Iterator[Item]:
        prefix = f"{self._keys.workspace}#"
        for item in table.scan():
            kind = item["pk"].removeprefix(prefix)[:2]
            if item["pk"].startswith(prefix) and (kind, item["sk"]) in (("F#", "H"), ("F#", "C"), ("P#", "P")):
                yield item


def same_content(item: Item, other: Item | None) -> bool:
    """Whether two items of one fragment hold the same, whoever owns it."""
    mine, theirs = _without_owner(item), _without_owner(other)
    return (mine is None) == (theirs is None) and (mine is None or theirs is None or mine.equals(theirs))


def owner_of(hot: Item) -> str:
    """The profile id to which a fragment belongs."""
    return hot.get("o") or f"p_{hot['pk'].rpartition('#')[2]}"


def _without_owner(item: Item | None) -> Print | None:
    return None if item is None else print_of({**item, "o": None})


def _key(item: Item) -> Key:
    return item["pk"], item["sk"]


def _name(found: Compared, item: Item) -> None:
    if len(found.named) < MOST_NAMED:
        found.named.append("/".join(_key(item)))


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, CHUNK)):
        yield chunk
