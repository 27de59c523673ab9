"""What a night does with scored pairs: link, ask, take back (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.unify.likeness.matcher import REVIEW
from hoso.unify.likeness.people import Subject, contradict
from hoso.unify.likeness.unasked import AUTO

MOST_OPEN = 10_000
"""Pairs that are put before people at once: the likeliest."""
LARGEST = 10


class Link(NamedTuple):
    """A probable link in force: the identifiers that stand for the two records, and its score."""

    a: Identifier
    b: Identifier
    score: float


class Scored(NamedTuple):
    """A pair of records (by number, a < b) with its probability."""

    a: int
    b: int
    probability: float


@dataclass(slots=True)
class Work:
    """What is to be done. Pairs are numbers of records."""

    link: list[Scored] = field(default_factory=list[Scored])
    ask: list[Scored] = field(default_factory=list[Scored])
    withdraw: list[Link] = field(default_factory=list[Link])
    keep: list[Link] = field(default_factory=list[Link])
    contradicting: int = 0
    """Pairs that would have been linked or asked, but hold different values of an identifier that is one's own."""
    largest: list[int] = field(default_factory=list[int])
    """Records in the largest groups that links make."""


@dataclass(frozen=True, slots=True)
class Night:
    """What is known when a night decides. ``labels``: groups of records by the pairs that may be linked unasked."""

    subjects: Sequence[Subject]
    config: IdentityConfig
    active: Sequence[Link]
    accepted: frozenset[tuple[int, int]]
    rejected: frozenset[tuple[int, int]]


def work(night: Night, pairs: Sequence[Scored], clusters: Callable[[Sequence[Scored]], Sequence[int]]) -> Work:
    """Decide on all pairs of a night.

    ``clusters`` gives a label per record from the pairs that may be linked; a pair whose records get different labels
    is not linked (birth dates contradict within the group), but asked; also where a link in force already holds it.

    A link in force is taken back when its pair is rejected, contradicts, or scores below the band of questions. Between
    the bands it stays and is asked: a score that wavers about the line must not move people back and forth.
    """
    found = Work()
    scores: dict[tuple[int, int], float] = {}
    forbidden: set[tuple[int, int]] = set(night.rejected)
    for a, b, probability in pairs:
        scores[a, b] = probability
        if (
            probability >= REVIEW
            and (a, b) not in forbidden
            and contradict(night.subjects[a], night.subjects[b], night.config)
        ):
            forbidden.add((a, b))
            found.contradicting += 1
    place = positions(night.subjects)
    held = _judge_active(night, scores, forbidden, place, found)
    sure = [pair for pair in pairs if pair.probability >= AUTO and (pair.a, pair.b) not in forbidden]
    labels = clusters(sure)
    groups = _Groups()
    for pair in held:
        groups.join(*pair)
    for a, b in sorted(night.accepted - forbidden):
        if groups.join(a, b):
            found.link.append(Scored(a, b, 1.0))
    for pair in sorted(sure, key=lambda one: (-one.probability, one.a, one.b)):
        if labels[pair.a] == labels[pair.b] and groups.join(pair.a, pair.b):
            found.link.append(pair)
    settled = forbidden | night.accepted
    for pair in sorted(pairs, key=lambda one: (-one.probability, one.a, one.b)):
        if pair.probability < REVIEW or (pair.a, pair.b) in settled:
            continue
        weak = (pair.a, pair.b) in held and (pair.probability < AUTO or labels[pair.a] != labels[pair.b])
        if (weak or not groups.same(pair.a, pair.b)) and len(found.ask) < MOST_OPEN:
            found.ask.append(pair)
    found.largest = groups.largest()
    return found


def positions(subjects: Sequence[Subject]) -> dict[Identifier, int]:
    """The record of each identifier."""
    return {one: number for number, subject in enumerate(subjects) for one in subject.ids}


def numbered(
    pairs: Iterable[tuple[Identifier, Identifier]], place: Mapping[Identifier, int]
) -> frozenset[tuple[int, int]]:
    """Pairs of identifiers as pairs of today's records; those that are one record, or gone, are left out."""
    found: set[tuple[int, int]] = set()
    for one, other in pairs:
        a, b = place.get(one), place.get(other)
        if a is not None and b is not None and a != b:
            found.add((min(a, b), max(a, b)))
    return frozenset(found)


def _judge_active(
    night: Night,
    scores: Mapping[tuple[int, int], float],
    forbidden: set[tuple[int, int]],
    place: Mapping[Identifier, int],
    found: Work,
) -> set[tuple[int, int]]:
    """Which links in force stay; answers the pairs of records that they hold together."""
    held: set[tuple[int, int]] = set()
    for link in night.active:
        (pair,) = numbered([(link.a, link.b)], place) or {None}
        if pair is None:
            continue  # exact identifiers have made them one, or one of them is gone
        contradicting = contradict(night.subjects[pair[0]], night.subjects[pair[1]], night.config)
        if pair in forbidden or contradicting or (pair not in night.accepted and scores.get(pair, 0.0) < REVIEW):
            found.withdraw.append(link)
        else:
            found.keep.append(link)
            held.add(pair)
    return held


class _Groups:
    """Union-find over the numbers of records. Who is in no pair costs nothing."""

    def __init__(self) -> None:
        self._root: dict[int, int] = {}

    def join(self, one: int, other: int) -> bool:
        a, b = self._find(one), self._find(other)
        if a == b:
            return False
        self._root[max(a, b)] = min(a, b)
        return True

    def same(self, one: int, other: int) -> bool:
        return self._find(one) == self._find(other)

    def largest(self) -> list[int]:
        beside_leaders = Counter(self._find(number) for number in list(self._root))
        return sorted((1 + more for more in beside_leaders.values()), reverse=True)[:LARGEST]

    def _find(self, number: int) -> int:
        root = self._root
        while (above := root.get(number, number)) != number:
            higher = root.get(above, above)
            if higher != above:
                root[number] = higher
            number = above
        return number
