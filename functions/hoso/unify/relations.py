"""Relations: who shares bills, cards or an address with a person, each with how often (support).

The index of marks tells which fragments may have something in common; what counts is what both sides' fragments tell
now. So a relation ends with its evidence, moves with merges and splits, and an orphan in the index does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hoso.model.identifiers import Identifier
from hoso.model.time import format_instant
from hoso.unify.marks import ADDRESS, BILL, CARD, MOST_CARRIERS, address_mark, card_mark, kind_of, visit_marks
from hoso.unify.people import People
from hoso.unify.profiles import Profile

MOST_MARKS = 100
MOST_RELATIONS = 10
"""Related people looked at for one answer, those with the most marks in common first."""

COMPANION, HOUSEHOLD = "companion", "household"
Json = dict[str, Any]


@dataclass(slots=True)
class Relation:
    """Somebody who has marks in common with a person; ``by`` counts them per kind (bill, card, address), ``last`` is
    the newest visit among them (UTC ms, None for an address alone)."""

    profile: Profile
    by: dict[str, int] = field(default_factory=dict[str, int])
    last: int | None = None

    @property
    def support(self) -> int:
        """How many marks are shared."""
        return sum(self.by.values())

    @property
    def kinds(self) -> list[str]:
        """``companion`` for those who come together, ``household`` for those who live together."""
        together = bool(self.by.keys() & {BILL, CARD})
        return [*([COMPANION] if together else []), *([HOUSEHOLD] if ADDRESS in self.by else [])]


def marks_of(profile: Profile) -> dict[str, int | None]:
    """All marks of a person with the time of the visit (None: no visit), newest first, at most ``MOST_MARKS``."""
    marks: dict[str, int | None] = {}
    address = profile.traits.get("address")
    own = address_mark(address.value) if address is not None else None
    if own is not None:
        marks[own] = None
    for kind, value in profile.person.identifiers:
        if kind == "loyalty_id":
            marks[card_mark(value)] = None
    for visit in reversed(profile.visits):
        for mark in visit_marks(visit):
            marks.setdefault(mark, visit.ts)
    return dict(list(marks.items())[:MOST_MARKS])


def relations(people: People, profile: Profile, most: int = MOST_RELATIONS) -> list[Relation]:
    """The people related to a person, the strongest relation first."""
    marks = marks_of(profile)
    if not marks:
        return []
    own = {fragment.fid for fragment in profile.fragments}
    found: dict[str, int] = {}
    for fids in people.carriers(profile.workspace, marks).values():
        if len(fids) < MOST_CARRIERS:
            for fid in fids - own:
                found[fid] = found.get(fid, 0) + 1
    for visit in profile.visits:
        if visit.card:
            fid = people.fragment_id(profile.workspace, Identifier("loyalty_id", visit.card))
            if fid not in own:
                found[fid] = found.get(fid, 0) + 1
    candidates = sorted(found, key=lambda fid: (-found[fid], fid))[: most * 2]
    pids = [pid for pid in dict.fromkeys(people.owners(profile.workspace, candidates)) if pid != profile.pid]
    others = [other for other in people.load_many(profile.workspace, pids[:most]) if other.pid != profile.pid]
    known = {other.pid: _common(profile, marks, other) for other in others if other.exists}
    strong = [relation for relation in known.values() if relation.by]
    return sorted(strong, key=lambda relation: (-relation.support, relation.profile.pid))


def as_json(found: Sequence[Relation]) -> list[Json]:
    """Relations as the API shows them."""
    return [
        {
            "profile_id": relation.profile.pid,
            "kinds": relation.kinds,
            "support": relation.support,
            "by": dict(sorted(relation.by.items())),
            "last": None if relation.last is None else format_instant(relation.last),
        }
        for relation in found
    ]


def _common(profile: Profile, mine: Mapping[str, int | None], other: Profile) -> Relation:
    """What both sides tell. A pair of cards is told by one side: a visit with the other's card."""
    relation = Relation(other)
    theirs = marks_of(other)
    for mark in mine.keys() & theirs.keys():
        kind = kind_of(mark)
        if kind == CARD:
            continue
        _count(relation, kind, mine[mark], 1)
    for one, two in ((profile, other), (other, profile)):
        cards = {value for kind, value in two.person.identifiers if kind == "loyalty_id"}
        for visit in one.visits:
            if visit.card and visit.card in cards:
                _count(relation, CARD, visit.ts, 1)
    return relation


def _count(relation: Relation, kind: str, ts: int | None, number: int) -> None:
    relation.by[kind] = relation.by.get(kind, 0) + number
    if ts is not None:
        relation.last = ts if relation.last is None else max(relation.last, ts)
