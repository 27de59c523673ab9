"""All computed traits and scores of everybody at an instant: one pass of recipes, then what differs from the stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from hoso.model.time import DAY_MS
from hoso.segment.traits import customers, lookalike, propensity, simple
from hoso.segment.traits.language import (
    Affinity,
    ComputedTrait,
    DaysSince,
    Lifetime,
    Lookalike,
    MeasureTrait,
    Propensity,
    Rank,
    Rfm,
    Trend,
    UniqueList,
)
from hoso.segment.traits.made import Bench, NotEnoughData, make_table

if TYPE_CHECKING:
    import duckdb

FRESH_MS = 7 * DAY_MS
"""A score that stays the same is stored anew after this time, so that ``max_age`` can tell it from a forgotten one."""

_PATCHED_AT_ONCE = 10_000

Json = dict[str, Any]
_Make = Callable[[Bench, ComputedTrait, Any], None]

_RECIPES: Mapping[type, _Make] = {
    DaysSince: simple.days_since,
    UniqueList: simple.unique_list,
    Trend: simple.trend,
    Affinity: simple.affinity,
    Rank: simple.rank,
    Rfm: customers.rfm,
    Lifetime: customers.lifetime,
    Propensity: propensity.propensity,
    Lookalike: lookalike.lookalike,
}
"""Measures are not among them: all of them are made at once, before the others."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """What has to be stored for a person: name → ``{"kind", "value", "revision", "reason"}``; value None takes away."""

    profile_id: str
    values: Mapping[str, Json]


def compute(database: duckdb.DuckDBPyConnection, definitions: Sequence[ComputedTrait], as_of: int) -> Json:
    """Fill the table ``made`` from ``profiles`` and ``events_distinct``; answers the report per definition.

    A definition whose model has too little to learn from makes nothing, and its report says why.
    """
    make_table(database)
    report: Json = {}
    named = simple.by_kind(definitions, MeasureTrait)
    simple.measures(Bench(database, as_of), named)
    for definition in [*named, *(one for one in definitions if not isinstance(one.of, (MeasureTrait, Rank)))]:
        report[definition.key] = _made(database, definition, as_of)
    for definition in simple.by_kind(definitions, Rank):
        report[definition.key] = _made(database, definition, as_of)
    return report


def _made(database: duckdb.DuckDBPyConnection, definition: ComputedTrait, as_of: int) -> Json:
    bench, recipe = Bench(database, as_of), definition.of
    make = _RECIPES.get(type(recipe))
    try:
        if make is not None:
            make(bench, definition, recipe)
    except NotEnoughData as error:
        return {"values": 0, "withheld": str(error)}
    held = database.execute("SELECT count(*) FROM made WHERE name IN (SELECT unnest(?))", [list(definition.outputs)])
    row = held.fetchone()
    return {"values": row[0] if row else 0, **bench.report}


def changes(
    database: duckdb.DuckDBPyConnection, revisions: Mapping[str, str], withheld: Sequence[str], as_of: int
) -> Iterator[Fresh]:
    """The people whose stored values (column ``computed`` of ``profiles``) differ from the table ``made``.

    ``revisions`` name the definition's revision of every output. Values of ``withheld`` outputs stay as they are; those
    of names that nothing makes any more are taken away.
    """
    found = database.execute(
        "SELECT coalesce(p.profile_id, m.profile_id), p.computed, m.made FROM profiles p LEFT JOIN "
        "(SELECT profile_id, json_group_object(name, json_object('kind', kind, 'value', value::JSON, "
        "'reason', reason::JSON))::VARCHAR AS made FROM made GROUP BY 1) m USING (profile_id) "
        "WHERE m.made IS NOT NULL OR p.computed <> '{}' ORDER BY 1"
    )
    kept = frozenset(withheld)
    while rows := found.fetchmany(5_000):
        for pid, stored, made in rows:
            fresh = _differences(orjson.loads(stored), orjson.loads(made) if made else {}, revisions, kept, as_of)
            if fresh:
                yield Fresh(pid, fresh)


def _differences(
    stored: Json, made: Json, revisions: Mapping[str, str], withheld: frozenset[str], as_of: int
) -> dict[str, Json]:
    """``stored``: name → [kind, value, at, revision]."""
    fresh: dict[str, Json] = {}
    for name, entry in made.items():
        held = stored.get(name)
        revision = revisions.get(name, "")
        if (
            held is None
            or [held[0], held[1], held[3]] != [entry["kind"], entry["value"], revision]
            or (entry["kind"] == "score" and as_of - held[2] >= FRESH_MS)
        ):
            fresh[name] = {**entry, "revision": revision}
    for name, held in stored.items():
        if name not in made and name not in withheld and held[1] is not None:
            fresh[name] = {"kind": held[0], "value": None, "reason": None, "revision": revisions.get(name, "")}
    return fresh


def patched(database: duckdb.DuckDBPyConnection, fresh: Iterable[Fresh], as_of: int) -> None:
    """Replace the view ``profiles`` by a table in which these people have their fresh traits and scores."""
    database.execute("CREATE OR REPLACE TEMP TABLE patches (profile_id VARCHAR, traits VARCHAR, scores VARCHAR)")
    waiting = ((one.profile_id, *_patches(one, as_of)) for one in fresh)
    found = False
    while rows := list(islice(waiting, _PATCHED_AT_ONCE)):
        found = True
        database.execute(
            "INSERT INTO patches SELECT unnest(?), unnest(?), unnest(?)", [[row[n] for row in rows] for n in range(3)]
        )
    if not found:
        return
    merged = ", ".join(
        f"CASE WHEN n.{name} IS NULL THEN p.{name} ELSE json_merge_patch(p.{name}::JSON, n.{name}::JSON)::VARCHAR END "
        f"AS {name}"
        for name in ("traits", "scores")
    )
    database.execute(
        f"CREATE TABLE profiles_now AS SELECT p.* REPLACE ({merged}) FROM profiles p LEFT JOIN patches n "  # noqa: S608
        "USING (profile_id)"
    )
    database.execute("CREATE OR REPLACE VIEW profiles AS FROM profiles_now")


def _patches(fresh: Fresh, as_of: int) -> tuple[str, str]:
    traits: Json = {}
    scores: Json = {}
    for name, entry in fresh.values.items():
        value = entry["value"]
        if entry["kind"] == "score":
            scores[name] = None if value is None else {"value": value, "at": as_of}
        else:
            traits[name] = value
    return orjson.dumps(traits).decode(), orjson.dumps(scores).decode()
