"""Price drops: from a product's new price to the people it concerns (pure).

A lower price is an outbox row of the same transaction as the product's document; per activation and person in the
audience who had the matching event, one ``activation.requested`` row follows, with what the message says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import orjson

from hoso.activate.documents import PRICE_CHANGED, REQUESTED, Activation, Match, PriceTrigger, Product, duration_ms
from hoso.activate.money import amount, plain
from hoso.model.record import Event
from hoso.model.time import DAY_MS, SECOND_MS
from hoso.platform.dynamo import Item
from hoso.platform.ids import content_id
from hoso.segment.values import getter

_OUTBOX_TTL_MS = 7 * DAY_MS
MOST_EVENTS = 5_000
"""Events of one person that are looked through."""
_TOLD = 20
_TEXT = 500


def drop_percent(old: Decimal, new: Decimal) -> Decimal:
    """By how much the price fell, in percent of the old one; 0 when it did not.

    >>> drop_percent(Decimal(500000), Decimal(450000))
    Decimal('10.0000')
    """
    if new >= old:
        return Decimal(0)
    return ((old - new) * 100 / old).quantize(Decimal("0.0001"))


def price_changed(
    workspace: str, key: str, revision: int, old: Product | None, new: Product, now: int
) -> dict[str, Any] | None:
    """The event of a price that fell, None when it did not, or when the currency changed."""
    if old is None or old.currency != new.currency or new.price >= old.price:
        return None
    return {
        "version": 1,
        "event_id": content_id(workspace, PRICE_CHANGED, key, str(revision)),
        "workspace": workspace,
        "type": PRICE_CHANGED,
        "at": now,
        "product": key,
        "name": new.name,
        "currency": new.currency,
        "old": plain(old.price),
        "new": plain(new.price),
        "drop_percent": float(drop_percent(old.price, new.price)),
    }


def concerned(activations: Mapping[str, Activation], detail: Mapping[str, Any]) -> dict[str, Activation]:
    """The activations that a price drop of this size triggers."""
    return {
        key: activation
        for key, activation in activations.items()
        if activation.enabled
        and isinstance(activation.trigger, PriceTrigger)
        and detail["drop_percent"] >= activation.trigger.drop_percent
    }


def had_event(events: Iterable[Event], match: Match, product: str, now: int) -> bool:
    """Whether these events (newest first) hold the matching one for this product."""
    since, read = now - duration_ms(match.within), getter(match.path)
    for number, event in enumerate(events):
        if event.ts < since or number == MOST_EVENTS:
            return False
        if event.name == match.event and event.ts <= now and _is(read(event.body), product):
            return True
    return False


def requested(detail: Mapping[str, Any], key: str, pid: str, product: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The event that asks to tell one person of the price; the same at every repetition but for its time."""
    currency = detail["currency"]
    return {
        "version": 1,
        "event_id": content_id(detail["workspace"], REQUESTED, key, detail["event_id"], pid),
        "workspace": detail["workspace"],
        "type": REQUESTED,
        "at": now,
        "profile_id": pid,
        "activation": key,
        "cause": detail["event_id"],
        "personalisation": {
            "product": {
                **_told(product),
                "key": detail["product"],
                "name": detail["name"],
                "price": {"amount": detail["new"], "currency": currency},
                "old_price": {"amount": detail["old"], "currency": currency},
                "drop_percent": detail["drop_percent"],
            }
        },
    }


def outbox_row(detail: Mapping[str, Any]) -> Item:
    """The outbox row of an event about a person or a product."""
    subject = detail.get("profile_id") or f"product:{detail['product']}"
    return {
        "pk": f"{detail['workspace']}#{subject}",
        "sk": detail["event_id"],
        "type": detail["type"],
        "detail": orjson.dumps(detail).decode(),
        "at": detail["at"],
        "ttl": (detail["at"] + _OUTBOX_TTL_MS) // SECOND_MS,
    }


def _is(value: Any, product: str) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and str(value) == product


def _told(product: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the product's document that a template may use: short texts, numbers and switches."""
    fields = [(name, value) for name, value in product.items() if isinstance(value, (str, int, float))]
    return {name: value[:_TEXT] if isinstance(value, str) else value for name, value in fields[:_TOLD]}


def stored_form(product: Product) -> dict[str, Any]:
    """The document of a product: the price as a JSON number."""
    found = amount(product.price)
    return {**product.model_dump(mode="json"), "price": plain(found if found is not None else product.price)}
