"""Values and their four forms: text, number, boolean, time (segmentation reference, section 3).

JSON ``null`` is the same as not there, so None stands for *missing* throughout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from math import floor, isfinite
from typing import Any, cast
from unicodedata import normalize

from hoso.model.time import DAY_MS
from hoso.segment.zones import DAY_AFTER_LAST, FIRST_DAY, Zone

NUMBER_PATTERN = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
DAY_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
INSTANT_PATTERN = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}):([0-9]{2})(:([0-9]{2})(\.([0-9]+))?)?"
    r"(Z|([+-])([0-9]{2}):?([0-9]{2}))?"
)
SECONDS_BELOW = 100_000_000_000
"""Integers below are Unix seconds, the others milliseconds."""
MILLIONTHS_LIMIT = int(1e30)
"""Sums clamp a single value here, so that every engine's integers hold a sum of them: the double, to the digit."""

_number = re.compile(NUMBER_PATTERN).fullmatch
_day = re.compile(DAY_PATTERN).fullmatch
_instant = re.compile(INSTANT_PATTERN).fullmatch
_INT_LOW, _INT_HIGH = -(1 << 63), 1 << 64
_FARTHEST_MS = 1 << 61
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
AFTER_LAST_MS = (DAY_AFTER_LAST - _EPOCH_ORDINAL) * DAY_MS


def split_path(path: str) -> tuple[str, ...]:
    r"""The names of a path: joined by dots, ``\.`` is a dot in a name. Raises ``ValueError`` for an empty name.

    >>> split_path(r"utm\.source.first")
    ('utm.source', 'first')
    """
    names = tuple(name.replace("\0", ".") for name in path.replace("\\.", "\0").split("."))
    if not all(names) or "\0" in path:
        raise ValueError("a path has no empty names")
    return names


def getter(path: str) -> Callable[[Mapping[str, Any]], Any]:
    """A function that reads the value at a path; a path through anything but an object finds nothing."""
    first, *rest = split_path(path)
    if not rest:
        return lambda start: start.get(first)
    if len(rest) == 1:
        second = rest[0]

        def two(start: Mapping[str, Any]) -> Any:
            inner = start.get(first)
            return cast("dict[str, Any]", inner).get(second) if isinstance(inner, dict) else None

        return two

    def many(start: Mapping[str, Any]) -> Any:
        value = start.get(first)
        for name in rest:
            if not isinstance(value, dict):
                return None
            value = cast("dict[str, Any]", value).get(name)
        return value

    return many


def text(value: Any) -> str | None:
    """The text form, in Unicode NFC: of text, integers and booleans."""
    if isinstance(value, str):
        return value if value.isascii() else normalize("NFC", value)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int) and _INT_LOW <= value < _INT_HIGH:
        return str(value)
    return None


def number(value: Any) -> float | None:
    """The number form: of finite numbers, and of text that spells a JSON number exactly."""
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, str):
        if not value or value[-1] not in "0123456789" or not _number(value):
            return None
        spelt = float(value)
        return spelt if isfinite(spelt) else None
    return None


def boolean(value: Any) -> bool | None:
    """The boolean form: of booleans and of the texts ``true`` and ``false``."""
    if type(value) is bool:
        return value
    if type(value) is str:
        return True if value == "true" else False if value == "false" else None
    return None


def instant(value: Any, zone: Zone) -> int | None:
    """The time form in UTC milliseconds; a plain day is the instant at which it starts in the zone."""
    if type(value) is int:
        if not _INT_LOW <= value < _INT_HIGH:
            return None
        # beyond any calendar, yet an instant: before, or after, all others
        return max(-_FARTHEST_MS, min(_FARTHEST_MS, value * 1_000 if value < SECONDS_BELOW else value))
    if type(value) is not str:
        return None
    if len(value) == 10:
        day = parse_day(value)
        return None if day is None else zone.day_start(day)
    return parse_moment(value)


def parse_day(spelt: str) -> int | None:
    """The ordinal of a day ``YYYY-MM-DD``, or None (30 February is none)."""
    if not _day(spelt):
        return None
    try:
        return date.fromisoformat(spelt).toordinal()
    except ValueError:
        return None


def parse_moment(spelt: str, *, offset_needed: bool = False) -> int | None:
    """Milliseconds of a date-time with hours and minutes, or None. Without an offset it is UTC."""
    found = _instant(spelt)
    if not found:
        return None
    day = parse_day(found[1])
    hour, minute, second = int(found[2]), int(found[3]), int(found[5] or 0)
    if day is None or hour > 23 or minute > 59 or second > 59:
        return None
    if found[8] is None and offset_needed:
        return None
    shift = 0
    if found[9]:
        hours, minutes = int(found[10]), int(found[11])
        if minutes > 59 or hours * 60 + minutes > 14 * 60:
            return None
        shift = (hours * 60 + minutes) * (1 if found[9] == "+" else -1)
    fraction = int(((found[7] or "") + "000")[:3])
    return (day - _EPOCH_ORDINAL) * DAY_MS + ((hour * 60 + minute - shift) * 60 + second) * 1_000 + fraction


def local_month_day(value: Any, zone: Zone) -> tuple[int, int] | None:
    """Month and day of a value's local day, for anniversaries."""
    if type(value) is not str or len(value) != 10:
        return month_day_at(instant(value, zone), zone)
    day = parse_day(value)
    return None if day is None else _month_day(day)


def month_day_at(moment: int | None, zone: Zone) -> tuple[int, int] | None:
    """Month and day of the local day of an instant, within the calendar."""
    if moment is None or not zone.day_start(FIRST_DAY) <= moment < zone.day_start(DAY_AFTER_LAST):
        return None
    return _month_day(zone.clock_day(moment))


def _month_day(day: int) -> tuple[int, int]:
    found = date.fromordinal(day)
    return found.month, found.day


def fold_case(value: str) -> str:
    """Lower case of each character alone where that is one character, and ``İ`` to ``i``."""
    if value.isascii():
        return value.lower()
    return "".join(_fold_character(character) for character in value)


def millionths(value: float) -> int:
    """A number as whole millionths, rounded half up, so that sums are exact in any order."""
    scaled = value * 1e6 + 0.5
    if scaled >= MILLIONTHS_LIMIT:
        return MILLIONTHS_LIMIT
    return floor(scaled) if scaled > -MILLIONTHS_LIMIT else -MILLIONTHS_LIMIT


def all_millionths(values: Sequence[float]) -> list[int]:
    """The same of many numbers, in a fraction of the time where none of them is huge."""
    scaled = [value * 1e6 + 0.5 for value in values]
    if scaled and min(scaled) > -MILLIONTHS_LIMIT and max(scaled) < MILLIONTHS_LIMIT:
        return list(map(floor, scaled))
    return list(map(millionths, values))


def matches_pattern(pattern: str, value: str) -> bool:
    """Whether the whole text fits: ``*`` is any run, ``?`` one character. Linear in text times stars."""
    at = star = 0
    mark = -1
    place = 0
    while place < len(value):
        if at < len(pattern) and pattern[at] == "*":
            mark, star = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", value[place]):
            at += 1
            place += 1
        elif mark >= 0:
            star += 1
            at, place = mark + 1, star
        else:
            return False
    return all(rest == "*" for rest in pattern[at:])


def _fold_character(character: str) -> str:
    if character == "\u0130":
        return "i"
    lower = character.lower()
    return lower if len(lower) == 1 else character
