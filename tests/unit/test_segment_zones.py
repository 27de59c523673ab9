"""Local days and calendar arithmetic against plain searching, in zones that do odd things."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from hoso.model.time import DAY_MS
from hoso.segment.zones import NEVER, Duration, add_months, parse_duration, unit_first_day, unit_index, zone
from tests import segment_oracle as oracle
from tests.segment_random import ZONES

ODD = [*ZONES, "Pacific/Apia", "America/Sao_Paulo", "Asia/Kathmandu", "Asia/Beirut"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_durations() -> None:
    assert parse_duration("15min") == Duration(ms=900_000)
    assert parse_duration("2y") == Duration(months=24)
    assert [parse_duration(text) for text in ("", "d", "1", "1D", "-1d", "1.5d", "01d", "1234567d", None, 7)] == [
        None
    ] * 10


@pytest.mark.parametrize("name", ODD)
def test_a_day_starts_where_a_search_finds_it(name: str) -> None:
    draw = random.Random(name)
    for _ in range(60):
        day = date(2009, 1, 1) + timedelta(days=draw.randint(0, 9_000))
        if (name, day) == ("Pacific/Apia", date(2011, 12, 30)):
            continue  # this day never was
        assert zone(name).day_start(day.toordinal()) == oracle.start(day, name), day


def test_a_day_that_never_was_starts_with_the_next_one() -> None:
    samoa = zone("Pacific/Apia")

    assert samoa.day_start(date(2011, 12, 30).toordinal()) == samoa.day_start(date(2011, 12, 31).toordinal())


@pytest.mark.parametrize("name", ODD)
def test_days_and_boundaries_never_go_back(name: str) -> None:
    """The moment at which a boundary reaches an instant is exact: one millisecond before it has not."""
    draw = random.Random(name)
    here = zone(name)
    for _ in range(150):
        moment = 1_300_000_000_000 + draw.randint(0, 5_000) * DAY_MS // 4 + draw.choice([0, 1, -1])
        assert here.day_start(here.day_of(moment)) <= moment < here.day_start(here.day_of(moment) + 1)
        for duration in map(parse_duration, ("36h", "1mo", "2mo", "13mo", "1y")):
            assert duration is not None
            first = here.when_back_reaches(moment, duration)
            assert here.back(first, duration) >= moment > here.back(first - 1, duration)
            first = here.when_ahead_reaches(moment, duration)
            assert here.ahead(first, duration) >= moment > here.ahead(first - 1, duration)


@pytest.mark.parametrize("name", ODD)
def test_the_offset_table_says_what_the_zone_says(name: str) -> None:
    here = zone(name)
    first, last = 1_300_000_000_000, 1_700_000_000_000
    table = here.offsets(first, last)

    assert table[-1][0] == NEVER
    draw = random.Random(name)
    for moment in [draw.randint(first, last) for _ in range(200)] + [cut for cut, _ in table[:-1]]:
        assert next(offset for cut, offset in table if moment < cut) == here.offset_ms(moment)


@pytest.mark.parametrize("unit", ["day", "week", "month", "quarter", "year"])
def test_every_day_lies_in_its_unit(unit: str) -> None:
    for day in range(date(2023, 12, 1).toordinal(), date(2025, 2, 1).toordinal()):
        index = unit_index(day, unit)  # type: ignore[arg-type]
        assert unit_first_day(index, unit) <= day < unit_first_day(index + 1, unit)  # type: ignore[arg-type]


def test_the_ends_of_the_calendar_are_no_crash() -> None:
    hanoi = zone("Asia/Ho_Chi_Minh")
    for moment in (-(1 << 62), -(10**15), 10**15, 1 << 62):
        hanoi.day_start(hanoi.day_of(moment))
        hanoi.back(moment, Duration(months=12_000_000))
        hanoi.when_ahead_reaches(moment, Duration(months=12_000_000))
    assert date.fromordinal(add_months(date(2026, 3, 31).toordinal(), -1)) == date(2026, 2, 28)


def test_a_jump_over_midnight_starts_the_day_where_it_lands() -> None:
    """In Toronto 1919 the clock went from 23:30 to 00:30: the day began half an hour after midnight that never was."""
    day = date(1919, 3, 31)

    assert zone("America/Toronto").day_start(day.toordinal()) == oracle.start(day, "America/Toronto")
