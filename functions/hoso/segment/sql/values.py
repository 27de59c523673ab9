"""Values of measures by SQL: a row per person, a column per measure. The scans are those of conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlglot import exp

from hoso.segment.event_language import Measure, Where
from hoso.segment.sql.build import Sql, alias, both, call, column, compare, integer, present
from hoso.segment.sql.comparisons import local_clock, whole_days
from hoso.segment.sql.dialect import Dialect
from hoso.segment.sql.measures import BODY, INSTANT, MESSAGE, NAME, PERSON, EventScan
from hoso.segment.timing import event_window
from hoso.segment.zones import NEVER, Zone


class Asked(NamedTuple):
    """A measure of events whose value is wanted."""

    names: tuple[str, ...]
    where: Where | None
    window: Any
    measure: Measure
    zone: Zone


def compile_values(asked: Sequence[Asked], as_of: int, dialect: Dialect, *, events: str, people: str) -> str:
    """A statement: ``profile_id``, ``v0``… in the order of ``asked`` (see ``EventScan.value`` for their forms).

    ``events`` must hold each message of a person once.
    """
    scans: dict[tuple[str, ...], EventScan] = {}
    columns: list[Sql] = []
    for place, one in enumerate(asked):
        names = ("*",) if "*" in one.names else tuple(sorted(set(one.names)))
        scan = scans.get(names)
        if scan is None:
            wanted = None if names == ("*",) else names
            scan = scans[names] = EventScan(dialect, f"e{len(scans)}", wanted, as_of)
        columns.append(alias(scan.value(one.measure, one.where, one.window, one.zone), f"v{place}"))
    final = exp.select(column(PERSON, "p"), *columns).from_(exp.to_table(people).as_("p"))
    tables: list[tuple[str, exp.Select]] = [("happened", happened(events, as_of))]
    for scan in scans.values():
        tables += scan.tables("happened")
        for name in scan.joins():
            same = compare("is", column(PERSON, name), column(PERSON, "p"))
            final = final.join(exp.to_table(name), on=same, join_type="left")
    for name, query in tables:
        inline = False if name == "happened" and dialect.inlines else None
        final = final.with_(name, as_=query, copy=False, materialized=inline)
    return final.sql(dialect=dialect.name)


class Rows(NamedTuple):
    """Events that are wanted one by one: of these names, that meet the filter in the window.

    ``of`` and ``form``: the value they are wanted for (None: 1). Of the paths ``keys`` the first
    that is there tells equal ones by its text form.
    """

    names: tuple[str, ...]
    zone: Zone
    where: Where | None = None
    window: Any = None
    of: str | None = None
    form: str = "number"
    keys: tuple[str, ...] = ()


def compile_rows(rows: Rows, as_of: int, dialect: Dialect, *, events: str) -> str:
    """A statement: ``profile_id, ts, message_id, event, day, v, k``. ``day`` is the local day since 1970.

    Events without the value are left out; ``k`` is NULL where the key is not there.
    """
    scan = EventScan(dialect, "e0", None if "*" in rows.names else tuple(sorted(set(rows.names))), as_of)
    low, high = event_window(rows.window, rows.zone).bounds(as_of)
    fits = scan.fits(rows.where, (low, high), rows.zone)
    value: Sql = integer(1) if rows.of is None else scan.columns.form(rows.of, rows.form)
    found = [scan.columns.form(path, "text") for path in rows.keys]
    key: Sql = call("COALESCE", *found) if len(found) > 1 else found[0] if found else exp.Null()
    clock = local_clock(rows.zone, column(INSTANT), max(low, -(1 << 60)), min(high, NEVER))
    plain = [column(name) for name in (PERSON, INSTANT, MESSAGE, NAME)]
    final = (
        exp.select(*plain, alias(whole_days(clock), "day"), alias(value, "v"), alias(key, "k"))
        .from_(scan.rows)
        .where(both([fits, present(value.copy())]))
    )
    for name, query in [("happened", happened(events, as_of)), *scan.tables("happened")]:
        inline = False if name == "happened" and dialect.inlines else None
        final = final.with_(name, as_=query, copy=False, materialized=inline)
    return final.sql(dialect=dialect.name)


def happened(events: str, as_of: int) -> exp.Select:
    """The events that count at ``as_of``, of a source that holds each message once."""
    moments = [compare("lte", column(name), integer(as_of)) for name in ("received_at", INSTANT)]
    return (
        exp.select(*[column(name) for name in (PERSON, MESSAGE, NAME, INSTANT, BODY)])
        .from_(events)
        .where(both(moments))
    )
