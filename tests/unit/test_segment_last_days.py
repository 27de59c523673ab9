"""The end of the calendar: the last days of year 9999 are as long as others, and after them there is no change."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest

from hoso.segment import batch
from hoso.segment.check import read_segment
from hoso.segment.live import compile_live
from hoso.segment.values import AFTER_LAST_MS
from hoso.segment.zones import DAY_AFTER_LAST, NEVER, Duration, zone
from tests import segment_oracle as oracle
from tests.segment_random import ZONES, person_of

AS_OF = 1_795_316_400_000
LAST = date.max
PLACES = [*ZONES, "Pacific/Kiritimati", "Pacific/Pago_Pago"]


@pytest.mark.parametrize("place", PLACES)
def test_the_last_days_start_and_end_as_local_clocks_say(place: str) -> None:
    for back in range(5):
        day = LAST - timedelta(days=back)
        first = zone(place).day_start(day.toordinal())
        assert first == oracle.start(day, place)
        assert zone(place).day_start(day.toordinal() + 1) == oracle.over(day, place)
        assert [zone(place).day_of(first + step) - day.toordinal() for step in (-1, 0, 1)] == [-1, 0, 0]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_lies_after_the_greatest_instant(place: str) -> None:
    where = zone(place)

    assert where.day_start(DAY_AFTER_LAST) <= AFTER_LAST_MS
    assert where.day_of(AFTER_LAST_MS) == where.day_of(AFTER_LAST_MS + 10**9) == DAY_AFTER_LAST
    assert where.ahead(AS_OF, Duration(months=12 * 9_000)) == where.day_start(DAY_AFTER_LAST)
    assert where.when_back_reaches(where.day_start(LAST.toordinal()), Duration(months=1)) == NEVER


VALUES: list[Any] = [
    *("9999-12-29", "9999-12-30", "9999-12-31", "9999-12-30T21:59:59.999Z", "9999-12-30T22:00Z", "9999-12-31T09:59Z"),
    *("9999-12-31T21:59:59.999Z", "9999-12-31T22:00Z", "9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    *(253_402_300_800_000, 253_402_304_400_000),
]
TESTS: list[dict[str, Any]] = [
    *({"op": op, "value": f"9999-12-{day}"} for op in ("before", "after", "on") for day in (29, 30, 31)),
    *({"op": op, "value": span} for op in ("in_next", "later_than") for span in ("1y", "95676mo", "95677mo")),
    {"op": "anniversary", "value": {"from": 37, "to": 39}},
]


@pytest.mark.parametrize("place", ["Africa/Cairo", "UTC", "America/New_York", "Asia/Ho_Chi_Minh"])
def test_both_engines_and_brute_force_say_the_same_of_the_last_days(place: str) -> None:
    documents = {
        f"t{number}": {
            "schema": "segment/1",
            "key": f"t{number}",
            "timezone": place,
            "rule": {"kind": "trait", "name": "a", **test},
        }
        for number, test in enumerate(TESTS)
    }
    segments = [read_segment(json.loads(json.dumps(document))) for document in documents.values()]
    rules = compile_live(segments)
    bare: dict[str, Any] = {"trait_since": {}, "scores": {}}
    people = [{"id": f"p{number}", "traits": {"a": value}, **bare} for number, value in enumerate(VALUES)]
    want = {
        key: {one["id"] for one in people if oracle.member(document, documents, one, [], AS_OF)}
        for key, document in documents.items()
    }

    live: dict[str, set[str]] = {key: set() for key in documents}
    for one in people:
        for key, verdict in rules.evaluate(person_of(one), AS_OF).items():
            live[key] |= {one["id"]} if verdict.member else set()
            assert verdict.until is None or AS_OF < verdict.until < AFTER_LAST_MS
    with batch.connect(256, 1) as connection:
        batch.create_tables(connection)
        batch.fill_tables(connection, [person_of(one) for one in people], [])
        by_sql = batch.members(connection, segments, AS_OF)

    assert live == want
    assert by_sql == want
