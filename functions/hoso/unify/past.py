"""A person as of a past moment: the fold of what had happened and had been received by then.

Identity is that of the moment too: links that were first seen later do not count (operators' cuts do, whenever they
were made). Where a component is too large to be decided at once, the present person is taken; the answer says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from hoso.model.errors import Conflict
from hoso.model.identifiers import Identifier, IdentityConfig, ranked
from hoso.unify.facts import Facts
from hoso.unify.fragments import Cold, Fragment, Hot, New, fold
from hoso.unify.graph import anchor, cluster
from hoso.unify.identity_component import TooLarge, Unfinished
from hoso.unify.pages import events_of
from hoso.unify.people import People
from hoso.unify.profiles import Membership, Person, Profile, merge

MOST_PAGES = 1_000
"""Timeline pages read for one answer."""


@dataclass(frozen=True, slots=True)
class Past:
    """A profile as it was at ``at`` (UTC ms). ``complete``: the timeline still holds every event up to then.
    ``identity``: ``then``, or ``present`` where the identity of the moment could not be told."""

    profile: Profile
    at: int
    complete: bool
    identity: str


def as_of(people: People, profile: Profile, asked: Identifier | None, at: int) -> Past:
    """The person to whom the asked identifier (else the profile's best) belonged at an instant."""
    workspace = profile.workspace
    config = people.identity_config(workspace)
    every = [Identifier(kind, value) for kind, value in profile.person.identifiers if kind in config.types]
    seed = asked if asked is not None else next(iter(ranked(every, config)), None)
    members, identity = _members(people, workspace, seed, every, at, config)
    fragments: list[Fragment] = []
    complete = True
    budget = [MOST_PAGES]
    rules = people.book(workspace).rules
    for member in members:
        fid = people.fragment_id(workspace, member)
        present = people.fragment(workspace, fid)
        total = [0]
        past = Fragment(fid, Hot((member.type, member.value)), Cold())
        told = _until(people, workspace, fid, present.hot.page, at, total, budget)
        fold(past.hot, past.cold, told, rules)
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
    return Past(_with_memberships(people, merged, profile, at), at, complete, identity)


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


def _until(
    people: People, workspace: str, fid: str, newest: str | None, at: int, total: list[int], budget: list[int]
) -> Iterator[New]:
    """The events of a fragment that had happened and been received by then; ``total`` counts all that are stored."""
    for page in people.pages(workspace, fid, newest):
        if budget[0] == 0:
            return
        budget[0] -= 1
        events: Iterable[New] = events_of(page)
        for new in events:
            total[0] += 1
            if new.event.ts <= at and new.received_at <= at:
                yield new


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
