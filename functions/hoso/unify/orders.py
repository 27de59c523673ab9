"""Orders of one fragment, each counted once however often and by however many sources it is told.

An order is what the last "Order Completed" for its ``order_id`` said; one that names none is an order by its message.
Refunds are kept by message id, a cancellation once. The oldest orders of a very busy buyer are summed up into a base,
so that the item stays small; what is told about an order from before that edge is counted as overflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, cast

from hoso.model.record import Event
from hoso.unify.amounts import LARGEST, micros, units

MAX_ORDERS = 500
MAX_REFUNDS = 1_000
"""Refunds of all kept orders together."""
_MAX_REFUNDS = 20
_MAX_ID = 128
_NAMELESS = "\x1f"
"""Before the message id of an order without an id: no order's own id begins so."""
_MAX_MESSAGE_ID = 80
COMPLETED = frozenset({"Order Completed", "Completed Order"})
_REFUNDED = frozenset({"Order Refunded", "Refunded Order"})
_CANCELLED = frozenset({"Order Cancelled", "Cancelled Order", "Order Canceled", "Canceled Order"})
EVENTS = COMPLETED | _REFUNDED | _CANCELLED
"""Track events about orders: the e-commerce specification's names, and the swapped ones of its version 1."""

Json = dict[str, Any]


@dataclass(slots=True)
class Order:
    """What is known of one order; amounts are millionths.

    ``told``: (timestamp, message id) of the winning "Order Completed", None while only a refund or a cancellation is
    known. ``refunds``: message id → amount, None for a refund of the whole order.
    """

    told: tuple[int, str] | None = None
    revenue: int = 0
    total: int = 0
    items: int = 0
    currency: str = ""
    refunds: dict[str, int | None] = field(default_factory=dict[str, int | None])
    cancelled: bool = False
    last: int = 0

    def wire(self) -> list[Any]:
        """The order as a short JSON list."""
        return [
            self.told,
            self.revenue,
            self.total,
            self.items,
            self.currency,
            self.refunds,
            self.cancelled,
            self.last,
        ]

    @classmethod
    def of_wire(cls, wire: list[Any]) -> Order:
        """The order in such a list."""
        told, *rest = wire
        return cls(None if told is None else (told[0], told[1]), *rest)

    @property
    def refunded(self) -> int:
        """What went back, at most once the whole."""
        if None in self.refunds.values():
            return self.total
        return sum(amount for amount in self.refunds.values() if amount is not None)


Orders = dict[str, Order]


@dataclass(slots=True)
class Base:
    """Sums over orders that are no longer kept one by one; ``edge`` is the time of the newest of them."""

    orders: int = 0
    revenue: int = 0
    total: int = 0
    items: int = 0
    refunded: int = 0
    cancelled: int = 0
    edge: int = 0

    def add(self, order: Order) -> None:
        """Count one order."""
        if order.told is not None:
            self.orders += 1
            self.revenue += order.revenue
            self.total += order.total
            self.items += order.items
        self.refunded += order.refunded
        self.cancelled += order.cancelled
        self.edge = max(self.edge, order.last)

    def wire(self) -> list[int]:
        """The sums as a JSON list, within what JSON readers hold (64 bits)."""
        sums = (self.orders, self.revenue, self.total, self.items, self.refunded, self.cancelled, self.edge)
        return [max(-LARGEST, min(LARGEST, number)) for number in sums]


def order_id_of(properties: Mapping[str, Any]) -> str | None:
    """The order that an event is about; None: it names none, or not in a form that can be an id.

    ``orderId`` is what the published SDKs for Go and the older ones for telephones write by their own setters.

    >>> order_id_of({"order_id": 17}), order_id_of({"orderId": "a-1"}), order_id_of({"order_id": ""})
    ('17', 'a-1', None)
    """
    for name in ("order_id", "orderId"):
        found = properties.get(name)
        if type(found) is int:
            found = str(found)
        if isinstance(found, str) and 0 < len(found) <= _MAX_ID:
            return found
    return None


def put(orders: Orders, base: Base, overflow: Json, event: Event) -> bool:
    """Fold one event about an order in, in place. Answers whether anything changed."""
    properties = event.body.get("properties")
    if event.name not in EVENTS or not isinstance(properties, dict):
        return False
    given = cast("Json", properties)
    order_id = order_id_of(given)
    if order_id is None:
        if event.name not in COMPLETED:
            return False  # nothing says which order
        order_id = _NAMELESS + _short(event.message_id)
    if order_id not in orders and event.ts <= base.edge:
        overflow["orders"] = overflow.get("orders", 0) + 1
        return True
    order = orders.setdefault(order_id, Order())
    before = order.wire()
    order.last = max(order.last, event.ts)
    if event.name in COMPLETED:
        _complete(order, event, given)
    elif event.name in _CANCELLED:
        order.cancelled = True
    elif (refund := _short(event.message_id)) in order.refunds or len(order.refunds) < _MAX_REFUNDS:
        named = [micros(given.get(name)) for name in ("total", "revenue")]
        amount = next((amount for amount in named if amount is not None), None)
        order.refunds = {**order.refunds, refund: amount}
    return order.wire() != before


def trim(orders: Orders, base: Base) -> None:
    """Sum up the oldest orders when there are too many, or too many refunds of them, in place."""
    refunds = sum(len(order.refunds) for order in orders.values())
    if len(orders) <= MAX_ORDERS and refunds <= MAX_REFUNDS:
        return
    for order_id in sorted(orders, key=lambda found: (orders[found].last, found)):
        if len(orders) <= MAX_ORDERS - MAX_ORDERS // 10 and refunds <= MAX_REFUNDS:
            return
        refunds -= len(orders[order_id].refunds)
        base.add(orders.pop(order_id))


def unite(parts: Iterable[Orders]) -> Orders:
    """The orders of several fragments, each once: the same order may be told under two identifiers."""
    united: Orders = {}
    for part in parts:
        for order_id, order in part.items():
            held = united.get(order_id)
            united[order_id] = order if held is None else _join(held, order)
    return united


def totals(orders: Orders, bases: Iterable[Base]) -> Json:
    """Sums in whole units: ``orders revenue total items refunded cancelled`` and the same money by currency."""
    sums = Base()
    currencies: dict[str, list[int]] = {}
    for order in orders.values():
        sums.add(order)
        money = currencies.setdefault(order.currency, [0, 0, 0])
        money[0] += order.revenue
        money[1] += order.total
        money[2] += order.refunded
    for base in bases:
        sums.orders += base.orders
        sums.revenue += base.revenue
        sums.total += base.total
        sums.items += base.items
        sums.refunded += base.refunded
        sums.cancelled += base.cancelled
    return {
        "orders": sums.orders,
        "revenue": units(sums.revenue),
        "total": units(sums.total),
        "items": units(sums.items),
        "refunded": units(sums.refunded),
        "cancelled": sums.cancelled,
        "currencies": {
            currency: {"revenue": units(revenue), "total": units(total), "refunded": units(refunded)}
            for currency, (revenue, total, refunded) in sorted(currencies.items())
            if currency
        },
    }


def _short(message_id: str) -> str:
    """The message id, or what stands for one that is longer than any client makes: a thousand of those must fit."""
    if len(message_id) <= _MAX_MESSAGE_ID:
        return message_id
    digest = blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return message_id[: _MAX_MESSAGE_ID - len(digest)] + digest


def _complete(order: Order, event: Event, given: Json) -> None:
    told = (event.ts, _short(event.message_id))
    if order.told is not None and order.told >= told:
        return
    currency = given.get("currency")
    order.told = told
    order.revenue = micros(given.get("revenue")) or 0
    order.total = micros(given.get("total")) or 0
    order.items = _items(given.get("products"))
    order.currency = currency.upper() if isinstance(currency, str) and len(currency) <= 8 else ""


def _items(products: object) -> int:
    """Pieces in the order: the sum of the products' quantities; a product without a quantity is one piece."""
    if not isinstance(products, list):
        return 0
    pieces = 0
    for product in cast("list[object]", products):
        if isinstance(product, dict):
            quantity = micros(cast("Json", product).get("quantity", 1))
            pieces += quantity if quantity is not None else 0
    return max(-LARGEST, min(LARGEST, pieces))


def _join(one: Order, other: Order) -> Order:
    first, second = (one, other) if (one.told or (0, "")) >= (other.told or (0, "")) else (other, one)
    return Order(
        first.told,
        first.revenue,
        first.total,
        first.items,
        first.currency,
        {**second.refunds, **first.refunds},
        one.cancelled or other.cancelled,
        max(one.last, other.last),
    )
