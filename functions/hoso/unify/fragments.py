"""The state of one fragment, and the fold of events into it (pure).

A fragment is everything that came under one hub (a device, a user id, a card). Its *hot* part changes with every
event and stays small: counters, the ring of message ids, the meters of live rules, what consent banners show. Its
*cold* part changes with the few events that say something about the person: traits, explicit consent, orders.

Given the same set of new events the result is the same in every order and every division into batches
(reliability R2, promise 2); only the ring, which is no part of a profile, depends on the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from hoso.model.record import Event
from hoso.segment.person import RuleEvent
from hoso.unify import computed, consent, listings, orders, story, traits
from hoso.unify.codec import pack_json, unpack_json
from hoso.unify.computed import Values
from hoso.unify.consent import Consents
from hoso.unify.dedupe import Ring
from hoso.unify.listings import Listings
from hoso.unify.orders import Base, Orders
from hoso.unify.story import Story
from hoso.unify.traits import Traits

if TYPE_CHECKING:
    from hoso.segment.live import LiveRules

Json = dict[str, Any]

COLD_EVENTS = consent.EVENTS | orders.EVENTS | story.EVENTS | {"$identify"}
"""Names of events that can change the cold part."""


_rule_event = cast("Callable[[tuple[str, str, int, int, Json]], RuleEvent]", partial(tuple.__new__, RuleEvent))
"""What rules see of an event, without the named tuple's own constructor: there is one per event."""


@dataclass(slots=True)
class Hot:
    """The part of a fragment that every event changes. Version 0: not stored yet.

    ``owner`` is the profile id the fragment belongs to, None for a singleton that was never linked. ``page`` is the
    sort key of the newest timeline page. ``rules`` is the version of the rule set that ``meters`` were made by. What
    identity was told already is in ``told`` (see the module of that name).
    """

    hub: tuple[str, str]
    version: int = 0
    owner: str | None = None
    events: int = 0
    first: int | None = None
    last: int | None = None
    ring: Ring = field(default_factory=Ring)
    page: str | None = None
    meters: Json = field(default_factory=dict[str, Any])
    rules: str = ""
    shown: Consents = field(default_factory=Consents)
    conflicts: int = 0
    told: bytes = b""
    rest: Json = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class Cold:
    """The part of a fragment that says who the person is. All but ``computed`` and ``listed`` is a fold of events."""

    version: int = 0
    traits: Traits = field(default_factory=Traits)
    said: Consents = field(default_factory=Consents)
    orders: Orders = field(default_factory=Orders)
    base: Base = field(default_factory=Base)
    overflow: Json = field(default_factory=dict[str, Any])
    story: Story = field(default_factory=Story)
    computed: Values = field(default_factory=Values)
    listed: Listings = field(default_factory=Listings)
    rest: Json = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class Fragment:
    """One fragment of a person, as read or as folded."""

    fid: str
    hot: Hot
    cold: Cold

    @property
    def exists(self) -> bool:
        """Whether it is stored and more than the mark of an erasure."""
        return bool(self.hot.version) and (self.hot.events > 0 or ERASED not in self.hot.rest)


class New(NamedTuple):
    """A new event with what its record says about it.

    ``agent`` is the user agent of the connection ("": none was told), ``flags`` what a tracking plan found wrong with
    the event: plan, revision, reason.
    """

    event: Event
    source: str
    received_at: int
    agent: str = ""
    flags: tuple[tuple[str, int, str], ...] = ()


@dataclass(slots=True)
class Change:
    """What a fold touched: names of events, names of traits, whether consent or the cold part changed; ``marks`` are
    what the person may have in common with others."""

    names: set[str] = field(default_factory=set[str])
    traits: set[str] = field(default_factory=set[str])
    marks: set[str] = field(default_factory=set[str])
    consent: bool = False
    cold: bool = False

    def add(self, other: Change) -> None:
        """Take in what another fold touched."""
        self.names |= other.names
        self.traits |= other.traits
        self.marks |= other.marks
        self.consent = self.consent or other.consent
        self.cold = self.cold or other.cold


class BadEvent(Exception):
    """An event that cannot be folded, whatever is tried; ``position`` is its place among those given."""

    def __init__(self, position: int, cause: Exception) -> None:
        super().__init__(f"event cannot be folded: {type(cause).__name__}")
        self.position = position


def fold(hot: Hot, cold: Cold, events: Iterable[New], rules: LiveRules | None) -> Change:
    """Fold new events into a fragment, in place.

    Raises:
        BadEvent: one of them breaks a rule of the fold; the state is then half changed and must be thrown away.
    """
    change = Change()
    meters = hot.meters
    first, last, count = hot.first, hot.last, hot.events
    position = -1
    try:
        for position, new in enumerate(events):  # noqa: B007  the handler below tells which one broke
            event = new.event
            message_id, ts, _, name, _, body = event
            count += 1
            if first is None or ts < first:
                first = ts
            if last is None or ts > last:
                last = ts
            change.names.add(name)
            if name in COLD_EVENTS:
                _fold_cold(cold, new, change)
            context = body.get("context")
            if type(context) is dict and ("consent" in context or "consentManagement" in context):
                for key, statement in consent.shown(event, new.source):
                    change.consent |= consent.put(hot.shown, key, statement)
            if rules is not None and (folds := rules.folds(meters, name)):
                told = _rule_event((message_id, name, ts, new.received_at, body))
                for counted in folds:
                    counted(meters, told)
    except Exception as error:
        raise BadEvent(position, error) from error
    hot.first, hot.last, hot.events = first, last, count
    if change.cold:
        traits.trim(cold.traits, cold.overflow)
        orders.trim(cold.orders, cold.base)
    return change


def refold_meters(events: Iterable[New], rules: LiveRules) -> Json:
    """Meters made anew from all events of a fragment, for a rule set that its stored meters do not know."""
    meters: Json = {}
    for new in events:
        event = new.event
        rules.fold(meters, RuleEvent(event.message_id, event.name, event.ts, new.received_at, event.body))
    return meters


def _fold_cold(cold: Cold, new: New, change: Change) -> None:
    event, source = new.event, new.source
    at = (event.ts, event.message_id)
    for name, value in (traits.written(event) or {}).items():
        if traits.put(cold.traits, cold.overflow, name, value, at=at, source=source):
            change.traits.add(name)
            change.cold = True
    for key, statement in consent.said(event, source):
        if consent.put(cold.said, key, statement):
            change.consent = change.cold = True
    if orders.put(cold.orders, cold.base, cold.overflow, event):
        change.cold = True
    if story.fold(cold.story, event, source):
        change.cold = True
        change.marks.update(story.marks_of(event))


def hot_of(item: Json | None, hub: tuple[str, str]) -> Hot:
    """The hot part in an item of the profiles table; None is a fragment that is not stored yet."""
    if item is None:
        return Hot(hub)
    rest = {key: value for key, value in item.items() if key not in _HOT_KEYS}
    stored: Any = item.get("hub") or hub
    return Hot(
        hub=(stored[0], stored[1]),
        version=item["v"],
        owner=item.get("o"),
        events=item.get("n", 0),
        first=item.get("f"),
        last=item.get("l"),
        ring=Ring(item.get("r", b""), item.get("rt", b""), item.get("rf")),
        page=item.get("g"),
        meters=unpack_json(item["m"]) if "m" in item else {},
        rules=item.get("rv", ""),
        shown=_consents(unpack_json(item["c"])) if "c" in item else {},
        conflicts=item.get("x", 0),
        told=item.get("k", b""),
        rest=rest,
    )


ERASED = "er"
"""Attribute of a hot item: what happened or came up to this time (UTC ms) was erased and may not come back."""
_HOT_KEYS = frozenset(["pk", "sk", "v", "hub", "o", "n", "f", "l", "r", "rt", "rf", "g", "m", "rv", "c", "x", "k"])
_COLD_KEYS = frozenset({"pk", "sk", "v", "b", "y", "z", "q"})


def hot_item(hot: Hot, pk: str) -> Json:
    """The item that holds a hot part, without what is empty."""
    item: Json = {**hot.rest, "pk": pk, "sk": "H", "v": hot.version, "hub": list(hot.hub)}
    optional: tuple[tuple[str, Any], ...] = (
        ("o", hot.owner),
        ("n", hot.events),
        ("r", hot.ring.hashes),
        ("rt", hot.ring.times),
        ("g", hot.page),
        ("m", pack_json(hot.meters) if hot.meters else None),
        ("rv", hot.rules),
        ("c", pack_json(hot.shown) if hot.shown else None),
        ("x", hot.conflicts),
        ("k", hot.told),
    )
    for key, value in optional:
        if value:
            item[key] = value
    if hot.ring.floor is not None:
        item["rf"] = hot.ring.floor
    for key, value in (("f", hot.first), ("l", hot.last)):
        if value is not None:
            item[key] = value
    return item


def cold_of(item: Json | None) -> Cold:
    """The cold part in an item of the profiles table."""
    if item is None:
        return Cold()
    state: Json = unpack_json(item["b"])
    return Cold(
        version=item["v"],
        traits={name: traits.Trait(*entry) for name, entry in state["t"].items()},
        said=_consents(state["c"]),
        orders={order_id: orders.Order.of_wire(wire) for order_id, wire in state["d"].items()},
        base=Base(*state["s"]),
        overflow=state["x"],
        story=story.unpacked(item.get("y")),
        computed=computed.unpacked(item.get("z")),
        listed=listings.unpacked(item.get("q")),
        rest={key: value for key, value in item.items() if key not in _COLD_KEYS},
    )


def cold_item(cold: Cold, pk: str) -> Json:
    """The item that holds a cold part: one compressed document, so that no value in a trait can be refused."""
    state = {
        "t": cold.traits,
        "c": cold.said,
        "d": {order_id: order.wire() for order_id, order in cold.orders.items()},
        "s": cold.base.wire(),
        "x": cold.overflow,
    }
    item: Json = {**cold.rest, "pk": pk, "sk": "C", "v": cold.version, "b": pack_json(state)}
    if cold.story:
        item["y"] = story.packed(cold.story)
    if cold.computed:
        item["z"] = computed.packed(cold.computed)
    if cold.listed:
        item["q"] = listings.packed(cold.listed)
    return item


def _consents(wire: Json) -> Consents:
    return {key: consent.Consent(*cast("list[Any]", entry)) for key, entry in wire.items()}
