"""The twin's clock and what it starts: schedules and the deletion of expired items.

The time is the machine's plus an offset that only grows. Functions read the same offset from a file. After a jump each
schedule that fell due runs once, with the last time at which it was due.
"""

from __future__ import annotations

import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from infra.twin.assembly import AssemblyError
from infra.twin.courier import Courier
from infra.twin.registry import Schedule

_TICK_S = 1.0
_SWEEP_MS = 600_000
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\(([^)]*)\)")
_UNITS_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_SEARCH_MINUTES = 400 * 24 * 60


class Clock:
    """The time in UTC milliseconds, and its offset in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.offset_ms = int(file.read_text() or 0) if file.exists() else 0
        self._write()

    def now_ms(self) -> int:
        """Now."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    def move(self, step_ms: int) -> None:
        """Move forwards. Raises ``ValueError`` for a step back."""
        if step_ms < 0:
            raise ValueError("the clock only goes forwards")
        self.offset_ms += step_ms
        self._write()

    def _write(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(str(self.offset_ms))
        fresh.replace(self.file)


class Ticker:
    """Starts what falls due."""

    def __init__(self, clock: Clock, schedules: list[Schedule], courier: Courier, sweep: Callable[[int], None]) -> None:
        self._clock = clock
        self._due = {schedule.arn: (schedule, due_function(schedule)) for schedule in schedules}
        self._courier = courier
        self._sweep = sweep
        self._last_ms = self._swept_ms = clock.now_ms()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="ticker")

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def tick(self) -> None:
        """Start everything that fell due since the last tick."""
        with self._lock:
            last_ms, now_ms = self._last_ms, self._clock.now_ms()
            self._last_ms = now_ms
            if now_ms - self._swept_ms >= _SWEEP_MS:
                self._swept_ms = now_ms
                # DynamoDB deletes late, never early: what a jump of the clock makes due is still there when it is asked
                self._sweep(last_ms)
            for schedule, due in self._due.values():
                at_ms = due(last_ms, now_ms)
                if at_ms is not None:
                    self._courier.post(schedule.target, filled(schedule, at_ms), schedule.arn)

    def _loop(self) -> None:
        while not self._stop.wait(_TICK_S):
            try:
                self.tick()
            except Exception:
                traceback.print_exc()


def filled(schedule: Schedule, at_ms: int) -> str:
    """The payload of a schedule with the context attributes of EventBridge Scheduler filled in."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = {
        "scheduled-time": at,
        "schedule-arn": schedule.arn,
        "execution-id": str(uuid.uuid4()),
        "attempt-number": "1",
    }
    payload = schedule.payload
    for name, value in values.items():
        payload = payload.replace(f"<aws.scheduler.{name}>", value)
    return payload


DueFunction = Callable[[int, int], int | None]
"""The last due instant in (after, until], both in ms, or None."""


def due_function(schedule: Schedule) -> DueFunction:
    """When a schedule is due. Raises ``AssemblyError`` for an expression that is not understood."""
    rate = _RATE.fullmatch(schedule.expression)
    if rate:
        every_ms = int(rate[1]) * _UNITS_MS[rate[2]]
        return lambda after, until: until // every_ms * every_ms if until // every_ms > after // every_ms else None
    cron = _CRON.fullmatch(schedule.expression)
    fields = cron[1].split() if cron else []
    if len(fields) != 6:
        raise AssemblyError(f"schedule {schedule.name}: {schedule.expression} is not understood")
    return _cron_function(fields, ZoneInfo(schedule.zone))


def _cron_function(fields: list[str], zone: ZoneInfo) -> DueFunction:
    minutes = _numbers(fields[0], 0, 59)
    hours = _numbers(fields[1], 0, 23)
    days = _numbers(fields[2], 1, 31)
    months = _numbers(fields[3], 1, 12, _MONTHS)
    weekdays = _numbers(fields[4], 1, 7, _DAYS)
    years = _numbers(fields[5], 1970, 2199)

    def due(after: int, until: int) -> int | None:
        first = max(after // 60_000 + 1, until // 60_000 - _SEARCH_MINUTES)
        moment = datetime.fromtimestamp(until // 60_000 * 60, zone)
        for minute in range(until // 60_000, first - 1, -1):
            clock_fits = moment.minute in minutes and moment.hour in hours
            # EventBridge counts weekdays from Sunday = 1.
            day_fits = moment.day in days and moment.isoweekday() % 7 + 1 in weekdays
            if clock_fits and day_fits and moment.month in months and moment.year in years:
                return minute * 60_000
            moment = (moment.astimezone(UTC) - timedelta(minutes=1)).astimezone(zone)
        return None

    return due


def _numbers(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    """The values of one cron field: ``*``, ``?``, lists, ranges, steps, names."""
    chosen: set[int] = set()
    for part in field.upper().split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        else:
            ends = [names.index(end) + low if end in names else int(end) for end in span.split("-")]
            first, last = ends[0], ends[-1] if len(ends) > 1 or not step else high
        chosen.update(range(first, last + 1, int(step or 1)))
    return chosen
