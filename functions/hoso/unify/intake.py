"""From the stream's raw records to work: unpack, check every event, group by fragment (reliability R5, R10).

The door has checked all this once. Here it is checked again, because whatever is on the stream must never block a
shard: a record that is none, or an event that breaks a rule, is set aside with its reason and the rest goes on.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import is_
from typing import Any, NamedTuple

from hoso.model.errors import InvalidInput
from hoso.model.identifiers import DEFAULT, Identifier, IdentityConfig, alias_previous, contradictory
from hoso.model.names import person_name
from hoso.model.record import Event, Record, any_nests_too_deep, nests_too_deep, pack, unpack
from hoso.model.time import DAY_MS, EARLIEST_MS
from hoso.unify.dedupe import message_hash
from hoso.unify.evidence import Evidence
from hoso.unify.pages import MAX_RECORD_BYTES

_MAX_TEXT = 1_024
_FUTURE_MS = DAY_MS
REPLAY = "replay"
"""Member of a record's origin: the id of the replay that sent it."""

Json = dict[str, Any]


class Delivery(NamedTuple):
    """One good record of a batch. ``place`` is its position in the batch, ``bad`` names why events are set aside."""

    place: int
    blob: bytes
    record: Record
    digests: Sequence[bytes]
    bad: Mapping[int, str]

    @property
    def silent(self) -> bool:
        """Whether a replay sent it: what it changes is announced to nobody."""
        return REPLAY in self.record.origin


class Refusal(NamedTuple):
    """A record that cannot be worked on, with its bytes and its arrival on the stream (UTC ms)."""

    place: int
    blob: bytes
    arrived_at: int
    code: str


@dataclass(slots=True)
class Group:
    """All records of a batch that came under one hub, in their order."""

    workspace: str
    hub: Identifier
    deliveries: list[Delivery] = field(default_factory=list[Delivery])

    @property
    def place(self) -> int:
        """The position in the batch of the first of them."""
        return self.deliveries[0].place


def take(
    place: int, raw: Mapping[str, Any], config_of: Callable[[str], IdentityConfig] = lambda _: DEFAULT
) -> Delivery | Refusal:
    """One Kinesis record (event source mapping) as work, or why it is none."""
    kinesis: Any = raw.get("kinesis", {})
    data: Any = kinesis.get("data", "")
    arrived_at = int(kinesis.get("approximateArrivalTimestamp", 0) * 1_000)
    try:
        blob = b64decode(data, validate=True)
    except (ValueError, TypeError):
        return Refusal(place, str(data).encode("utf-8", "replace"), arrived_at, "bad_record")
    if len(blob) > MAX_RECORD_BYTES:
        return Refusal(place, blob, arrived_at, "record_too_large")
    try:
        record = unpack(blob)
    except InvalidInput:
        return Refusal(place, blob, arrived_at, "bad_record")
    if not _is_record(record):
        return Refusal(place, blob, arrived_at, "bad_record")
    bad: dict[int, str] = {}
    config = config_of(record.workspace)
    digests: list[bytes] = []
    deep = any_nests_too_deep([event.body for event in record.events])
    latest = record.received_at + _FUTURE_MS
    for position, event in enumerate(record.events):
        message_id, ts, original, name, ids, body = event
        sound = (
            type(message_id) is str
            and 0 < len(message_id) <= _MAX_TEXT
            and type(ts) is int
            and EARLIEST_MS <= ts <= latest
            and (original is None or type(original) is int)
            and type(name) is str
            and 0 < len(name) <= _MAX_TEXT
            and type(body) is dict
        )
        if sound and not ids and not deep:
            digests.append(message_hash(message_id, record.source))
            continue
        code = _fault_of_event(event, record, config)
        if code is None:
            digests.append(message_hash(message_id, record.source))
        else:
            bad[position] = code
            digests.append(b"")
    return Delivery(place, blob, record, digests, bad)


def left_after(group: Group, until: int) -> Group | None:
    """The group without what an erasure covers: events that happened, or came, up to its time. None: nothing is left.

    A record that held some of them is packed anew, as records go into the timeline whole.
    """
    left = [one for delivery in group.deliveries if (one := _left(delivery, until)) is not None]
    if len(left) == len(group.deliveries) and all(map(is_, left, group.deliveries)):
        return group
    return Group(group.workspace, group.hub, left) if left else None


def _left(delivery: Delivery, until: int) -> Delivery | None:
    record, bad = delivery.record, delivery.bad
    if record.received_at <= until:
        return None
    gone = {place for place, event in enumerate(record.events) if type(event.ts) is int and event.ts <= until}
    if not gone:
        return delivery
    # what no record can hold cannot be packed anew either
    gone |= {place for place, code in bad.items() if code == "nested_too_deep"}
    places = {old: new for new, old in enumerate(one for one in range(len(record.events)) if one not in gone)}
    if not places:
        return None
    kept = replace(
        record,
        events=[record.events[old] for old in places],
        flags=[(places[flag[0]], *flag[1:]) for flag in record.flags if flag[0] in places],
    )
    digests = [delivery.digests[old] for old in places]
    return Delivery(delivery.place, pack(kept), kept, digests, {places[old]: bad[old] for old in bad if old in places})


def grouped(deliveries: Iterable[Delivery]) -> list[Group]:
    """The deliveries by workspace and hub, in the order of their first."""
    groups: dict[tuple[str, tuple[str, str]], Group] = {}
    for delivery in deliveries:
        record = delivery.record
        key = (record.workspace, record.hub)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(record.workspace, Identifier(*record.hub))
        group.deliveries.append(delivery)
    return list(groups.values())


def evidence(group: Group, config: IdentityConfig = DEFAULT, clients: Container[str] = frozenset()) -> list[Evidence]:
    """What a group tells about identity: per set of identifiers its earliest and its latest event.

    Always at least one entry, so that the owner of the hub is looked up. Sources that are ``clients`` (browsers, apps)
    may not say that two user ids are one person: anybody could.
    """
    hub = group.hub
    ends: dict[Any, list[Evidence]] = {}
    for delivery in group.deliveries:
        bad = delivery.bad
        silent = delivery.silent
        for position, event in enumerate(delivery.record.events):
            body = event.body
            if position in bad:
                continue
            if not event.ids and event.name != "$alias" and not (config.names and _may_name(body)):
                continue
            ids = tuple([Identifier(kind, value) for kind, value in event.ids])
            previous = alias_previous(body, config) if event.name == "$alias" else None
            if previous is not None and previous.type == hub.type == "user_id" and delivery.record.source in clients:
                previous = None
            name = person_name(body) if config.names else None
            told = Evidence(event.message_id, event.ts, hub, ids, previous, name, silent, delivery.record.source)
            held = ends.setdefault((ids, previous, name), [told, told])
            if (told.ts, told.event_id) < (held[0].ts, held[0].event_id):
                held[0] = told
            if (told.ts, told.event_id) > (held[1].ts, held[1].event_id):
                held[1] = told
    if not ends:
        event = group.deliveries[0].record.events[0]
        return [Evidence(event.message_id, event.ts, hub, silent=group.deliveries[0].silent)]
    return [told for held in ends.values() for told in dict.fromkeys(held)]


def _is_record(record: Record) -> bool:
    kind, value = record.hub
    named = _text(record.workspace) and "#" not in record.workspace and _text(kind) and _text(value)
    marked = (
        type(record.origin) is dict
        and (record.sent_at is None or type(record.sent_at) is int)
        and all(type(flag[0]) is int for flag in record.flags)
    )
    return named and marked and type(record.source) is str and _instant(record.received_at) and bool(record.events)


def _fault_of_event(event: Event, record: Record, config: IdentityConfig) -> str | None:
    """A stable code of what is wrong with an event that came from the stream, or None."""
    message_id, ts, original, name, ids, body = event
    if type(message_id) is not str or not 0 < len(message_id) <= _MAX_TEXT:
        return "bad_message_id"
    if not _instant(ts) or ts > record.received_at + _FUTURE_MS or (original is not None and type(original) is not int):
        return "bad_timestamp"
    if type(name) is not str or not 0 < len(name) <= _MAX_TEXT:
        return "bad_event_name"
    if type(body) is not dict:
        return "bad_body"
    if nests_too_deep(body):
        return "nested_too_deep"
    if ids:
        if type(ids) is not list or not all(_pair(entry) for entry in ids):
            return "bad_identifiers"
        if name != "$alias" and contradictory([record.hub, *map(tuple, ids)], config):  # type: ignore[list-item]
            return "contradictory_identifiers"
    return None


def _may_name(body: Json) -> bool:
    """Whether an event may hold a person's name: traits of its own, or repeated in its context."""
    if "traits" in body:
        return True
    context = body.get("context")
    return type(context) is dict and "traits" in context


def _pair(entry: object) -> bool:
    return type(entry) is list and len(entry) == 2 and _text(entry[0]) and _text(entry[1])  # pyright: ignore[reportUnknownArgumentType]


def _text(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= _MAX_TEXT


def _instant(value: object) -> bool:
    return type(value) is int and EARLIEST_MS <= value < 10**14
