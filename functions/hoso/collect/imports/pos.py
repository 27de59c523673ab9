"""Receipts of tills in the layout of our own contract (connectors reference 2.10): one row per line of a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hoso.collect.imports.mapping import Mapped
from hoso.collect.imports.values import Local, email, instant, phone, yes_or_no
from hoso.model.money import Money, currency_code, parse_money
from hoso.model.person_names import clean_name
from hoso.platform.ids import content_id
from hoso.unify.amounts import micros, units

NEEDED = frozenset({"receipt_id", "store_id", "occurred_at"})
_TOLERANCE = Decimal(1)
_PLAIN = ("payment_method", "payment_ref", "staff_id", "table_or_seat", "party_ref")
_IDENTIFYING = ("phone", "email", "loyalty_id")

Json = dict[str, Any]
Line = tuple[int, Json]


class _Refused(Exception):
    def __init__(self, line: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.problem = (line, code, reason)


def receipt_of(row: Json) -> tuple[str, str] | None:
    """What the lines of one receipt have in common: store and receipt; None for a row that names neither."""
    store, receipt = _cell(row, "store_id"), _cell(row, "receipt_id")
    return (store, receipt) if store and receipt else None


def map_receipt(lines: Sequence[Line], source: str, local: Local, into: Mapped) -> None:
    """The events of one receipt, or its problems: an order, what came back, who bought, what was agreed to."""
    try:
        into.events += _events(lines, source, local)
    except _Refused as refused:
        into.problems.append(refused.problem)


def _events(lines: Sequence[Line], source: str, local: Local) -> list[Json]:
    first_line, first = lines[0]
    missing = sorted(name for name in NEEDED if not _cell(first, name))
    if missing:
        raise _Refused(first_line, "missing_value", f"{', '.join(missing)} is empty")
    store, receipt = _cell(first, "store_id"), _cell(first, "receipt_id")
    time = _read(first_line, first, "occurred_at", instant, local)
    currency = currency_code(_cell(first, "currency") or local.currency)
    if currency is None:
        raise _Refused(first_line, "bad_value", "currency is no currency")
    goods = [_product(number, row, currency) for number, row in lines]
    _check_total(lines, goods, currency)
    key = content_id(source, store, receipt, *[_cell(row, "line_no") for _, row in lines])
    person, originals = _person(lines, local)
    context: Json = {"source": {"type": "import", "connection_id": source, "external_event_id": f"{store}/{receipt}"}}
    if person["externalIds"]:
        context["externalIds"] = person["externalIds"]
    if originals:
        context["original"] = originals
    about: Json = {"timestamp": time}
    if not person["known"]:
        about["anonymousId"] = f"pos-{key}"
    shared = {"order_id": f"{store}-{receipt}", "receipt_id": receipt, "store_id": store, "currency": currency}
    shared |= {name: text for name in _PLAIN if (text := _cell(first, name))}
    events: list[Json] = []
    for name, sign in (("Order Completed", 1), ("Order Refunded", -1)):
        part = [product for product in goods if (product["quantity"] < 0) == (sign < 0)]
        if part:
            total = sum((product["amount"] for product in part), Decimal(0)) * sign
            listed = [_shown(product, sign) for product in part]
            properties = {**shared, "total": _plain(total), "revenue": _plain(total), "products": listed}
            held = {**context, "traits": person["traits"]} if person["traits"] else context
            told = {"type": "track", "event": name, "messageId": f"{'pos' if sign > 0 else 'pos-return'}-{key}"}
            events.append({**about, **told, "context": held, "properties": properties})
    return events + (
        _about_person(first_line, first, about, context, person["traits"], key, local) if person["known"] else []
    )


def _product(line: int, row: Json, currency: str) -> Json:
    quantity = Decimal(1)
    if _cell(row, "qty"):
        quantity = _money(line, row, "qty", "USD").amount  # a plain number: "1.000" pieces would be ambiguous
    price = _money(line, row, "unit_price", currency).amount if _cell(row, "unit_price") else Decimal(0)
    discount = _money(line, row, "discount", currency).amount if _cell(row, "discount") else Decimal(0)
    # a discount is told without a sign; on a line that came back it comes back too
    amount = quantity * price - (discount if quantity >= 0 else -discount)
    return {
        "sku": _cell(row, "sku"),
        "name": _cell(row, "name"),
        "quantity": quantity,
        "price": price,
        "discount": discount,
        "amount": amount,
    }


def _check_total(lines: Sequence[Line], goods: Sequence[Json], currency: str) -> None:
    """A total that is told must be the sum of the lines, within one unit."""
    told = {_cell(row, "total") for _, row in lines} - {""}
    number, row = next(((number, row) for number, row in lines if _cell(row, "total")), lines[0])
    if not told:
        return
    total = _money(number, row, "total", currency).amount
    if len({parse_money(text, currency) for text in told}) > 1:
        raise _Refused(number, "total_differs", "the lines of the receipt tell different totals")
    if abs(sum((product["amount"] for product in goods), Decimal(0)) - total) > _TOLERANCE:
        raise _Refused(number, "total_differs", "the total is not the sum of the receipt's lines")


def _person(lines: Sequence[Line], local: Local) -> tuple[Json, Json]:
    """Who bought, and values as they were written where they were changed. Anonymous receipts are fine."""
    traits: Json = {}
    originals: Json = {}
    naming = (row for _, row in lines if any(_cell(row, name) for name in _IDENTIFYING))
    row = next(naming, lines[0][1])
    for name, read in (("phone", phone), ("email", email)):
        text = _cell(row, name)
        if not text:
            continue
        try:
            traits[name] = read(text, local)
        except ValueError:
            # the receipt is good all the same; what is no number stays as it was written and identifies nobody
            originals[name] = text
            continue
        if traits[name] != text:
            originals[name] = text
    card = _cell(row, "loyalty_id")
    named = _cell(row, "customer_name")
    if named:
        traits["name"] = clean_name(named)
        if traits["name"] != named:
            originals["name"] = named
    known = bool(card) or not traits.keys().isdisjoint(("phone", "email"))
    cards = [{"type": "loyalty_id", "id": card}] if card else []
    return {"traits": traits, "externalIds": cards, "known": known}, originals


def _about_person(line: int, row: Json, about: Json, context: Json, traits: Json, key: str, local: Local) -> list[Json]:
    """An identify call with the name, and what was agreed to: never inferred from a blank."""
    events: list[Json] = []
    if traits:
        events.append(
            {**about, "type": "identify", "messageId": f"pos-who-{key}", "context": context, "traits": traits}
        )
    said = _cell(row, "consent_marketing")
    if not said:
        return events
    state = "granted" if _read(line, row, "consent_marketing", yes_or_no, local) else "denied"
    agreed: Json = {"purpose": "marketing", "state": state}
    if _cell(row, "consent_text_id"):
        agreed["textVersion"] = _cell(row, "consent_text_id")
    if _cell(row, "consent_at"):
        about = {**about, "timestamp": _read(line, row, "consent_at", instant, local)}
    held = {**context, "traits": traits} if traits else context
    told = {"type": "track", "event": "Consent Updated", "messageId": f"pos-consent-{key}"}
    return [*events, {**about, **told, "context": held, "properties": agreed}]


def _shown(product: Json, sign: int) -> Json:
    made: Json = {name: product[name] for name in ("sku", "name") if product[name]}
    if "sku" in made:
        made["product_id"] = made["sku"]
    made |= {"quantity": _plain(product["quantity"] * sign), "price": _plain(product["price"])}
    return {**made, "discount": _plain(product["discount"])} if product["discount"] else made


def _plain(amount: Decimal) -> int | float:
    exact = micros(f"{amount:f}")
    return units(exact) if exact is not None else float(amount)


def _money(line: int, row: Json, name: str, currency: str) -> Money:
    found = parse_money(row.get(name), currency)
    if found is None:
        raise _Refused(line, "bad_value", f"{name} is no clear amount")
    return found


def _read(line: int, row: Json, name: str, read: Any, local: Local) -> Any:
    try:
        return read(_cell(row, name), local)
    except ValueError as error:
        raise _Refused(line, "bad_value", f"{name} {error}") from error


def _cell(row: Json, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value).strip()
