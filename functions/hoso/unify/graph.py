"""The identity graph as a pure function: evidence and rules in, clusters of identifiers out (rules R5-R17).

``gather`` turns events and operator records into facts, ``cluster`` turns facts into clusters, ``resolve`` does both.
The live service calls ``cluster`` on the facts of one connected component: whether a link is taken depends only on
the component it lies in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from hoso.model.identifiers import Identifier, IdentityConfig, ranked
from hoso.model.names import names_contradict
from hoso.unify.evidence import Apart, Cut, Erasure, Evidence, Operation, Pair, Probable, Restore, pair

Beside = tuple[Identifier, Identifier, tuple[Identifier, ...]]
"""A link between two identifiers that stands only while these others are shared."""

NAMES_KEPT = 4
"""Most different names remembered of one identifier; two that contradict are enough to decide."""


@dataclass(slots=True)
class Facts:
    """What is known, without order: links with earliest and latest time, and the operators' records.

    ``together`` holds when an identifier was first seen with another one, for limits with a window (R8). ``names``
    holds the folded names of identifiers, each with the earliest time. ``shared`` are values known to be shared.
    ``beside`` holds links that an event implies when the better identifiers that it carries, the third member of the
    key, turn out to be shared: then the next one is its hub (only where names are checked).
    """

    links: dict[Pair, tuple[int, int]] = field(default_factory=dict[Pair, tuple[int, int]])
    aliases: set[Pair] = field(default_factory=set[Pair])
    probable: dict[Pair, float] = field(default_factory=dict[Pair, float])
    cuts: set[Pair] = field(default_factory=set[Pair])
    aparts: set[Pair] = field(default_factory=set[Pair])
    seen: set[Identifier] = field(default_factory=set[Identifier])
    together: dict[Identifier, int] = field(default_factory=dict[Identifier, int])
    names: dict[Identifier, dict[str, int]] = field(default_factory=dict[Identifier, dict[str, int]])
    shared: set[Identifier] = field(default_factory=set[Identifier])
    beside: dict[Beside, tuple[int, int]] = field(default_factory=dict["Beside", "tuple[int, int]"])

    def add(self, told: Evidence, config: IdentityConfig) -> None:
        """Take in what one event tells; a second time changes nothing (R6)."""
        hub, previous = told.hub, told.previous
        self.seen.add(hub)
        for other in told.ids:
            if other != hub:
                self.add_link(hub, other, told.ts)
        if previous is not None and previous != hub:
            if previous.type == hub.type:
                self.aliases.add(pair(hub, previous))
                self._meet(hub, previous, told.ts)
            else:
                self.add_link(hub, previous, told.ts)
        if config.names:
            self.add_beside(told, config)
        if config.names and told.name is not None:
            for owner in named_by(told, config):
                self.add_name(owner, told.name, told.ts, config)

    def add_link(self, one: Identifier, other: Identifier, ts: int) -> None:
        """One sighting of two identifiers together."""
        link = pair(one, other)
        known = self.links.get(link)
        self.links[link] = (ts, ts) if known is None else (min(known[0], ts), max(known[1], ts))
        self._meet(one, other, ts)

    def add_beside(self, told: Evidence, config: IdentityConfig) -> None:
        """The links that stand only while better identifiers of the event are shared."""
        for key in beside_links(told, config):
            known = self.beside.get(key)
            self.beside[key] = (told.ts, told.ts) if known is None else (min(known[0], told.ts), max(known[1], told.ts))

    def add_name(self, owner: Identifier, name: str, ts: int, config: IdentityConfig) -> None:
        """A name seen with an identifier. A login or customer number keeps the earliest: its owner may be renamed."""
        known = self.names.setdefault(owner, {})
        known[name] = min(ts, known.get(name, ts))
        if owner.type in config.unique_types:
            first = min(known, key=lambda text: (known[text], text))
            self.names[owner] = {first: known[first]}
        elif len(known) > NAMES_KEPT:
            del known[max(known)]

    def _meet(self, one: Identifier, other: Identifier, ts: int) -> None:
        for met in (one, other):
            self.seen.add(met)
            self.together[met] = min(ts, self.together.get(met, ts))


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
                held = cluster(_facts(events, marks, erased, config), config).of.get(told.of, frozenset({told.of}))
                for gone in held:
                    erased[gone] = max(told.ts, erased.get(gone, told.ts))
                for link in [link for link in marks.probable if held & set(link)]:
                    del marks.probable[link]
            else:
                mark(marks, told)
    return _facts(events, marks, erased, config)


def mark(facts: Facts, record: Cut | Restore | Apart | Probable) -> None:
    """Enter an operator's or the nightly job's record into the facts."""
    if isinstance(record, Cut):
        facts.cuts.update(record.links)
    elif isinstance(record, Restore):
        facts.cuts.difference_update(record.links)
        facts.aparts.difference_update(record.links)
    elif isinstance(record, Apart):
        facts.aparts.update(record.pairs)
    else:
        link = pair(record.a, record.b)
        facts.probable[link] = max(record.score, facts.probable.get(link, record.score))


def named_by(told: Evidence, config: IdentityConfig) -> list[Identifier]:
    """Whose name an event's name is: the hub's, and behind a hub that several people may use that of the next one."""
    owners = [told.hub]
    for other in told.ids:
        if owners[-1].type not in config.contact_types or other.type not in config.contact_types:
            break
        owners.append(other)
    return owners


def beside_links(told: Evidence, config: IdentityConfig) -> list[Beside]:
    """The links that an event implies when its hub, or that and the next ones, are shared."""
    ranked_ids = [told.hub, *(one for one in told.ids if one != told.hub)]
    found: list[Beside] = []
    for place, one in enumerate(ranked_ids[1:-1], 1):
        passed = tuple(ranked_ids[:place])
        if passed[-1].type not in config.contact_types:
            break
        found += [(one, other, passed) for other in ranked_ids[place + 1 :]]
    return found


def attributed(hub: Identifier, others: Sequence[Identifier], shared: Container[Identifier]) -> Identifier:
    """The identifier under which an event stands: its best one that is not shared, else its hub (R11)."""
    return next((one for one in (hub, *others) if one not in shared), hub)


def strip(told: Evidence, erased: Mapping[Identifier, int], config: IdentityConfig) -> Evidence | None:
    """The evidence without identifiers that were erased at its time or later (R15); None when nothing is left."""

    def stays(found: Identifier | None) -> bool:
        return found is not None and told.ts > erased.get(found, -inf)

    if not any(found in erased for found in (told.hub, told.previous, *told.ids)):
        return told
    left = ranked([found for found in (told.hub, *told.ids) if stays(found)], config)
    if not left:
        return None
    name = told.name if left[0] in named_by(told, config) else None
    return Evidence(told.event_id, told.ts, left[0], left[1:], told.previous if stays(told.previous) else None, name)


def cluster(facts: Facts, config: IdentityConfig) -> Clusters:
    """The constrained union of the facts' links, taken in the order of rule R7."""
    crowded = frozenset(facts.shared | _crowded(facts, config))
    shared = crowded | _disputed(facts, config)
    facts = _with_implied(facts, shared)
    union = _Union(facts, config)
    refused: dict[Pair, str] = {}
    joins = [alias for alias in sorted(facts.aliases - facts.cuts, key=_text) if union.join(alias)]
    for link in _in_order(facts, config):
        reason = "shared" if shared & set(link) else union.obstacle(link)
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
    facts = Facts(probable=marks.probable, cuts=marks.cuts, aparts=marks.aparts)
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

    def obstacle(self, link: Pair) -> str | None:
        """Why the two clusters of a link may not become one (R8, R16), or None."""
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
        return "names" if self._names_forbid(link, one, other) else None

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
