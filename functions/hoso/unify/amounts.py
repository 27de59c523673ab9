"""Exact amounts: integers of millionths, so that sums do not depend on the order of their parts."""

from __future__ import annotations

import math
import re
from decimal import Decimal

MICROS = 1_000_000
_LIMIT = 9_000_000_000_000
LARGEST = _LIMIT * MICROS
"""The largest amount in millionths; it fits 64 bits."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,15})(?:\.\d{1,20})?(?:[eE][+-]?\d{1,2})?")


def micros(value: object) -> int | None:
    """The value in whole millionths (half up), or None when it is no finite number below nine million millions.

    Text counts only when it spells a JSON number exactly: ``"1.250.000đ"`` is no number.

    >>> micros(0.1), micros("450000"), micros("1.250.000đ"), micros(True)
    (100000, 450000000000, None, None)
    """
    if type(value) is int:
        return value * MICROS if -_LIMIT < value < _LIMIT else None
    if type(value) is float:
        if not math.isfinite(value):
            return None
        exact = Decimal(repr(value))
    elif type(value) is str and len(value) <= 40 and _NUMBER.fullmatch(value):
        exact = Decimal(value)
    else:
        return None
    if not -_LIMIT < exact < _LIMIT:
        return None
    return math.floor(exact * MICROS + Decimal("0.5"))


def units(amount: int) -> int | float:
    """Millionths as whole units where they are whole, else as a fraction.

    >>> units(450000000000), units(2500000)
    (450000, 2.5)
    """
    return amount // MICROS if amount % MICROS == 0 else amount / MICROS
