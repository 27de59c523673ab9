"""What new evidence changes in a component: a pure function from stored items to the items that replace them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hoso.model.identifiers import Identifier, IdentityConfig, ranked
from hoso.platform.dynamo import Item
from hoso.unify.evidence import Erasure, Evidence, Operation, Pair, pair
from hoso.unify.facts import NAMES_KEPT, Facts, is_outdated, mark, strip
from hoso.unify.graph import Clusters, anchor, cluster
from hoso.unify.identity_component import Component
from hoso.unify.identity_items import IdentityKeys, Known, weaker_last

People = dict[str, frozenset[Identifier]]

KEPT_OF_SHARED = 32
"""Links of a shared value that are kept, so that a cut or an erasure can make it somebody's again."""


@dataclass(slots=True)
class Change:
    """New items, without keys and versions. ``learnt``: identifiers whose evidence changed. ``moved``: those that only
    change profile. ``people``: new person items. ``tombstones``: profile ids that lead elsewhere. ``touched``: profiles
    whose set of identifiers changed. ``pids``: the profile of every identifier of the component afterwards.
    ``erased``: identifiers that this decision, or another round of it, erases. ``forgotten``: identifiers of which
    evidence was taken away; their hot items may not go on saying that it is known.
    ``entries``: all that is known afterwards."""

    learnt: dict[Identifier, dict[str, Any]] = field(default_factory=dict[Identifier, dict[str, Any]])
    moved: dict[Identifier, dict[str, Any]] = field(default_factory=dict[Identifier, dict[str, Any]])
    people: dict[str, Item] = field(default_factory=dict[str, Item])
    tombstones: dict[str, Item] = field(default_factory=dict[str, Item])
    touched: list[str] = field(default_factory=list[str])
    pids: dict[Identifier, str] = field(default_factory=dict[Identifier, str])
    before: People = field(default_factory=People)
    after: People = field(default_factory=People)
    joins: Sequence[Pair] = ()
    erased: frozenset[Identifier] = frozenset()
    forgotten: set[Identifier] = field(default_factory=set[Identifier])
    entries: dict[Identifier, Known] = field(default_factory=dict[Identifier, Known])

    def content_of(self, one: Identifier) -> dict[str, Any] | None:
        """The attributes of an identifier's item as they stand after the change; None when nothing is known of it."""
        known = self.entries.get(one)
        return None if known is None else known.content()

    def __bool__(self) -> bool:
        return bool(self.learnt or self.moved or self.people or self.tombstones or self.forgotten)


def decide(
    component: Component,
    told: Iterable[Evidence],
    records: Iterable[Operation],
    config: IdentityConfig,
    keys: IdentityKeys,
) -> Change:
    """The change that this evidence makes; an empty one when all of it was known."""
    facts = component.facts(config)
    erased = {one: known.erased for one, known in component.known.items() if known.erased is not None}
    dropped: set[Identifier] = set()
    whole: frozenset[Identifier] = frozenset()
    forgotten = component.outlived()
    _meet_anew(facts, forgotten)
    for evidence in told:
        left = strip(evidence, erased, config)
        if left is not None:
            dropped |= _learn(component, facts, left, config)
    for record in records:
        if isinstance(record, Erasure):
            going = record.only
            if going is None:
                going = cluster(facts, config).of.get(record.of, frozenset({record.of}))
            forgotten |= _erase(facts, going, record.ts)
            known = [component.known[one] for one in going & component.known.keys()]
            forgotten |= {end for one in known for end in one.neighbours(cut=True)}
            erased |= {one: max(record.ts, erased.get(one, record.ts)) for one in going}
            whole |= going | record.whole
        elif not is_outdated(record, erased):
            mark(facts, record)
    clusters = cluster(facts, config)
    change = difference(component, facts, clusters, erased, config, keys, dropped, whole)
    change.forgotten = forgotten
    return change


def _learn(component: Component, facts: Facts, told: Evidence, config: IdentityConfig) -> set[Identifier]:
    """Add evidence. Of a shared value only so many links are kept: all are ignored (R9), and a call centre's number
    would grow without end. Answers the values of which a link was let go."""
    ignored = {
        other
        for other in told.ids
        if other in facts.shared and pair(told.hub, other) not in facts.links and _is_full(component, other)
    }
    facts.add(told._replace(ids=[other for other in told.ids if other not in ignored]), config)
    if config.names and ignored:
        facts.add_beside(told, config)
        for key in [key for key in facts.beside if key[1] in ignored]:
            del facts.beside[key]
    for other in ignored:
        facts.add_link(told.hub, other, told.ts)
        del facts.links[pair(told.hub, other)]
    return ignored


def _is_full(component: Component, shared: Identifier) -> bool:
    known = component.known.get(shared, Known())
    return not known.whole or len(known.links) >= KEPT_OF_SHARED


def _erase(facts: Facts, gone: frozenset[Identifier], until: int) -> set[Identifier]:
    """Take identifiers out of everything up to a time (R15). Of a link seen before and after, the last time is left.
    Answers every identifier of which evidence went."""
    affected = set(gone)
    ends = {end for link in (*facts.links, *facts.aliases, *facts.probable) if gone & set(link) for end in link}
    ends |= {end for key in facts.beside if gone & {*key[:2], *key[2]} for end in (*key[:2], *key[2])}
    for link, (earliest, latest) in list(facts.links.items()):
        if gone & set(link) and earliest <= until:
            affected.update(link)
            del facts.links[link]
            if latest > until:
                facts.links[link] = (latest, latest)
    for key, (earliest, latest) in list(facts.beside.items()):
        if gone & {*key[:2], *key[2]} and earliest <= until:
            del facts.beside[key]
            if latest > until:
                facts.beside[key] = (latest, latest)
    facts.aliases = {link for link in facts.aliases if not gone & set(link)}
    facts.probable = {link: score for link, score in facts.probable.items() if not gone & set(link)}
    facts.shared -= gone
    facts.proofs = {link: proof for link, proof in facts.proofs.items() if not gone & set(link) or proof.ts > until}
    for one in gone:
        facts.names.pop(one, None)
    _meet_anew(facts, affected)
    return affected | ends


def _meet_anew(facts: Facts, affected: set[Identifier]) -> None:
    """Say of identifiers that lost links when they were first seen with another one, by the links that are left."""
    for one in affected:
        facts.together.pop(one, None)
    for link, (earliest, _) in facts.links.items() if affected else ():
        for one in affected & set(link):
            facts.together[one] = min(earliest, facts.together.get(one, earliest))


def difference(
    component: Component,
    facts: Facts,
    clusters: Clusters,
    erased: dict[Identifier, int],
    config: IdentityConfig,
    keys: IdentityKeys,
    dropped: set[Identifier],
    gone: frozenset[Identifier] = frozenset(),
) -> Change:
    """The change that brings a component to these facts and clusters. ``dropped`` are shared values of which links
    were let go, ``gone`` the identifiers that are erased by it, or by other rounds of it."""
    after = {keys.profile(anchor(members, config)): members for members in clusters.of.values()}
    change = Change(joins=clusters.joins, after=after, erased=gone)
    change.pids = {one: pid for pid, members in after.items() for one in members}
    change.before = {pid: frozenset(members) for pid, members in component.members.items()}
    entries = change.entries = _entries(component, facts, clusters, erased, config, keys, dropped)
    for one, known in entries.items():
        _identifier_change(change, component, one, known, keys)
    beside = _beside(
        component,
        facts,
        change.pids,
        config,
        {one for one, known in entries.items() if known.shared and not known.whole},
    )
    changed = {change.pids[one] for one in (*change.learnt, *change.moved)}
    for pid, members in after.items():
        nearby = sorted(beside.get(pid, ()))
        held = component.people.get(pid) or {}
        touched = members != change.before.get(pid, frozenset())
        if touched or pid in changed or nearby != held.get("nb", []):
            change.people[pid] = {
                "ids": [list(one) for one in ranked(members, config)],
                "fr": [keys.fragment(one) for one in ranked(members, config)],
                "nb": nearby,
                "sh": sorted(map(str, members & clusters.shared)),
            }
        if touched:
            change.touched.append(pid)
            change.people[pid] |= _carried(component, pid, change, keys)
    for pid in component.people.keys() - after.keys():
        leader = anchor(change.before[pid], config)
        change.tombstones[pid] = {"to": change.pids[leader], "a": list(leader)}
    return change


def _carried(component: Component, pid: str, change: Change, keys: IdentityKeys) -> Item:
    """What a person takes over from the profiles that end in it: memberships (the oldest of each segment, with its
    reason), the pids under which they are listed (``ab``), the split id. One that parts starts with copies; ``qm``
    names those that nobody was told of. ``dirty`` makes the next fold evaluate all. Of whoever was erased (R15) nobody
    inherits, and what is left of it is not evaluated."""
    if change.after[pid] <= change.erased:
        return {}
    own = component.people.get(pid) or {}
    ended = sorted(
        other
        for other, members in change.before.items()
        if other != pid and other not in change.after and members & change.after[pid]
    )
    memberships: dict[str, Any] = dict(own.get("m", {}))
    reasons: dict[str, Any] = dict(own.get("mr", {}))
    quiet: set[str] = set(own.get("qm", ()))
    listed: list[str] = list(own.get("ab", ()))
    carried: Item = {"dirty": True}

    def take(item: Item, silent: Container[str]) -> None:
        for segment, entry in item.get("m", {}).items():
            kept = memberships.get(segment)
            if kept is not None and (segment in silent or (segment not in quiet and kept[1] <= entry[1])):
                continue
            memberships[segment] = entry
            reasons[segment] = item.get("mr", {}).get(segment, [None, None])
            (quiet.add if segment in silent else quiet.discard)(segment)

    for other in ended:
        item = component.people[other] or {}
        gone = not change.erased.isdisjoint(change.before[other])
        take(item, item.get("m", {}) if gone else item.get("qm", ()))
        listed += [*item.get("ab", ()), *([other] if item.get("m") else ())]
        if "sp" in item and "sp" not in own:
            carried.setdefault("sp", item["sp"])
    if own.get("sp", pid) not in {keys.profile(one) for one in change.after[pid]}:
        carried["sp"] = pid  # it came from somebody who parted
    if pid not in change.before:
        for item in _parted_from(component, pid, change):
            take(item, item.get("m", {}))
    if quiet or "qm" in own:
        carried["qm"] = sorted(quiet)
    if memberships:
        carried["m"] = memberships
        carried["mr"] = {segment: reasons[segment] for segment in memberships if segment in reasons}
    former = set(listed) - change.after.keys()  # whoever lives again lists its own
    if former or "ab" in own:
        carried["ab"] = sorted(former)
    return carried


def _parted_from(component: Component, pid: str, change: Change) -> list[Item]:
    """The people from whom a person parts: whoever was a member together stays one without an entry of its own, until
    the next evaluation says otherwise."""
    return [
        component.people[other] or {}
        for other, members in sorted(change.before.items())
        if other in change.after and members & change.after[pid] and change.erased.isdisjoint(members)
    ]


def _entries(
    component: Component,
    facts: Facts,
    clusters: Clusters,
    erased: dict[Identifier, int],
    config: IdentityConfig,
    keys: IdentityKeys,
    dropped: set[Identifier],
) -> dict[Identifier, Known]:
    """The new content of every identifier of the component. Links out of the component stay as they are."""
    held: dict[Identifier, Known] = {}
    for one in facts.seen:
        old = component.known.get(one, Known())
        outside = {strong: times for strong, times in old.links.items() if strong not in facts.seen}
        keeps_time = config.types[one.type].window_ms is not None
        held[one] = Known(
            version=old.version,
            links=outside,
            apart=old.apart & outside.keys(),
            aliases={strong for strong in old.aliases if strong not in facts.seen},
            probable={strong: score for strong, score in old.probable.items() if strong not in facts.seen},
            names=facts.names.get(one, {} if config.names else old.names),
            beside={key: times for key, times in old.beside.items() if key[0] not in facts.seen},
            proofs={strong: proof for strong, proof in old.proofs.items() if strong not in facts.seen},
            shared=one in clusters.shared,
            whole=one in clusters.shared and one not in dropped and (old.whole or not old.shared),
            blocked=one in facts.blocked,
            disputed=one in clusters.shared and one not in clusters.crowded,
            together=facts.together.get(one) if keeps_time else None,
            erased=erased.get(one),
        )
    _hang(held, facts, clusters, config)
    below = Counter(weaker_last(link, config)[0] for link in facts.links)
    for one in clusters.shared & held.keys():
        known = held[one]
        listed = _listed(component, one, keys)
        if max(len(known.links), below[one], listed) > KEPT_OF_SHARED or len(known.names) >= NAMES_KEPT:
            known.whole = False
    return held


def _hang(held: dict[Identifier, Known], facts: Facts, clusters: Clusters, config: IdentityConfig) -> None:
    """Put links, aliases, matches, cuts and apart pairs on their weaker ends, in place."""
    for link, proof in facts.proofs.items():
        if link in facts.links or link in facts.aliases or link in facts.probable:
            strong, weak = weaker_last(link, config)
            held[weak].proofs[strong] = proof
    for link, times in facts.links.items():
        strong, weak = weaker_last(link, config)
        held[weak].links[strong] = times
        if clusters.of[strong] is not clusters.of[weak]:
            held[weak].apart.add(strong)
    for (strong, weak, passed), times in facts.beside.items():
        held[weak].beside[strong, passed] = times
    for link in facts.aliases:
        strong, weak = weaker_last(link, config)
        held[weak].aliases.add(strong)
    for link, score in facts.probable.items():
        strong, weak = weaker_last(link, config)
        held[weak].probable[strong] = score
    for link in facts.cuts:
        strong, weak = weaker_last(link, config)
        if weak in held:
            held[weak].cuts.add(strong)
    for link in facts.aparts:
        strong, weak = weaker_last(link, config)
        if weak in held:
            held[weak].aparts.add(strong)


def _listed(component: Component, one: Identifier, keys: IdentityKeys) -> int:
    """How many weaker identifiers the person of this one has a refused link with."""
    person = component.people.get(component.pid_of(one, keys)) if one in component.known else None
    return len((person or {}).get("nb", ()))


def _identifier_change(change: Change, component: Component, one: Identifier, known: Known, keys: IdentityKeys) -> None:
    old = component.known.get(one, Known())
    pid = change.pids[one]
    content = known.content()
    old_pid = component.pid_of(one, keys) if one in component.known else keys.profile(one)
    if content == replace(old, pid=None).content():
        if pid != old_pid:
            change.moved[one] = content | {"p": pid}
        return
    change.learnt[one] = content | {"p": pid}


def _beside(
    component: Component,
    facts: Facts,
    pids: dict[Identifier, str],
    config: IdentityConfig,
    full: set[Identifier],
) -> dict[str, set[str]]:
    """Per profile the weaker identifiers of other profiles that it has a link with. The weaker end holds the link
    itself; the stronger end would not find it otherwise. Shared values that are ``full`` need not find any."""
    beside: dict[str, set[str]] = {}
    implied = {pair(strong, weak) for strong, weak, _ in facts.beside}
    for link in {*facts.links, *facts.aliases, *facts.probable, *implied}:
        strong, weak = weaker_last(link, config)
        if pids[strong] != pids[weak] and strong not in full:
            beside.setdefault(pids[strong], set()).add(str(weak))
    seen = {str(one) for one in facts.seen}
    for pid, members in component.members.items():
        outside = {text for text in (component.people[pid] or {}).get("nb", ()) if text not in seen}
        if outside:
            for heir in {pids[one] for one in members}:
                beside.setdefault(heir, set()).update(outside)
    return beside
