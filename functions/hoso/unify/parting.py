"""Taking merges back: which links an operator's wish means, and what becomes of the people (rules R14, R29).

A cut is part of the evidence, so people end exactly as if the link had never been seen; it holds against new evidence
of the same link. Where a cut parts two identifiers they are kept apart as well, so that no other link joins them
silently. ``allow`` takes both back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hoso.model.errors import InvalidInput, NotFound
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.unify.evidence import Apart, Block, Cut, Operation, Pair, Restore, pair
from hoso.unify.explain import Edge, edges_of, path
from hoso.unify.facts import Facts
from hoso.unify.graph import anchor, cluster
from hoso.unify.identities import Identities
from hoso.unify.identity_changes import Change
from hoso.unify.identity_items import read_identifier
from hoso.unify.people import People

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a wish means. ``cut`` and ``apart`` are pairs, ``held`` the edges that still connect what was to part."""

    cut: list[Pair] = field(default_factory=list[Pair])
    apart: list[Pair] = field(default_factory=list[Pair])
    held: list[Edge] = field(default_factory=list[Edge])

    def records(self, record_id: str, ts: int) -> list[Operation]:
        """The plan as records of evidence."""
        records: list[Operation] = [Cut(record_id, ts, self.cut)]
        return records + ([Apart(f"{record_id}:apart", ts, self.apart)] if self.apart else [])


def by_edge(facts: Facts, config: IdentityConfig, links: Sequence[Pair]) -> Plan:
    """Take links back. Raises ``NotFound`` when one was never seen."""
    known = {*facts.links, *facts.aliases, *facts.probable, *(pair(one, other) for one, other, _ in facts.beside)}
    if any(link not in known for link in links):
        raise NotFound("no such link is known", hint="GET /v1/people/{id}/why lists the links")
    return _parted(facts, config, list(links), links)


def by_identifier(facts: Facts, config: IdentityConfig, out: Identifier) -> Plan:
    """Take an identifier out of its person. Raises ``NotFound`` when it is alone."""
    clusters = cluster(facts, config)
    members = clusters.of.get(out, frozenset({out}))
    rest = members - {out}
    if not rest:
        raise NotFound("this identifier is a person of its own already")
    known = {*facts.links, *facts.aliases, *facts.probable, *(pair(one, other) for one, other, _ in facts.beside)}
    links = sorted(link for link in known if out in link and rest & set(link))
    return _parted(facts, config, links, [*links, pair(out, anchor(rest, config))])


def by_event(facts: Facts, config: IdentityConfig, message_id: str) -> Plan:
    """Take back what an event was the first to tell. Raises ``NotFound`` when it was no such event."""
    links = sorted(link for link, proof in facts.proofs.items() if proof.id == message_id)
    if not links:
        raise NotFound("no link of this person rests on this event", hint="GET /v1/people/{id}/why names the events")
    return _parted(facts, config, links, links)


class Parting:
    """Applies plans, and has the segments of everybody concerned evaluated."""

    def __init__(self, identities: Identities, people: People, workspace: str) -> None:
        self._identities = identities
        self._people = people
        self._workspace = workspace

    def carry_out(
        self, make: Callable[[], Sequence[Operation]], note: Json, now: int, *, dry_run: bool
    ) -> tuple[Change, list[str]]:
        """Apply what ``make`` gives. Answers the change and the profile ids of everybody concerned.

        Raises as ``Identities.apply``.
        """
        records = make()
        if dry_run:
            change = self._identities.preview(*records)
            return change, sorted(set(change.touched))
        change = self._identities.apply(*records, note=note)
        concerned = sorted(set(change.touched or change.pids.values()))
        for pid in concerned:
            self._people.reevaluate(self._workspace, pid, now, kind="merge")
        return change, concerned


def restored(held: Json, record_id: str, ts: int) -> list[Operation]:
    """What takes a kept record back. Raises ``InvalidInput`` for one that nothing can take back."""
    links = [pair(*map(read_identifier, link)) for link in (*held.get("cut", ()), *held.get("apart", ()))]
    if links:
        return [Restore(record_id, ts, links)]
    if "value" in held:
        return [Block(record_id, ts, read_identifier(held["value"]), on=False)]
    raise InvalidInput("this record cannot be taken back")


def shown_people(people: dict[str, frozenset[Identifier]], only: Iterable[str]) -> list[Json]:
    """People as the API shows them."""
    wanted = set(only)
    return [
        {"profile_id": pid, "identifiers": sorted(map(str, members))}
        for pid, members in sorted(people.items())
        if pid in wanted
    ]


def _parted(facts: Facts, config: IdentityConfig, links: list[Pair], ends: Sequence[Pair]) -> Plan:
    """Cut the links, keep apart what that parts, and tell what still connects the rest."""
    left = replace(facts, cuts=facts.cuts | set(links))
    clusters = cluster(left, config)
    apart = sorted({link for link in ends if clusters.of[link[0]] is not clusters.of[link[1]]})
    held: dict[Pair, Edge] = {}
    for one, other in ends:
        if clusters.of[one] is clusters.of[other]:
            for edge in path(edges_of(left, clusters, clusters.of[one]), one, other) or ():
                held[edge.ends] = edge
    return Plan(links, apart, list(held.values()))
