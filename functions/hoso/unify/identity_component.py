"""Reading a connected component of the identity graph, so that a decision can be made on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hoso.model.errors import Conflict
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.dynamo import Item, Table
from hoso.unify.evidence import pair
from hoso.unify.facts import Facts
from hoso.unify.identity_items import IdentityKeys, Known, read_identifier

MAX_IDENTIFIERS = 500
MAX_PEOPLE = 60
"""Larger components are not decided live: the transaction that guards the decision would not fit."""


class TooLarge(Exception):
    """The component is too large for a live decision; the link waits for a rebuild."""


class Unfinished(Exception):
    """A person's identifiers are still being moved; ``pid`` says whose. Finish that first."""

    def __init__(self, pid: str) -> None:
        super().__init__("identifiers are still being moved")
        self.pid = pid


@dataclass(slots=True)
class Component:
    """A component as stored: ``known`` per identifier, ``people`` per profile id (None: no item yet), ``members``
    per profile id. ``through``: it was read beyond shared values too, so that they can be judged anew; ``cut``: beyond
    cut links too, so that what they rest on can be erased."""

    known: dict[Identifier, Known] = field(default_factory=dict[Identifier, Known])
    people: dict[str, Item | None] = field(default_factory=dict[str, Item | None])
    members: dict[str, list[Identifier]] = field(default_factory=dict[str, list[Identifier]])
    through: bool = False
    cut: bool = False

    def ends_at(self, known: Known) -> bool:
        """Whether the component does not go on beyond an identifier: a shared value's links join nobody."""
        return known.shared and not (known.whole and (self.through or known.disputed))

    def pid_of(self, found: Identifier, keys: IdentityKeys) -> str:
        """The profile that holds an identifier of the component."""
        return self.known[found].pid or keys.profile(found)

    def facts(self, config: IdentityConfig) -> Facts:
        """What the items say. Links to identifiers outside the component are cut or shared and play no part."""
        facts = Facts()
        for weak, known in self.known.items():
            facts.seen.add(weak)
            for strong, times in known.links.items():
                left = self._left(strong, known, times) if strong in self.known else None
                if left is not None:
                    facts.links[pair(strong, weak)] = left
            if known.blocked:
                facts.blocked.add(weak)
            for strong, proof in known.proofs.items():
                facts.proofs[pair(strong, weak)] = proof
            for (strong, passed), times in known.beside.items():
                if strong in self.known:
                    facts.beside[strong, weak, passed] = times
            facts.aliases.update(pair(other, weak) for other in known.aliases if other in self.known)
            for other, score in known.probable.items():
                if other in self.known:
                    facts.probable[pair(other, weak)] = score
            facts.cuts.update(pair(other, weak) for other in known.cuts)
            facts.aparts.update(pair(other, weak) for other in known.aparts)
            if known.names and config.names:
                facts.names[weak] = dict(known.names)
            if known.together is not None:
                facts.together[weak] = known.together
            if self.ends_at(known):
                facts.shared.add(weak)
        return facts

    def outlived(self) -> set[Identifier]:
        """The ends of links that are stored and are no facts any more, as one end was erased since (R15)."""
        return {
            end
            for weak, known in self.known.items()
            for strong, times in known.links.items()
            if strong in self.known and self._left(strong, known, times) != times
            for end in (strong, weak)
        }

    def _left(self, strong: Identifier, weak: Known, times: tuple[int, int]) -> tuple[int, int] | None:
        """The times of a link without what was erased since (R15): of a value that many shared the erasure did not
        find every link."""
        until = max((known.erased for known in (self.known[strong], weak) if known.erased is not None), default=None)
        if until is None or times[0] > until:
            return times
        return None if times[1] <= until else (times[1], times[1])


class ComponentReader:
    """Reads components with strong consistency, each person's item before the identifiers that it guards."""

    def __init__(self, table: Table, keys: IdentityKeys) -> None:
        self._table = table
        self._keys = keys

    def read(self, seeds: Iterable[Identifier], *, through: bool = False, cut: bool = False) -> Component:
        """The components of these identifiers, as one; ``through`` shared values too, where all their links are kept,
        and beyond ``cut`` links.

        Raises:
            TooLarge: over ``MAX_IDENTIFIERS`` or ``MAX_PEOPLE``.
            Unfinished: a move of identifiers has to be finished first.
            Conflict: the component changed while it was read.
        """
        found = Component(through=through, cut=cut)
        queue = set(seeds)
        while queue:
            added = self._add_people(found, self._identifiers(queue))
            if len(found.known) > MAX_IDENTIFIERS or len(found.people) > MAX_PEOPLE:
                raise TooLarge
            queue = self._next(found, added)
        return found

    def _add_people(self, found: Component, items: dict[Identifier, Item | None]) -> set[Identifier]:
        """Add the people that hold these identifiers; answer with all their identifiers."""
        pids = {(item or {}).get("p") or self._keys.profile(one): one for one, item in items.items()}
        new = [pid for pid in pids if pid not in found.people]
        people = self._table.batch_get(map(self._keys.person_key, new), consistent=True)
        added: set[Identifier] = set()
        for pid in new:
            item = people.get(self._keys.person_key(pid))
            if item is not None and "to" in item:
                raise Unfinished(item["to"])
            if item is not None and "st" in item:
                raise Unfinished(pid)
            listed = [Identifier(kind, value) for kind, value in (item or {}).get("ids", ())]
            found.people[pid] = item
            found.members[pid] = listed or [pids[pid]]
            added.update(found.members[pid])
        held = self._identifiers(added)
        for pid in new:
            for one in found.members[pid]:
                known = Known.of(held[one])
                if (known.pid or self._keys.profile(one)) != pid:
                    raise Conflict("an identifier moved while its component was read")
                found.known[one] = known
        if any(one not in found.known for one in items):
            raise Conflict("a person changed while its component was read")
        return added

    def _next(self, found: Component, added: set[Identifier]) -> set[Identifier]:
        """Identifiers next to these that are not in the component yet. A shared one is part of it, as its links count,
        but the component does not go on beyond it: its links join nobody."""
        open_ends = [one for one in added if not found.ends_at(found.known[one])]
        near = {end for one in open_ends for end in found.known[one].neighbours(cut=found.cut)}
        listed = {
            read_identifier(text)
            for item in (found.people[found.pid_of(one, self._keys)] for one in open_ends)
            for text in (item or {}).get("nb", ())
        }
        near -= found.known.keys()
        for one, item in self._identifiers(listed - near - found.known.keys()).items():
            ends = Known.of(item).neighbours(cut=found.cut) & found.known.keys()
            if any(not found.ends_at(found.known[end]) for end in ends):
                near.add(one)
        return near

    def _identifiers(self, wanted: Iterable[Identifier]) -> dict[Identifier, Item | None]:
        names = {one: self._keys.identifier_key(one) for one in wanted}
        items = self._table.batch_get(names.values(), consistent=True)
        return {one: items.get(name) for one, name in names.items()}
