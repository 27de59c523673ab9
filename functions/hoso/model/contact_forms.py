"""E-mail addresses and telephone numbers in the form that identifies (rules R1 and R2 of identity resolution)."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from hoso.model.phone import HOME, is_hotline, vietnamese

_BLOCKED_EMAILS = frozenset({"test@test.com", "a@a.com", "none@none.com", "noemail@noemail.com"})
_BLOCKED_MAILBOXES = ("noreply@", "no-reply@", "donotreply@")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_NO_DIGITS = re.compile(r"[^0-9]+")
_TRUNK_ZERO = re.compile(r"^(\s*(?:\+|00)(?!39)\d{1,3}\s*)\(0\)")
"""As in +44 (0)20: never dialled from abroad, except in Italy."""

_TWO_DIGIT_COUNTRIES = re.compile(r"20|27|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")


_NUMBER = re.compile(r"[\d\s+().-]+")


def contact_forms(text: str) -> set[str]:
    """What a text is normalised to that is an address or a number and nothing else."""
    number = phone_form(text) if _NUMBER.fullmatch(text) else None
    return {form for form in (email_form(text), number) if form is not None}


def email_form(text: str) -> str | None:
    """An address as it identifies, or None for what is malformed or nobody's (R1, R2)."""
    clean = text.lower()
    if clean in _BLOCKED_EMAILS or clean.startswith(_BLOCKED_MAILBOXES) or not _EMAIL.fullmatch(clean):
        return None
    return clean


@lru_cache(maxsize=4_096)
def phone_form(text: str) -> str | None:
    """A number as it identifies, or None for what is nobody's (R1, R2). Vietnamese notations, prefixes before 2018 and
    numbers without their zero included, become one (0015)."""
    digits = (vietnamese(text) or _by_rule(text))[1:]
    national = digits[_country_length(digits) :]
    if not 8 <= len(digits) <= 15 or len(set(national)) == 1 or digits.endswith("123456789") or is_hotline(text):
        return None
    return "+" + digits


def _by_rule(text: str) -> str:
    """R1 for what is no Vietnamese number: ``00`` is ``+``, a leading zero is the home country, bare digits get a +."""
    plain = _TRUNK_ZERO.sub(r"\1", text if text.isascii() else unicodedata.normalize("NFKC", text))
    digits = _NO_DIGITS.sub("", plain)
    if "+" not in plain[: plain.find(digits[:1])]:
        if digits.startswith("00"):
            digits = digits[2:]
        elif digits.startswith("0"):
            digits = HOME + digits[1:]
    if digits.startswith(HOME + "0"):  # "+84 (0) 901 ...": the trunk zero is no part of E.164
        digits = HOME + digits[3:]
    return "+" + digits


def _country_length(digits: str) -> int:
    """How many digits the country code has (ITU-T E.164 assigned codes)."""
    if digits[:1] in ("1", "7"):
        return 1
    return 2 if _TWO_DIGIT_COUNTRIES.match(digits) else 3
