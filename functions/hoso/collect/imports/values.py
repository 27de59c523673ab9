"""What a mapping can make of a cell (``"as"``): each reader answers the value, or raises ``ValueError`` with a reason.

``None`` stands for a cell that is empty. Values keep what was written: a reader that changes a text hands back both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import orjson

from hoso.model.local_time import HOME_ZONE, birthday, local_date, local_instant
from hoso.model.mail_address import clean_email
from hoso.model.money import currency_code, parse_money
from hoso.model.person_names import clean_name, gender
from hoso.model.phone import e164
from hoso.model.time import format_instant
from hoso.unify.amounts import micros, units

_YES = frozenset({"1", "true", "yes", "y", "x", "có", "co", "đồng ý", "dong y", "t", "on", "granted"})
_NO = frozenset({"0", "false", "no", "n", "không", "khong", "f", "off", "denied", "từ chối"})
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SECONDS = 10_000_000_000


class Local(NamedTuple):
    """Where a file comes from: zone of its times, currency of its amounts."""

    zone: str = HOME_ZONE
    currency: str = "VND"


Reader = Callable[[Any, Local], Any]


def _text(value: Any, _local: Local) -> Any:
    return value.strip() if isinstance(value, str) else str(value)


def _number(value: Any, _local: Local) -> Any:
    if type(value) in (int, float):
        return value
    text = str(value).strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError("is no number")
    return int(text) if "." not in text and len(text) <= 18 else float(text)


def _integer(value: Any, local: Local) -> Any:
    number = _number(value, local)
    if number != int(number):
        raise ValueError("is no whole number")
    return int(number)


def yes_or_no(value: Any, _local: Local) -> bool:
    """A boolean in the words of files."""
    text = str(value).strip().casefold()
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise ValueError("is neither yes nor no")


def instant(value: Any, local: Local) -> str:
    """ISO 8601 in UTC; numbers are seconds or milliseconds since 1970."""
    if type(value) is int and value > 0:
        return format_instant(value if value >= _SECONDS else value * 1_000)
    moment = local_instant(str(value), local.zone)
    if moment is None:
        raise ValueError("is no date and time (ISO 8601 or dd/MM/yyyy HH:mm)")
    return format_instant(moment)


def _date(value: Any, _local: Local) -> str:
    day = local_date(str(value))
    if day is None:
        raise ValueError("is no date (yyyy-MM-dd or dd/MM/yyyy)")
    return day


def _birthday(value: Any, _local: Local) -> str | None:
    if local_date(str(value)) is None:
        raise ValueError("is no date (yyyy-MM-dd or dd/MM/yyyy)")
    found = birthday(str(value))
    return found[0] if found else None


def money(value: Any, local: Local) -> int | float:
    """An amount as a JSON number."""
    found = parse_money(value, local.currency)
    amount = None if found is None else micros(f"{found.amount:f}")
    if amount is None:
        raise ValueError("is no clear amount of money")
    return units(amount)


def _currency(value: Any, _local: Local) -> str:
    code = currency_code(str(value))
    if code is None:
        raise ValueError("is no currency")
    return code


def phone(value: Any, _local: Local) -> str:
    """E.164."""
    number = e164(value)
    if number is None:
        raise ValueError("is no telephone number of a person")
    return number


def email(value: Any, _local: Local) -> str:
    """Lower case."""
    address = clean_email(value)
    if address is None:
        raise ValueError("is no e-mail address")
    return address


def _name(value: Any, _local: Local) -> str:
    return clean_name(str(value))


def _gender(value: Any, _local: Local) -> str:
    found = gender(value)
    if found is None:
        raise ValueError("is no gender")
    return found


def _json(value: Any, _local: Local) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except ValueError as error:
        raise ValueError("is no JSON") from error


def _list(value: Any, _local: Local) -> list[Any]:
    if isinstance(value, list):
        return cast("list[Any]", value)
    return [part.strip() for part in re.split(r"[;,|]", str(value)) if part.strip()]


READERS: dict[str, Reader] = {
    "text": _text,
    "number": _number,
    "integer": _integer,
    "boolean": yes_or_no,
    "time": instant,
    "date": _date,
    "birthday": _birthday,
    "money": money,
    "currency": _currency,
    "phone": phone,
    "email": email,
    "name": _name,
    "gender": _gender,
    "json": _json,
    "list": _list,
    "raw": lambda value, _local: value,
}
