"""A person as of a past moment: the fold of what had happened and had been received by then.

Identity is that of the moment too: links that were first seen later do not count (operators' cuts do, whenever they
were made). Where a component is too large to be decided at once, the present person is taken; the answer says which.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hoso.model.errors import Conflict
from hoso.model.identifiers import Identifier, IdentityConfig, ranked
from hoso.unify.dedupe import message_hash
from hoso.unify.facts import Facts
from hoso.unify.fragments import BadEvent, Cold, Fragment, Hot, New, fold
from hoso.unify.graph import anchor, cluster
from hoso.unify.identity_component import TooLarge, Unfinished
from hoso.unify.pages import events_of
from hoso.unify.people import People
from hoso.unify.profiles import Membership, Person, Profile, merge

if TYPE_CHECKING:
    from hoso.segment.live import LiveRules

MOST_PAGES = 1_000
"""Timeline pages read for one answer."""
NEWEST = 20
"""Events kept for an answer's timeline."""


@dataclass(frozen=True, slots=True)
class Past:
    """A profile as it was at ``at`` (UTC ms). ``complete``: every event up to then was there to be folded.
    ``identity``: ``then``, or ``present`` where the identity of the moment could not be told. ``newest`` are the last
    events of then, newest first."""

    profile: Profile
    at: int
    complete: bool
    identity: str
    newest: Sequence[New] = ()


Older = Callable[[Sequence[Identifier]], Mapping[Identifier, Sequence[New]]]
"""The events that are kept elsewhere under identifiers, whenever they happened."""


def as_of(people: People, profile: Profile, asked: Identifier | None, at: int, older: Older | None = None) -> Past:
    """The person to whom the asked identifier (else the profile's best) belonged at an instant, by the timeline; with
    ``older`` by these events too, each once."""
    workspace = profile.workspace
    config = people.identity_config(workspace)
    every = [Identifier(kind, value) for kind, value in profile.person.identifiers if kind in config.types]
    seed = asked if asked is not None else next(iter(ranked(every, config)), None)
    members, identity = _members(people, workspace, seed, every, at, config)
    fragments: list[Fragment] = []
    complete = True
    budget = [MOST_PAGES]
    rules = people.book(workspace).rules
    kept: Mapping[Identifier, Sequence[New]] = older(members) if older is not None else {}
    newest = _Newest()
    for member in members:
        fid = people.fragment_id(workspace, member)
        present = people.fragment(workspace, fid)
        total = [0]
        every_event = _told(people, workspace, fid, present.hot.page, budget)
        if older is None:
            past = Fragment(fid, Hot((member.type, member.value)), Cold())
            fold(past.hot, past.cold, newest.of(_until(every_event, at, total)), rules)
        else:
            events = list(_until(_united(kept.get(member, ()), every_event), at, total))
            past = _folded(fid, member, events, rules)
            deque(newest.of(events), maxlen=0)
        past.cold.computed = {name: entry for name, entry in present.cold.computed.items() if entry.at <= at}
        past.cold.listed = {name: entry for name, entry in present.cold.listed.items() if entry.at <= at}
        complete = complete and total[0] >= present.hot.events
        if past.hot.events:
            past.hot.version, past.hot.rules = present.hot.version, rules.version
            fragments.append(past)
    pid = people.own_profile_id(workspace, anchor(members, config)) if members else profile.pid
    person = Person(pid, 0, tuple((one.type, one.value) for one in members), tuple(part.fid for part in fragments))
    if profile.person.split_id is not None:
        person = replace(person, split_id=profile.person.split_id)
    merged = merge(workspace, person, fragments, profile.policies)
    return Past(_with_memberships(people, merged, profile, at), at, complete, identity, newest.events())


class _Newest:
    """The newest of all events that go by."""

    def __init__(self) -> None:
        self._held: list[tuple[tuple[int, str], int, New]] = []

    def of(self, events: Iterable[New]) -> Iterator[New]:
        """The same events; the newest are kept."""
        for number, new in enumerate(events):
            entry = ((new.event.ts, new.event.message_id), number, new)
            # a message may stand in two fragments: twice as many, so that enough are left
            if len(self._held) < 2 * NEWEST:
                heapq.heappush(self._held, entry)
            elif entry[0] > self._held[0][0]:
                heapq.heapreplace(self._held, entry)
            yield new

    def events(self) -> list[New]:
        """The newest events, newest first, each message once."""
        once = {order: new for order, _, new in self._held}
        return [once[order] for order in sorted(once, reverse=True)[:NEWEST]]


def facts_at(facts: Facts, at: int) -> Facts:
    """What was known of identity at an instant, by the times of the events."""
    return replace(
        facts,
        links={link: (first, min(last, at)) for link, (first, last) in facts.links.items() if first <= at},
        names={
            one: told for one, names in facts.names.items() if (told := {n: ts for n, ts in names.items() if ts <= at})
        },
        beside={key: (first, min(last, at)) for key, (first, last) in facts.beside.items() if first <= at},
        together={one: ts for one, ts in facts.together.items() if ts <= at},
    )


def _members(
    people: People,
    workspace: str,
    seed: Identifier | None,
    every: list[Identifier],
    at: int,
    config: IdentityConfig,
) -> tuple[list[Identifier], str]:
    if seed is None:
        return every, "present"
    try:
        facts = people.identity_facts(workspace, seed)
    except (TooLarge, Unfinished, Conflict):
        return every, "present"
    found = cluster(facts_at(facts, at), config).of.get(seed, frozenset({seed}))
    return ranked(found, config), "then"


def _told(people: People, workspace: str, fid: str, newest: str | None, budget: list[int]) -> Iterator[New]:
    """The events that the timeline of a fragment holds; ``budget`` counts the pages that may still be read."""
    for page in people.pages(workspace, fid, newest):
        if budget[0] == 0:
            return
        budget[0] -= 1
        yield from events_of(page)


def _united(kept: Sequence[New], told: Iterable[New]) -> Iterator[New]:
    """Both, each message once."""
    known = {message_hash(new.event.message_id, new.source) for new in kept}
    yield from kept
    yield from (new for new in told if message_hash(new.event.message_id, new.source) not in known)


def _until(events: Iterable[New], at: int, total: list[int]) -> Iterator[New]:
    """The events that had happened and been received by then; ``total`` counts all that there are."""
    for new in events:
        total[0] += 1
        if new.event.ts <= at and new.received_at <= at:
            yield new


def _folded(fid: str, member: Identifier, events: list[New], rules: LiveRules) -> Fragment:
    """The fold of events of which the consumer may have refused some (reliability R10); these are taken out."""
    while True:
        past = Fragment(fid, Hot((member.type, member.value)), Cold())
        try:
            fold(past.hot, past.cold, events, rules)
        except BadEvent as error:
            del events[error.position]
        else:
            return past


def _with_memberships(people: People, past: Profile, present: Profile, at: int) -> Profile:
    """Memberships by the present rules on the past state; since when, where the stored membership tells."""
    held = present.person.memberships
    memberships: dict[str, Membership] = {}
    revisions = people.book(past.workspace).revisions
    for key, verdict in people.verdicts(past, at).items():
        if verdict.member and not verdict.spilled:
            since = held[key].since if key in held and held[key].since <= at else at
            memberships[key] = Membership(revisions[key], since, verdict.until, None)
    return replace(past, person=replace(past.person, memberships=memberships))
