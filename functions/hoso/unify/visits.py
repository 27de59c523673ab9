"""Visits of one fragment: the newest orders and arrivals, each with place, seat, items and party (pure).

They are what habits (weekday, hour, shop, item, seat) and relations (who shares the bill) are computed from, at read.
Of each order the last telling counts; of arrivals in one shop the first of each hour, so that a door that reports every
half minute changes nothing. The 64 newest orders and the 16 newest arrivals are kept, apart: neither drives the other
out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from hoso.model.record import Event
from hoso.model.time import HOUR_MS
from hoso.unify import orders

MAX_VISITS = 64
MAX_ARRIVALS = 16
_MAX_ITEMS = 5
_MAX_TEXT = 60
ARRIVALS = frozenset({"Store Visited", "Store Entered", "Checked In", "Presence Detected"})
"""Track events that say that somebody came, without an order."""
EVENTS = orders.COMPLETED | ARRIVALS

Json = dict[str, Any]


class Visit(NamedTuple):
    """One order or arrival. ``bill`` names the party that shares a bill, ``card`` a second card shown with it; both
    are names within ``store``. Empty text: not told."""

    ts: int
    message_id: str
    store: str
    items: list[str]
    seat: str
    bill: str
    card: str
    arrival: bool

    @property
    def order(self) -> tuple[int, str]:
        """What decides between two tellings."""
        return self.ts, self.message_id


Visits = dict[str, Visit]
"""Order id (``o:…``), message id of an order without one (``m:…``) or shop and hour of an arrival (``a:…``) → visit."""


def put(visits: Visits, event: Event) -> bool:
    """Fold one event in, in place. Answers whether anything changed."""
    if event.name not in EVENTS:
        return False
    properties = event.body.get("properties")
    given = cast("Json", properties) if isinstance(properties, dict) else {}
    arrival = event.name in ARRIVALS
    fresh = Visit(
        event.ts,
        event.message_id[:_MAX_TEXT],
        _first(given, "store_id", "storeId", "store"),
        [] if arrival else _items(given.get("products")),
        _first(given, "table_or_seat", "seat", "table"),
        _first(given, "party_ref", "partyRef"),
        _first(given, "paired_card", "pairedCard"),
        arrival,
    )
    key = _key(fresh, orders.order_id_of(given))
    held = visits.get(key)
    if held is not None and (held.order <= fresh.order if arrival else held.order >= fresh.order):
        return False
    visits[key] = fresh
    like = [name for name, visit in visits.items() if visit.arrival == arrival]
    if len(like) > (MAX_ARRIVALS if arrival else MAX_VISITS):
        oldest = min(like, key=lambda name: (_rank(visits[name]), name))
        del visits[oldest]
        return oldest != key
    return True


def _key(visit: Visit, order_id: str | None) -> str:
    if visit.arrival:
        return f"a:{visit.ts // HOUR_MS}:{visit.store}"
    if order_id is not None:
        return f"o:{order_id[:_MAX_TEXT]}"
    return f"m:{visit.message_id}"


def _rank(visit: Visit) -> tuple[int, str]:
    """By what the newest are chosen. Of arrivals only the hour counts: it is the same for all that fall under a key."""
    return (visit.ts // HOUR_MS, "") if visit.arrival else visit.order


def unite(parts: Iterable[Visits]) -> list[Visit]:
    """The visits of several fragments, each once, oldest first."""
    united: Visits = {}
    for part in parts:
        for key, visit in part.items():
            held = united.get(key)
            if held is None or (held.order > visit.order if visit.arrival else held.order < visit.order):
                united[key] = visit
    return sorted(united.values(), key=lambda visit: visit.order)


def _items(products: object) -> list[str]:
    """Names of what was bought, each once: the name, else the article's number."""
    found: dict[str, None] = {}
    for product in cast("list[Any]", products) if isinstance(products, list) else ():
        if isinstance(product, dict):
            name = _first(cast("Json", product), "name", "sku", "product_id")
            if name:
                found[name] = None
        if len(found) == _MAX_ITEMS:
            break
    return list(found)


def _first(given: Json, *names: str) -> str:
    for name in names:
        value = given.get(name)
        if type(value) is int:
            return str(value)
        if isinstance(value, str) and value.strip():
            return value.strip()[:_MAX_TEXT]
    return ""
