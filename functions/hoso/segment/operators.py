"""Operators as closures over a value (segmentation reference, section 3): compiled once, called per value.

A value of None is *missing*: every operator but ``missing`` is false for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from hoso.segment.operands import CHOICE, LIST_TESTS, ORDER, SIZE_TESTS, TEXT_TESTS, day_range_of, duration_of
from hoso.segment.timing import Anniversary, TimeTest, time_test
from hoso.segment.values import (
    boolean,
    fold_case,
    instant,
    local_month_day,
    matches_pattern,
    month_day_at,
    number,
    text,
)
from hoso.segment.zones import NEVER, Zone

ValueTest = Callable[[Any], bool]
"""Whether an operator holds for a value; time plays no part."""

TimedTest = Callable[[Any, int], tuple[bool, int]]
"""Whether an operator holds for a value at ``as_of``, and the next moment at which that may turn."""


def plain_test(op: str, operand: Any, ignore_case: bool) -> ValueTest:
    """The test of an operator that does not look at time."""
    if op == "exists":
        return lambda value: value is not None
    if op == "missing":
        return lambda value: value is None
    if op in ("is", "is_not"):
        same = equals(operand, ignore_case)
        return same if op == "is" else lambda value: value is not None and not same(value)
    if op in CHOICE:
        one_of = _one_of(operand, ignore_case)
        return one_of if op == "in" else lambda value: value is not None and not one_of(value)
    if op in ORDER or op == "between":
        return _number_test(op, operand)
    if op in TEXT_TESTS:
        return _text_test(op, operand, ignore_case)
    if op in LIST_TESTS:
        return _list_test(op, operand, ignore_case)
    if op in SIZE_TESTS:
        return _size_test(op, operand)
    raise ValueError(f"{op} looks at time")


def timed_test(op: str, operand: Any, zone: Zone, *, moments: bool = False) -> TimedTest:
    """The test of an operator that looks at time.

    ``moments``: the values are instants in milliseconds already, not numbers that are seconds when they are small.
    """
    read = _as_it_is if moments else instant
    if op == "anniversary":
        return _anniversary_test(Anniversary(zone, *day_range_of(operand)), zone, moments)
    if op in ("in_last", "older_than") and not duration_of(operand).months:
        return _elapsed_test(duration_of(operand).ms, zone, read, within=op == "in_last")
    return _range_test(time_test(op, operand, zone), zone, read)


def _as_it_is(value: Any, zone: Zone) -> int | None:  # noqa: ARG001  read like a value of an event
    return value


def compare_number(op: str, operand: Any) -> Callable[[float], bool]:
    """The comparison of a number that is there: ``is is_not in not_in lt lte gt gte between``."""
    if op == "is":
        return lambda found: found == operand
    if op == "is_not":
        return lambda found: found != operand
    if op in CHOICE:
        entries = frozenset(operand)
        return (lambda found: found in entries) if op == "in" else (lambda found: found not in entries)
    if op == "lt":
        return lambda found: found < operand
    if op == "lte":
        return lambda found: found <= operand
    if op == "gt":
        return lambda found: found > operand
    if op == "gte":
        return lambda found: found >= operand
    low, high = operand
    return lambda found: low <= found <= high


def compare_double(op: str, operand: Any) -> Callable[[float], bool]:
    """As ``compare_number``, with the numbers of the rule as doubles: a whole number of 64 bits may be none."""
    if op in CHOICE or op == "between":
        return compare_number(op, tuple(map(float, operand)))
    return compare_number(op, float(operand))


def equals(operand: Any, ignore_case: bool = False) -> ValueTest:
    """``is``: the type of the value in the rule decides the form that is compared."""
    if isinstance(operand, bool):
        return lambda value: boolean(value) is operand
    if isinstance(operand, str):
        return _text_is(operand, ignore_case)
    wanted = float(operand)
    return lambda value: number(value) == wanted


def _text_is(operand: str, ignore_case: bool) -> ValueTest:
    wanted = text(operand) or ""
    if not ignore_case:
        return lambda value: value == wanted or text(value) == wanted
    folded = fold_case(wanted)

    def same(value: Any) -> bool:
        found = text(value)
        return found is not None and fold_case(found) == folded

    return same


def _one_of(entries: Any, ignore_case: bool) -> ValueTest:
    tests = [equals(entry, ignore_case) for entry in entries if not isinstance(entry, str)]
    texts = frozenset(_folded(text(entry) or "", ignore_case) for entry in entries if isinstance(entry, str))

    def one_of(value: Any) -> bool:
        if value is None:
            return False
        if texts:
            found = text(value)
            if found is not None and _folded(found, ignore_case) in texts:
                return True
        return any(test(value) for test in tests)

    return one_of


def _folded(value: str, ignore_case: bool) -> str:
    return fold_case(value) if ignore_case else value


def _number_test(op: str, operand: Any) -> ValueTest:
    compare = compare_double(op, operand)

    def test(value: Any) -> bool:
        found = number(value)
        return found is not None and compare(found)

    return test


def _text_test(op: str, operand: str, ignore_case: bool) -> ValueTest:
    wanted = _folded(text(operand) or "", ignore_case)
    compare: Callable[[str], bool]
    if op in ("contains", "not_contains"):
        compare = (lambda found: wanted in found) if op == "contains" else (lambda found: wanted not in found)
    elif op == "starts_with":
        compare = lambda found: found.startswith(wanted)  # noqa: E731
    elif op == "ends_with":
        compare = lambda found: found.endswith(wanted)  # noqa: E731
    else:
        compare = lambda found: matches_pattern(wanted, found)  # noqa: E731

    def test(value: Any) -> bool:
        found = text(value)
        return found is not None and compare(_folded(found, ignore_case))

    return test


def entries_of(value: Any) -> list[Any] | None:
    """The entries of a list; a single value is a list of one, an object and a missing value are none."""
    if isinstance(value, list):
        return cast("list[Any]", value)
    if value is None or isinstance(value, dict):
        return None
    return [value]


def _list_test(op: str, operand: Any, ignore_case: bool) -> ValueTest:
    if op == "has_all":
        tests = [equals(entry, ignore_case) for entry in operand]

        def has_all(value: Any) -> bool:
            entries = entries_of(value)
            return entries is not None and all(any(test(entry) for entry in entries) for test in tests)

        return has_all
    one_of = _one_of(operand, ignore_case)
    wanted = op == "has_any"

    def has(value: Any) -> bool:
        entries = entries_of(value)
        return entries is not None and any(one_of(entry) for entry in entries) is wanted

    return has


def _size_test(op: str, operand: int) -> ValueTest:
    at_least = op == "size_gte"

    def test(value: Any) -> bool:
        entries = entries_of(value)
        return entries is not None and (len(entries) >= operand if at_least else len(entries) <= operand)

    return test


def _range_test(time: TimeTest, zone: Zone, read: Callable[[Any, Zone], int | None]) -> TimedTest:
    def test(value: Any, as_of: int) -> tuple[bool, int]:
        moment = read(value, zone)
        if moment is None:
            return False, NEVER
        low, high = time.bounds(as_of)
        following = NEVER
        for edge in time.edges(moment, as_of):
            if as_of < edge < following:
                following = edge
        return low < moment <= high, following

    return test


def _elapsed_test(ms: int, zone: Zone, read: Callable[[Any, Zone], int | None], *, within: bool) -> TimedTest:
    """``in_last`` (``within``) and ``older_than`` of a duration without a calendar: most of those that rules name."""

    def test(value: Any, as_of: int) -> tuple[bool, int]:
        moment = read(value, zone)
        if moment is None:
            return False, NEVER
        if moment > as_of:
            return False, moment
        turn = moment + ms
        return (within, turn) if turn > as_of else (not within, NEVER)

    return test


def _anniversary_test(anniversary: Anniversary, zone: Zone, moments: bool) -> TimedTest:
    read = month_day_at if moments else local_month_day

    def test(value: Any, as_of: int) -> tuple[bool, int]:
        found = read(value, zone)
        if found is None:
            return False, NEVER
        edges = [edge for edge in anniversary.edges(found, as_of) if edge > as_of]
        return found in anniversary.month_days(as_of), min(edges, default=NEVER)

    return test
