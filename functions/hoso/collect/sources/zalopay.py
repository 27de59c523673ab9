"""ZaloPay's callback after a payment: ``data`` is JSON text, signed as text with key2 (connectors, 2.2)."""

from __future__ import annotations

from typing import Literal

from hoso.collect.sources.calls import person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json, Reply, Seen, Settings, Unverified, reply
from hoso.collect.sources.reading import as_object, given, instant, json_object, json_value, number, text_of
from hoso.collect.sources.signatures import check, hmac_hex
from hoso.model.errors import HosoError, InvalidInput

ORDER = 1


class ZaloPaySettings(Settings):
    """``duplicate_code``: what a repetition is answered with. ``app_user``: of what type the shop's ``app_user`` is."""

    duplicate_code: Literal[1, 2] = 1
    app_user: Literal["", "user_id", "phone", "email", "customer_id"] = ""


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless ``mac`` is that of ``data`` as it came."""
    outer = json_object(delivery.body)
    signed, mac = outer.get("data"), outer.get("mac")
    if type(signed) is not str or type(mac) is not str:
        raise Unverified("data and mac must be text", code="missing_signature")
    check(delivery, mac.strip().lower(), lambda secret: hmac_hex(secret, signed.encode("utf-8", "surrogatepass")))


def facts(delivery: Delivery) -> list[Fact]:
    """A payment that succeeded, for a callback means paid; or an agreement (type 2)."""
    outer, told = json_object(delivery.body), _data(delivery)
    reference, amount = text_of(told.get("app_trans_id")), number(told.get("amount"))
    if not reference or amount is None:
        raise InvalidInput("app_trans_id or amount is missing", code="missing_field")
    embedded = _embedded(told.get("embed_data"))
    payer, app = text_of(told.get("merchant_user_id")), text_of(told.get("app_id"))
    ids = [("payment_customer_id", f"zalopay:{app}:{payer}" if payer else ""), ("order_ref", reference)]
    user, app_user = text_of(embedded.get("userId")), text_of(told.get("app_user"))
    kind: str = delivery.source.settings.get("app_user", "")
    if kind == "user_id":
        user = user or app_user
    elif kind:
        ids.append((kind, app_user))
    who = person(
        user_id=user,
        anonymous_id=text_of(embedded.get("anonymousId")),
        traits={"email": text_of(embedded.get("email")), "phone": text_of(embedded.get("phone"))},
        ids=ids,
    )
    properties: Json = given(
        order_id=reference,
        amount=amount,
        currency="VND",
        revenue=amount,
        method="zalopay",
        payment_ref=text_of(told.get("zp_trans_id")),
        discount=number(told.get("discount_amount")),
        fee=number(told.get("user_fee_amount")),
        channel=text_of(told.get("channel")),
    )
    event = "Payment Succeeded" if outer.get("type", ORDER) == ORDER else "Payment Agreement Confirmed"
    at = instant(told.get("server_time")) or instant(told.get("app_time"))
    return [Fact(track(event, properties, who, record=("zalopay", told)), _key(told), text_of(told["zp_trans_id"]), at)]


def seen(delivery: Delivery) -> Seen:
    """The transaction."""
    told = _data(delivery)
    return Seen(_key(told), text_of(told.get("amount")))


def stored(delivery: Delivery, duplicate: bool) -> Reply:
    """``1``, or what the settings say for a repetition: neither is sent again."""
    code: int = delivery.source.settings.get("duplicate_code", 1) if duplicate else 1
    return _answer(code, "success" if code == 1 else "duplicate")


def refused(_delivery: Delivery, error: HosoError, _status: int) -> Reply:
    """``-1`` for a wrong or missing mac, which is not sent again; ``0`` for all else, which is."""
    if isinstance(error, Unverified):
        return _answer(-1, "mac not equal")
    return _answer(0, error.code)


def _answer(code: int, message: str) -> Reply:
    return reply(200, {"return_code": code, "return_message": message})


def _data(delivery: Delivery) -> Json:
    return as_object(json_value(str(json_object(delivery.body).get("data")).encode("utf-8", "surrogatepass")))


def _key(told: Json) -> str:
    transaction = text_of(told.get("zp_trans_id"))
    if not transaction:
        raise InvalidInput("zp_trans_id is missing", code="missing_field")
    return f"{text_of(told.get('app_id'))}|{transaction}"


def _embedded(value: object) -> Json:
    """What the shop put into the order: JSON text. What cannot be read is no fault of the payment."""
    try:
        return as_object(json_value(value.encode())) if type(value) is str and value else {}
    except (InvalidInput, UnicodeEncodeError):
        return {}


SOURCES = (
    HookKind(
        name="zalopay",
        verify=verify,
        facts=facts,
        seen=seen,
        stored=stored,
        refused=refused,
        settings=ZaloPaySettings,
    ),
)
