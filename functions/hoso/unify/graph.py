"""The identity graph as a pure function: evidence and rules in, clusters of identifiers out (rules R5-R17).

``gather`` turns events and operator records into facts, ``cluster`` turns facts into clusters, ``resolve`` does both.
The live service calls ``cluster`` on the facts of one connected component: whether a link is taken depends only on
the component it lies in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.model.names import names_contradict
from hoso.unify.evidence import Erasure, Evidence, Operation, Pair, pair
from hoso.unify.facts import Facts, is_outdated, mark, strip


@dataclass(frozen=True, slots=True)
class Clusters:
    """The outcome. ``of`` maps every seen identifier to its cluster (shared, immutable). ``refused`` gives the reason
    of each link that was not taken, ``joins`` the links that joined two clusters, in the order of the decision.
    ``shared`` are values that link nobody, ``crowded`` those among them that too many people use (R9)."""

    of: Mapping[Identifier, frozenset[Identifier]]
    refused: Mapping[Pair, str]
    joins: Sequence[Pair]
    shared: frozenset[Identifier]
    crowded: frozenset[Identifier]


def resolve(evidence: Iterable[Evidence | Operation], config: IdentityConfig) -> Clusters:
    """The clusters that this evidence, in order of arrival, means under these rules.

    The order matters for operator records only. Events that contradict themselves (R4) must have been left out.
    """
    return cluster(gather(evidence, config), config)


def gather(evidence: Iterable[Evidence | Operation], config: IdentityConfig) -> Facts:
    """The facts of events and operator records, in order of arrival; repeated records count once."""
    events: list[Evidence] = []
    marks = Facts()
    erased: dict[Identifier, int] = {}
    done: set[str] = set()
    for told in evidence:
        if isinstance(told, Evidence):
            events.append(told)
        elif told.record_id not in done:
            done.add(told.record_id)
            if isinstance(told, Erasure):
                held = told.only
                if held is None:
                    held = cluster(_facts(events, marks, erased, config), config).of.get(told.of, frozenset({told.of}))
                for gone in held:
                    erased[gone] = max(told.ts, erased.get(gone, told.ts))
                for link in [link for link in marks.probable if held & set(link)]:
                    del marks.probable[link]
            elif not is_outdated(told, erased):
                mark(marks, told)
    return _facts(events, marks, erased, config)


def attributed(hub: Identifier, others: Sequence[Identifier], shared: Container[Identifier]) -> Identifier:
    """The identifier under which an event stands: its best one that is not shared, else its hub (R11)."""
    return next((one for one in (hub, *others) if one not in shared), hub)


def cluster(facts: Facts, config: IdentityConfig) -> Clusters:
    """The constrained union of the facts' links, taken in the order of rule R7."""
    retired = {one for one in facts.seen if config.retired(one.type, one.value)}
    crowded = frozenset(facts.shared | _crowded(facts, config) | retired) | (facts.blocked & facts.seen)
    shared = crowded | _disputed(facts, config)
    facts = _with_implied(facts, shared)
    union = _Union(facts, config)
    refused: dict[Pair, str] = {}
    joins = [alias for alias in sorted(facts.aliases - facts.cuts, key=_text) if union.join(alias)]
    for link in _in_order(facts, config):
        reason = "shared" if shared & set(link) else union.obstacle(link, names=link in facts.links)
        if link in facts.cuts:
            reason = "cut"
        if reason is not None:
            refused[link] = reason
        elif union.join(link):
            joins.append(link)
    return Clusters(union.clusters(), refused, joins, shared, crowded)


def anchor(identifiers: Iterable[Identifier], config: IdentityConfig) -> Identifier:
    """The identifier that names a cluster: the best-ranked, then the smallest."""
    types = config.types
    return min(identifiers, key=lambda found: (types[found.type].rank, found.type, found.value))


def _with_implied(facts: Facts, shared: frozenset[Identifier]) -> Facts:
    """The facts with the links that stand because better identifiers are shared."""
    implied = [key for key in facts.beside if shared.issuperset(key[2])] if shared else []
    if not implied:
        return facts
    links = dict(facts.links)
    for one, other, passed in implied:
        link, (earliest, latest) = pair(one, other), facts.beside[one, other, passed]
        known = links.get(link, (earliest, latest))
        links[link] = (min(known[0], earliest), max(known[1], latest))
    return replace(facts, links=links)


def _facts(events: Iterable[Evidence], marks: Facts, erased: Mapping[Identifier, int], config: IdentityConfig) -> Facts:
    facts = Facts(probable=marks.probable, cuts=marks.cuts, aparts=marks.aparts, blocked=marks.blocked)
    facts.seen.update(end for link in marks.probable for end in link)
    for told in events:
        left = strip(told, erased, config)
        if left is not None:
            facts.add(left, config)
    return facts


def _in_order(facts: Facts, config: IdentityConfig) -> list[Pair]:
    """All links: the observed ones by rule R7, then the probable ones, best score first (R17)."""
    types = config.types

    def key(link: Pair) -> tuple[float, float, float, tuple[str, str]]:
        better, worse = sorted((types[link[0].type].rank, types[link[1].type].rank))
        earliest, latest = facts.links[link]
        if config.order == "first":
            return (earliest, worse, better, _text(link))
        return (worse, -latest, better, _text(link))

    guessed = facts.probable.keys() - facts.links.keys()
    return [
        *sorted(facts.links, key=key),
        *sorted(guessed, key=lambda link: (-facts.probable[link], _text(link))),
    ]


def _crowded(facts: Facts, config: IdentityConfig) -> set[Identifier]:
    """Values whose raw links reach too many values of one limit-1 type of better rank (R9)."""
    reached: dict[tuple[Identifier, str], set[str]] = defaultdict(set)
    for link in facts.links.keys() - facts.cuts:
        for one, other in (link, link[::-1]):
            rule, better = config.types[one.type], config.types[other.type]
            if rule.fanout is not None and other.type in config.unique_types and better.rank < rule.rank:
                reached[one, other.type].add(other.value)
    return {one for (one, _), values in reached.items() if len(values) > (config.types[one.type].fanout or 0)}


def _disputed(facts: Facts, config: IdentityConfig) -> set[Identifier]:
    """Values that people of contradicting names use."""
    return {
        owner
        for owner, names in _names_heard(facts, config).items()
        if len(names) > 1 and any(names_contradict(a, b) for a in names for b in names)
    }


def _names_heard(facts: Facts, config: IdentityConfig) -> dict[Identifier, set[str]]:
    """The names of each identifier; to an address, number or card also those of the logins and customer numbers that
    were seen with it."""
    heard = {owner: set(names) for owner, names in facts.names.items()}
    if config.names:
        for link in facts.links.keys() - facts.cuts:
            for one, other in (link, link[::-1]):
                if one.type in config.contact_types and other.type in config.unique_types and other in facts.names:
                    heard.setdefault(one, set()).update(facts.names[other])
    return heard


def _text(link: Pair) -> tuple[str, str]:
    return (str(link[0]), str(link[1]))


class _Union:
    """Union-find whose clusters know what the constraints ask for."""

    __slots__ = ("_config", "_facts", "_members", "_names", "_root", "_stands_for", "_values")

    def __init__(self, facts: Facts, config: IdentityConfig) -> None:
        self._facts = facts
        self._config = config
        self._root = {found: found for found in facts.seen}
        self._members = {found: {found} for found in facts.seen}
        heard = _names_heard(facts, config)
        self._names = {found: heard.get(found, set[str]()) for found in facts.seen}
        self._stands_for = self._alias_classes()
        self._values = {found: {found.type: {self._stands_for.get(found, found)}} for found in facts.seen}

    def join(self, link: Pair) -> bool:
        """Make one cluster of two; False when they are one already."""
        kept, gone = self._find(link[0]), self._find(link[1])
        if kept == gone:
            return False
        if len(self._members[kept]) < len(self._members[gone]):
            kept, gone = gone, kept
        self._root[gone] = kept
        self._members[kept] |= self._members.pop(gone)
        self._names[kept] |= self._names.pop(gone)
        for kind, values in self._values.pop(gone).items():
            self._values[kept].setdefault(kind, set()).update(values)
        return True

    def obstacle(self, link: Pair, *, names: bool = True) -> str | None:
        """Why the two clusters of a link may not become one (R8, R16), or None. ``names``: whether theirs may forbid it
        (of a probable link they were weighed already)."""
        one, other = self._find(link[0]), self._find(link[1])
        if one == other:
            return None
        members = self._members[one] | self._members[other]
        if len(members) > self._config.max_ids:
            return "max_ids"
        if any(first in members and second in members for first, second in self._facts.aparts):
            return "apart"
        for kind in self._values[one].keys() | self._values[other].keys():
            values = self._values[one].get(kind, set[Identifier]()) | self._values[other].get(kind, set[Identifier]())
            if self._over_limit(kind, values):
                return f"limit:{kind}"
        return "names" if names and self._names_forbid(link, one, other) else None

    def clusters(self) -> dict[Identifier, frozenset[Identifier]]:
        """The cluster of every identifier."""
        frozen = {root: frozenset(members) for root, members in self._members.items()}
        return {found: frozen[self._find(found)] for found in self._root}

    def _find(self, found: Identifier) -> Identifier:
        root = self._root
        while root[found] != found:
            root[found] = root[root[found]]
            found = root[found]
        return found

    def _over_limit(self, kind: str, values: set[Identifier]) -> bool:
        rule = self._config.types[kind]
        if rule.limit is None or len(values) <= rule.limit:
            return False
        window = rule.window_ms
        if window is None:
            return True
        met = sorted(self._facts.together[value] for value in values if value in self._facts.together)
        return any(later - earlier < window for earlier, later in zip(met, met[rule.limit :], strict=False))

    def _names_forbid(self, link: Pair, one: Identifier, other: Identifier) -> bool:
        if not self._config.names or all(found.type in self._config.unique_types for found in link):
            return False
        names, others = self._names[one], self._names[other]
        return bool(names and others) and all(names_contradict(a, b) for a in names for b in others)

    def _alias_classes(self) -> dict[Identifier, Identifier]:
        """Aliased values count as one: each is replaced by the member of its class that was met first (R12)."""
        classes: dict[Identifier, set[Identifier]] = {}
        for link in self._facts.aliases - self._facts.cuts:
            merged = classes.get(link[0], {link[0]}) | classes.get(link[1], {link[1]})
            for member in merged:
                classes[member] = merged
        met = self._facts.together
        return {one: min(group, key=lambda found: (met.get(found, inf), str(found))) for one, group in classes.items()}
