"""What a switch of the identity rules would change, as the rebuild in the shadow shows it (issue: preview and switch).

How many people merge and part, whose figures and which memberships change, the largest people, twenty examples with
the links that decide them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import orjson

from hoso.model.errors import HosoError
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.dynamo import Item, Table
from hoso.unify.build import Parts
from hoso.unify.fragments import cold_of
from hoso.unify.graph import cluster
from hoso.unify.identity_component import TooLarge, Unfinished
from hoso.unify.profiles import Profile
from hoso.unify.rules_preview import EXAMPLES, LARGEST, because, shown_cluster
from hoso.unify.store import cold_key, person_key
from hoso.unify.switch_compare import Tables

MOST_EVALUATED = 2_000
"""People whose segments are evaluated for the report; with more, it says that the memberships are not complete."""

MOST_BYTES = 150_000
"""Size of a report; it stands in one item with the rules."""

Json = dict[str, Any]
Groups = dict[Identifier, str]
Sized = tuple[int, str, Groups]


def report(
    live: Parts, shadow: Parts, workspace: str, present: IdentityConfig, proposed: IdentityConfig, until: int, now: int
) -> Json:
    """The report: the comparison, people and memberships, at this instant. Nothing is written."""
    tables = Tables(live.profiles, shadow.profiles, shadow.identities(workspace).keys, until)
    compared = tables.compare()
    splits, parted, gone = _broken(tables, tables.people(live.profiles), tables.shadow)
    merges, joined, made = _broken(tables, tables.people(shadow.profiles), tables.live)
    after = heapq.nlargest(
        LARGEST, ((len(item["ids"]), item["pk"], item["ids"]) for item in tables.people(shadow.profiles))
    )
    before = heapq.nlargest(LARGEST, (len(item["ids"]) for item in tables.people(live.profiles)))
    changed = compared.changed | gone | joined
    people = compared.people | changed
    concerned = sorted(compared.rebuilt | parted | made)
    examples = [
        *(_example("merge", groups, shadow, workspace, (present, proposed)) for _, _, groups in merges[1]),
        *(_example("split", groups, live, workspace, (proposed, present)) for _, _, groups in splits[1]),
    ]
    made_of: Json = {
        "compared": compared.counts(),
        "people": len(people),
        "people_changed": len(changed),
        "share_changed": round(len(changed) / len(people), 4) if people else 0.0,
        "people_that_merge": len(joined),
        "people_that_split": splits[0],
        "largest_before": before,
        "largest_after": [shown_cluster(frozenset(Identifier(*one) for one in ids)) for _, _, ids in after],
        "memberships": _memberships(live, shadow, workspace, concerned[:MOST_EVALUATED], now),
        "memberships_complete": len(concerned) <= MOST_EVALUATED,
        "examples": examples,
    }
    return bounded(made_of)


def bounded(found: Json, most: int = MOST_BYTES) -> Json:
    """A report that fits its item: with fewer examples and fewer of the largest people where their identifiers are
    very long."""
    while len(orjson.dumps(found)) > most:
        lists: list[list[Any]] = [found["examples"], found["largest_after"], found["memberships"]["examples"]]
        longest = max(lists, key=lambda one: len(orjson.dumps(one)))
        if not longest:
            break
        longest.pop()
    return found


def _broken(tables: Tables, people: Iterable[Item], where: Table) -> tuple[tuple[int, list[Sized]], set[str], set[str]]:
    """People of one side whose identifiers are several people on the other: how many and the largest; the profile ids
    of the other side that they are; their own."""
    count = 0
    others: set[str] = set()
    own: set[str] = set()
    largest: list[Sized] = []
    for item in people:
        ((pid, groups),) = tables.others([item], where).items()
        found = set(groups.values())
        if len(found) < 2:
            continue
        count += 1
        others |= found
        own.add(pid)
        heapq.heappush(largest, (len(groups), pid, groups))
        if len(largest) > EXAMPLES // 2:
            heapq.heappop(largest)
    return (count, sorted(largest, reverse=True, key=lambda one: one[:2])), others, own


def _example(
    effect: str, groups: Groups, where: Parts, workspace: str, sides: tuple[IdentityConfig, IdentityConfig]
) -> Json:
    """A person that the rules disagree on. ``sides``: the rules that hold it apart, those that join it; ``where``: the
    side that joins it, for the other may not even keep the link that is in question."""
    whole = frozenset(groups)
    parts: dict[str, set[Identifier]] = {}
    for one, pid in groups.items():
        parts.setdefault(pid, set()).add(one)
    reasons: list[Json] = []
    with suppress(TooLarge, Unfinished, HosoError):  # an example without its links is still one
        facts = where.identities(workspace).facts_of(*whole)
        facts.seen |= whole
        reasons = because(whole, cluster(facts, sides[0]), cluster(facts, sides[1]), facts)
    sized = sorted(map(frozenset, parts.values()), key=lambda part: (-len(part), sorted(map(str, part))))
    return {
        "effect": effect,
        "person": shown_cluster(whole),
        "parts": [shown_cluster(part) for part in sized[:LARGEST]],
        "because": reasons,
    }


def _memberships(live: Parts, shadow: Parts, workspace: str, pids: list[str], now: int) -> Json:
    """Per segment how many people would enter and leave it, and some of the changes."""
    entered: Counter[str] = Counter()
    left: Counter[str] = Counter()
    examples: list[Json] = []
    for pid in pids:
        profile = _with_lists(live, shadow.people.load_person(workspace, pid))
        if not profile.exists:
            continue
        verdicts = shadow.people.verdicts(profile, now)
        then = {key for key, verdict in verdicts.items() if verdict.member}
        told, quiet = _carried(live, shadow, workspace, profile)
        enters, leaves = sorted(then - told - quiet), sorted(told - then)
        entered.update(enters)
        left.update(leaves)
        if (enters or leaves) and len(examples) < EXAMPLES:
            ids = [f"{kind}:{value}" for kind, value in profile.person.identifiers[:5]]
            examples.append({"identifiers": ids, "enters": enters, "leaves": leaves})
    segments = {key: {"enter": entered[key], "leave": left[key]} for key in sorted(entered | left)}
    return {"changes": sum(entered.values()) + sum(left.values()), "segments": segments, "examples": examples}


def _carried(live: Parts, shadow: Parts, workspace: str, profile: Profile) -> tuple[set[str], set[str]]:
    """The memberships with which a person of the rebuild would start: its own and those of people who end in it; and
    the copies, whose end is told to nobody, of people from whom it would part."""
    ids = [Identifier(*one) for one in profile.person.identifiers]
    pids = {profile.pid, *(live.people.people_of(workspace, ids).values() if ids else ())}
    items = live.store.read([person_key(workspace, pid) for pid in sorted(pids)], consistent=True)
    people = {key[0].rpartition("#")[2]: item for key, item in items.items() if "to" not in item}
    identities = shadow.identities(workspace)
    told: set[str] = set()
    quiet: set[str] = set()
    for pid, item in people.items():
        members = [Identifier(*one) for one in item["ids"]]
        anchor = next((one for one in members if identities.keys.profile(one) == pid), None)
        stays = anchor is not None and identities.person_of(anchor) == pid
        if pid == profile.pid or not stays:
            told |= item.get("m", {}).keys()
        elif profile.pid not in people:
            quiet |= item.get("m", {}).keys()
    return told, quiet


def _with_lists(live: Parts, profile: Profile) -> Profile:
    """The rebuilt person with what is no fold of events: lists and computed values."""
    fids = [fragment.fid for fragment in profile.fragments]
    colds = live.store.read([cold_key(profile.workspace, fid) for fid in fids], consistent=True)
    for fragment in profile.fragments:
        held = cold_of(colds.get(cold_key(profile.workspace, fragment.fid)))
        fragment.cold.listed, fragment.cold.computed = held.listed, held.computed
    return profile
