"""Values of events without the customer in them: shapes instead of texts, and what may be shown as it is.

Shown as it is: true, false, null, and numbers and short texts under names that are known to be about goods and
sessions. Everything else is shown as its shape: letters as ``x``, digits as ``0``, runs cut to three.
"""

from __future__ import annotations

import re
from typing import Any, cast

_LETTERS = re.compile(r"[^\W\d_]{1,}", re.UNICODE)
_DIGITS = re.compile(r"\d+")
_MARKS = re.compile(r"[^\x20-\x7e]")
_MOST_SHAPE = 40
_MOST_NAME = 100
_MOST_TEXT = 60
_LONG_NUMBER = re.compile(r"\d(?:[\s.()-]?\d){6}")
_NOT_WORD = re.compile(r"[^a-z0-9]+")
_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_OPEN_NAMES = frozenset(
    {
        *("affiliation", "bot", "brand", "browser", "build", "campaign", "carrier", "category", "channel"),
        *("coupon", "currency", "device_type", "discount", "library", "list_id", "locale", "login_method"),
        *("manufacturer", "medium", "method", "model", "network", "os", "page_type", "payment_method", "plan"),
        *("platform", "position", "price", "product_id", "promotion_id", "quantity", "query_type", "rating"),
        *("reason", "revenue", "shipping", "shipping_method", "size", "sku", "source", "status", "step"),
        *("subtotal", "tax", "timezone", "total", "type", "value", "variant", "version"),
    }
)
"""Names whose values are about goods, money of one line and technology, never about who somebody is."""

_LARGEST_SUM = 1e12
_MAX_LEVELS = 6
_MAX_ITEMS = 20
_MAX_MEMBERS = 100


def shape(text: str) -> str:
    """A text's shape.

    >>> shape("an.nguyen@example.vn")
    'xx.xxx@xxx.xx'
    """
    cut = text[: _MOST_SHAPE * 4]
    plain = _MARKS.sub("x", _LETTERS.sub(lambda run: "x" * min(3, len(run.group())), cut))
    found = re.sub(r"x{4,}", "xxx", _DIGITS.sub(lambda run: "0" * min(3, len(run.group())), plain))
    return found if len(found) <= _MOST_SHAPE and len(cut) == len(text) else found[: _MOST_SHAPE - 1] + "…"


def shown_name(name: str) -> str:
    """The name of an event or a property; its shape where it may hold a value, so that such names fall into one.

    >>> shown_name("Order Completed"), shown_name("order_1234567")
    ('Order Completed', 'xxx_000')
    """
    risky = "@" in name or len(name) > _MOST_NAME or _LONG_NUMBER.search(name) or not name.isprintable()
    return shape(name) if risky else name


def may_show(name: str) -> bool:
    """Whether the values under a property's name may be shown as they are, by their name."""
    return _word(name) in _OPEN_NAMES


def shown_value(name: str, value: Any) -> Any:
    """A single value under its property's name, as it may be shown."""
    if value is None or type(value) is bool:
        return value
    text = value if type(value) is str else repr(value)
    if may_show(name) and len(text) <= _MOST_TEXT and "@" not in text:
        number = (type(value) is int or type(value) is float) and abs(value) < _LARGEST_SUM
        if number or not (_LONG_NUMBER.search(text) or _word(name) == "value"):  # a text "value" is anything
            return value
    return shape(text)


def masked(content: Any, name: str = "", level: int = 0) -> Any:
    """JSON with all that may tell who somebody is as shapes; long and deep parts are cut.

    >>> masked({"currency": "VND", "email": "an@example.vn"})
    {'currency': 'VND', 'email': 'xx@xxx.xx'}
    """
    if type(content) is dict:
        if level >= _MAX_LEVELS:
            return "…"
        members = list(cast("dict[str, Any]", content).items())
        shown = {shown_name(key): masked(part, key, level + 1) for key, part in members[:_MAX_MEMBERS]}
        return shown if len(members) <= _MAX_MEMBERS else {**shown, "…": len(members) - _MAX_MEMBERS}
    if type(content) is list:
        items = cast("list[Any]", content)
        if level >= _MAX_LEVELS:
            return "…"
        listed = [masked(part, name, level + 1) for part in items[:_MAX_ITEMS]]
        return listed if len(items) <= _MAX_ITEMS else [*listed, "…"]
    return shown_value(name, content)


def shown_event(body: dict[str, Any]) -> dict[str, Any]:
    """An event of the tracking API without the customer: its type and name stay, ids and values become shapes."""
    shown = cast(
        "dict[str, Any]",
        masked({name: value for name, value in body.items() if name not in ("type", "event", "messageId")}),
    )
    head = {name: shown_name(body[name]) for name in ("type", "event") if type(body.get(name)) is str}
    return {**head, **shown}


def shown_message_id(text: str | None) -> str | None:
    """Message ids are the SDKs' own; one that looks like a person is not shown."""
    return text if text is None or ("@" not in text and len(text) <= 100) else shape(text)


def _word(name: str) -> str:
    """``productId`` and ``Product ID`` as ``product_id``."""
    return _NOT_WORD.sub("_", _BORDER.sub("_", name).lower()).strip("_")
