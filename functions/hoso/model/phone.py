"""Telephone numbers: Vietnamese notations by rule, everybody else's by libphonenumber (connectors reference 5.1).

Two doors. ``vietnamese`` is pure and quick; identity uses it first, so that one telephone in any notation is one
identifier. ``e164`` answers for numbers of the whole world, only with numbers that can exist; it serves files, derived
values and destinations, and loads libphonenumber when it first meets a number from abroad.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

HOME = "84"
_RENUMBERED = {
    # the 11-digit mobile prefixes of before September 2018
    **{"0162": "032", "0163": "033", "0164": "034", "0165": "035"},
    **{"0166": "036", "0167": "037", "0168": "038", "0169": "039"},
    **{"0120": "070", "0121": "079", "0122": "077", "0126": "076", "0128": "078"},
    **{"0123": "083", "0124": "084", "0125": "085", "0127": "081", "0129": "082"},
    **{"0186": "056", "0188": "058", "0199": "059"},
}
_MOBILE = re.compile(r"0(?:3[2-9]|5[25689]|7[06-9]|8[1-9]|9\d)\d{7}")
_LANDLINE = re.compile(r"02\d{8,9}")
_HOTLINE = re.compile(r"1[89]00\d{4,6}")
_EXTENSION = re.compile(r"(?:ext|máy lẻ|may le|x|#).*", re.IGNORECASE | re.DOTALL)
_NO_DIGIT = re.compile(r"[^0-9]+")
_SCIENTIFIC = re.compile(r"(\d)[.,](\d+)E\+?(\d{1,2})", re.IGNORECASE)
_USUAL = re.compile(r"\+?[0-9 ().-]*")
_MAX_LENGTH = 60


def e164(value: object) -> str | None:
    """A number as ``+`` and digits, or None when it is nobody's: malformed, a hotline, a short code.

    Takes text or a whole number; knows old Vietnamese prefixes, trunk zeros, zeros and forms that a spreadsheet took,
    full-width digits and extensions.

    >>> e164("+84 (0)912 345 678"), e164("01681234567"), e164("+1 800 555 0100"), e164("1900 1234")
    ('+84912345678', '+84381234567', '+18005550100', None)
    """
    if type(value) is int:
        value = str(value)
    if type(value) is not str or len(value) > _MAX_LENGTH:
        return None
    return _e164(value)


@lru_cache(maxsize=4_096)
def _e164(text: str) -> str | None:
    found = vietnamese(text)
    if found is not None:
        return found
    plain = _plain(text)
    digits = _NO_DIGIT.sub("", plain)
    if plain.startswith("+"):
        return None if digits.startswith(HOME) else _abroad(plain)
    if digits.startswith("00") and not digits.startswith("00" + HOME):
        return _abroad("+" + digits[2:])
    return None


@lru_cache(maxsize=4_096)
def vietnamese(text: str) -> str | None:
    """The E.164 form of a Vietnamese mobile or landline number in any notation, or None for everything else.

    >>> vietnamese("84 0912345678"), vietnamese("1681234567"), vietnamese("(028) 3822 5678"), vietnamese("+44 1632")
    ('+84912345678', '+84381234567', '+842838225678', None)
    """
    plain = _plain(text)
    national = _national(plain.startswith("+"), _NO_DIGIT.sub("", plain))
    if len(national) == 11:
        national = _RENUMBERED.get(national[:4], national[:4]) + national[4:]
    if _MOBILE.fullmatch(national) or _LANDLINE.fullmatch(national):
        return f"+{HOME}{national[1:]}"
    return None


def is_hotline(text: str) -> bool:
    """Whether a number is one of the 1800 and 1900 services, which are companies' and never a person's.

    >>> is_hotline("1900 1234"), is_hotline("+1 800 555 0100")
    (True, False)
    """
    plain = _plain(text)
    return not plain.startswith("+") and _HOTLINE.fullmatch(_NO_DIGIT.sub("", plain)) is not None


def _national(has_plus: bool, digits: str) -> str:
    """The digits as dialled at home, with their trunk zero; empty for a number of another country."""
    if digits.startswith("00" + HOME):
        return "0" + digits[4:].lstrip("0")
    if has_plus and not digits.startswith(HOME):
        return ""
    if digits.startswith(HOME) and 11 <= len(digits) <= 13:
        return "0" + digits[2:].lstrip("0")
    if has_plus:
        return ""
    if digits.startswith("0"):
        return digits
    # a spreadsheet took the zero for that of a number
    return "0" + digits if len(digits) in (9, 10) and not _HOTLINE.fullmatch(digits) else ""


def _plain(text: str) -> str:
    """ASCII digits, without an extension, and as the digits that a spreadsheet made a power of ten of."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    plain = plain.strip()
    if _USUAL.fullmatch(plain):  # nearly all; what comes below is slow
        return plain.lstrip("( ")
    scientific = _SCIENTIFIC.fullmatch(plain)
    if scientific:
        # only when all digits are still there: 9.12E+08 has lost six of them
        kept, power = scientific[1] + scientific[2], int(scientific[3])
        return kept if len(kept) == power + 1 else ""
    return _EXTENSION.sub("", plain).lstrip("( ")


def _abroad(text: str) -> str | None:
    # here, because it takes 50 ms to load and most events have no number from abroad
    import phonenumbers

    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
