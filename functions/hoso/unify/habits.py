"""Habits: what a person usually does, out of the visits that the fragments keep (pure).

An order and an arrival in the same shop within an hour are one *stay*. A habit is a value with its *share* of the stays
that tell something of the kind, its *support* (how many do) and *of* (out of how many). It is called usual from three
stays and three tenths on. Ties: the earlier weekday, else the first by code point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hoso.model.time import HOUR_MS, format_instant
from hoso.unify.visits import MAX_VISITS, Visit

HOME_ZONE = "Asia/Ho_Chi_Minh"
LEAST_SUPPORT = 3
LEAST_SHARE = 0.3
AROUND_MIN = 90
"""How far from a time of day stays count for the habit of that time, both ways."""
_TOGETHER_MS = HOUR_MS
_PEAK_MIN = 45
_DAY_MIN = 1_440
_QUARTER = 15
_SHOWN = 3
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Json = dict[str, Any]


@dataclass(slots=True)
class Stay:
    """One stay: when it began (UTC ms; local minute of the day and weekday), where, on which seat, with which items."""

    ts: int
    minute: int
    weekday: int
    store: str
    seat: str = ""
    items: list[str] = field(default_factory=list[str])


def zone_of(name: object) -> ZoneInfo:
    """The zone that a ``timezone`` trait names, else the home zone."""
    try:
        return ZoneInfo(name) if isinstance(name, str) and name else ZoneInfo(HOME_ZONE)
    except (ValueError, OSError, KeyError):
        return ZoneInfo(HOME_ZONE)


def stays(visits: Iterable[Visit], zone: ZoneInfo) -> list[Stay]:
    """Visits, oldest first, as stays."""
    found: list[Stay] = []
    last_ms = 0
    for visit in visits:
        stay = found[-1] if found else None
        if stay is None or visit.ts - last_ms > _TOGETHER_MS or (visit.store or stay.store) != stay.store:
            local = datetime.fromtimestamp(visit.ts / 1_000, zone)
            stay = Stay(visit.ts, local.hour * 60 + local.minute, local.weekday(), visit.store)
            found.append(stay)
        last_ms = visit.ts
        stay.seat = visit.seat or stay.seat
        stay.items += [item for item in visit.items if item not in stay.items]
    return found


def habits(visits: Sequence[Visit], zone: ZoneInfo) -> Json:
    """All habits: ``usual`` (weekday, time, store, item, seat: the strongest of each, None where there is none) and
    the strongest three of each kind."""
    found = stays(visits, zone)
    kinds: dict[str, list[Json]] = {
        "weekday": [
            {**entry, "value": WEEKDAYS[entry["value"]]} for entry in _ranked([[stay.weekday] for stay in found])
        ],
        "time": _peak(found),
        "store": _ranked([[stay.store] for stay in found if stay.store]),
        "item": _ranked([stay.items for stay in found if stay.items]),
        "seat": _ranked([[stay.seat] for stay in found if stay.seat]),
    }
    return {
        "usual": {kind: usual(entries) for kind, entries in kinds.items()},
        **{kind: entries[:_SHOWN] for kind, entries in kinds.items()},
        "stays": len(found),
        "since": format_instant(found[0].ts) if found else None,
        "most_visits": MAX_VISITS,
        "timezone": zone.key,
        "freshness": "live",
    }


def at_time(found: Sequence[Stay], minute: int, store: str = "") -> Json:
    """What is usual around a time of day (and in a shop): item, seat, time; None each where nothing is."""
    near = [
        stay
        for stay in found
        if _apart(stay.minute, minute) <= AROUND_MIN and (not store or not stay.store or stay.store == store)
    ]
    return {
        "item": usual(_ranked([stay.items for stay in near if stay.items])),
        "seat": usual(_ranked([[stay.seat] for stay in near if stay.seat])),
        "time": usual(_peak(near)),
    }


def usual(entries: Sequence[Json]) -> Json | None:
    """The first entry if it is strong enough to be called usual."""
    if not entries or entries[0]["support"] < LEAST_SUPPORT or entries[0]["share"] < LEAST_SHARE:
        return None
    return entries[0]


def _ranked(told: Sequence[Sequence[Any]]) -> list[Json]:
    """The values by how many stays have them."""
    counts: Counter[Hashable] = Counter(value for values in told for value in set(values))
    order = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))  # pyright: ignore[reportArgumentType, reportUnknownLambdaType, reportUnknownVariableType]
    return [_figure(value, support, len(told)) for value, support in order]


def _peak(found: Sequence[Stay]) -> list[Json]:
    """The time of day around which most stays began, to the quarter of an hour: ``08:15``."""
    if not found:
        return []
    minutes = sorted(stay.minute for stay in found)
    counts = {minute: sum(_apart(minute, other) <= _PEAK_MIN for other in minutes) for minute in set(minutes)}
    top = max(counts.values())
    best = [minute for minute, count in counts.items() if count == top]
    near = {minute: [other for other in minutes if _apart(minute, other) <= _PEAK_MIN] for minute in best}
    middle = min(best, key=lambda minute: (sum(_apart(minute, other) for other in near[minute]), minute))
    rounded = (middle + _QUARTER // 2) // _QUARTER * _QUARTER % _DAY_MIN
    return [_figure(f"{rounded // 60:02d}:{rounded % 60:02d}", top, len(minutes))]


def _figure(value: object, support: int, of: int) -> Json:
    return {"value": value, "share": round(support / of, 3), "support": support, "of": of}


def _apart(one: int, other: int) -> int:
    """Minutes between two times of day, the shorter way round."""
    apart = abs(one - other)
    return min(apart, _DAY_MIN - apart)
