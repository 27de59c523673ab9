"""Amounts and dates as people write them."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from hoso.model.time import DAY_MS, parse_instant
from hoso.segment.zones import zone

HOME_ZONE = "Asia/Ho_Chi_Minh"
_NO_DECIMALS = frozenset({"VND", "JPY", "KRW", "CLP", "ISK", "XAF", "XOF", "UGX"})
_COMMA_COUNTRIES = frozenset({"VND", "EUR", "IDR", "BRL", "DKK"})
_SIGNS = {"VND": "₫", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_MOST = Decimal(10) ** 15
_NO_BREAK = "\u00a0"


def amount(value: object) -> Decimal | None:
    """An amount in whole units, or None: finite, below 10^15 and with at most six decimals.

    >>> amount(450000), amount("12.50"), amount(float("nan"))
    (Decimal('450000'), Decimal('12.50'), None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)) or len(str(value)) > 40:
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    if not found.is_finite() or abs(found) >= _MOST or found != round(found, 6):
        return None
    return found


def plain(value: Decimal) -> int | float:
    """The JSON number of an amount."""
    return int(value) if value == value.to_integral_value() else float(value)


def money(value: Decimal, currency: str) -> str:
    """An amount as its country writes it; the sign or code stands behind, after a space that does not break.

    >>> money(Decimal(450000), "VND")
    '450.000\\xa0₫'
    >>> money(Decimal("1234.5"), "USD")
    '$1,234.50'
    """
    digits = 0 if currency in _NO_DECIMALS else 2
    text = f"{value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN):,f}"
    if currency in _COMMA_COUNTRIES:
        text = text.translate(str.maketrans(",.", ".,"))
    if currency in ("USD", "GBP"):
        sign = _SIGNS[currency]
        return f"-{sign}{text[1:]}" if text.startswith("-") else f"{sign}{text}"
    return f"{text}{_NO_BREAK}{_SIGNS.get(currency, currency)}"


def day(value: object, zone_name: str = HOME_ZONE) -> str | None:
    """The local day of an instant (UTC ms or ISO 8601) as ``24/11/2026``; None when it is no instant.

    >>> day("2026-11-23T18:00:00Z")
    '24/11/2026'
    """
    from datetime import date

    instant = value if isinstance(value, int) and not isinstance(value, bool) else parse_instant(value)
    if instant is None or abs(instant) > 100_000 * DAY_MS:
        return None
    return f"{date.fromordinal(zone(zone_name).clock_day(instant)):%d/%m/%Y}"
