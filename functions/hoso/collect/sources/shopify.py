"""Orders and customers of a shop that signs as Shopify does; Haravan and others do too (connectors, 2.9)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hoso.collect.sources.calls import consent, identify, person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json, Settings
from hoso.collect.sources.reading import given, instant, json_object, member, number, objects, text_of
from hoso.collect.sources.signatures import check, hmac_base64
from hoso.model.errors import InvalidInput

CREATED, PAID = "orders/create", "orders/paid"
_NAMES = {
    "orders/cancelled": "Order Cancelled",
    "orders/updated": "Order Updated",
    "orders/edited": "Order Updated",
    "orders/fulfilled": "Order Fulfilled",
    "orders/partially_fulfilled": "Order Partially Fulfilled",
    "orders/delete": "Order Deleted",
    "refunds/create": "Order Refunded",
    "checkouts/create": "Checkout Started",
    "checkouts/update": "Checkout Updated",
    "carts/create": "Cart Created",
    "carts/update": "Cart Updated",
    "customers/delete": "Customer Deleted",
    "customers/data_request": "Access Requested",
    "customers/redact": "Erasure Requested",
    "shop/redact": "Shop Erasure Requested",
}
_PEOPLE = frozenset({"customers/create", "customers/update", "customers/enable", "customers/disable"})
_TIMES = {
    CREATED: "created_at",
    "checkouts/create": "created_at",
    "refunds/create": "created_at",
    "orders/cancelled": "cancelled_at",
}


class ShopifySettings(Settings):
    """``header_prefix`` is that of the sender's headers. ``completed_by`` is the topic that makes an order count: with
    payment on delivery it is ``orders/create``. ``topic`` is that of a delivery that names none.
    """

    header_prefix: str = Field(default="x-shopify", pattern=r"^x-[a-z0-9-]{1,40}$")
    completed_by: Literal["orders/create", "orders/paid"] = CREATED
    topic: str = Field(default=CREATED, pattern=r"^[a-z_]{1,40}/[a-z_]{1,40}$")


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless the signature fits."""
    claimed = _header(delivery, "hmac-sha256")
    check(delivery, claimed, lambda secret: hmac_base64(secret, delivery.body))


def facts(delivery: Delivery) -> list[Fact]:
    """What a topic tells of an order or a customer."""
    told, settings = json_object(delivery.body), delivery.source.settings
    topic = _header(delivery, "topic").lower() or settings.get("topic", CREATED)
    subject = text_of(told.get("id")) or text_of(told.get("token")) or text_of(told.get("shop_id"))
    if not subject:
        raise InvalidInput("the body has no id", code="missing_field")
    changed = text_of(told.get("updated_at")) or text_of(told.get("created_at"))
    key = _header(delivery, "webhook-id") or f"{topic}|{subject}|{changed}"
    at = instant(told.get(_TIMES.get(topic, "updated_at"))) or instant(changed)
    customer = told if topic in _PEOPLE or topic == "customers/delete" else told.get("customer")
    traits = _traits(customer, told)
    who = person(traits=_identifying(traits), ids=[("customer_id", text_of(member(customer, "id")))])
    found: list[Fact] = []
    if traits and not topic.endswith(("redact", "data_request", "delete")):
        found.append(Fact(identify(traits, who), f"{key}|identify", key, at))
    agreed = member(customer, "email_marketing_consent", "state")
    if topic in _PEOPLE and agreed in ("subscribed", "unsubscribed"):
        state = "granted" if agreed == "subscribed" else "denied"
        found.append(Fact(consent("email", state, who, method="shop"), f"{key}|consent", key, at))
    if topic not in _PEOPLE:
        found.append(Fact(track(_name(topic, settings), _properties(topic, told, delivery), who), key, key, at))
    return found


def _name(topic: str, settings: object) -> str:
    completed_by: str = member(settings, "completed_by") or CREATED
    if topic == completed_by:
        return "Order Completed"
    if topic in (CREATED, PAID):
        return "Order Placed" if topic == CREATED else "Order Paid"
    return _NAMES.get(topic, f"Shop {topic[:80]}")


def _properties(topic: str, told: Json, delivery: Delivery) -> Json:
    order = text_of(told.get("order_id")) or text_of(told.get("id"))
    refunded = [number(entry.get("amount")) for entry in objects(told.get("transactions"))]
    known = [amount for amount in refunded if amount is not None]
    total = sum(known) if topic == "refunds/create" and known else number(told.get("total_price"))
    first = objects(told.get("transactions"))[:1]
    return given(
        order_id=order if topic.startswith(("orders/", "refunds/")) else None,
        checkout_id=text_of(told.get("token")) or order if topic.startswith("checkouts/") else None,
        order_number=text_of(told.get("order_number")) or text_of(told.get("name")),
        total=total,
        revenue=number(told.get("subtotal_price")) if "subtotal_price" in told else total,
        tax=number(told.get("total_tax")),
        discount=number(told.get("total_discounts")),
        shipping=number(member(told, "total_shipping_price_set", "shop_money", "amount")),
        currency=(text_of(told.get("currency")) or text_of(member(first[0] if first else None, "currency"))).upper(),
        products=[_product(line) for line in objects(told.get("line_items"))] or None,
        reason=text_of(told.get("cancel_reason")),
        financial_status=text_of(told.get("financial_status")),
        shop=_header(delivery, "shop-domain") or text_of(told.get("shop_domain")),
        landing_page=text_of(told.get("landing_site"))[:500],
        coupon=", ".join(text_of(code.get("code")) for code in objects(told.get("discount_codes"))[:5]),
    )


def _product(line: Json) -> Json:
    return given(
        product_id=text_of(line.get("product_id")),
        variant_id=text_of(line.get("variant_id")),
        sku=text_of(line.get("sku")),
        name=text_of(line.get("title")) or text_of(line.get("name")),
        quantity=number(line.get("quantity")),
        price=number(line.get("price")),
    )


def _traits(customer: object, told: Json) -> Json:
    address = member(customer, "default_address")
    return given(
        email=text_of(member(customer, "email")) or text_of(told.get("email")) or text_of(told.get("contact_email")),
        phone=text_of(member(customer, "phone")) or text_of(told.get("phone")) or text_of(member(address, "phone")),
        firstName=text_of(member(customer, "first_name")),
        lastName=text_of(member(customer, "last_name")),
        city=text_of(member(address, "city")),
        country=text_of(member(address, "country_code")),
    )


def _identifying(traits: Json) -> Json:
    return {name: traits[name] for name in ("email", "phone") if name in traits}


def _header(delivery: Delivery, name: str) -> str:
    prefix: str = delivery.source.settings.get("header_prefix", "x-shopify")
    return delivery.headers.get(f"{prefix}-{name}", "").strip()


SOURCES = (HookKind(name="shopify", verify=verify, facts=facts, settings=ShopifySettings),)
