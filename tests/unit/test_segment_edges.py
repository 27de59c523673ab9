"""Values at the edge of what engines hold: numbers beyond a double's whole numbers, huge sums, long texts."""

from __future__ import annotations

from typing import Any

import pytest

from hoso.segment import batch
from hoso.segment.cases import run_live, run_sql

LONG_URL = "https://shop.example.vn/san-pham?" + "&".join(f"utm_{number}=zalo-thang-muoi-mot" for number in range(20))
LONG_NAME = "Áo sơ mi nam tay dài chất liệu cotton cao cấp chống nhăn màu xanh nước biển đậm " * 2
BIG = 12_345_678_901_234_567_890


@pytest.fixture(scope="module")
def database() -> Any:
    with batch.connect(256, 1) as connection:
        yield connection


def case(rule: dict[str, Any], *values: Any) -> dict[str, Any]:
    """One event a minute, each with one of the values as ``v``."""
    events = [
        {
            "message_id": f"m{number}",
            "event": "a",
            "timestamp": f"2026-11-22T02:{number:02}:00Z",
            "properties": {"v": value},
        }
        for number, value in enumerate(values)
    ]
    return {
        "id": "case",
        "segment": {"schema": "segment/1", "key": "s", "rule": {"kind": "event", "event": "a", **rule}},
        "profile": {"id": "p"},
        "events": events,
        "as_of": "2026-11-22T03:00:00Z",
    }


def measured(agg: str, op: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"measure": {"agg": agg, "of": "properties.v"}, "op": op, "value": value, **more}


@pytest.mark.parametrize(
    ("rule", "values", "member"),
    [
        # a whole number in a rule is a double, as the values are
        (measured("min", "not_in", [BIG]), [BIG], False),
        (measured("max", "is", BIG), [BIG, 5], True),
        (measured("max", "is", BIG, window={"last": "1d"}), [BIG, 5], True),
        (measured("min", "is", BIG, window={"between_ago": ["1d", "1min"]}), [BIG], True),
        # what is cut off at the greatest sum is cut off alike in the rule and in the values
        (measured("sum", "lte", 1e308), [1e300], True),
        (measured("sum", "is", -1e308), [-1e300], True),
        (measured("avg", "is_not", 1e308, window={"last": "1d"}), [1e308], False),
        (measured("avg", "between", [0.1, 1e30]), [1e30, 100], True),
        # one value alone is kept at length, and so is a text that is counted
        (measured("first", "contains", "utm_19=zalo"), [LONG_URL, "/"], True),
        (measured("last", "ends_with", "mot", window={"last": "1d"}), ["/", LONG_URL], True),
        (measured("last", "is", LONG_URL), [LONG_URL, "/"], False),
        (measured("most_frequent", "starts_with", "Áo sơ mi"), [LONG_NAME, "a", LONG_NAME], True),
    ],
)
def test_both_engines_say_the_same_at_the_edges(
    rule: dict[str, Any], values: list[Any], member: bool, database: Any
) -> None:
    live = run_live(case(rule, *values))

    assert (live.member, live.spilled) == (member, False)
    assert run_sql(case(rule, *values), database).member is member


@pytest.mark.parametrize("agg", ["first", "last"])
@pytest.mark.parametrize("window", [None, {"from": "1900-01-01"}, {"calendar": "year", "back": 70, "count": 60}])
@pytest.mark.parametrize(
    ("op", "value", "member"),
    [
        ("before", "1971-01-06", True),
        ("after", "1971-01-05", False),
        ("on", "1971-01-05", True),
        ("older_than", "37d", True),
        ("in_next", "1y", False),
        ("anniversary", {"from": 44, "to": 44}, True),
    ],
)
def test_an_event_of_a_clock_that_lost_the_year_keeps_its_instant(
    op: str, value: Any, member: bool, window: Any, agg: str, database: Any
) -> None:
    rule = {"measure": {"agg": agg, "of": "timestamp"}, "op": op, "value": value, "window": window}
    vector = case(rule, 1)
    vector["events"][0]["timestamp"] = "1971-01-05T12:00:00Z"

    assert run_live(vector).member is member
    assert run_sql(vector, database).member is member


def test_a_path_and_one_below_it_are_kept_side_by_side() -> None:
    """A filter that time moves keeps events by path; the outer value here is too large to keep."""
    below = {"kind": "prop", "path": "properties.v.at", "op": "in_last", "value": "1d"}
    above = {"kind": "prop", "path": "properties.v", "op": "exists"}
    rule = {"where": {"kind": "all", "of": [above, below]}}

    small = run_live(case(rule, {"at": "2026-11-22T01:00:00Z"}))
    large = run_live(case(rule, {"at": "2026-11-22T01:00:00Z", "note": "x" * 300}))

    assert (small.member, small.spilled) == (True, False)
    assert large.spilled
