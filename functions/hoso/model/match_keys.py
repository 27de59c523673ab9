"""What ad platforms match people by: each value in the platform's form, then SHA-256 (connectors reference 4).

A value that is such a hash already passes; one that is empty in the platform's form gives no key, for the hash of
nothing spoils match rates. Values that are never hashed (addresses of the network, click ids) have no entry here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from hashlib import sha256

from hoso.model.local_time import local_date
from hoso.model.mail_address import clean_email, google_email
from hoso.model.person_names import gender
from hoso.model.phone import e164

_HASH = re.compile(r"[0-9a-f]{64}")
_COUNTRY = re.compile(r"[a-z]{2}")


def meta_key(kind: str, value: object) -> str | None:
    """The hash that Meta matches (``em ph fn ln ge db ct st zp country external_id``), or None for no usable value.

    >>> meta_key("ph", "0912 345 678")
    '25cc2f7574420a2d46c9f2d6cf94cdbb242ef7d479afe92ed6e8eb33a7493093'
    """
    return _hashed(_META[kind], value)


def google_key(kind: str, value: object) -> str | None:
    """The hash that Google matches (``email phone given_name family_name``), or None for no usable value.

    >>> google_key("email", "Alexz@example.com")
    '509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a'
    """
    return _hashed(_GOOGLE[kind], value)


def _hashed(form: Callable[[str], str | None], value: object) -> str | None:
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        return None
    if _HASH.fullmatch(value):
        return value
    text = form(unicodedata.normalize("NFC", value).strip())
    return sha256(text.encode()).hexdigest() if text else None


def _phone_digits(text: str) -> str | None:
    number = e164(text)
    return None if number is None else number[1:]


def _letters(text: str) -> str:
    """Lower case with its diacritics, without punctuation; blanks inside stay."""
    return " ".join("".join(sign for sign in text.lower() if sign.isalnum() or sign.isspace()).split())


def _joined(text: str) -> str:
    return _letters(text).replace(" ", "")


def _gender(text: str) -> str | None:
    found = gender(text)
    return found if found in ("m", "f") else None


def _birth_date(text: str) -> str | None:
    day = local_date(text)
    return text if re.fullmatch(r"\d{8}", text) else day and day.replace("-", "")


def _zip(text: str) -> str:
    return re.sub(r"\s", "", text.lower().partition("-")[0])


def _country(text: str) -> str | None:
    return text.lower() if _COUNTRY.fullmatch(text.lower()) else None


_META: dict[str, Callable[[str], str | None]] = {
    "em": clean_email,
    "ph": _phone_digits,
    "fn": _letters,
    "ln": _letters,
    "ge": _gender,
    "db": _birth_date,
    "ct": _joined,
    "st": _joined,
    "zp": _zip,
    "country": _country,
    "external_id": str,
}
_GOOGLE: dict[str, Callable[[str], str | None]] = {
    "email": google_email,
    "phone": e164,
    "given_name": str.lower,
    "family_name": str.lower,
}
