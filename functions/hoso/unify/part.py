"""One fragment's share of a batch: judge what is new, fold it, prepare its pages (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from hoso.model.record import Event
from hoso.segment.live import CONSENT, SUPPRESSED
from hoso.unify import consent, dedupe, pages, traits, unreachable
from hoso.unify.dedupe import Arrival
from hoso.unify.fragments import COLD_EVENTS, ERASED, BadEvent, Change, Fragment, Hot, New, cold_of, fold, hot_of
from hoso.unify.intake import Delivery, Group, left_after

if TYPE_CHECKING:
    from hoso.segment.live import LiveRules

Item = dict[str, Any]


class Place(NamedTuple):
    """Where an event stands: the delivery's number within the group, and the position in its record."""

    delivery: int
    position: int


class Aside(NamedTuple):
    """An event that is kept aside: for which reason, with which content; ``first`` tells of the event
    whose message id it uses."""

    place: Place
    code: str
    event: Event
    first: Item | None = None


# named tuples without their own constructors, which cost as much as the rest: there is one of each per event
_place = cast("Callable[[tuple[int, int]], Place]", partial(tuple.__new__, Place))
_new = cast("Callable[[tuple[Event, str, int, str, tuple[()]]], New]", partial(tuple.__new__, New))


@dataclass(slots=True)
class Part:
    """A group with the state that it meets, and what became of both.

    ``hot_item`` and ``cold_item`` are as read (None: not stored), ``rebuilt`` are meters made anew for new rules,
    ``told`` is what identity was told of the hub by now (None: what the hot item says). ``erased``: up to when whoever
    had the hub was erased; ``dropped`` events of before were left out.
    After ``fold``: ``fragment`` is the new state, ``pages`` its new timeline pages, ``changed`` whether it has to be
    written, ``fresh`` the number of new events and ``repeats`` of those that were here before, ``aside`` the events for
    the quarantine, ``change`` what was touched.
    """

    group: Group
    fid: str
    hot_item: Item | None = None
    cold_item: Item | None = None
    rebuilt: Item | None = None
    told: bytes | None = None
    erased: int | None = None
    dropped: int = 0
    hot: Hot = field(init=False)
    fragment: Fragment = field(init=False)
    pages: list[Item] = field(default_factory=list[Item])
    changed: bool = False
    fresh: int = 0
    repeats: int = 0
    aside: list[Aside] = field(default_factory=list[Aside])
    change: Change = field(default_factory=Change)
    newest: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    trait_names: set[str] = field(default_factory=set[str])
    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    places: list[Place] = field(default_factory=list[Place])
    sources: list[str] = field(default_factory=list[str])
    replayed: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        for number, delivery in enumerate(self.group.deliveries):
            record, bad = delivery.record, delivery.bad
            received_at, source = record.received_at, record.source
            if delivery.silent:
                self.replayed.update(event.message_id for event in record.events)
            count = len(record.events)
            if count > 2 and not bad:  # all at once; for one or two the loop below is less work
                self.arrivals += zip(record.events, repeat(received_at), delivery.digests, strict=False)
                self.places += map(_place, zip(repeat(number), range(count), strict=False))
                self.sources += [source] * count
                continue
            for position, event in enumerate(record.events):
                if position in bad:
                    self.aside.append(Aside(Place(number, position), bad[position], event))
                    continue
                self.arrivals.append((event, received_at, delivery.digests[position]))
                self.places.append(Place(number, position))
                self.sources.append(source)

    def without_erased(self, until: int) -> Part | None:
        """The part without what an erasure covers, before it meets any state; None: nothing is left of it."""
        left = left_after(self.group, until)
        if left is None:
            return None
        part = self if left is self.group else Part(left, self.fid)
        part.erased, part.dropped = until, self.size - part.size
        return part

    @property
    def size(self) -> int:
        """How many events came, good and bad."""
        return sum(len(delivery.record.events) for delivery in self.group.deliveries)

    @property
    def hub(self) -> tuple[str, str]:
        """The hub as a plain pair."""
        return (self.group.hub.type, self.group.hub.value)

    @property
    def pk(self) -> str:
        """Partition key of the fragment's items."""
        return f"{self.group.workspace}#F#{self.fid}"

    def meet(self, hot_item: Item | None) -> None:
        """Take the stored hot item in."""
        self.hot_item = hot_item
        self.hot = hot_of(hot_item, self.hub)
        if self.erased is not None:
            self.hot.rest.setdefault(ERASED, self.erased)

    def delivery(self, aside: Aside) -> Delivery:
        """The delivery in which an event came that is kept aside."""
        return self.group.deliveries[aside.place.delivery]

    @property
    def needs_cold(self) -> bool:
        """Whether the cold item has to be read for the fold."""
        return not COLD_EVENTS.isdisjoint(self.newest)

    def survey(self) -> None:
        """Note what events of the batch may touch, repeats included: the newest event of each name, and the traits
        they write, as the live rules name them."""
        newest = self.newest
        shows_news = False
        for event, _, _ in self.arrivals:
            message_id, ts, _, name, _, body = event
            held = newest.get(name)
            if held is None or ts > held[0] or (ts == held[0] and message_id > held[1]):
                newest[name] = (ts, message_id)
            if name == "$identify":
                self.trait_names.update(traits.written(event) or ())
            context = body.get("context")
            if type(context) is dict and not shows_news and ("consent" in context or "consentManagement" in context):
                shows_news = self._shows_news(event)
        if shows_news or "marketingConsent" in self.trait_names or not consent.EVENTS.isdisjoint(newest):
            self.trait_names.add(CONSENT)
        if not (consent.EVENTS | unreachable.EVENTS).isdisjoint(newest):
            self.trait_names.add(SUPPRESSED)

    def fold(self, stored: Mapping[bytes, Event], rules: LiveRules, keep_days: int) -> None:
        """Fold what is new. ``stored`` are the events that the pages hold for the suspects of this part.

        An event that cannot be folded is set aside, and the rest is folded without it (reliability R10).
        """
        while True:
            judged = dedupe.sort(self.hot.ring, self.arrivals, stored)
            try:
                self._fold(judged, rules, keep_days)
            except BadEvent as error:
                bad = judged.fresh[error.position]
                self.aside.append(Aside(self.places[bad], "cannot_be_folded", self.arrivals[bad][0]))
                del self.arrivals[bad], self.places[bad], self.sources[bad]
                self.meet(self.hot_item)
            else:
                return

    def _fold(self, judged: dedupe.Sorted, rules: LiveRules, keep_days: int) -> None:
        hot, cold = self.hot, cold_of(self.cold_item)
        self.fragment = Fragment(self.fid, hot, cold)
        if self.rebuilt is not None:
            hot.meters = deepcopy(self.rebuilt)
        hot.rules = rules.version
        if self.told is not None:
            hot.told = self.told
        self.changed, self.fresh, self.repeats = bool(judged.entries), len(judged.fresh), len(judged.repeats)
        if not self.changed:
            return
        highest = hot.last
        self.change = fold(hot, cold, self._news(judged.fresh), rules)
        hot.ring = hot.ring.add(judged.entries)
        hot.conflicts += len(judged.conflicts)
        self.aside += [
            Aside(self.places[found], "duplicate", self.arrivals[found][0], first)
            for found, first in zip(judged.conflicts, judged.firsts, strict=True)
        ]
        hot.version += 1
        cold.version += self.change.cold
        made = pages.chain(
            self.pk,
            self._stays(judged.fresh),
            version=hot.version,
            previous=hot.page,
            highest=highest,
            keep_days=keep_days,
        )
        self.pages, hot.page = made.pages, made.newest

    def _shows_news(self, event: Event) -> bool:
        """Whether a consent banner shows another state than the stored one."""
        held = self.hot.shown
        return any(key not in held or held[key].state != statement.state for key, statement in consent.shown(event, ""))

    def _news(self, fresh: Sequence[int]) -> list[New]:
        arrivals, sources = self.arrivals, self.sources
        return [_new((arrivals[found][0], sources[found], arrivals[found][1], "", ())) for found in fresh]

    def _stays(self, fresh: Sequence[int]) -> list[pages.Stay]:
        """The records that hold at least one new event, each with the positions of all its other events."""
        kept: dict[int, set[int]] = {}
        for found in fresh:
            place = self.places[found]
            kept.setdefault(place.delivery, set()).add(place.position)
        stays: list[pages.Stay] = []
        for number, positions in sorted(kept.items()):
            delivery = self.group.deliveries[number]
            every = range(len(delivery.record.events))
            skip = frozenset(every) - positions if len(positions) < len(every) else frozenset[int]()
            stays.append(pages.Stay(delivery.blob, delivery.record, delivery.digests, skip))
        return stays
