"""The recipes that count and list: measures, days since, unique lists, trends, affinity, rank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hoso.segment.event_language import Count, FirstLast, MostFrequent, NumberMeasure
from hoso.segment.sql.duckdb import DuckDb
from hoso.segment.sql.values import Asked, Rows, compile_values
from hoso.segment.traits.language import Affinity, ComputedTrait, DaysSince, MeasureTrait, Rank, Trend, UniqueList
from hoso.segment.traits.made import EVENTS, Bench
from hoso.segment.zones import parse_duration, zone

_ISO = "to_json(strftime(make_timestamp_ms({0}::BIGINT), '%Y-%m-%dT%H:%M:%S.%gZ'))::VARCHAR"


def measures(bench: Bench, definitions: Sequence[ComputedTrait]) -> None:
    """All measures at once, one scan per set of event names. A count of nothing is not stored."""
    if not definitions:
        return
    asked: list[Asked] = []
    for definition in definitions:
        recipe = definition.of
        assert isinstance(recipe, MeasureTrait)  # noqa: S101
        where = zone(definition.timezone)
        asked.append(Asked(recipe.event, recipe.where, recipe.window, recipe.measure, where))
        asked.append(Asked(recipe.event, recipe.where, recipe.window, Count(agg="count"), where))
    statement = compile_values(asked, bench.as_of, DuckDb(), events=EVENTS, people="profiles")
    bench.database.execute(f"CREATE OR REPLACE TEMP TABLE measured AS {statement}")
    for place, definition in enumerate(definitions):
        recipe = definition.of
        assert isinstance(recipe, MeasureTrait)  # noqa: S101
        bench.put_from(
            f"SELECT profile_id, ?, 'trait', {_json(recipe, f'v{2 * place}')}, "  # noqa: S608  names made here
            f"json_object('events', v{2 * place + 1})::VARCHAR FROM measured "
            f"WHERE v{2 * place} IS NOT NULL AND v{2 * place + 1} > 0",
            [definition.key],
        )


def days_since(bench: Bench, definition: ComputedTrait, recipe: DaysSince) -> None:
    """Whole local days from the first or last event to now."""
    where = zone(definition.timezone)
    bench.rows("wanted", Rows(recipe.event, where, recipe.where))
    pick = "min" if recipe.which == "first" else "max"
    bench.put_from(
        f"SELECT profile_id, ?, 'trait', (? - {pick}(day))::VARCHAR, "  # noqa: S608
        f"json_object('events', count(*), 'at', {pick}(ts))::VARCHAR FROM wanted GROUP BY profile_id",
        [definition.key, where.day_of(bench.as_of) - _EPOCH_ORDINAL],
    )


def unique_list(bench: Bench, definition: ComputedTrait, recipe: UniqueList) -> None:
    """Different texts, newest first."""
    rows = Rows(recipe.event, zone(definition.timezone), recipe.where, recipe.window, recipe.of, "text")
    bench.rows("wanted", rows)
    bench.put_from(
        "SELECT profile_id, ?, 'trait', to_json(list(v ORDER BY newest DESC)[1:?])::VARCHAR, "
        "json_object('different', count(*))::VARCHAR FROM (SELECT profile_id, v, max((ts, message_id)) AS newest "
        "FROM wanted GROUP BY ALL) GROUP BY profile_id",
        [definition.key, recipe.most],
    )


def trend(bench: Bench, definition: ComputedTrait, recipe: Trend) -> None:
    """Slope of the values from event to event, as a share of their mean."""
    rows = Rows(recipe.event, zone(definition.timezone), recipe.where, recipe.window, recipe.of, "number")
    bench.rows("wanted", rows)
    bench.put_from(
        "SELECT profile_id, ?, 'trait', round(regr_slope(v, x) / abs(avg(v)), 4)::VARCHAR, "
        "json_object('values', count(*), 'mean', avg(v))::VARCHAR FROM (SELECT profile_id, v, "
        "row_number() OVER (PARTITION BY profile_id ORDER BY ts, message_id) AS x FROM wanted) "
        "GROUP BY profile_id HAVING count(*) >= ? AND avg(v) <> 0",
        [definition.key, recipe.least],
    )


def affinity(bench: Bench, definition: ComputedTrait, recipe: Affinity) -> None:
    """The favoured value and its share; ties go to the first in code point order."""
    from hoso.segment.event_language import Last

    names = tuple(sorted(recipe.weights))
    rows = Rows(names, zone(definition.timezone), None, Last(last=recipe.window), recipe.of, "text")
    bench.rows("wanted", rows)
    half_life = parse_duration(recipe.half_life)
    assert half_life is not None  # noqa: S101  the language has checked it
    bench.database.execute("CREATE OR REPLACE TEMP TABLE weights (event VARCHAR, weight DOUBLE)")
    bench.database.execute(
        "INSERT INTO weights SELECT unnest(?), unnest(?)", [list(names), [recipe.weights[name] for name in names]]
    )
    bench.database.execute(
        "CREATE OR REPLACE TEMP TABLE favoured AS SELECT profile_id, "
        "list((v, weight) ORDER BY weight DESC, v)[1:5] AS top, "
        "sum(weight) AS whole FROM (SELECT profile_id, v, sum(weight * pow(0.5, (? - ts)::DOUBLE / ?)) AS weight "
        "FROM wanted JOIN weights USING (event) GROUP BY ALL) GROUP BY profile_id",
        [bench.as_of, max(half_life.ms, 1)],
    )
    reason = (
        "json_object('favoured', list_transform(top, lambda one: "
        "{'value': one[1], 'share': round(one[2] / whole, 4)}))::VARCHAR"
    )
    favoured = f"SELECT profile_id, ?, 'trait', to_json(top[1][1])::VARCHAR, {reason} FROM favoured"  # noqa: S608
    bench.put_from(favoured, [definition.key])
    bench.put_from(
        "SELECT profile_id, ?, 'trait', round(top[1][2] / whole, 4)::VARCHAR, 'null' FROM favoured",
        [f"{definition.key}_share"],
    )


def rank(bench: Bench, definition: ComputedTrait, recipe: Rank) -> None:
    """``floor(100 · (rank − 1) / n)`` over everybody who has the value: 90 and more is the top tenth."""
    bench.put_from(
        "SELECT profile_id, ?, 'trait', "
        "(100 * (rank() OVER (ORDER BY number) - 1) // count(*) OVER ())::BIGINT::VARCHAR, "
        "json_object('of', ?, 'value', number)::VARCHAR FROM "
        "(SELECT profile_id, try_cast(value AS DOUBLE) AS number FROM made WHERE name = ?) WHERE number IS NOT NULL",
        [definition.key, recipe.of, recipe.of],
    )


def by_kind(definitions: Iterable[ComputedTrait], kind: type) -> list[ComputedTrait]:
    """The definitions with this kind of recipe."""
    return [definition for definition in definitions if isinstance(definition.of, kind)]


def _json(recipe: MeasureTrait, column: str) -> str:
    """A measure's column (``EventScan.value``) as JSON text."""
    measure = recipe.measure
    if isinstance(measure, FirstLast) and measure.of == "timestamp":
        return _ISO.format(column)
    if isinstance(measure, (FirstLast, MostFrequent)):
        return f"{column}::VARCHAR"
    if isinstance(measure, NumberMeasure) and measure.agg == "sum":
        whole = f"({column} // 1000000)::VARCHAR"
        return f"CASE WHEN {column} % 1000000 = 0 THEN {whole} ELSE to_json({column}::DOUBLE / 1e6)::VARCHAR END"
    return f"to_json({column})::VARCHAR"


_EPOCH_ORDINAL = 719_163
"""``date(1970, 1, 1).toordinal()``: days of events count from 1970, those of zones from the year 1."""
