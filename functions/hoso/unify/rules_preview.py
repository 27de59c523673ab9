"""What other identity rules would make of the recorded evidence: who would merge, who would part (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.dynamo import Item
from hoso.unify.evidence import pair
from hoso.unify.facts import Facts
from hoso.unify.graph import Clusters, cluster
from hoso.unify.identity_items import Known

EXAMPLES = 20
LARGEST = 10
_SHOWN_IDS = 20

Json = dict[str, Any]
Cluster = frozenset[Identifier]


@dataclass(slots=True)
class Evidence:
    """Recorded evidence: what identifier items hold. ``complete`` is false when not all of it was read."""

    known: dict[Identifier, Known] = field(default_factory=dict[Identifier, Known])
    complete: bool = True

    def facts(self) -> Facts:
        """The evidence as facts, with nothing that was decided under the present rules."""
        facts = Facts()
        for weak, known in self.known.items():
            facts.seen.add(weak)
            for strong, times in known.links.items():
                facts.seen.add(strong)
                facts.links[pair(strong, weak)] = times
                for end in (strong, weak):
                    facts.together[end] = min(times[0], facts.together.get(end, times[0]))
            if known.together is not None:
                facts.together[weak] = min(known.together, facts.together.get(weak, known.together))
            for (strong, passed), times in known.beside.items():
                facts.seen.update((strong, *passed))
                facts.beside[strong, weak, passed] = times
            for other in known.aliases:
                facts.seen.add(other)
                facts.aliases.add(pair(other, weak))
            for other, score in known.probable.items():
                facts.seen.add(other)
                facts.probable[pair(other, weak)] = score
            facts.cuts.update(pair(other, weak) for other in known.cuts)
            facts.aparts.update(pair(other, weak) for other in known.aparts)
            for strong, proof in known.proofs.items():
                facts.proofs[pair(strong, weak)] = proof
            if known.names:
                facts.names[weak] = dict(known.names)
            if known.blocked:
                facts.blocked.add(weak)
            if known.shared and not known.whole:
                facts.shared.add(weak)
        return facts


def evidence_of(items: Iterable[Item], workspace: str, most: int) -> Evidence:
    """The evidence in the items of the profiles table, at most so many identifiers of it."""
    found = Evidence()
    prefix = f"{workspace}#I#"
    for item in items:
        if not item["pk"].startswith(prefix) or item["sk"] != "I" or "val" not in item:
            continue
        if len(found.known) >= most:
            found.complete = False
            break
        kind = item["pk"].removeprefix(prefix).split("#")[0]
        found.known[Identifier(kind, item["val"])] = Known.of(item)
    return found


def preview(evidence: Evidence, present: IdentityConfig, proposed: IdentityConfig) -> Json:
    """The report: counts, the largest people, examples of merges and splits with the links that decide them."""
    facts = evidence.facts()
    before, after = cluster(facts, present), cluster(facts, proposed)
    old, new = _people(before), _people(after)
    gone, fresh = old - new, new - old
    merges = [one for one in fresh if len(_parts(one, before)) > 1]
    splits = [one for one in gone if len(_parts(one, after)) > 1]
    return {
        "identifiers": len(facts.seen),
        "complete": evidence.complete,
        "people_before": len(old),
        "people_after": len(new),
        "people_that_merge": sum(len(_parts(one, before)) for one in merges),
        "people_that_split": len(splits),
        "unchanged": len(old & new),
        "largest_before": [len(one) for one in _largest(old)],
        "largest_after": [shown_cluster(one) for one in _largest(new)],
        "sizes_after": {str(size): count for size, count in sorted(Counter(map(len, new)).items())[:50]},
        "shared_before": len(before.shared),
        "shared_after": len(after.shared),
        "examples": [
            *(_example("merge", one, before, after, facts) for one in _largest(merges, EXAMPLES // 2)),
            *(_example("split", one, after, before, facts) for one in _largest(splits, EXAMPLES - EXAMPLES // 2)),
        ],
    }


def _people(clusters: Clusters) -> set[Cluster]:
    return set(clusters.of.values())


def _parts(one: Cluster, clusters: Clusters) -> set[Cluster]:
    """What a person consists of under the other rules."""
    return {clusters.of[member] for member in one}


def _largest(people: Iterable[Cluster], count: int = LARGEST) -> list[Cluster]:
    return sorted(people, key=lambda one: (-len(one), sorted(map(str, one))))[:count]


def _example(effect: str, one: Cluster, apart: Clusters, joined: Clusters, facts: Facts) -> Json:
    """One person that the rules disagree on: how it falls apart, and which of its links only one side takes."""
    return {
        "effect": effect,
        "person": shown_cluster(one),
        "parts": [shown_cluster(part) for part in _largest(_parts(one, apart))],
        "because": because(one, apart, joined, facts),
    }


def because(one: Cluster, apart: Clusters, joined: Clusters, facts: Facts) -> list[Json]:
    """Which links within a person only one side takes, and why the other refuses them; at most five."""
    links = {link for link in (*facts.links, *facts.probable, *facts.aliases) if one.issuperset(link)}
    decisive: Mapping[Any, str] = {
        link: apart.refused[link]
        for link in links
        if link in apart.refused and (link not in joined.refused) and apart.of[link[0]] is not apart.of[link[1]]
    }
    return [
        {"from": str(link[0]), "to": str(link[1]), "reason": reason}
        for link, reason in sorted(decisive.items(), key=lambda entry: tuple(map(str, entry[0])))[:5]
    ]


def shown_cluster(one: Cluster) -> Json:
    """A person as reports show it: how many identifiers, and the first of them."""
    return {"size": len(one), "identifiers": sorted(map(str, one))[:_SHOWN_IDS]}
