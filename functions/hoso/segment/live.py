"""The live engine: all active segments compiled once to closures over one person's small state (reference, section 8).

A worker keeps one ``LiveRules`` per revision set. Per event: ``fold`` into the meters of the event's fragment. Per
batch: ``affected`` names the segments whose inputs moved, ``evaluate`` answers for them. ``as_of`` must not be earlier
than the ``received_at`` of any folded event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, cast

import orjson

from hoso.segment.aggregates import Answer
from hoso.segment.check import check_references, leaves
from hoso.segment.conditions import (
    consent_leaf,
    geo_leaf,
    has_id_leaf,
    list_leaf,
    score_leaf,
    split_leaf,
    suppressed_leaf,
    trait_leaf,
)
from hoso.segment.counts import Leaf
from hoso.segment.language import (
    AllOf,
    AnyOf,
    Consent,
    EventMeasure,
    Everyone,
    Geo,
    HasId,
    InSegment,
    Not,
    OnList,
    Rule,
    ScoreTest,
    Segment,
    Split,
    Suppressed,
    Trait,
)
from hoso.segment.language import Sequence as Steps
from hoso.segment.measures import asks_count, contrary, count_leaf, event_leaf
from hoso.segment.meters import HELD, SIGNATURE, Fold, merge_meters
from hoso.segment.person import PersonState, RuleEvent, Verdict
from hoso.segment.registry import Registry
from hoso.segment.sequence_leaf import sequence_leaf
from hoso.segment.values import AFTER_LAST_MS, split_path
from hoso.segment.zones import NEVER, Zone, zone

__all__ = ["LiveRules", "PersonState", "RuleEvent", "Verdict", "compile_live", "merge_meters"]

ENGINE_VERSION = 1
"""Part of every rule set's version: raise it when the meaning or the state of meters changes."""
ANY_EVENT = "*"
CONSENT, IDENTIFIERS, LISTS, SCORES, SUPPRESSED = "$consent", "$identifiers", "$lists", "$scores", "$suppressed"
"""Names to pass to ``affected`` beside trait names when these parts of a person changed."""


PersonCondition = Everyone | Trait | OnList | Consent | Suppressed | HasId | ScoreTest | Geo | Split
Condition = PersonCondition | EventMeasure | Steps


class LiveRules:
    """Compiled segments. ``version`` changes when the set of documents or the engine does.

    ``paused`` segments are never told: their verdicts are *spilled*, so that the last answer stands. Others may refer
    to them all the same.
    """

    def __init__(self, segments: Sequence[Segment], paused: Collection[str] = ()) -> None:
        known = {segment.key: segment for segment in segments}
        for segment in segments:
            check_references(segment, known)
        registry = Registry()
        compiler = _Compiler(known, registry)
        self._leaves = compiler.segments()
        self._shared = frozenset(leaf for leaf, users in Counter(self._leaves.values()).items() if users > 1)
        meters = registry.build()
        self.segments = tuple(segments)
        self.keys = frozenset(known)
        self.paused = frozenset(paused)
        self.version = _fingerprint([segment.model_dump(mode="json", by_alias=True) for segment in segments])
        self.signature = _fingerprint([meter.id for meter in meters])[:8]
        self.meter_ids = tuple(meter.id for meter in meters)
        self._any: list[Fold] = [meter.fold for meter in meters if meter.names is None]
        self._by_name: dict[str, list[Fold]] = {}
        for name in sorted({name for meter in meters for name in meter.names or ()}):
            self._by_name[name] = [meter.fold for meter in meters if meter.names is None or name in meter.names]
        self._readers = _readers(known)
        self._touched: dict[tuple[frozenset[str], frozenset[str]], frozenset[str]] = {}

    def fold(self, meters: dict[str, Any], event: RuleEvent) -> None:
        """Count one new event (never a duplicate) into a fragment's meters."""
        for fold in self.folds(meters, event.name):
            fold(meters, event)

    def folds(self, meters: dict[str, Any], name: str) -> Sequence[Fold]:
        """What an event of this name does to a fragment's meters, which are marked as kept for these rules."""
        if not meters:
            meters[SIGNATURE] = self.signature
        return self._by_name.get(name, self._any)

    def missing(self, meters: Mapping[str, Any]) -> bool:
        """Whether these meters were kept for other rules, so that they have to be folded again from the timeline."""
        return bool(meters) and meters.get(SIGNATURE) != self.signature

    def affected(self, event_names: Iterable[str], trait_names: Iterable[str]) -> frozenset[str]:
        """The segments whose answer these events, and changes of these traits, may move.

        ``trait_names`` are top-level names, and ``$consent $identifiers $lists $scores $suppressed`` for those parts.
        For a person seen for the first time, or after a merge or split, all segments (``keys``) are to be evaluated.
        """
        asked = (frozenset(event_names), frozenset(trait_names))
        found = self._touched.get(asked)
        if found is None:
            events, traits = asked
            names = [("event", name) for name in events] + [("trait", name) for name in traits]
            if events:
                names.append(("event", ANY_EVENT))
            found = frozenset[str]().union(*(self._readers.get(name, frozenset()) for name in names))
            if len(self._touched) > 10_000:
                self._touched.clear()
            self._touched[asked] = found
        return found

    def evaluate(self, person: PersonState, as_of: int, keys: Iterable[str] | None = None) -> dict[str, Verdict]:
        """The verdicts of these segments (all when None); unknown keys are left out."""
        leaves, shared = self._leaves, self._shared
        wanted = leaves if keys is None else keys
        if person.deleted:
            return {key: _NOBODY for key in wanted if key in leaves}
        person.running = {}
        verdicts: dict[str, Verdict] = {}
        said: dict[Leaf, Verdict] = {}
        held = person.meters.get(HELD)
        silent = self.paused.union(held) if held else self.paused
        for key in wanted:
            leaf = leaves.get(key)
            if leaf is None:
                continue
            if silent and key in silent:
                verdicts[key] = _LEFT_AS_IT_IS
                continue
            verdict = said.get(leaf) if leaf in shared else None
            if verdict is None:
                holds, until = leaf(person, as_of)
                timeless = until >= AFTER_LAST_MS
                verdict = _TIMELESS[holds] if timeless else _verdict((holds is True, until, holds is None))
                if leaf in shared:
                    said[leaf] = verdict
            verdicts[key] = verdict
        return verdicts


_verdict = cast("Callable[[tuple[bool, int | None, bool]], Verdict]", partial(tuple.__new__, Verdict))
"""A verdict without the named tuple's own constructor, which costs as much as the rest: a person has a thousand."""
_NOBODY = Verdict(False, None)
_LEFT_AS_IT_IS = Verdict(False, None, spilled=True)
_TIMELESS = {True: Verdict(True, None), False: _NOBODY, None: _LEFT_AS_IT_IS}


def compile_live(segments: Sequence[Segment], paused: Collection[str] = ()) -> LiveRules:
    """Compile segments, the ones that they refer to among them. Raises ``InvalidSegment`` for a broken reference."""
    return LiveRules(segments, paused)


class _Compiler:
    """Makes one leaf of equal conditions, wherever they stand, so that a person is asked each of them once.

    Groups are lists of leaves, so that what several of them ask can be remembered once all are known.
    """

    def __init__(self, known: Mapping[str, Segment], registry: Registry) -> None:
        self._known = known
        self._registry = registry
        self._done: dict[str, Leaf] = {}
        self._same: dict[object, Leaf] = {}
        self._groups: list[list[Leaf]] = []
        self._costly: set[Leaf] = set()

    def segments(self) -> dict[str, Leaf]:
        """The leaf of every segment, by key."""
        asked = {key: self._segment(key) for key in sorted(self._known)}
        uses = Counter(leaf for parts in self._groups for leaf in parts)
        uses.update(set(asked.values()))
        kept = {leaf: _remembered(leaf) for leaf in self._costly if uses[leaf] > 1}
        for parts in self._groups:
            parts[:] = [kept.get(leaf, leaf) for leaf in parts]
        return {key: kept.get(leaf, leaf) for key, leaf in asked.items()}

    def _segment(self, key: str) -> Leaf:
        if key not in self._done:
            segment = self._known[key]
            self._done[key] = self._rule(segment.rule, zone(segment.timezone))
        return self._done[key]

    def _rule(self, rule: Rule, zone: Zone) -> Leaf:
        if isinstance(rule, (AllOf, AnyOf)):
            # parts that look at no event come first: they are cheap and often decide for ever
            parts = list(dict.fromkeys(self._rule(part, zone) for part in sorted(rule.of, key=_reads_events)))
            if len(parts) == 1:
                return parts[0]
            stopper = isinstance(rule, AnyOf)
            return self._one((stopper, frozenset(parts)), rule, lambda: self._group(parts, stopper=stopper))
        if isinstance(rule, InSegment):
            return self._segment(rule.key)
        if isinstance(rule, Not):
            inner = rule.of
            if isinstance(inner, EventMeasure) and asks_count(inner):
                return self._one(
                    _spelt(rule, zone), rule, lambda: count_leaf(inner, zone, self._registry, negated=True)
                )
            part = self._rule(inner, zone)
            return self._one((None, part), rule, lambda: self._negation(part))
        return self._one(_spelt(rule, zone), rule, lambda: self._condition(rule, zone))

    def _one(self, name: object, rule: Rule, make: Callable[[], Leaf]) -> Leaf:
        """The one leaf of this name."""
        leaf = self._same.get(name)
        if leaf is None:
            leaf = self._same[name] = make()
            if _reads_events(rule):
                self._costly.add(leaf)
        return leaf

    def _condition(self, rule: Condition, zone: Zone) -> Leaf:
        if isinstance(rule, EventMeasure):
            return event_leaf(rule, zone, self._registry)
        if isinstance(rule, Steps):
            return sequence_leaf(rule, zone, self._registry)
        return _person_leaf(rule, zone)

    def _group(self, parts: list[Leaf], *, stopper: bool) -> Leaf:
        self._groups.append(parts)
        return _group(parts, stopper=stopper)

    def _negation(self, part: Leaf) -> Leaf:
        parts = [part]
        self._groups.append(parts)
        return contrary(parts)


def _spelt(rule: Rule, zone: Zone) -> object:
    """What tells a condition from every other one."""
    return rule.model_dump_json(by_alias=True), zone.name


def _remembered(leaf: Leaf) -> Leaf:
    """The same leaf, asked once per evaluation."""

    def remembered(person: PersonState, as_of: int) -> Answer:
        found = person.running.get(leaf)
        if found is None:
            found = person.running[leaf] = leaf(person, as_of)
        return found

    return remembered


def _person_leaf(rule: PersonCondition, zone: Zone) -> Leaf:
    if isinstance(rule, Everyone):
        return lambda _person, _as_of: (True, NEVER)
    if isinstance(rule, Trait):
        return trait_leaf(rule, zone)
    if isinstance(rule, OnList):
        return list_leaf(rule)
    if isinstance(rule, Consent):
        return consent_leaf(rule)
    if isinstance(rule, Suppressed):
        return suppressed_leaf(rule)
    if isinstance(rule, HasId):
        return has_id_leaf(rule)
    if isinstance(rule, ScoreTest):
        return score_leaf(rule, zone)
    return geo_leaf(rule) if isinstance(rule, Geo) else split_leaf(rule)


def _group(parts: Sequence[Leaf], *, stopper: bool) -> Leaf:
    """``any`` (stopper True) or ``all`` (False). One part with the stopper's answer decides.

    The group cannot turn before the last of the deciding parts does, or, where none decides, before the first part.
    """

    def leaf(person: PersonState, as_of: int) -> Answer:
        decided = -1
        earliest = NEVER
        unsure = False
        for part in parts:
            holds, until = part(person, as_of)
            if holds is None:
                unsure = True
                earliest = min(earliest, until)
            elif holds is stopper:
                if until >= NEVER:
                    return stopper, NEVER
                decided = max(decided, until)
            elif until < earliest:
                earliest = until
        if decided >= 0:
            return stopper, decided
        return (None if unsure else not stopper), earliest

    return leaf


def _reads_events(rule: Rule) -> bool:
    return any(isinstance(leaf, (EventMeasure, Steps, InSegment)) for leaf in leaves(rule))


def _readers(known: Mapping[str, Segment]) -> dict[tuple[str, str], frozenset[str]]:
    """Which segments read an input, those that they refer to included."""
    inputs: dict[str, set[tuple[str, str]]] = {}

    def of(key: str) -> set[tuple[str, str]]:
        if key not in inputs:
            inputs[key] = found = set[tuple[str, str]]()
            for leaf in leaves(known[key].rule):
                found |= of(leaf.key) if isinstance(leaf, InSegment) else _inputs(leaf)
        return inputs[key]

    readers: dict[tuple[str, str], set[str]] = {}
    for key in known:
        for name in of(key):
            readers.setdefault(name, set()).add(key)
    return {name: frozenset(keys) for name, keys in readers.items()}


def _inputs(leaf: Rule) -> set[tuple[str, str]]:
    if isinstance(leaf, EventMeasure):
        return {("event", name) for name in leaf.event}
    if isinstance(leaf, Steps):
        return {("event", name) for step in leaf.steps for name in step.event}
    if isinstance(leaf, Trait):
        return {("trait", split_path(leaf.name)[0])}
    if isinstance(leaf, Geo):
        return {("trait", split_path(leaf.trait)[0])}
    parts = {Consent: CONSENT, HasId: IDENTIFIERS, OnList: LISTS, ScoreTest: SCORES, Suppressed: SUPPRESSED}
    return {("trait", name) for kind, name in parts.items() if isinstance(leaf, kind)}


def _fingerprint(content: Any) -> str:
    text = orjson.dumps([ENGINE_VERSION, content], option=orjson.OPT_SORT_KEYS, default=str)
    return sha256(text).hexdigest()[:16]
