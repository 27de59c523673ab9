"""Time in rules: time operators and windows of events as integer ranges, and when each of them turns.

Both engines ask the same question: is ``low < t <= high``? The live engine also asks for the *edges* of an instant:
the moments at which the answer for it may turn by time alone (segmentation reference, sections 4 and 7).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import date, timedelta
from typing import Any

from typing_extensions import override

from hoso.model.time import DAY_MS
from hoso.segment.event_language import Absolute, BetweenAgo, Calendar, Last
from hoso.segment.operands import day_or_moment, day_range_of, duration_of
from hoso.segment.zones import ALWAYS, NEVER, Duration, Unit, Zone, unit_first_day, unit_index

Bounds = tuple[int, int]
"""``(low, high)``: an instant is inside when ``low < t <= high``."""

_UNIT_DAYS = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}


class TimeTest(ABC):
    """A time operator with its value in a zone."""

    @abstractmethod
    def bounds(self, as_of: int) -> Bounds:
        """The instants for which the operator holds at ``as_of``."""

    def edges(self, instant: int, as_of: int) -> tuple[int, ...]:  # noqa: ARG002  an operator that no time moves
        """Moments at which the answer for this instant may turn; those up to ``as_of`` are ignored by callers."""
        return ()


class FixedRange(TimeTest):
    """``before``, ``after``, ``on``: time does not change them."""

    def __init__(self, low: int, high: int) -> None:
        self._bounds = (low, high)

    @override
    def bounds(self, as_of: int) -> Bounds:
        return self._bounds


class InLast(TimeTest):
    """Not older than a duration and not in the future."""

    def __init__(self, zone: Zone, duration: Duration) -> None:
        self._zone, self._duration = zone, duration

    @override
    def bounds(self, as_of: int) -> Bounds:
        return self._zone.back(as_of, self._duration), as_of

    @override
    def edges(self, instant: int, as_of: int) -> tuple[int, ...]:
        return instant, self._zone.when_back_reaches(instant, self._duration)


class OlderThan(InLast):
    """At least a duration ago."""

    @override
    def bounds(self, as_of: int) -> Bounds:
        return ALWAYS, self._zone.back(as_of, self._duration)


class InNext(TimeTest):
    """In the future, and at most a duration away."""

    def __init__(self, zone: Zone, duration: Duration) -> None:
        self._zone, self._duration = zone, duration

    @override
    def bounds(self, as_of: int) -> Bounds:
        return as_of, self._zone.ahead(as_of, self._duration)

    @override
    def edges(self, instant: int, as_of: int) -> tuple[int, ...]:
        return instant, self._zone.when_ahead_reaches(instant, self._duration)


class LaterThan(InNext):
    """More than a duration away."""

    @override
    def bounds(self, as_of: int) -> Bounds:
        return self._zone.ahead(as_of, self._duration), NEVER


class DaysFromToday(TimeTest):
    """On one of the local days in a range that is counted from today."""

    def __init__(self, zone: Zone, first: int, last: int) -> None:
        self._zone, self._first, self._last = zone, first, last

    @override
    def bounds(self, as_of: int) -> Bounds:
        today = self._zone.day_of(as_of)
        return self._zone.day_start(today + self._first) - 1, self._zone.day_start(today + self._last + 1) - 1

    @override
    def edges(self, instant: int, as_of: int) -> tuple[int, ...]:
        day = self._zone.day_of(instant)
        return self._zone.day_start(day - self._last), self._zone.day_start(day - self._first + 1)


class Anniversary:
    """Some day in a range counted from today has the value's month and day; 29 February counts as 28 otherwise."""

    def __init__(self, zone: Zone, first: int, last: int) -> None:
        self._zone, self._first, self._last = zone, first, last

    def month_days(self, as_of: int) -> frozenset[tuple[int, int]]:
        """The (month, day) pairs that are in range at ``as_of``."""
        today = self._zone.day_of(as_of)
        return _month_days(today + self._first, today + min(self._last, self._first + 4 * 366 * 2))

    def edges(self, month_day: tuple[int, int], as_of: int) -> tuple[int, ...]:
        """Moments after ``as_of`` at which an anniversary of this day enters or leaves the range."""
        today = self._zone.day_of(as_of)
        nearest = date.fromordinal(_bounded(today + self._first)).year
        farthest = date.fromordinal(_bounded(today + self._last)).year
        moments: list[int] = []
        for year in range(nearest - 1, farthest + 3):
            day = _anniversary(year, month_day)
            moments += (day - self._last, day - self._first + 1)
        return tuple(self._zone.day_start(_bounded(day)) for day in moments if day > today)


def time_test(op: str, operand: Any, zone: Zone) -> TimeTest:
    """The time operator ``op`` (not ``anniversary``) with a checked operand."""
    if op in ("before", "after", "on"):
        kind, value = day_or_moment(operand) or ("day", 0)
        first = zone.day_start(value) if kind == "day" else value
        following = zone.day_start(value + 1) if kind == "day" else value + 1
        if op == "before":
            return FixedRange(ALWAYS, first - 1)
        return FixedRange(following - 1, NEVER) if op == "after" else FixedRange(first - 1, following - 1)
    if op == "days_from_today":
        return DaysFromToday(zone, *day_range_of(operand))
    kinds = {"in_last": InLast, "older_than": OlderThan, "in_next": InNext, "later_than": LaterThan}
    return kinds[op](zone, duration_of(operand))


class EventWindow(ABC):
    """Which instants of events a condition looks at. The default: all up to ``as_of``.

    ``open_end``: the window always reaches ``as_of``, so the newest events are the ones that count.
    """

    open_end = True
    fixed: Bounds | None = None
    """Instants outside these bounds can never count; None: no fixed bounds."""

    @property
    @abstractmethod
    def horizon_ms(self) -> int | None:
        """Events older than this can never count again; None: they always may."""

    @abstractmethod
    def bounds(self, as_of: int) -> Bounds:
        """The window at ``as_of``; its high end is never after ``as_of``."""

    @abstractmethod
    def enters(self, instant: int) -> int:
        """The moment at which an event of this instant comes into the window."""

    @abstractmethod
    def leaves(self, instant: int) -> int:
        """The moment at which it leaves; both rise with the instant."""


class EverWindow(EventWindow):
    """All up to ``as_of``."""

    @property
    @override
    def horizon_ms(self) -> int | None:
        return None

    @override
    def bounds(self, as_of: int) -> Bounds:
        return ALWAYS, as_of

    @override
    def enters(self, instant: int) -> int:
        return instant

    @override
    def leaves(self, instant: int) -> int:
        return NEVER


class LastWindow(EventWindow):
    """``(as_of - duration, as_of]``."""

    def __init__(self, zone: Zone, duration: Duration) -> None:
        self._zone, self._duration = zone, duration

    @property
    @override
    def horizon_ms(self) -> int | None:
        return self._duration.longest_ms

    @override
    def bounds(self, as_of: int) -> Bounds:
        return self._zone.back(as_of, self._duration), as_of

    @override
    def enters(self, instant: int) -> int:
        return instant

    @override
    def leaves(self, instant: int) -> int:
        return self._zone.when_back_reaches(instant, self._duration)


class ElapsedWindow(LastWindow):
    """The same for a duration that has no calendar in it: most windows of most rules, so it is short-cut."""

    def __init__(self, zone: Zone, duration: Duration) -> None:
        super().__init__(zone, duration)
        self.ms = duration.ms

    @override
    def bounds(self, as_of: int) -> Bounds:
        return as_of - self.ms, as_of

    @override
    def leaves(self, instant: int) -> int:
        return instant + self.ms


class AgoWindow(EventWindow):
    """``(as_of - far, as_of - near]``."""

    open_end = False

    def __init__(self, zone: Zone, far: Duration, near: Duration) -> None:
        self._zone, self._far, self._near = zone, far, near

    @property
    @override
    def horizon_ms(self) -> int | None:
        return self._far.longest_ms

    @override
    def bounds(self, as_of: int) -> Bounds:
        return self._zone.back(as_of, self._far), min(self._zone.back(as_of, self._near), as_of)

    @override
    def enters(self, instant: int) -> int:
        return max(instant, self._zone.when_back_reaches(instant, self._near))

    @override
    def leaves(self, instant: int) -> int:
        return self._zone.when_back_reaches(instant, self._far)


class CalendarWindow(EventWindow):
    """Whole local units of the calendar, half open, nothing after ``as_of``."""

    def __init__(self, zone: Zone, unit: Unit, back: int, count: int) -> None:
        self._zone, self._back, self._count = zone, back, count
        self._unit: Unit = unit
        self.open_end = count > back
        # the window of the unit that was asked for last: (first moment, first moment after, low, last instant)
        self._held = (0, 0, 0, 0)

    @property
    @override
    def horizon_ms(self) -> int | None:
        return ((self._back + 1) * _UNIT_DAYS[self._unit] + 2) * DAY_MS

    @override
    def bounds(self, as_of: int) -> Bounds:
        since, until, low, last = self._held
        if not since <= as_of < until:
            current = unit_index(self._zone.day_of(as_of), self._unit)
            first = current - self._back
            low, last = self._start(first) - 1, self._start(first + self._count) - 1
            self._held = (self._start(current), self._start(current + 1), low, last)
        return low, min(last, as_of)

    @override
    def enters(self, instant: int) -> int:
        return max(instant, self._start(self._index(instant) + self._back - self._count + 1))

    @override
    def leaves(self, instant: int) -> int:
        return self._start(self._index(instant) + self._back + 1)

    def _index(self, instant: int) -> int:
        return unit_index(self._zone.day_of(instant), self._unit)

    def _start(self, index: int) -> int:
        return self._zone.day_start(unit_first_day(index, self._unit))


class AbsoluteWindow(EventWindow):
    """Between two fixed instants."""

    def __init__(self, low: int, high: int) -> None:
        self.fixed = (low, high)
        self.open_end = high == NEVER
        self._low, self._high = low, high

    @property
    @override
    def horizon_ms(self) -> int | None:
        return None

    @override
    def bounds(self, as_of: int) -> Bounds:
        return self._low, min(self._high, as_of)

    @override
    def enters(self, instant: int) -> int:
        return instant if self._low < instant <= self._high else NEVER

    @override
    def leaves(self, instant: int) -> int:
        return NEVER


class SinceWindow(EventWindow):
    """From the start of another window up to ``as_of``: what later steps of a sequence may use."""

    def __init__(self, window: EventWindow) -> None:
        self._window = window
        self.fixed = None if window.fixed is None else (window.fixed[0], NEVER)

    @property
    @override
    def horizon_ms(self) -> int | None:
        return self._window.horizon_ms

    @override
    def bounds(self, as_of: int) -> Bounds:
        return self._window.bounds(as_of)[0], as_of

    @override
    def enters(self, instant: int) -> int:
        return instant

    @override
    def leaves(self, instant: int) -> int:
        return self._window.leaves(instant)


def event_window(window: Last | BetweenAgo | Calendar | Absolute | None, zone: Zone) -> EventWindow:
    """The window that a document's ``window`` describes in the segment's zone."""
    if window is None:
        return EverWindow()
    if isinstance(window, Last):
        duration = duration_of(window.last)
        return LastWindow(zone, duration) if duration.months else ElapsedWindow(zone, duration)
    if isinstance(window, BetweenAgo):
        far, near = window.between_ago
        return AgoWindow(zone, duration_of(far), duration_of(near))
    if isinstance(window, Calendar):
        return CalendarWindow(zone, window.calendar, window.back, window.count)
    low, high = ALWAYS, NEVER
    if window.start is not None:
        kind, value = day_or_moment(window.start) or ("day", 0)
        low = (zone.day_start(value) if kind == "day" else value) - 1
    if window.end is not None:
        kind, value = day_or_moment(window.end) or ("day", 0)
        high = (zone.day_start(value + 1) if kind == "day" else value) - 1
    return AbsoluteWindow(low, high)


def _month_days(first: int, last: int) -> frozenset[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    day = date.fromordinal(_bounded(first))
    end = date.fromordinal(_bounded(last))
    while day <= end:
        found.add((day.month, day.day))
        if (day.month, day.day) == (2, 28) and (day + timedelta(days=1)).month == 3:
            found.add((2, 29))
        day += timedelta(days=1)
    return frozenset(found)


def _anniversary(year: int, month_day: tuple[int, int]) -> int:
    month, day = month_day
    try:
        return date(year, month, day).toordinal()
    except ValueError:
        return date(min(max(year, 1), 9999), month, min(day, 28)).toordinal()


def _bounded(day: int) -> int:
    return min(max(day, date.min.toordinal() + 400), date.max.toordinal() - 1200)
