"""VNPay's IPN: a GET (or a forwarded form) with signed ``vnp_`` fields (connectors, 2.1; version 2.1.0).

Hoso listens and stores; whether the order exists is the shop's business, so ``01`` is never answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote_plus

from hoso.collect.sources.calls import person, track
from hoso.collect.sources.contract import (
    Contradicted,
    Delivery,
    Fact,
    HookKind,
    Json,
    Reply,
    Seen,
    Unverified,
    reply,
)
from hoso.collect.sources.reading import HOME_ZONE, given, instant
from hoso.collect.sources.signatures import check, hmac_hex
from hoso.model.errors import HosoError, InvalidInput

HASH_FIELDS = frozenset({"vnp_SecureHash", "vnp_SecureHashType"})
PAID = "00"
_CENTS = 100
"""VNPay says amounts in hundredths, though the dong has no minor unit (ISO 4217)."""

OUTCOMES = {
    "00": "success",
    "07": "suspected_fraud",
    "09": "no_internet_banking",
    "10": "authentication_failed",
    "11": "timed_out",
    "12": "card_locked",
    "13": "wrong_otp",
    "24": "cancelled_by_customer",
    "51": "insufficient_funds",
    "65": "daily_limit",
    "75": "bank_maintenance",
    "79": "wrong_payment_password",
    "99": "other",
}
STATES = {
    "00": "paid",
    "01": "incomplete",
    "02": "error",
    "04": "reversed",
    "07": "suspected_fraud",
    "09": "refund_rejected",
}


def signed_strings(query: str) -> Iterator[str]:
    """What may have been signed: the pairs as they came, then as encoders write them that differ in ``*`` and ``~``."""
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair.startswith("vnp_")]
    kept = sorted(
        ((name, value) for name, value in pairs if unquote_plus(name) not in HASH_FIELDS and value),
        key=lambda pair: pair[0].encode(),
    )
    yield _joined(kept)
    plain = [(unquote_plus(name), unquote_plus(value)) for name, value in kept]
    yield _joined([(quote_plus(name), quote_plus(value)) for name, value in plain])
    yield _joined(
        [(quote_plus(name), quote(value, safe="* ").replace(" ", "+").replace("~", "%7E")) for name, value in plain]
    )


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless one of the source's hash secrets signed the fields."""
    raw, fields = _raw(delivery), _fields(delivery)
    forms = list(signed_strings(raw))
    names = [pair.partition("=")[0] for pair in raw.split("&")]
    if len(set(names)) != len(names):
        raise Unverified("a field comes twice")
    claimed = fields.get("vnp_SecureHash", "").lower()
    check(delivery, claimed, lambda secret: [hmac_hex(secret, form.encode(), "sha512") for form in forms])


def facts(delivery: Delivery) -> list[Fact]:
    """A payment that succeeded (both codes ``00``) or failed. It names nobody: the order leads to the buyer."""
    fields = _fields(delivery)
    reference = _needed(fields, "vnp_TxnRef")
    amount = _amount(fields)
    code, state = fields.get("vnp_ResponseCode", ""), fields.get("vnp_TransactionStatus", "")
    paid = code == state == PAID
    properties: Json = given(
        order_id=reference,
        amount=amount,
        currency="VND",
        revenue=amount if paid else None,
        method="vnpay",
        bank=fields.get("vnp_BankCode"),
        card_type=fields.get("vnp_CardType"),
        payment_ref=fields.get("vnp_TransactionNo"),
        code=code,
        reason=None if paid else _reason(code, state),
    )
    told = {name: value for name, value in fields.items() if name not in HASH_FIELDS}
    call = track(
        "Payment Succeeded" if paid else "Payment Failed",
        properties,
        person(ids=[("order_ref", reference)]),
        record=("vnpay", told),
    )
    key = _transaction(fields)
    return [
        Fact(call, key, fields.get("vnp_TransactionNo") or reference, instant(fields.get("vnp_PayDate"), HOME_ZONE))
    ]


def seen(delivery: Delivery) -> Seen:
    """The transaction in its state; the same one with another amount is a contradiction."""
    fields = _fields(delivery)
    return Seen(_transaction(fields), _needed(fields, "vnp_Amount"))


def stored(_delivery: Delivery, duplicate: bool) -> Reply:
    """``00``, or ``02`` for what is known: neither is repeated."""
    return _answer("02", "Order already confirmed") if duplicate else _answer("00", "Confirm Success")


def refused(_delivery: Delivery, error: HosoError, _status: int) -> Reply:
    """``97`` for the signature, ``04`` for another amount, ``99`` for all else: each is repeated. Always HTTP 200."""
    if isinstance(error, Unverified):
        return _answer("97", "Invalid signature")
    if isinstance(error, Contradicted):
        return _answer("04", "Invalid amount")
    return _answer("99", "Unknown error")


def _answer(code: str, message: str) -> Reply:
    return reply(200, {"RspCode": code, "Message": message})


def _joined(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs)


def _raw(delivery: Delivery) -> str:
    """The fields in the query, or in the body of a shop's server that forwards them."""
    if delivery.query or not delivery.body:
        return delivery.query
    try:
        return delivery.body.decode().strip()
    except UnicodeDecodeError as error:
        raise InvalidInput("the form cannot be read", code="invalid_form") from error


def _fields(delivery: Delivery) -> dict[str, str]:
    pairs = [pair.partition("=")[::2] for pair in _raw(delivery).split("&") if pair.startswith("vnp_")]
    return {unquote_plus(name): unquote_plus(value) for name, value in pairs}


def _transaction(fields: dict[str, str]) -> str:
    names = ("vnp_TmnCode", "vnp_TxnRef", "vnp_TransactionNo", "vnp_TransactionStatus")
    return "|".join(fields.get(name, "") for name in names)


def _needed(fields: dict[str, str], name: str) -> str:
    if not fields.get(name):
        raise InvalidInput(f"{name} is missing", code="missing_field")
    return fields[name]


def _amount(fields: dict[str, str]) -> int | float:
    digits = _needed(fields, "vnp_Amount")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 17):
        raise InvalidInput("vnp_Amount is no whole number", code="invalid_amount")
    whole, rest = divmod(int(digits), _CENTS)
    return whole if not rest else int(digits) / _CENTS


def _reason(code: str, state: str) -> str:
    if code != PAID:
        return OUTCOMES.get(code, f"code_{code[:8]}")
    return STATES.get(state, f"status_{state[:8]}")


SOURCES = (
    HookKind(
        name="vnpay",
        methods=frozenset({"GET", "POST"}),
        verify=verify,
        facts=facts,
        seen=seen,
        stored=stored,
        refused=refused,
    ),
)
