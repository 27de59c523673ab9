"""Taking merges back: which links an operator's wish means, and what becomes of the people (rules R14, R29).

A cut is part of the evidence, so people end exactly as if the link had never been seen; it holds against new evidence
of the same link. Where a cut parts two identifiers they are kept apart as well, so that no other link joins them
silently. ``allow`` takes both back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hoso.model.errors import Conflict, InvalidInput, NotFound
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.ids import content_id
from hoso.unify.evidence import Apart, Block, Cut, Operation, Pair, Restore, pair
from hoso.unify.explain import Edge, edges_of, path
from hoso.unify.facts import Facts
from hoso.unify.graph import anchor, cluster
from hoso.unify.identities import Identities
from hoso.unify.identity_changes import Change
from hoso.unify.identity_items import read_identifier
from hoso.unify.people import People
from hoso.unify.settlement import OPEN_RECORD

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


_FIRST_ROUND = 16
"""Links of a round; fewer where even these part more people than one transaction holds."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What rounds are to reach: links cut and pairs kept apart, or (``back``) both taken back."""

    links: list[Pair]
    apart: list[Pair]
    back: bool = False

    @classmethod
    def of(cls, records: Sequence[Operation]) -> _Wish:
        """What records mean."""
        back = [link for record in records if isinstance(record, Restore) for link in record.links]
        cut = [link for record in records if isinstance(record, Cut) for link in record.links]
        apart = [link for record in records if isinstance(record, Apart) for link in record.pairs]
        return cls(list(dict.fromkeys(back or cut)), apart, bool(back))

    @classmethod
    def parse(cls, held: Json) -> _Wish:
        """The wish in a record."""
        links, apart = ([pair(*map(read_identifier, link)) for link in held[name]] for name in ("links", "apart"))
        return cls(links, apart, held["back"])

    def as_json(self) -> Json:
        """The wish as a record keeps it."""
        links, apart = ([list(map(str, link)) for link in listed] for listed in (self.links, self.apart))
        return {"links": links, "apart": apart, "back": self.back}

    def records(self, name: str, ts: int, links: list[Pair], apart: list[Pair]) -> list[Operation]:
        """A part of it as records of evidence."""
        if self.back:
            return [Restore(name, ts, links)]
        return [Cut(name, ts, links), Apart(f"{name}:apart", ts, apart)]


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
        try:
            change = self._identities.apply(*records, note=note)
        except Conflict as error:
            wish = _Wish.of(records)
            if error.code != "too_large" or len(wish.links) < 2:
                raise
            return self._in_rounds(wish, records[0].record_id, note, now)
        return change, self._evaluate(change, now)

    def resume(self, record_id: str, held: Json, now: int) -> None:
        """Finish what a killed process left of a record in rounds; harmless where nothing is left."""
        if "open" in held:
            self._in_rounds(_Wish.parse(held["open"]), record_id, {}, now)

    def _in_rounds(self, wish: _Wish, record_id: str, note: Json, now: int) -> tuple[Change, list[str]]:
        """Part, or join again, more people than one transaction holds. Each round is a decision of its own that cuts
        some links and keeps apart what that parts, so nothing joins again whoever dies. The record itself is kept with
        the first one, for all of them, and names the wish as ``open`` until the last; the sweeper goes on with it, too.

        Raises as ``Identities.apply``.
        """
        ends = [end for link in (*wish.links, *wish.apart) for end in link]
        size, whole, name, done = _FIRST_ROUND, Change(), record_id, set[str]()
        while True:
            links, apart = self._left(wish, size)
            held = self._identities.applied(record_id)
            closed = held is not None and "open" not in held
            if held is not None:
                name = f"{record_id}:{content_id(*map(str, links), '', *map(str, apart))}"
            if closed or not (links or apart) or name in done:  # all is done, or somebody takes it back meanwhile
                whole.touched = sorted({*whole.touched, *self._identities.people_of(ends).values()})
                concerned = self._evaluate(whole, now)
                self._identities.close(record_id, whole.touched)
                return whole, concerned
            more = note | {"open": wish.as_json()} if name == record_id else None
            try:
                _add(whole, self._identities.apply(*wish.records(name, now, links, apart), note=more))
                done.add(name)
            except Conflict as error:
                if error.code != "too_large" or size == 1:
                    raise
                size //= 2

    def _left(self, wish: _Wish, size: int) -> tuple[list[Pair], list[Pair]]:
        """The links of the next round, and the pairs to be kept apart with them."""
        cuts, aparts = self._identities.kept([*wish.links, *wish.apart])
        if wish.back:
            return [link for link in wish.links if link in cuts or link in aparts][:size], []
        cut = [link for link in wish.links if link not in cuts][:size]
        return cut, self._parted_by(cut, [link for link in wish.apart if link not in aparts])[:size]

    def _parted_by(self, cut: Sequence[Pair], wanted: list[Pair]) -> list[Pair]:
        """Which of the pairs that are to be apart come apart by these cuts; without cuts all of them."""
        if not cut:
            return wanted
        facts = self._identities.facts_of(*(end for link in cut for end in link))
        of = cluster(replace(facts, cuts=facts.cuts | set(cut)), self._identities.config).of
        return [(one, other) for one, other in wanted if {one, other} <= of.keys() and of[one] is not of[other]]

    def _evaluate(self, change: Change, now: int) -> list[str]:
        concerned = sorted(set(change.touched or change.pids.values()))
        for pid in concerned:
            self._people.reevaluate(self._workspace, pid, now, kind="merge")
        return concerned


def _add(whole: Change, change: Change) -> None:
    """Take a later change into an earlier one, in place: who there was first, and who there is at the end."""
    for pid, members in change.before.items():
        if not any(members & held for held in whole.before.values()):
            whole.before[pid] = members
    whole.after = {pid: held for pid, held in whole.after.items() if pid not in change.tombstones} | change.after
    whole.touched = sorted({*whole.touched, *change.touched} - change.tombstones.keys())
    whole.pids |= change.pids


def look(identities: Identities, people: People, workspace: str, who: str, now: int) -> int:
    """What falls due: a person, whose segments are evaluated, or the rounds that are left of a record. Answers the
    number of changed memberships. Raises as ``Identities.apply``."""
    if not who.startswith(OPEN_RECORD):
        return len(people.reevaluate(workspace, who, now))
    record_id = who.removeprefix(OPEN_RECORD)
    Parting(identities, people, workspace).resume(record_id, identities.applied(record_id) or {}, now)
    return 0


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
