"""A person is the merge, at read, of the fragments that identity holds together (pure).

Nothing is copied when people merge or part: traits are last-writer-wins over all fragments, counters are summed, orders
united by their id, consent follows the last statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, cast

import orjson

from hoso.segment.live import merge_meters
from hoso.segment.person import PersonState, Score
from hoso.unify import computed, consent, listings, orders, unreachable, verification, visits
from hoso.unify.computed import Computed, Values
from hoso.unify.consent import Consents
from hoso.unify.fragments import Cold, Fragment
from hoso.unify.trait_history import ID_LENGTH, Write
from hoso.unify.trait_policies import NO_POLICIES, PolicyOf, decide
from hoso.unify.traits import Trait, Traits
from hoso.unify.verification import Verifications
from hoso.unify.visits import Visit

Json = dict[str, Any]


class Membership(NamedTuple):
    """A stored membership: revision of the segment, since and until when (UTC ms), message id of the cause."""

    revision: int
    since: int
    until: int | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class Person:
    """The person item. Version 0: not stored, an identifier that was never linked and is in no segment.

    ``due`` is the time at which the sweeper will look; ``dirty``: people merged or parted and not all segments have
    been evaluated since. ``reasons`` say per membership why it was entered: kind and event name. ``rest`` holds
    attributes of other owners, which every write keeps.
    """

    pid: str
    version: int = 0
    identifiers: tuple[tuple[str, str], ...] = ()
    fragments: tuple[str, ...] = ()
    memberships: Mapping[str, Membership] = field(default_factory=dict[str, Membership])
    split_id: str | None = None
    due: int | None = None
    dirty: bool = False
    moved_to: str | None = None
    reasons: Mapping[str, Sequence[str | None]] = field(default_factory=dict[str, "Sequence[str | None]"])
    rest: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Profile:
    """One person, merged. Times are UTC ms; ``totals`` are whole units; ``visits`` are oldest first.

    ``computed`` are computed traits and scores; ``policies`` are those by which ``traits`` were merged. ``lists`` are
    the keys of the lists that the person is on. ``suppressed`` are the channels (``*``: all) that rules call so;
    ``blocked`` are those of them on which nothing at all may go out, the others are left for marketing alone.
    """

    workspace: str
    person: Person
    traits: Mapping[str, Trait]
    consent: Consents
    totals: Json
    first_seen: int | None
    last_seen: int | None
    overflow: Json
    fragments: tuple[Fragment, ...]
    verified: Verifications = field(default_factory=Verifications)
    computed: Values = field(default_factory=Values)
    visits: tuple[Visit, ...] = ()
    policies: PolicyOf = field(default_factory=lambda: NO_POLICIES)
    lists: tuple[str, ...] = ()
    suppressed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @property
    def pid(self) -> str:
        """The profile id."""
        return self.person.pid

    @property
    def exists(self) -> bool:
        """Whether anything at all is known of this person. That an identifier was erased says nothing of anybody."""
        return self.person.version > 0 or any(fragment.exists for fragment in self.fragments)


_membership = cast("Callable[[list[Any]], Membership]", partial(tuple.__new__, Membership))
"""A membership without the named tuple's own constructor: people in hundreds of segments are read often."""


_PERSON_KEYS = frozenset(["pk", "sk", "v", "ids", "fr", "m", "sp", "due", "dirty", "to", "mr"])


def person_of(item: Json | None, pid: str, fid: str | None = None, hub: tuple[str, str] | None = None) -> Person:
    """The person in an item; without an item the singleton of this fragment and hub."""
    if item is None:
        return Person(pid, 0, (hub,) if hub else (), (fid,) if fid else ())
    held: dict[str, list[Any]] = item.get("m", {})
    return Person(
        pid,
        version=item["v"],
        identifiers=tuple((kind, value) for kind, value in item.get("ids", ())),
        fragments=tuple(sorted(item.get("fr", ()))),
        memberships=dict(zip(held, map(_membership, held.values()), strict=True)),
        split_id=item.get("sp"),
        due=item.get("due"),
        dirty=bool(item.get("dirty")),
        moved_to=item.get("to"),
        reasons=item.get("mr", {}),
        rest={key: value for key, value in item.items() if key not in _PERSON_KEYS},
    )


def person_item(person: Person, workspace: str) -> Json:
    """The item that holds a person."""
    item: Json = {
        **person.rest,
        "pk": f"{workspace}#P#{person.pid}",
        "sk": "P",
        "v": person.version,
        "ids": [list(identifier) for identifier in person.identifiers],
        "fr": list(person.fragments),
        "m": {key: list(membership) for key, membership in person.memberships.items()},
    }
    reasons = {key: list(why) for key, why in person.reasons.items() if key in person.memberships}
    if reasons:
        item["mr"] = reasons
    if person.split_id is not None:
        item["sp"] = person.split_id
    if person.due is not None:
        item["due"] = person.due
    if person.dirty:
        item["dirty"] = True
    return item


def merge(workspace: str, person: Person, fragments: Iterable[Fragment], policies: PolicyOf = NO_POLICIES) -> Profile:
    """The profile of a person out of all its fragments, its traits by these policies."""
    parts = tuple(fragments)
    united = orders.unite(part.cold.orders for part in parts)
    firsts = [part.hot.first for part in parts if part.hot.first is not None]
    lasts = [part.hot.last for part in parts if part.hot.last is not None]
    overflow: Json = {}
    for part in parts:
        for name in ("traits", "orders"):
            if name in part.cold.overflow:
                overflow[name] = overflow.get(name, 0) + part.cold.overflow[name]
    conflicts = sum(part.hot.conflicts for part in parts)
    if conflicts:
        overflow["conflicts"] = conflicts
    statements = consent.merge([*(part.cold.said for part in parts), *(part.hot.shown for part in parts)])
    blocked = _blocked(parts)
    return Profile(
        workspace=workspace,
        person=person,
        traits=merge_traits([part.cold for part in parts], policies),
        consent=statements,
        totals={
            "events": sum(part.hot.events for part in parts),
            **orders.totals(united, (part.cold.base for part in parts)),
        },
        first_seen=min(firsts, default=None),
        last_seen=max(lasts, default=None),
        overflow=overflow,
        fragments=parts,
        verified=verification.merge(part.cold.story.verified for part in parts),
        computed=computed.merge(part.cold.computed for part in parts),
        visits=tuple(visits.unite(part.cold.story.visits for part in parts)),
        policies=policies,
        lists=tuple(listings.lists_of(part.cold.listed for part in parts)),
        suppressed=tuple(sorted(blocked | consent.opted_out(statements))),
        blocked=tuple(sorted(blocked)),
    )


def merge_traits(parts: Sequence[Cold], policies: PolicyOf = NO_POLICIES) -> Traits:
    """Per trait the newest write of all parts, and since when its value holds over all of them; a trait with a policy
    has the value that the policy makes of all notable writes."""
    entries: dict[str, list[Trait]] = {}
    for part in parts:
        for name, entry in part.traits.items():
            entries.setdefault(name, []).append(entry)
    merged = {name: found[0] if len(found) == 1 else _newest(found) for name, found in entries.items()}
    for name in policies.keys() & merged.keys():
        chosen = decide(policies[name], writes_of(name, parts))
        if chosen is not None:
            merged[name] = chosen
    return merged


def writes_of(name: str, parts: Iterable[Cold]) -> list[Write]:
    """All writes of a trait that are known: the notable ones, and the winner of each fragment."""
    writes: list[Write] = []
    for part in parts:
        told = part.story.traits.get(name, [])
        held = part.traits.get(name)
        writes += told
        known = {(write.ts, write.message_id) for write in told}
        if held is not None and (held.ts, held.message_id[:ID_LENGTH]) not in known:
            writes.append(Write(held.ts, held.message_id, held.source, held.value))
    return writes


def rule_state(person: Person, fragments: Sequence[Fragment], policies: PolicyOf = NO_POLICIES) -> PersonState:
    """What the rules, live and nightly, see of a person that consists of these fragments.

    A computed trait stands before a told one of the same name.
    """
    traits = merge_traits([part.cold for part in fragments], policies)
    made = computed.merge(part.cold.computed for part in fragments)
    counted = {name: entry for name, entry in made.items() if entry.kind == "trait" and entry.value is not None}
    statements = consent.merge([*(part.cold.said for part in fragments), *(part.hot.shown for part in fragments)])
    identifiers: dict[str, list[str]] = {}
    for kind, value in person.identifiers:
        identifiers.setdefault(kind, []).append(value)
    meters = [part.hot.meters for part in fragments]
    return PersonState(
        id=person.pid,
        split_id=person.split_id,
        traits={
            **{name: entry.value for name, entry in traits.items() if entry.value is not None},
            **{name: entry.value for name, entry in counted.items()},
        },
        trait_since={
            **{name: entry.since for name, entry in traits.items() if entry.value is not None},
            **{name: entry.since for name, entry in counted.items()},
        },
        identifiers=identifiers,
        lists=listings.lists_of(part.cold.listed for part in fragments),
        suppressed=sorted(_blocked(fragments) | consent.opted_out(statements)),
        consent={key: entry.state for key, entry in statements.items() if entry.state != "unset"},
        scores={name: Score(entry.value, entry.at) for name, entry in made.items() if _is_score(entry)},
        meters=meters[0] if len(meters) == 1 else merge_meters(meters),
    )


def _blocked(parts: Sequence[Fragment]) -> set[str]:
    """The channels (``*``: all) on which nothing may go out, by a suppression list or by what events told."""
    told = unreachable.channels(part.cold.story.blocks for part in parts)
    return told.union(listings.suppressed_of(part.cold.listed for part in parts))


def _is_score(entry: Computed) -> bool:
    return entry.kind == "score" and entry.value is not None


def _newest(entries: list[Trait]) -> Trait:
    winner = max(entries, key=lambda entry: (entry.ts, entry.message_id))
    value = orjson.dumps(winner.value, option=orjson.OPT_SORT_KEYS)
    run: set[int] = {winner.ts}
    others: list[int] = []
    for entry in entries:
        if orjson.dumps(entry.value, option=orjson.OPT_SORT_KEYS) == value:
            run.update(entry.run)
        else:
            others.append(entry.ts)
        if entry.other is not None:
            others.append(entry.other)
    last_other = max(others, default=None)
    kept = sorted(time for time in run if last_other is None or time > last_other)
    return winner._replace(run=kept or [winner.ts], other=last_other)
