"""Dates and times as Vietnamese files write them: ``dd/MM/yyyy``, in the zone of the shop (connectors 5.4)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from hoso.model.time import parse_instant

HOME_ZONE = "Asia/Ho_Chi_Minh"
_HOME = timezone(timedelta(hours=7))
"""Without daylight saving time since 1975."""
_LOCAL = re.compile(
    r"(?:(?P<d>\d{1,2})[/.-](?P<m>\d{1,2})[/.-](?P<y>\d{4})|(?P<y2>\d{4})[/.-](?P<m2>\d{1,2})[/.-](?P<d2>\d{1,2}))"
    r"(?:[T ,]+(?P<h>\d{1,2})[:h](?P<min>\d{2})(?::(?P<s>\d{2})(?:[.,]\d{1,9})?)?(?:\s*(?P<half>[AaPp][Mm]|SA|CH))?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_BIRTHDAY = date(1900, 1, 1)


def local_instant(text: object, zone: str = HOME_ZONE) -> int | None:
    """UTC milliseconds of a date with or without a time; a text without an offset is in ``zone``. None for no date.

    ISO 8601, ``dd/MM/yyyy HH:mm[:ss]``; never ``MM/dd``: ``12/31/2025`` is no date.

    >>> local_instant("05/01/2026 14:05"), local_instant("2026-01-05T14:05:00+07:00"), local_instant("12/31/2025")
    (1767596700000, 1767596700000, None)
    """
    return _instant(text, zone) if type(text) is str else None


@lru_cache(maxsize=4_096)
def _instant(text: str, zone: str) -> int | None:
    text = text.strip()
    if text.endswith(("Z", "z")) or re.search(r"[+-]\d{2}:?\d{2}$", text[16:]):
        return parse_instant(text.replace("z", "Z"))
    found = _LOCAL.fullmatch(text)
    if found is None:
        return None
    hour = int(found["h"] or 0)
    half = (found["half"] or "").upper()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half in ("PM", "CH") else 0)
    try:
        moment = datetime.combine(_day(found), datetime.min.time(), _zone(zone)) + timedelta(0)
        moment = moment.replace(hour=hour, minute=int(found["min"] or 0), second=int(found["s"] or 0))
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def local_date(text: object) -> str | None:
    """The day as ``yyyy-MM-dd``, or None.

    >>> local_date("05/01/2026"), local_date("2026-1-5"), local_date("31/02/2026")
    ('2026-01-05', '2026-01-05', None)
    """
    found = _LOCAL.fullmatch(text.strip()) if type(text) is str else None
    try:
        return None if found is None else _day(found).isoformat()
    except ValueError:
        return None


def birthday(text: object) -> tuple[str, str] | None:
    """A birth date and how exact it is, ``day`` or ``year``; None for none and for the placeholder 1900-01-01.

    The first of January is what programs fill in when they know the year only.

    >>> birthday("20/05/1998"), birthday("01/01/1985"), birthday("1900-01-01")
    (('1998-05-20', 'day'), ('1985-01-01', 'year'), None)
    """
    day = local_date(text)
    if day is None or date.fromisoformat(day) <= _NO_BIRTHDAY:
        return None
    return day, "year" if day.endswith("-01-01") else "day"


def _day(found: re.Match[str]) -> date:
    return date(int(found["y"] or found["y2"]), int(found["m"] or found["m2"]), int(found["d"] or found["d2"]))


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == HOME_ZONE:
        return _HOME
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except Exception as error:
        raise ValueError("no such time zone") from error
