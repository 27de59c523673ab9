"""Conditions on events as SQL: one grouped scan per set of event names, an aggregate with a filter per measure.

``EventScan`` collects what all conditions on the same names ask for. It becomes the common table expressions
``<name>_rows`` (the forms of each event, extracted once), ``<name>`` (one row per person), and one small grouped
query for each measure that needs a second level of grouping.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from hoso.segment.aggregates import threshold
from hoso.segment.event_language import Active, FirstLast, Measure, MostFrequent, Percentile, Where
from hoso.segment.language import EventMeasure
from hoso.segment.operators import compare_number
from hoso.segment.sql.build import (
    Sql,
    alias,
    both,
    call,
    cast,
    column,
    compare,
    double,
    filtered,
    integer,
    one_of,
    ordered,
    over,
    plus,
    present,
    sure,
    text,
    times,
)
from hoso.segment.sql.comparisons import local_clock, number_sql, test_sql, where_sql, whole_days
from hoso.segment.sql.dialect import Dialect
from hoso.segment.sql.scopes import Columns, InPlace, Moment, Scope
from hoso.segment.timing import Bounds, event_window
from hoso.segment.values import millionths
from hoso.segment.zones import ALWAYS, NEVER, Zone

PERSON, INSTANT, MESSAGE, NAME, BODY = "profile_id", "ts", "message_id", "event", "body"
_WEEK_SHIFT = 3
"""1970-01-01 was a Thursday: the day number plus 3 starts weeks on Monday."""


@dataclass(slots=True)
class Grouped:
    """A query with one row per person and one value ``v``, for a measure that groups twice."""

    name: str
    query: exp.Select


@dataclass
class EventScan:
    """All conditions on one set of event names (None: all events)."""

    dialect: Dialect
    name: str
    names: tuple[str, ...] | None
    as_of: int
    columns: Columns = field(init=False)
    aggregates: dict[str, tuple[str, Sql]] = field(default_factory=dict[str, tuple[str, Sql]])
    further: dict[str, Grouped] = field(default_factory=dict[str, Grouped])

    def __post_init__(self) -> None:
        self.columns = Columns(self.dialect, "doc")

    @property
    def rows(self) -> str:
        """Name of the query with one row per event."""
        return f"{self.name}_rows"

    def condition(self, rule: EventMeasure, zone: Zone) -> Sql:
        """The condition on the joined row of a person; the person may have no such events at all."""
        bounds = event_window(rule.window, zone).bounds(self.as_of)
        fits = self.fits(rule.where, bounds, zone)
        measure, op = rule.measure, rule.op
        if op is None:
            return number_sql("gt", 0, self._counted(fits, exp.Count(this=exp.Star())), integer)
        if isinstance(measure, (FirstLast, MostFrequent)):
            found = (
                self._end(measure, fits)
                if isinstance(measure, FirstLast)
                else InPlace(self.dialect, self._most_frequent(measure, fits))
            )
            return test_sql(op, rule.value, rule.ignore_case, found, "", zone, self.as_of)
        if measure.agg == "count":
            return self._count(op, rule, self._counted(fits, exp.Count(this=exp.Star())))
        if isinstance(measure, Active):
            return self._count(op, rule, self._active(measure, fits, bounds, zone))
        if measure.agg == "unique":
            return self._count(op, rule, self._unique(measure.of, fits))
        return sure(self._of_numbers(measure, op, rule, fits))

    def value(self, measure: Measure, where: Where | None, window: Any, zone: Zone) -> Sql:
        """The value on the joined row of a person: sums in millionths, values of events as JSON, else numbers."""
        bounds = event_window(window, zone).bounds(self.as_of)
        fits = self.fits(where, bounds, zone)
        if isinstance(measure, FirstLast):
            return self._end(measure, fits).form("", "json")
        if isinstance(measure, MostFrequent):
            return self._most_frequent(measure, fits)
        if measure.agg == "count":
            return self._counted(fits, exp.Count(this=exp.Star()))
        if isinstance(measure, Active):
            return self._active(measure, fits, bounds, zone)
        if measure.agg == "unique":
            return self._unique(measure.of, fits)
        if isinstance(measure, Percentile):
            return self._percentile(measure, fits)
        if measure.agg in ("sum", "avg"):
            total, size = self._sum(measure.of, fits)
            if measure.agg == "sum":
                return call("COALESCE", total, integer(0))
            numbers = cast(call("NULLIF", size, integer(0)), "DOUBLE")
            return exp.Div(this=exp.Div(this=cast(total, "DOUBLE"), expression=double(1e6)), expression=numbers)
        return self._extreme(measure.agg, measure.of, fits)

    def fits(self, where: Where | None, bounds: Bounds, zone: Zone) -> Sql:
        """Which rows of the scan a condition looks at."""
        low, high = bounds
        parts: list[Sql] = []
        if low > ALWAYS:
            parts.append(compare("gt", column(INSTANT), integer(low)))
        if high < self.as_of:
            parts.append(compare("lte", column(INSTANT), integer(high)))
        if where is not None:
            parts.append(where_sql(where, self.columns, zone, self.as_of))
        return both(parts) if parts else exp.true()

    def tables(self, source: str) -> list[tuple[str, exp.Select]]:
        """The common table expressions of this scan, in order."""
        plain = [column(name) for name in (PERSON, INSTANT, MESSAGE, NAME)]
        inner = exp.select(*plain, alias(self.dialect.document(column(BODY)), "doc")).from_(source)
        if self.names is not None:
            inner = inner.where(one_of(column(NAME), [text(name) for name in self.names]))
        values = [alias(value, name) for name, value in self.columns.values().items()]
        middle = exp.select(*plain, *values).from_(inner.subquery("documents"))
        forms = [alias(form, name) for name, form in self.columns.forms().items()]
        outer = exp.select(exp.Star(), *forms).from_(middle.subquery("found"))
        tables = [(self.rows, outer)]
        if self.aggregates:
            figures = [alias(value, name) for name, value in self.aggregates.values()]
            tables.append((self.name, exp.select(column(PERSON), *figures).from_(self.rows).group_by(column(PERSON))))
        return [*tables, *((grouped.name, grouped.query) for grouped in self.further.values())]

    def joins(self) -> list[str]:
        """Names of the queries with one row per person."""
        return [*([self.name] if self.aggregates else []), *(grouped.name for grouped in self.further.values())]

    def _count(self, op: str, rule: EventMeasure, count: Sql) -> Sql:
        # beyond the threshold all counts compare alike, and a literal must not exceed the engine's integers
        if threshold(op, rule.value) > 1 << 53:
            return exp.true() if compare_number(op, rule.value)(0) else exp.false()
        return number_sql(op, rule.value, cast(count, "DOUBLE"), double)

    def _counted(self, fits: Sql, aggregate: Sql) -> Sql:
        return call("COALESCE", self._figure(filtered(aggregate, fits)), integer(0))

    def _figure(self, aggregate: Sql) -> Sql:
        name, _ = self.aggregates.setdefault(aggregate.sql(self.dialect.name), (f"m{len(self.aggregates)}", aggregate))
        return column(name, self.name)

    def _of_numbers(self, measure: Measure, op: str, rule: EventMeasure, fits: Sql) -> Sql:
        assert not isinstance(measure, (Active, FirstLast, MostFrequent)) and measure.agg != "count"  # noqa: S101
        if measure.agg in ("sum", "avg"):
            total, size = self._sum(measure.of, fits)

            def literal(value: float) -> Sql:
                return integer(millionths(float(value)))

            if measure.agg == "sum":
                return number_sql(op, rule.value, call("COALESCE", total, integer(0)), literal)

            def share(value: float) -> Sql:
                return times(cast(literal(value), self.dialect.wide), size)

            return both([compare("gt", call("COALESCE", size, integer(0)), integer(0)),
                         number_sql(op, rule.value, total, share)])  # fmt: skip
        if isinstance(measure, Percentile):
            return number_sql(op, rule.value, self._percentile(measure, fits), double)
        return number_sql(op, rule.value, self._extreme(measure.agg, measure.of, fits), double)

    def _unique(self, of: str, fits: Sql) -> Sql:
        return self._counted(fits, exp.Count(this=exp.Distinct(expressions=[self.columns.form(of, "text")])))

    def _sum(self, of: str, fits: Sql) -> tuple[Sql, Sql]:
        """The sum in millionths, and of how many numbers it is."""
        number = self.columns.form(of, "number")
        total = self._figure(filtered(exp.Sum(this=self.dialect.millionths(number)), fits))
        return total, self._figure(filtered(exp.Count(this=number.copy()), fits))

    def _extreme(self, agg: str, of: str, fits: Sql) -> Sql:
        pick = exp.Min if agg == "min" else exp.Max
        return self._figure(filtered(pick(this=self.columns.form(of, "number")), fits))

    def _percentile(self, measure: Percentile, fits: Sql) -> Sql:
        number = self.columns.form(measure.of, "number")
        listed = self._figure(filtered(self.dialect.sorted_list(number), both([fits, present(number)])))
        place = exp.IntDiv(
            this=plus(times(integer(measure.p), self.dialect.length(listed)), integer(99)), expression=integer(100)
        )
        return self.dialect.entry(listed, cast(place, "BIGINT"))

    def _end(self, measure: FirstLast, fits: Sql) -> Scope:
        """The value in the first or last event that has one."""
        last = measure.agg == "last"
        if measure.of == "timestamp":
            pick = exp.Max if last else exp.Min
            return Moment(self.dialect, self._figure(filtered(pick(this=column(INSTANT)), fits)))
        value = self.columns.form(measure.of, "json")
        keys = [column(INSTANT), column(MESSAGE)]
        aggregate = filtered(self.dialect.value_at_end(value, keys, last=last), both([fits, present(value)]))
        return InPlace(self.dialect, self._figure(aggregate))

    def _active(self, measure: Active, fits: Sql, bounds: Bounds, zone: Zone) -> Sql:
        low = bounds[0] if bounds[0] > ALWAYS else -(1 << 60)
        day = whole_days(local_clock(zone, column(INSTANT), low, min(bounds[1], NEVER)))
        unit = day
        if measure.unit == "week":
            shifted = cast(plus(day, integer(_WEEK_SHIFT)), "DOUBLE")
            unit = cast(call("FLOOR", exp.Div(this=shifted, expression=double(7.0))), "BIGINT")
        elif measure.unit == "month":
            date = self.dialect.date(day)
            unit = plus(times(call("YEAR", date), integer(12)), call("MONTH", date))
        if measure.min_each == 1:
            return self._counted(fits, exp.Count(this=exp.Distinct(expressions=[unit])))
        units = (
            exp.select(column(PERSON), alias(unit, "unit"), alias(exp.Count(this=exp.Star()), "n"))
            .from_(self.rows)
            .where(fits)
            .group_by(column(PERSON), unit.copy())
        )
        enough = compare("gte", column("n"), integer(measure.min_each))
        query = (
            exp.select(column(PERSON), alias(exp.Count(this=exp.Star()), "v"))
            .from_(units.subquery("units"))
            .where(enough)
            .group_by(column(PERSON))
        )
        return call("COALESCE", self._further(query), integer(0))

    def _most_frequent(self, measure: MostFrequent, fits: Sql) -> Sql:
        form = self.columns.form(measure.of, "text")
        counts = (
            exp.select(column(PERSON), alias(form, "v"), alias(exp.Count(this=exp.Star()), "n"))
            .from_(self.rows)
            .where(both([fits, present(form)]))
            .group_by(column(PERSON), form.copy())
        )
        place = over(call("ROW_NUMBER"), [column(PERSON)], ordered((column("n"), True), (column("v"), False)))
        ranked = exp.select(exp.Star(), alias(place, "place")).from_(counts.subquery("counts"))
        enough = both(
            [compare("is", column("place"), integer(1)), compare("gte", column("n"), integer(measure.min_count))]
        )
        query = exp.select(column(PERSON), column("v")).from_(ranked.subquery("ranked")).where(enough)
        # the operators look at JSON values: a text becomes one again
        return self.dialect.json_text(self._further(query))

    def _further(self, query: exp.Select) -> Sql:
        key = query.sql(self.dialect.name)
        grouped = self.further.setdefault(key, Grouped(f"{self.name}_by{len(self.further)}", query))
        return column("v", grouped.name)
