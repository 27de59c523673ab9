"""E-mails, phones, dates and sexes as matching compares them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from hoso.model.phone import vietnamese
from hoso.unify.likeness.text import TWICE, fold, says_nothing, words

_NO_DIGIT = re.compile(r"[^0-9]")
_EMAIL = re.compile(r"([^@\s]+)@([^@\s]+\.[^@\s.]+)")
_NOBODY = frozenset(
    words(
        "test a aa aaa b abc none null no noemail noreply donotreply khongco khong khongemail koco na "
        "email mail example user guest customer khach info x xx xxx 123 1234 anonymous unknown"
    )
) | {"no-reply", "n/a"}
_DOMAINS = {
    **dict.fromkeys(
        ("gmial.com", "gmai.com", "gmal.com", "gamil.com", "gmail.co", "gmaill.com", "gnail.com"), "gmail.com"
    ),
    **dict.fromkeys(("yaho.com", "yahooo.com", "yhoo.com", "yahoo.co"), "yahoo.com"),
    **dict.fromkeys(("yaho.com.vn", "yahooo.com.vn"), "yahoo.com.vn"),
    **dict.fromkeys(("hotmial.com", "hotmai.com", "hotmal.com", "hotmail.co"), "hotmail.com"),
    **dict.fromkeys(("outlok.com", "outlook.co"), "outlook.com"),
    "icoud.com": "icloud.com",
}
_DIGITS = re.compile(r"\d+")
_LETTERS_DIGITS = re.compile(r"([a-z]+)([0-9]*)")
_YEAR_FIRST = re.compile(r"(\d{4})[-/. ]?(\d{1,2})[-/. ]?(\d{1,2})(?:[T ].*)?")
_YEAR_LAST = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})(?: .*)?")
_SEXES = {
    **dict.fromkeys(("m", "male", "nam", "anh", "ong", "mr", "man", "1"), "m"),
    **dict.fromkeys(("f", "female", "nu", "chi", "ba", "co", "ms", "mrs", "woman", "2"), "f"),
}


def phone(raw: str, country: str = "") -> str | None:
    """A Vietnamese number as it is dialled at home, another as its digits without a 1 in front; None for fillers.

    >>> phone("+84 (0)168 123 4567"), phone("1681234567"), phone("+1 (213) 929-0629"), phone("2139290629", "US")
    ('0381234567', '0381234567', '2139290629', '2139290629')
    """
    home = vietnamese(raw) if country in ("", "VN") or raw.startswith(("+84", "84", "0")) else None
    number = "0" + home[3:] if home is not None else _NO_DIGIT.sub("", raw)
    if home is None and len(number) == 11 and number[0] == "1":
        number = number[1:]
    if not 7 <= len(number) <= 15 or number.endswith(("123456789", 7 * number[-1])) or len(set(number)) <= 2:
        return None
    return number


class Mailbox(NamedTuple):
    """An e-mail address in parts: ``address`` with its domain mended, ``local`` part, both lower case."""

    address: str
    local: str


def mailbox(raw: str) -> Mailbox | None:
    """The address in parts, or None when it is malformed or nobody's.

    >>> mailbox("Hoa_Miu788@GMIAL.con")
    Mailbox(address='hoa_miu788@gmail.com', local='hoa_miu788')
    """
    found = _EMAIL.fullmatch(raw.strip().lower())
    if found is None:
        return None
    local, domain = found.groups()
    if local in _NOBODY or local.split(".", 1)[0].partition("+")[0] in _NOBODY:
        return None
    first, mended = _domain(domain)
    if first == local:
        return None
    local = local.partition("+")[0] or local
    return Mailbox(f"{local}@{mended}", local)


@lru_cache(maxsize=10_000)
def _domain(domain: str) -> tuple[str, str]:
    """Its first part, and the domain without usual typing errors."""
    first = domain.partition(".")[0]
    domain = domain.replace(".con.", ".com.")
    if domain.endswith((".con", ".cmo", ".vom", ".comm")):
        domain = domain.rpartition(".")[0] + ".com"
    return first, _DOMAINS.get(domain, domain)


class Told(NamedTuple):
    """What a mailbox tells beside given name and surname: ``middle`` letters (None: nothing, "": that there are none),
    and the ``rest``, by which mailboxes of people of one name differ."""

    middle: str | None
    rest: str


def told(local: str, given: str | None, surname: str | None) -> Told:
    """Take the owner's name out of a mailbox (identity reference, trap 8).

    >>> told("hung.nguyen165", "hung", "nguyen"), told("tkhuong508", "huong", "tran")
    (Told(middle=None, rest='165'), Told(middle='k', rest='508'))
    >>> told("nguyenhonganh7", "anh", "nguyen")
    Told(middle='hong', rest='7')
    """
    return without_name(*letters_and_digits(local), given or "", surname or "")


def letters_and_digits(local: str) -> tuple[str, str]:
    """The letters of a mailbox, none doubled, and its digits."""
    plain = _LETTERS_DIGITS.fullmatch(local)
    if plain is not None:
        letters, digits = plain.groups()
    else:
        text = fold(local)
        digits = "".join(_DIGITS.findall(text))
        letters = "".join(words(_DIGITS.sub("", text)))
    return TWICE.sub("", letters), digits


def without_name(letters: str, digits: str, given: str, surname: str) -> Told:
    """``told`` from letters and digits; a name that is not known is empty."""
    if not given or given not in letters:
        return Told(None, letters + digits)
    ends = letters.endswith(given)
    if ends and surname and letters.startswith(surname) and len(letters) >= len(surname) + len(given):
        between = letters[len(surname) : len(letters) - len(given)]
        return Told(between or None, digits)
    if ends:
        before = letters[: -len(given)]
        if surname and before[:1] == surname[0] and len(before) <= 4:
            return Told(before[1:], digits)
        return Told(None, before + digits)
    if letters.startswith(given):
        after = letters[len(given) :]
        return Told(None, ("" if after == surname else after) + digits)
    return Told(None, letters + digits)


def birth_date(raw: str) -> str | None:
    """The date as eight digits; ``yyyy0000`` where only the year can be meant (1 January); None for fillers.

    >>> birth_date("1994-09-11"), birth_date("7/2/1978"), birth_date("1900-01-01"), birth_date("1980-01-01")
    ('19940911', '19780207', None, '19800000')
    """
    text = raw.strip()
    found = _YEAR_FIRST.fullmatch(text)
    if found is not None:
        year, month, day = found.groups()
    else:
        found = _YEAR_LAST.fullmatch(text)
        if found is None:
            return f"{text}0000" if len(text) == 4 and text.isascii() and text.isdigit() and text > "1900" else None
        day, month, year = found.groups()
        if int(month) > 12 >= int(day):
            day, month = month, day
    if not "1900" <= year <= "2100":
        return None
    if int(month) == 1 and int(day) == 1:
        return None if year == "1900" else f"{year}0000"
    return f"{year}{int(month):02d}{int(day):02d}"


def sex(raw: str) -> str | None:
    """``m``, ``f``, or None.

    >>> sex("Nữ"), sex("Male"), sex("?")
    ('f', 'm', None)
    """
    text = fold(raw)
    return None if says_nothing(text) else _SEXES.get(text)
