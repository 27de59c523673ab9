"""Facts of identity: what events and records say, without order. Rules R5, R6, R12, R14, R15, R17 (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from hoso.model.identifiers import Identifier, IdentityConfig, ranked
from hoso.unify.evidence import Apart, Block, Cut, Evidence, Operation, Pair, Probable, Restore, pair

Beside = tuple[Identifier, Identifier, tuple[Identifier, ...]]
"""A link between two identifiers that stands only while these others are shared."""

NAMES_KEPT = 4
"""Most different names remembered of one identifier; two that contradict are enough to decide."""


class Proof(NamedTuple):
    """What a link rests on: the first event that told it (or the record), its source and its time (UTC ms)."""

    ts: int
    id: str
    source: str


@dataclass(slots=True)
class Facts:
    """What is known, without order: links with earliest and latest time, and the operators' records.

    ``together`` holds when an identifier was first seen with another one, for limits with a window (R8). ``names``
    holds the folded names of identifiers, each with the earliest time. ``shared`` are values known to be shared.
    ``beside`` holds links that an event implies when the better identifiers that it carries, the third member of the
    key, turn out to be shared: then the next one is its hub (only where names are checked). ``blocked`` are values
    that an operator took out of use. ``proofs`` explain, and decide nothing.
    """

    links: dict[Pair, tuple[int, int]] = field(default_factory=dict[Pair, tuple[int, int]])
    aliases: set[Pair] = field(default_factory=set[Pair])
    probable: dict[Pair, float] = field(default_factory=dict[Pair, float])
    cuts: set[Pair] = field(default_factory=set[Pair])
    aparts: set[Pair] = field(default_factory=set[Pair])
    seen: set[Identifier] = field(default_factory=set[Identifier])
    together: dict[Identifier, int] = field(default_factory=dict[Identifier, int])
    names: dict[Identifier, dict[str, int]] = field(default_factory=dict[Identifier, dict[str, int]])
    shared: set[Identifier] = field(default_factory=set[Identifier])
    beside: dict[Beside, tuple[int, int]] = field(default_factory=dict["Beside", "tuple[int, int]"])
    blocked: set[Identifier] = field(default_factory=set[Identifier])
    proofs: dict[Pair, Proof] = field(default_factory=dict["Pair", "Proof"])

    def add(self, told: Evidence, config: IdentityConfig) -> None:
        """Take in what one event tells; a second time changes nothing (R6)."""
        hub, previous = told.hub, told.previous
        self.seen.add(hub)
        for other in told.ids:
            if other != hub:
                self.add_link(hub, other, told.ts)
                self._prove(hub, other, told)
        if previous is not None and previous != hub:
            self._prove(hub, previous, told)
            if previous.type == hub.type:
                self.aliases.add(pair(hub, previous))
                self._meet(hub, previous, told.ts)
            else:
                self.add_link(hub, previous, told.ts)
        if config.names:
            self.add_beside(told, config)
        if config.names and told.name is not None:
            for owner in named_by(told, config):
                self.add_name(owner, told.name, told.ts, config)

    def add_link(self, one: Identifier, other: Identifier, ts: int) -> None:
        """One sighting of two identifiers together."""
        link = pair(one, other)
        known = self.links.get(link)
        self.links[link] = (ts, ts) if known is None else (min(known[0], ts), max(known[1], ts))
        self._meet(one, other, ts)

    def add_beside(self, told: Evidence, config: IdentityConfig) -> None:
        """The links that stand only while better identifiers of the event are shared."""
        for key in beside_links(told, config):
            known = self.beside.get(key)
            self.beside[key] = (told.ts, told.ts) if known is None else (min(known[0], told.ts), max(known[1], told.ts))

    def add_name(self, owner: Identifier, name: str, ts: int, config: IdentityConfig) -> None:
        """A name seen with an identifier. A login or customer number keeps the earliest: its owner may be renamed."""
        known = self.names.setdefault(owner, {})
        known[name] = min(ts, known.get(name, ts))
        if owner.type in config.unique_types:
            first = min(known, key=lambda text: (known[text], text))
            self.names[owner] = {first: known[first]}
        elif len(known) > NAMES_KEPT:
            del known[max(known)]

    def _prove(self, one: Identifier, other: Identifier, told: Evidence) -> None:
        link, proof = pair(one, other), Proof(told.ts, told.event_id, told.source)
        self.proofs[link] = min(proof, self.proofs.get(link, proof))

    def _meet(self, one: Identifier, other: Identifier, ts: int) -> None:
        for met in (one, other):
            self.seen.add(met)
            self.together[met] = min(ts, self.together.get(met, ts))


def mark(facts: Facts, record: Cut | Restore | Apart | Probable | Block) -> None:
    """Enter an operator's or the nightly job's record into the facts."""
    if isinstance(record, Cut):
        facts.cuts.update(record.links)
    elif isinstance(record, Restore):
        facts.cuts.difference_update(record.links)
        facts.aparts.difference_update(record.links)
    elif isinstance(record, Apart):
        facts.aparts.update(record.pairs)
    elif isinstance(record, Block):
        (facts.blocked.add if record.on else facts.blocked.discard)(record.of)
    else:
        link = pair(record.a, record.b)
        if record.score > 0:
            facts.proofs.setdefault(link, Proof(record.ts, record.record_id, "likeness"))
            facts.probable[link] = max(record.score, facts.probable.get(link, record.score))
        else:
            facts.probable.pop(link, None)


def is_outdated(record: Operation, erased: Mapping[Identifier, int]) -> bool:
    """Whether a match was found before one of its ends was erased, and is told only now (R15): a night that began
    earlier must not bring back who is gone."""
    return isinstance(record, Probable) and any(record.ts <= erased.get(end, -inf) for end in (record.a, record.b))


def named_by(told: Evidence, config: IdentityConfig) -> list[Identifier]:
    """Whose name an event's name is: the hub's, and behind a hub that several people may use that of the next one."""
    owners = [told.hub]
    for other in told.ids:
        if owners[-1].type not in config.contact_types or other.type not in config.contact_types:
            break
        owners.append(other)
    return owners


def beside_links(told: Evidence, config: IdentityConfig) -> list[Beside]:
    """The links that an event implies when its hub, or that and the next ones, are shared."""
    ranked_ids = [told.hub, *(one for one in told.ids if one != told.hub)]
    found: list[Beside] = []
    for place, one in enumerate(ranked_ids[1:-1], 1):
        passed = tuple(ranked_ids[:place])
        if passed[-1].type not in config.contact_types:
            break
        found += [(one, other, passed) for other in ranked_ids[place + 1 :]]
    return found


def strip(told: Evidence, erased: Mapping[Identifier, int], config: IdentityConfig) -> Evidence | None:
    """The evidence without identifiers that were erased at its time or later (R15); None when nothing is left."""

    def stays(found: Identifier | None) -> bool:
        return found is not None and told.ts > erased.get(found, -inf)

    if not any(found in erased for found in (told.hub, told.previous, *told.ids)):
        return told
    left = ranked([found for found in (told.hub, *told.ids) if stays(found)], config)
    if not left:
        return None
    name = told.name if left[0] in named_by(told, config) else None
    previous = told.previous if stays(told.previous) else None
    return told._replace(hub=left[0], ids=left[1:], previous=previous, name=name)
