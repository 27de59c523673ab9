"""Forms of values, and operators over values of every type (reliability R23)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from hoso.segment.operators import plain_test, timed_test
from hoso.segment.values import (
    boolean,
    fold_case,
    getter,
    instant,
    matches_pattern,
    millionths,
    number,
    parse_moment,
    text,
)
from hoso.segment.zones import zone

UTC = zone("UTC")
VALUES: list[Any] = [
    *(None, "", "x", "5", " 5", "007", "1e3", "1e400", "true", "True", "2026-11-22", "2026-02-30"),
    *("2026-11-22T10:00Z", 0, 5, -1, 1.5, 1e300, 10**30, -(10**30), 2**63, True, False),
    *([], [1, "x", None, {}], {}, {"lat": 1}, float("inf"), float("nan"), "\x00", "e\u0301" * 50),
]
OPERANDS: dict[str, Any] = {
    **dict.fromkeys(["exists", "missing"]),
    **dict.fromkeys(["is", "is_not"], "x"),
    **{op: ["x", 5, True] for op in ("in", "not_in", "has_any", "has_all", "has_none")},
    **dict.fromkeys(["lt", "lte", "gt", "gte"], 5),
    "between": [1, 5],
    **dict.fromkeys(["contains", "not_contains", "starts_with", "ends_with", "matches"], "x"),
    **dict.fromkeys(["size_gte", "size_lte"], 1),
}
TIMED: dict[str, Any] = {
    **dict.fromkeys(["before", "after", "on"], "2026-11-22"),
    **dict.fromkeys(["in_last", "in_next", "older_than", "later_than"], "1mo"),
    **{op: {"from": -1, "to": 1} for op in ("days_from_today", "anniversary")},
}


@pytest.mark.parametrize("op", OPERANDS)
def test_r23_a_rule_never_raises_whatever_a_trait_holds(op: str) -> None:
    for value, ignore_case in itertools.product(VALUES, (False, True)):
        found = plain_test(op, OPERANDS[op], ignore_case)(value)
        assert found is True or found is False
        if value is None:
            assert found is (op == "missing")


@pytest.mark.parametrize("op", TIMED)
@pytest.mark.parametrize("place", ["UTC", "Asia/Ho_Chi_Minh", "America/Havana"])
def test_r23_a_time_rule_never_raises_whatever_a_trait_holds(op: str, place: str) -> None:
    test = timed_test(op, TIMED[op], zone(place))
    for value in VALUES:
        holds, until = test(value, 1_795_316_400_000)
        assert holds in (True, False)
        assert until > 1_795_316_400_000


def test_exactly_one_of_the_four_relative_operators_holds_for_every_instant() -> None:
    as_of = 1_795_316_400_000
    tests = [timed_test(op, "1mo", UTC) for op in ("in_last", "in_next", "older_than", "later_than")]
    for value in range(as_of - 40 * 86_400_000, as_of + 40 * 86_400_000, 43_199_999):
        assert sum(test(value, as_of)[0] for test in tests) == 1


@pytest.mark.parametrize(
    ("value", "forms"),
    [
        ("5", ("5", 5.0, None)),
        (5, ("5", 5.0, None)),
        (5.0, (None, 5.0, None)),
        ("5.0", ("5.0", 5.0, None)),
        (True, ("true", None, True)),
        ("true", ("true", None, True)),
        ("1e400", ("1e400", None, None)),
        ("e\u0301", ("é", None, None)),
        (2**64, (None, 1.8446744073709552e19, None)),
        ([], (None, None, None)),
    ],
)
def test_forms(value: Any, forms: tuple[Any, ...]) -> None:
    assert (text(value), number(value), boolean(value)) == forms


@pytest.mark.parametrize(
    ("spelt", "found"),
    [
        ("2026-11-22T03:00Z", 1_795_316_400_000),
        ("2026-11-22 03:00:00.1239+00:00", 1_795_316_400_123),
        ("2026-11-22T10:00:00+0700", 1_795_316_400_000),
        ("2026-11-22T17:00:00+14:00", 1_795_316_400_000),
        *((bad, None) for bad in ("2026-11-22T24:00", "2026-11-22T03:60", "2026-11-22T03:00:60", "2026-11-22T3:00")),
        *(
            (bad, None)
            for bad in ("2026-11-22T03:00+14:01", "2026-11-22T03:00+07:60", "2026-11-22t03:00z", "٢٠٢٦-11-22")
        ),
    ],
)
def test_instants(spelt: str, found: int | None) -> None:
    assert parse_moment(spelt) == found
    assert instant(spelt, UTC) == found


def test_paths() -> None:
    start = {"a": {"b.c": {"d": 1}}, "x": "text", "l": [{"d": 1}]}

    assert getter(r"a.b\.c.d")(start) == 1
    assert [getter(path)(start) for path in ("a.b", "x.y", "l.0", "l.d", "nope")] == [None] * 5


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [("*", "", True), ("a*b?", "axxbbc", True), ("a*b?", "ab", False), ("?", "é", True), ("*a*a*a*", "aa", False)],
)
def test_patterns(pattern: str, value: str, fits: bool) -> None:
    assert matches_pattern(pattern, value) is fits


def test_a_hostile_pattern_costs_little() -> None:
    assert not matches_pattern("*a" * 30 + "*b", "a" * 5_000)


def test_case_folds_character_by_character() -> None:
    assert fold_case("İSTANBUL ΟΔΟΣ ẞ") == "istanbul οδοσ ß"


def test_millionths_are_exact_and_bounded() -> None:
    assert [millionths(value) for value in (0.1, 0.2, 0.3, -0.0000005, 1e300, -1e300)] == [
        *(100_000, 200_000, 300_000, 0, int(1e30), -int(1e30))
    ]
