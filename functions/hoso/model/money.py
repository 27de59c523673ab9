"""Amounts of money as people and tills write them, to exact decimals and minor units (connectors reference 2.10, 5.4).

In Vietnamese files ``450.000`` and ``450,000`` both are 450 thousand đồng. What stays ambiguous is refused.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import NamedTuple

HOME = "VND"
_DECIMALS = {
    **dict.fromkeys(re.findall("...", "BIFCLPDJFGNFISKJPYKMFKRWPYGRWFUGXUYIVNDVUVXAFXOFXPF"), 0),
    **dict.fromkeys(re.findall("...", "BHDIQDJODKWDLYDOMRTND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""ISO 4217 exponents other than two."""

_CODES = frozenset(
    re.findall(
        "...",
        "AEDAFNALLAMDAOAARSAUDAWGAZNBAMBBDBDTBHDBIFBMDBNDBOBBRLBSDBTNBWPBYNBZDCADCDFCHFCLFCLPCNYCOPCRCCUPCVECZKDJF"
        "DKKDOPDZDEGPERNETBEURFJDFKPGBPGELGHSGIPGMDGNFGTQGYDHKDHNLHTGHUFIDRILSINRIQDIRRISKJMDJODJPYKESKGSKHRKMFKPW"
        "KRWKWDKYDKZTLAKLBPLKRLRDLSLLYDMADMDLMGAMKDMMKMNTMOPMRUMURMVRMWKMXNMYRMZNNADNGNNIONOKNPRNZDOMRPABPENPGKPHP"
        "PKRPLNPYGQARRONRSDRUBRWFSARSBDSCRSDGSEKSGDSHPSLESOSSRDSSPSTNSVCSYPSZLTHBTJSTMTTNDTOPTRYTTDTWDTZSUAHUGXUSD"
        "UYIUYUUYWUZSVESVNDVUVWSTXAFXCDXOFXPFYERZARZMWZWG",
    )
)
"""ISO 4217."""

_SIGNS = {"₫": "VND", "đ": "VND", "d": "VND", "vnđ": "VND", "đồng": "VND", "dong": "VND", "$": "USD", "us$": "USD"} | {
    **{"€": "EUR", "£": "GBP", "¥": "JPY", "฿": "THB", "₩": "KRW", "s$": "SGD", "a$": "AUD"}
}
_SCALES = {
    **{"k": 3, "nghìn": 3, "ngàn": 3, "nghin": 3, "ngan": 3},
    **{"tr": 6, "triệu": 6, "trieu": 6, "tỷ": 9, "tỉ": 9, "ty": 9},
}
_FORM = re.compile(
    r"(?P<sign>[-+]?)\s*(?P<before>[^\d\s.,+-]{0,5})\s*(?P<inner>-?)(?P<number>\d[\d.,' ]*)\s*(?P<after>[^\d.,]*)"
)
_SCIENTIFIC = re.compile(r"-?\d+(?:\.\d+)?E\+?\d{1,2}", re.IGNORECASE)
_MOST = Decimal(10) ** 15
_MAX_LENGTH = 40


class Money(NamedTuple):
    """An amount in whole units of a currency (ISO 4217)."""

    amount: Decimal
    currency: str

    @property
    def minor(self) -> int:
        """The amount in the currency's smallest unit, half up; that of the đồng is the đồng."""
        return int((self.amount * 10 ** decimals(self.currency)).to_integral_value(ROUND_HALF_UP))

    @property
    def exact(self) -> bool:
        """Whether the amount has no part smaller than the smallest unit."""
        return self.amount * 10 ** decimals(self.currency) == self.minor


def decimals(currency: str) -> int:
    """How many decimals a currency has.

    >>> decimals("VND"), decimals("USD"), decimals("KWD")
    (0, 2, 3)
    """
    return _DECIMALS.get(currency, 2)


def currency_code(value: object) -> str | None:
    """The ISO code of a code or sign, or None.

    >>> currency_code("₫"), currency_code("usd"), currency_code("money")
    ('VND', 'USD', None)
    """
    if type(value) is not str:
        return None
    text = unicodedata.normalize("NFC", value).strip()
    known = _SIGNS.get(text.casefold())
    return known or (text.upper() if text.upper() in _CODES else None)


def parse_money(value: object, currency: str = HOME) -> Money | None:
    """The money in a number or text; ``currency`` is that of a text that names none. None for what is no clear amount.

    >>> parse_money("1.250.000đ"), parse_money("1,250,000.50 USD")
    (Money(amount=Decimal('1250000'), currency='VND'), Money(amount=Decimal('1250000.50'), currency='USD'))
    """
    if type(value) is int or type(value) is float:
        return _bounded(Decimal(str(value)), currency)
    if type(value) is not str or not 0 < len(value) <= _MAX_LENGTH:
        return None
    return _read(value, currency)


@lru_cache(maxsize=8_192)
def _read(value: str, currency: str) -> Money | None:
    """Kept: files hold the same prices again and again."""
    text = unicodedata.normalize("NFKC", value).replace("\u2212", "-").strip()
    if _SCIENTIFIC.fullmatch(text):
        return _bounded(Decimal(text), currency)
    negative = text.startswith("(") and text.endswith(")")
    found = _FORM.fullmatch(text[1:-1].strip() if negative else text)
    if found is None or (found["sign"] and found["inner"]):
        return None
    scale, named = _unit(found["after"].strip())
    before = currency_code(found["before"]) if found["before"] else None
    if (found["before"] and before is None) or named is None or (before and named and before != named):
        return None
    code = before or named or currency
    number = _number(found["number"].strip(), code if scale == 0 else "")
    if number is None:
        return None
    negative = negative or "-" in (found["sign"], found["inner"])
    if scale:
        number = number.scaleb(scale)
    return _bounded(-number if negative else number, code)


def _unit(text: str) -> tuple[int, str | None]:
    """Power of ten and currency of what follows a number; the currency is "" if none is named, None if it is none."""
    if not text:
        return 0, ""
    lower = text.casefold()
    for word in sorted(_SCALES, key=len, reverse=True):
        rest = lower[len(word) :].strip()
        if lower.startswith(word) and (not rest or currency_code(rest)):
            return _SCALES[word], currency_code(rest) if rest else ""
    return 0, currency_code(text)


def _number(text: str, currency: str) -> Decimal | None:
    """The digits with their separators; empty ``currency``: scaled, its one separator is a decimal one."""
    text = re.sub(r"(?<=\d)[ '](?=\d{3}(?:\D|$))", "", text)
    if " " in text or "'" in text:
        return None
    marks = [sign for sign in text if sign in ".,"]
    if not marks:
        return Decimal(text)
    last = marks[-1]
    if len(set(marks)) == 2:  # the last one of two kinds is the decimal one
        if marks.count(last) > 1:
            return None
        whole, _, part = text.rpartition(last)
        # a currency without decimals has none of three digits: both kinds group
        grouped = bool(currency) and decimals(currency) == 0 and len(part) == 3
        return _join(text, "") if grouped else _join(whole, part)
    groups = text.split(last)
    if len(marks) > 1:
        return _join(text, "")
    whole, part = groups
    if not currency:
        return Decimal(f"{whole}.{part}") if part else None
    if len(part) == 3 and (decimals(currency) == 0 or last == ","):
        return Decimal(whole + part) if 1 <= len(whole) <= 3 and whole != "0" else None
    if decimals(currency) == 0:
        return Decimal(whole) if part and not part.strip("0") and len(part) <= 2 else None
    return Decimal(f"{whole}.{part}") if part and (len(part) <= decimals(currency) or len(part) > 3) else None


def _join(whole: str, part: str) -> Decimal | None:
    """A number with groups of three."""
    first, *groups = re.split(r"[.,]", whole)
    if not 1 <= len(first) <= 3 or any(len(group) != 3 for group in groups):
        return None
    return Decimal("".join((first, *groups)) + (f".{part}" if part else ""))


def _bounded(amount: Decimal, currency: str) -> Money | None:
    return Money(amount, currency) if amount.is_finite() and abs(amount) < _MOST else None
