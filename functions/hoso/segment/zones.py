"""Local days of a time zone and calendar arithmetic on them (segmentation reference, section 4).

Days are proleptic ordinals (``date.toordinal``), instants are UTC milliseconds. No engine does zone arithmetic on its
own: boundaries are computed here once per evaluation and handed on as integers.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from hoso.model.time import DAY_MS, HOUR_MS, MINUTE_MS

NEVER = 1 << 62
"""An instant after all others."""

ALWAYS = -NEVER
"""An instant before all others."""

Unit = Literal["day", "week", "month", "quarter", "year"]

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
FIRST_DAY = date.min.toordinal()
"""1 January of year 1."""
DAY_AFTER_LAST = date.max.toordinal() + 1
"""The day after 31 December 9999. It starts no later than UTC's: no instant from there on lies on a day."""
_FIRST = FIRST_DAY + 2
_LAST = DAY_AFTER_LAST - 3
_ELAPSED_MS = {"min": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_MONTHS = {"mo": 1, "y": 12}
_MOST_DAYS = 20_000
_MONTHS_PER_UNIT = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True, slots=True)
class Duration:
    """Elapsed time (``ms``) or a number of calendar months; the other one is 0."""

    ms: int = 0
    months: int = 0

    @property
    def longest_ms(self) -> int:
        """No span of this duration is longer (months are aligned to days, so one day is added)."""
        return self.ms if not self.months else (self.months * 31 + 2) * DAY_MS

    @property
    def nominal_ms(self) -> float:
        """Its usual length, to compare durations of different units."""
        return self.ms + self.months * 30.436875 * DAY_MS


def parse_duration(text: object) -> Duration | None:
    """The duration a text spells (``15min``, ``7d``, ``1mo``), or None.

    >>> parse_duration("2h")
    Duration(ms=7200000, months=0)
    """
    if not isinstance(text, str) or not text.isascii():
        return None
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(digits) :]
    if not digits.isdigit() or len(digits) > 6 or (digits[0] == "0" and digits != "0"):
        return None
    if unit in _ELAPSED_MS:
        return Duration(ms=int(digits) * _ELAPSED_MS[unit])
    if unit in _MONTHS:
        return Duration(months=int(digits) * _MONTHS[unit])
    return None


def add_months(day: int, months: int) -> int:
    """The day so many months on (or back); a day that the month lacks becomes its last.

    Beyond the years 1–9999 the day before or after all others.
    """
    start = date.fromordinal(_in_calendar(day))
    index = start.year * 12 + start.month - 1 + months
    year, month = index // 12, index % 12 + 1
    if year < 1:
        return FIRST_DAY - 1
    if year > 9999:
        return DAY_AFTER_LAST
    return date(year, month, min(start.day, monthrange(year, month)[1])).toordinal()


def unit_index(day: int, unit: Unit) -> int:
    """The running number of the calendar unit that a day lies in; weeks start on Monday."""
    if unit == "day":
        return day
    if unit == "week":
        return (day - 1) // 7
    start = date.fromordinal(_in_calendar(day))
    return (start.year * 12 + start.month - 1) // _MONTHS_PER_UNIT[unit]


def unit_first_day(index: int, unit: Unit) -> int:
    """The first day of a calendar unit."""
    if unit == "day":
        return _within(index)
    if unit == "week":
        return _within(index * 7 + 1)
    months = index * _MONTHS_PER_UNIT[unit]
    if months < 12:
        return FIRST_DAY - 1
    if months >= 10_000 * 12:
        return DAY_AFTER_LAST
    return date(months // 12, months % 12 + 1, 1).toordinal()


class Zone:
    """A time zone's days. One object per name: ``zone("Asia/Ho_Chi_Minh")``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._info = ZoneInfo(name)
        self.day_start = lru_cache(maxsize=4096)(self._day_start)
        # UTC days on which no clock is changed, with their offset; NEVER stands for the others
        self._calm: dict[int, int] = {}
        self._last_day: tuple[int, int, int] = (0, 0, 0)

    def offset_ms(self, instant: int) -> int:
        """Local clock minus UTC at an instant; beyond the calendar's years the last known one."""
        day = instant // DAY_MS
        held = self._calm.get(day)
        if held is None:
            if len(self._calm) > _MOST_DAYS:
                self._calm.clear()
            first = self._offset_at(day * DAY_MS)
            held = self._calm[day] = first if first == self._offset_at((day + 1) * DAY_MS) else NEVER
        return held if held != NEVER else self._offset_at(instant)

    def _offset_at(self, instant: int) -> int:
        bounded = min(max(instant, (_FIRST - _EPOCH_ORDINAL) * DAY_MS), (_LAST - _EPOCH_ORDINAL) * DAY_MS)
        offset = (_UTC_EPOCH + timedelta(milliseconds=bounded)).astimezone(self._info).utcoffset()
        return 0 if offset is None else offset.days * DAY_MS + offset.seconds * 1_000

    def clock_day(self, instant: int) -> int:
        """The ordinal of the day that local clocks show at an instant."""
        return (instant + self.offset_ms(instant)) // DAY_MS + _EPOCH_ORDINAL

    def day_of(self, instant: int) -> int:
        """The last day that has started at an instant; it never goes back as time goes on."""
        day, first, end = self._last_day
        if first <= instant < end:
            return day
        day = _within(self.clock_day(instant))
        if self.day_start(_within(day + 1)) <= instant:
            day = _within(day + 1)
        elif self.day_start(day) > instant:
            day = _within(day - 1)
        if _FIRST < day < _LAST:
            self._last_day = (day, self.day_start(day), self.day_start(day + 1))
        return day

    def back(self, instant: int, duration: Duration) -> int:
        """The instant a duration before; calendar months lead to the local start of a day."""
        if duration.months:
            return self.day_start(add_months(self.day_of(instant), -duration.months))
        return instant - duration.ms

    def ahead(self, instant: int, duration: Duration) -> int:
        """The instant a duration after; calendar months lead to the local start of a day."""
        if duration.months:
            return self.day_start(add_months(self.day_of(instant), duration.months))
        return instant + duration.ms

    def when_back_reaches(self, instant: int, duration: Duration) -> int:
        """The first moment at which ``back(moment, duration) >= instant``."""
        if not duration.months:
            return instant + duration.ms
        return self._first_moment(instant, duration.months)

    def when_ahead_reaches(self, instant: int, duration: Duration) -> int:
        """The first moment at which ``ahead(moment, duration) >= instant``."""
        if not duration.months:
            return instant - duration.ms
        return self._first_moment(instant, -duration.months)

    def offsets(self, first: int, last: int) -> list[tuple[int, int]]:
        """``(cut, offset)`` pairs over a span: before ``cut`` the local clock is ``offset`` ms ahead of UTC.

        The last pair's cut is ``NEVER``. This is all the zone knowledge that generated SQL needs.
        """
        table: list[tuple[int, int]] = []
        held = self.offset_ms(first)
        step = 7 * DAY_MS
        at = first
        while at < last:
            following = min(at + step, last)
            offset = self.offset_ms(following)
            if offset != held:
                table.append((self._change_between(at, following), held))
                held = offset
            at = following
        return [*table, (NEVER, held)]

    def _first_moment(self, instant: int, months: int) -> int:
        day = self.day_of(instant)
        if self.day_start(day) < instant:
            day += 1
        day = _within(day)
        today = _in_calendar(add_months(day, months) - 4)
        while today < DAY_AFTER_LAST and add_months(today, -months) < day:
            today += 1
        return self.day_start(today) if today < DAY_AFTER_LAST else NEVER

    def _change_between(self, low: int, high: int) -> int:
        held = self.offset_ms(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset_ms(middle) == held:
                low = middle
            else:
                high = middle
        return high

    def _day_start(self, day: int) -> int:
        """Where midnight is skipped the first instant after the jump, where it comes twice the first one."""
        naive = (day - _EPOCH_ORDINAL) * DAY_MS
        if not _FIRST < day < _LAST:  # there is no arithmetic at the calendar's ends; no clock is changed there either
            return min(naive - self._offset_at(naive), (DAY_AFTER_LAST - _EPOCH_ORDINAL) * DAY_MS)
        midnight = datetime.combine(date.fromordinal(day), datetime.min.time())
        first = naive - _offset(midnight.replace(tzinfo=self._info))
        if first + self.offset_ms(first) == naive:
            return first
        low, high = naive - _offset(midnight.replace(tzinfo=self._info, fold=1)), first
        while high - low > 1:
            middle = (low + high) // 2
            if middle + self.offset_ms(middle) >= naive:
                high = middle
            else:
                low = middle
        return high


@cache
def zone(name: str) -> Zone:
    """The zone of an IANA name. Raises ``KeyError`` or ``ValueError`` for unknown names, as ``zoneinfo`` does."""
    return Zone(name)


_UTC_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _offset(moment: datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else offset.days * DAY_MS + offset.seconds * 1_000


def _within(day: int) -> int:
    """The day, or the one before or after all others."""
    return min(max(day, FIRST_DAY - 1), DAY_AFTER_LAST)


def _in_calendar(day: int) -> int:
    return min(max(day, FIRST_DAY), DAY_AFTER_LAST - 1)
