"""The catalogue: every event and property that was seen, from summaries of ranges of the stream.

Whoever archives a range also sums it up (``Summary``): per event and source how often, when, which properties of which
types, in which shapes. A day's summaries are put together (``merge_day``) so that nothing counts twice, however often a
range was archived or an event came: each summary carries the hashes of its message ids. Days are simply added
(``add_day``): a message stays on the day of its receipt, whenever it is replayed.

Text values are shown only where ``SHARED_BY`` different people sent them within one range.
"""

from __future__ import annotations

import hashlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hoso.model.masks import may_show, shape, shown_name, shown_value
from hoso.model.record import Event, Record

MAX_EVENTS = 2_000
MAX_PROPERTIES = 500
SHARED_BY = 5
_MAX_VALUES = 30
_SHOWN_VALUES = 12
_MAX_SHAPES = 6
_MAX_REASONS = 20
_MAX_LEVELS = 4
_MAX_ITEMS = 10
MAX_IDS = 2_000_000
"""Message ids of a day that are compared; a day of more counts what is beyond as it came, and says so."""

Json = dict[str, Any]
_TYPES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
}


@dataclass(slots=True)
class _Property:
    count: int = 0
    types: dict[str, int] = field(default_factory=dict[str, int])
    shapes: dict[str, int] = field(default_factory=dict[str, int])
    values: dict[str, set[str]] | None = field(default_factory=dict[str, set[str]])


@dataclass(slots=True)
class _Entry:
    first: int
    last: int
    ids: set[int] = field(default_factory=set[int])
    properties: dict[str, _Property] = field(default_factory=dict[str, _Property])
    reasons: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class Summary:
    """What was seen in one range of the stream on one day of receipt, in one workspace."""

    entries: dict[tuple[str, str], _Entry] = field(default_factory=dict[tuple[str, str], _Entry])
    more_events: int = 0
    more_properties: int = 0

    def add(self, record: Record, event: Event, reason: str | None) -> None:
        """Count an event; ``reason`` is what its tracking plan found fault with. The same message counts once."""
        place = (shown_name(event.name), record.source)
        entry = self.entries.get(place)
        if entry is None:
            if len(self.entries) >= MAX_EVENTS:
                self.more_events += 1
                return
            entry = self.entries[place] = _Entry(record.received_at, record.received_at)
        message = _hash(event.message_id)
        if message in entry.ids:
            return
        entry.ids.add(message)
        entry.first, entry.last = min(entry.first, record.received_at), max(entry.last, record.received_at)
        if reason is not None and (reason in entry.reasons or len(entry.reasons) < _MAX_REASONS):
            entry.reasons[reason] = entry.reasons.get(reason, 0) + 1
        seen: set[str] = set()
        for path, name, value in _leaves(_content(event)):
            self._property(entry, path, name, value, record.hub[1], first=path not in seen)
            seen.add(path)

    def _property(self, entry: _Entry, path: str, name: str, value: Any, person: str, *, first: bool) -> None:
        known = entry.properties.get(path)
        if known is None:
            if len(entry.properties) >= MAX_PROPERTIES:
                self.more_properties += 1
                return
            known = entry.properties[path] = _Property()
        known.count += first
        kind = _type(value)
        known.types[kind] = known.types.get(kind, 0) + 1
        if kind in ("string", "integer", "number"):
            form = shape(value) if type(value) is str else shape(repr(value))
            if form in known.shapes or len(known.shapes) < _MAX_SHAPES:
                known.shapes[form] = known.shapes.get(form, 0) + 1
        if type(value) is str and known.values is not None and may_show(name) and shown_value(name, value) == value:
            if value not in known.values and len(known.values) >= _MAX_VALUES:
                known.values = None  # not one of a few values, but free text
            else:
                known.values.setdefault(value, set()).add(person)

    def body(self) -> Json:
        """The summary as JSON."""
        return {
            "v": 1,
            "entries": [
                {
                    "event": event,
                    "source": source,
                    "first": entry.first,
                    "last": entry.last,
                    "ids": b64encode(array("Q", sorted(entry.ids)).tobytes()).decode(),
                    "reasons": entry.reasons,
                    "properties": {path: _brief(known) for path, known in entry.properties.items()},
                }
                for (event, source), entry in self.entries.items()
            ],
            "more_events": self.more_events,
            "more_properties": self.more_properties,
        }


@dataclass(slots=True)
class Catalogue:
    """Events by name; ``exact`` is false where a day had more messages than are compared."""

    events: dict[str, Json] = field(default_factory=dict[str, Json])
    more_events: int = 0
    more_properties: int = 0
    exact: bool = True

    def body(self) -> Json:
        """The catalogue as JSON."""
        return {
            "events": self.events,
            "more_events": self.more_events,
            "more_properties": self.more_properties,
            "exact": self.exact,
        }


def summaries_of(workspace: str, day: str) -> str:
    """Where the summaries of a day of receipt (``YYYY-MM-DD``) are stored."""
    return f"catalogue/{workspace}/day={day}/"


def outermost(names: Iterable[str]) -> list[str]:
    """The names of summaries (``…/<shard>-<first>-<last>.json``) less those whose range is inside another's.

    A batch that failed comes again, whole, longer or in pieces.
    """
    ranges: list[tuple[str, int, int, str]] = []
    for name in names:
        shard, first, last = name.rpartition("/")[2].removesuffix(".json").rsplit("-", 2)
        ranges.append((shard, int(first), -int(last), name))
    kept: list[str] = []
    shard_before, reached = "", -1
    for shard, _, negative_last, name in sorted(ranges):
        if shard != shard_before:
            shard_before, reached = shard, -1
        if -negative_last > reached:
            kept.append(name)
            reached = -negative_last
    return kept


def merge_day(summaries: Iterable[Json]) -> Catalogue:
    """A day of its summaries (``Summary.body``); of one that repeats messages only the share of new ones counts."""
    found = Catalogue()
    counted: dict[tuple[str, str], set[int]] = {}
    compared = 0
    for summary in summaries:
        found.more_events += summary["more_events"]
        found.more_properties += summary["more_properties"]
        for entry in summary["entries"]:
            ids = array("Q")
            ids.frombytes(b64decode(entry["ids"]))
            seen = counted.setdefault((entry["event"], entry["source"]), set())
            if compared < MAX_IDS:
                fresh = set(ids) - seen
                seen |= fresh
                compared += len(fresh)
                count = len(fresh)
            else:
                found.exact, count = False, len(ids)
            if count:
                _add_entry(found, entry, count, count / len(ids))
    return found


def add_day(total: Catalogue, day: Mapping[str, Any]) -> None:
    """Add a day (``Catalogue.body``) to what was seen before it."""
    total.more_events += day["more_events"]
    total.more_properties += day["more_properties"]
    total.exact = total.exact and day["exact"]
    for name, event in day["events"].items():
        known = _event(total, name, event["first"])
        if known is None:
            total.more_events += event["count"]
            continue
        _add_up(known, event, 1)
        _add_counts(known["sources"], event["sources"])
        _add_counts(known["reasons"], event["reasons"], _MAX_REASONS)
        for path, told in event["properties"].items():
            _add_property(total, known, path, told, 1)


def _add_entry(into: Catalogue, entry: Json, count: int, share: float) -> None:
    known = _event(into, entry["event"], entry["first"])
    if known is None:
        into.more_events += count
        return
    _add_up(known, {**entry, "count": count}, 1)
    _add_counts(known["sources"], {entry["source"]: count})
    _add_counts(known["reasons"], {reason: round(many * share) for reason, many in entry["reasons"].items()})
    for path, told in entry["properties"].items():
        seen = {**told, "first": entry["first"], "last": entry["last"], "sources": {entry["source"]: told["count"]}}
        _add_property(into, known, path, seen, share)


def _event(into: Catalogue, name: str, at: int) -> Json | None:
    """The event of a name, made if there is room."""
    known = into.events.get(name)
    if known is None and len(into.events) < MAX_EVENTS:
        known = into.events[name] = {
            **{"count": 0, "first": at, "last": at},
            **{"sources": dict[str, int](), "reasons": dict[str, int](), "properties": dict[str, Json]()},
        }
    return known


def _add_property(into: Catalogue, event: Json, path: str, told: Json, share: float) -> None:
    held: dict[str, Json] = event["properties"]
    known = held.get(path)
    if known is None:
        if len(held) >= MAX_PROPERTIES:
            into.more_properties += 1
            return
        known = held[path] = {
            **{"count": 0, "first": told["first"], "last": told["last"], "sources": dict[str, int]()},
            **{"types": dict[str, int](), "shapes": dict[str, int](), "values": dict[str, int]()},
        }
    _add_up(known, told, share)
    for member, most in (("sources", 0), ("types", 0), ("shapes", _MAX_SHAPES), ("values", _SHOWN_VALUES)):
        _add_counts(known[member], {key: round(many * share) for key, many in told[member].items()}, most)


def _add_up(known: Json, told: Json, share: float) -> None:
    known["count"] += round(told["count"] * share)
    known["first"], known["last"] = min(known["first"], told["first"]), max(known["last"], told["last"])


def _add_counts(known: dict[str, int], more: Mapping[str, int], most: int = 0) -> None:
    """Add counts by key; of new keys only as many as there is room for (0: all)."""
    for key, many in more.items():
        if key in known or not most or len(known) < most:
            known[key] = known.get(key, 0) + many


def _content(event: Event) -> Any:
    body = event.body
    member = "traits" if event.name in ("$identify", "$group") else "properties"
    content: object = body.get(member)
    if content is None and event.name == "$identify":
        context: object = body.get("context")
        content = cast("Json", context).get("traits") if type(context) is dict else None
    return content


def _leaves(content: Any) -> Iterable[tuple[str, str, Any]]:
    """Path, last name and value of each property; lists are looked into, a few items of each."""
    waiting: list[tuple[str, str, Any, int]] = []
    if type(content) is dict:
        waiting = [(shown_name(key), key, part, 1) for key, part in cast("Json", content).items()]
    while waiting:
        path, name, value, level = waiting.pop()
        yield path, name, value
        if level >= _MAX_LEVELS:
            continue
        if type(value) is dict:
            waiting += [
                (f"{path}.{shown_name(key)}", key, part, level + 1) for key, part in cast("Json", value).items()
            ]
        elif type(value) is list:
            waiting += [(f"{path}[]", name, part, level + 1) for part in cast("list[Any]", value)[:_MAX_ITEMS]]


def _type(value: object) -> str:
    return "null" if value is None else _TYPES.get(type(value), "string")


def _brief(known: _Property) -> Json:
    values = known.values or {}
    shared = {value: len(people) for value, people in values.items() if len(people) >= SHARED_BY}
    most = sorted(shared.items(), key=lambda held: (-held[1], held[0]))[:_SHOWN_VALUES]
    return {"count": known.count, "types": known.types, "shapes": known.shapes, "values": dict(most)}


def _hash(message_id: str) -> int:
    digest = hashlib.blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
