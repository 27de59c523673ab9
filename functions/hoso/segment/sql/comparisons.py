"""Operators of the rule language as SQL (segmentation reference, section 3): every answer is true or false."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlglot import exp

from hoso.segment.event_language import Item, Prop, Where, WhereAll, WhereNot
from hoso.segment.operands import CHOICE, LIST_TESTS, ORDER, SIZE_TESTS, TEXT_TESTS, TIME_OPERATORS, day_range_of
from hoso.segment.sql.build import (
    Sql,
    absent,
    both,
    call,
    case,
    compare,
    double,
    either,
    integer,
    no,
    one_of,
    plus,
    present,
    sure,
    text,
)
from hoso.segment.sql.scopes import InPlace, Scope
from hoso.segment.timing import Anniversary, time_test
from hoso.segment.values import fold_case
from hoso.segment.values import text as text_form
from hoso.segment.zones import ALWAYS, DAY_AFTER_LAST, FIRST_DAY, NEVER, Zone

EPOCH_ORDINAL = 719_163
_OFFSETS_FROM, _OFFSETS_TO = -2_208_988_800_000, 7_258_118_400_000
"""Zone changes from 1900 to 2200 are written out; outside the nearest offset holds."""


def where_sql(where: Where, scope: Scope, zone: Zone, as_of: int) -> Sql:
    """A filter of events."""
    if isinstance(where, Prop):
        return test_sql(where.op, where.value, where.ignore_case, scope, where.path, zone, as_of)
    if isinstance(where, Item):
        dialect = scope.dialect

        def fits(entry: Sql) -> Sql:
            inner = where_sql(where.where, InPlace(dialect, entry), zone, as_of)
            return both([sure(dialect.is_kind(entry, "object")), inner])

        return sure(dialect.any_entry(scope.form(where.list, "json"), fits))
    if isinstance(where, WhereNot):
        return no(where_sql(where.of, scope, zone, as_of))
    parts = [where_sql(part, scope, zone, as_of) for part in where.of]
    return both(parts) if isinstance(where, WhereAll) else either(parts)


def test_sql(op: str, operand: Any, ignore_case: bool, scope: Scope, path: str, zone: Zone, as_of: int) -> Sql:
    """Any operator on the value at a path."""
    value = scope.form(path, "json")
    if op == "exists":
        return present(value)
    if op == "missing":
        return absent(value)
    if op in ("is", "is_not"):
        same = equals_sql(operand, ignore_case, scope, path)
        return same if op == "is" else both([present(value), no(same)])
    if op in CHOICE:
        found = _one_of(operand, ignore_case, scope, path)
        return found if op == "in" else both([present(value), no(found)])
    if op in ORDER or op == "between":
        return sure(number_sql(op, operand, scope.form(path, "number"), double))
    if op in TEXT_TESTS:
        return sure(_text_test(op, operand, ignore_case, scope, path))
    if op in LIST_TESTS:
        return _list_test(op, operand, ignore_case, scope, value)
    if op in SIZE_TESTS:
        return sure(_size_test(op, operand, scope, value))
    if op == "anniversary":
        return sure(_anniversary(operand, scope, path, zone, as_of))
    if op in TIME_OPERATORS:
        return sure(_in_range(op, operand, scope, path, zone, as_of))
    raise ValueError(f"no operator {op}")


def number_sql(op: str, operand: Any, number: Sql, literal: Callable[[Any], Sql]) -> Sql:
    """A comparison of a number that may be NULL: ``is is_not in not_in lt lte gt gte between``."""
    if op == "between":
        low, high = operand
        return both([compare("gte", number, literal(low)), compare("lte", number, literal(high))])
    if op in CHOICE:
        found = one_of(number, [literal(entry) for entry in operand])
        return found if op == "in" else no(found)
    return compare(op, number, literal(operand))


def equals_sql(operand: Any, ignore_case: bool, scope: Scope, path: str) -> Sql:
    """``is``: the type of the value in the rule decides the form that is compared."""
    if isinstance(operand, bool):
        return sure(compare("is", scope.form(path, "boolean"), exp.true() if operand else exp.false()))
    if isinstance(operand, str):
        return sure(compare("is", scope.form(path, _text(ignore_case)), _literal(operand, ignore_case)))
    return sure(compare("is", scope.form(path, "number"), double(operand)))


def local_clock(zone: Zone, instant: Sql, low: int = _OFFSETS_FROM, high: int = _OFFSETS_TO) -> Sql:
    """What local clocks show at an instant between two bounds, in ms; the zone's changes are written out."""
    table = [(cut, offset) for cut, offset in _offsets(zone) if cut > low]
    branches: list[tuple[Sql, Sql]] = []
    for cut, offset in table:
        if cut >= NEVER or cut > high:
            shift = case(branches, integer(offset)) if branches else integer(offset)
            return plus(instant, shift)
        branches.append((compare("lt", instant, integer(cut)), integer(offset)))
    raise ValueError("an offset table ends with NEVER")


@lru_cache(maxsize=256)
def _offsets(zone: Zone) -> list[tuple[int, int]]:
    return zone.offsets(_OFFSETS_FROM, _OFFSETS_TO)


def _text(ignore_case: bool) -> str:
    return "folded" if ignore_case else "text"


def _literal(operand: str, ignore_case: bool) -> Sql:
    form = text_form(operand) or ""
    return text(fold_case(form) if ignore_case else form)


def _one_of(operand: Any, ignore_case: bool, scope: Scope, path: str) -> Sql:
    parts: list[Sql] = []
    texts = [_literal(entry, ignore_case) for entry in operand if isinstance(entry, str)]
    if texts:
        parts.append(one_of(scope.form(path, _text(ignore_case)), texts))
    truths = dict.fromkeys(entry for entry in operand if isinstance(entry, bool))
    parts += [equals_sql(truth, ignore_case, scope, path) for truth in truths]
    numbers = [double(entry) for entry in operand if not isinstance(entry, (bool, str))]
    if numbers:
        parts.append(one_of(scope.form(path, "number"), numbers))
    return either([sure(part) for part in parts])


def _text_test(op: str, operand: str, ignore_case: bool, scope: Scope, path: str) -> Sql:
    value = scope.form(path, _text(ignore_case))
    literal = _literal(operand, ignore_case)
    if op in ("contains", "not_contains"):
        found = scope.dialect.contains(value, literal)
        return found if op == "contains" else no(found)
    if op == "starts_with":
        return call("STARTS_WITH", value, literal)
    if op == "ends_with":
        return scope.dialect.ends_with(value, literal.name)
    escaped = "".join("\\" + character if character in "%_\\" else character for character in literal.name)
    pattern = text(escaped.replace("*", "%").replace("?", "_"))
    return exp.Escape(this=exp.Like(this=value.copy(), expression=pattern), expression=text("\\"))


def _list_test(op: str, operand: Any, ignore_case: bool, scope: Scope, value: Sql) -> Sql:
    dialect = scope.dialect

    def any_is(entries: Any) -> Sql:
        def test(entry: Sql) -> Sql:
            return _one_of(entries, ignore_case, InPlace(dialect, entry), "")

        return case(
            [(dialect.is_kind(value, "list"), sure(dialect.any_entry(value, test))),
             (dialect.is_kind(value, "object"), exp.null())],
            case([(present(value), test(value))]),
        )  # fmt: skip

    if op == "has_all":
        return both([sure(any_is([entry])) for entry in operand])
    found = any_is(operand)
    return sure(found) if op == "has_any" else sure(no(found))


def _size_test(op: str, operand: int, scope: Scope, value: Sql) -> Sql:
    dialect = scope.dialect
    size = case(
        [
            (dialect.is_kind(value, "list"), dialect.size(value)),
            (dialect.is_kind(value, "object"), exp.null()),
            (present(value), integer(1)),
        ]
    )
    return compare("gte" if op == "size_gte" else "lte", size, integer(operand))


def _in_range(op: str, operand: Any, scope: Scope, path: str, zone: Zone, as_of: int) -> Sql:
    low, high = time_test(op, operand, zone).bounds(as_of)
    day, moment = scope.form(path, "day"), scope.form(path, "instant")
    by_day: list[Sql] = []
    by_moment: list[Sql] = []
    if low > ALWAYS:
        by_day.append(compare("gt", day, integer(zone.day_of(low) - EPOCH_ORDINAL)))
        by_moment.append(compare("gt", moment, integer(low)))
    if high < NEVER:
        by_day.append(compare("lte", day, integer(zone.day_of(high) - EPOCH_ORDINAL)))
        by_moment.append(compare("lte", moment, integer(high)))
    return case([(present(day), both(by_day)), (present(moment), both(by_moment))])


def _anniversary(operand: Any, scope: Scope, path: str, zone: Zone, as_of: int) -> Sql:
    wanted = sorted(Anniversary(zone, *day_range_of(operand)).month_days(as_of))
    day = scope.form(path, "day")

    def of_moment(moment: Sql) -> Sql:
        """The local day of an instant that lies in the years of the calendar."""
        after = compare("gte", moment, integer(zone.day_start(FIRST_DAY)))
        inside = both([after, compare("lt", moment, integer(zone.day_start(DAY_AFTER_LAST)))])
        return case([(inside, whole_days(local_clock(zone, moment)))])

    def is_wanted(date: Sql) -> Sql:
        number = plus(exp.Mul(this=call("MONTH", date), expression=integer(100)), call("DAY", date))
        return one_of(number, [integer(month * 100 + day) for month, day in wanted])

    local = scope.dialect.let(scope.form(path, "instant"), of_moment)
    return scope.dialect.let(scope.dialect.date(case([(present(day), day)], local)), is_wanted)


def whole_days(local: Sql) -> Sql:
    """The day number of a local clock reading."""
    share = exp.Div(this=exp.Cast(this=local.copy(), to=exp.DataType.build("DOUBLE")), expression=double(86_400_000.0))
    return exp.Cast(this=call("FLOOR", share), to=exp.DataType.build("BIGINT"))
