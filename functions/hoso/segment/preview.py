"""What a rule would mean before it is switched on: its size now and over the past, examples, overlap, differences.

All by the batch engine over a picture of the people. Moments of the past are asked with the traits, consent and
identities of the picture: only the events are those of the past, by their own time whenever they were received (an
imported history has a curve too), and whoever shows it says so.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from hoso.model.time import DAY_MS, format_instant
from hoso.segment.batch import connect
from hoso.segment.check import leaves
from hoso.segment.language import EventMeasure, InSegment, Segment
from hoso.segment.language import Sequence as Steps
from hoso.segment.nightly_tables import make_distinct, make_views
from hoso.segment.picture import Picture
from hoso.segment.sql.compiler import compile_batch
from hoso.segment.sql.duckdb import DuckDb

if TYPE_CHECKING:
    import duckdb

EXAMPLES = 20
HISTORY_DAYS = 90
HISTORY_STEP_DAYS = 10
MOST_OVERLAPS = 20

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a new document changes: who would enter, who would leave, and how many the former one holds."""

    before: int
    after: int
    enter: int
    leave: int
    entering: Sequence[Json]
    leaving: Sequence[Json]

    @property
    def share(self) -> float:
        """Changed people as a share of the former size (1 where it was empty and anybody changes)."""
        changed = self.enter + self.leave
        return changed / self.before if self.before else float(changed > 0)


def preview(segment: Segment, known: Mapping[str, Segment], picture: Picture, as_of: int, *, history: bool) -> Json:
    """Size, share, twenty members, overlap with stored memberships, and with ``history`` the sizes of 90 days.

    Raises:
        InvalidSegment: a reference leads nowhere.
    """
    segments = _needed(segment, known)
    with _opened(picture, _names(segments)) as database:
        _answer(database, "answers", segments, {segment.key: "member"}, as_of)
        size, people = _row(database, "SELECT count(*) FILTER (WHERE member), count(*) FROM answers")
        found: Json = {
            "size": size,
            "people": people,
            "as_of": format_instant(as_of),
            "people_at": format_instant(picture.people_at),
            "examples": _examples(database, "member"),
            "overlap": _overlap(database, segment.key, size),
        }
        if history:
            found["history"] = list(_history(database, segments, segment.key, as_of))
            found["history_note"] = "past sizes by past events and today's traits, consent and identities"
        return found


def difference(
    former: Segment, fresh: Segment, known: Mapping[str, Segment], picture: Picture, as_of: int
) -> Difference:
    """Who enters and who leaves when ``fresh`` takes the place of ``former``.

    Raises:
        InvalidSegment: a reference leads nowhere.
    """
    # one statement answers for both: each gets a key of its own, which no other segment refers to
    pair = [former.model_copy(update={"key": "former"}), fresh.model_copy(update={"key": "fresh"})]
    others = [other for segment in pair for other in _needed(segment, known) if other.key not in ("former", "fresh")]
    segments = [*pair, *{other.key: other for other in others}.values()]
    with _opened(picture, _names(segments)) as database:
        _answer(database, "answers", segments, {"former": "old", "fresh": "new"}, as_of)
        before, after, enter, leave = _row(
            database,
            "SELECT count(*) FILTER (WHERE old), count(*) FILTER (WHERE new), count(*) FILTER (WHERE new AND NOT old), "
            "count(*) FILTER (WHERE old AND NOT new) FROM answers",
        )
        return Difference(
            before, after, enter, leave, _examples(database, "new AND NOT old"), _examples(database, "old AND NOT new")
        )


def _needed(segment: Segment, known: Mapping[str, Segment]) -> list[Segment]:
    """The segment with all that it refers to, as far as they are known."""
    found = {segment.key: segment}
    waiting = [segment]
    while waiting:
        for leaf in leaves(waiting.pop().rule):
            if isinstance(leaf, InSegment) and leaf.key not in found and leaf.key in known:
                found[leaf.key] = known[leaf.key]
                waiting.append(known[leaf.key])
    return list(found.values())


def _names(segments: Sequence[Segment]) -> list[str] | None:
    """The names of the events that the rules look at; None: all."""
    names: set[str] = set()
    for segment in segments:
        for leaf in leaves(segment.rule):
            if isinstance(leaf, EventMeasure):
                names |= set(leaf.event)
            elif isinstance(leaf, Steps):
                names |= {name for step in leaf.steps for name in step.event}
    return None if "*" in names else sorted(names)


@contextmanager
def _opened(picture: Picture, names: list[str] | None) -> Generator[duckdb.DuckDBPyConnection]:
    """A database of the picture, with the events of these names once at hand for all questions."""
    with connect() as database:
        database.execute(f"SET temp_directory = '{picture.people.parent}'")
        make_views(database, picture.events, picture.people, picture.fragments)
        if names is None:
            database.execute("CREATE VIEW named AS FROM events")
        else:
            database.execute("CREATE TABLE named AS FROM events WHERE event IN (SELECT unnest(?))", [names])
        make_distinct(database, "named")
        database.execute("CREATE VIEW by_time AS SELECT * REPLACE (ts AS received_at) FROM named_distinct")
        yield database
    # the names of tables and columns below are made here; documents reach the database as compiled expressions only


def _answer(
    database: duckdb.DuckDBPyConnection,
    table: str,
    segments: list[Segment],
    columns: Mapping[str, str],
    as_of: int,
    events: str = "named_distinct",
) -> None:
    batch = compile_batch(segments, as_of, DuckDb(), keys=list(columns), events=events, distinct_events=True)
    picks = ", ".join(f"{batch.columns[key]} AS {name}" for key, name in columns.items())
    database.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT profile_id, {picks} FROM ({batch.sql()})")  # noqa: S608


def _history(database: duckdb.DuckDBPyConnection, segments: list[Segment], key: str, as_of: int) -> Iterator[Json]:
    for days in range(HISTORY_DAYS, -1, -HISTORY_STEP_DAYS):
        moment = as_of - days * DAY_MS
        _answer(database, "past", segments, {key: "member"}, moment, "by_time")
        (size,) = _row(database, "SELECT count(*) FILTER (WHERE member) FROM past")
        yield {"at": format_instant(moment), "size": size}


def _examples(database: duckdb.DuckDBPyConnection, condition: str) -> list[Json]:
    found = database.execute(
        f"SELECT profile_id, traits FROM answers JOIN profiles USING (profile_id) WHERE {condition} "  # noqa: S608
        "ORDER BY profile_id LIMIT ?",
        [EXAMPLES],
    ).fetchall()
    return [{"profile_id": pid, **_shown(orjson.loads(traits))} for pid, traits in found]


def _shown(traits: Mapping[str, Any]) -> Json:
    names = ("name", "firstName", "lastName", "email", "phone")
    return {name: traits[name] for name in names if isinstance(traits.get(name), str)}


def _overlap(database: duckdb.DuckDBPyConnection, key: str, size: int) -> list[Json]:
    """Other segments, by the memberships that are stored, that hold members too: most shared first."""
    found = database.execute(
        "WITH held AS (SELECT profile_id, unnest(json_keys(memberships)) AS segment FROM profiles) "
        "SELECT segment, count(*) AS size, count(*) FILTER (WHERE member) AS shared FROM held "
        "JOIN answers USING (profile_id) WHERE segment <> ? GROUP BY 1 HAVING shared > 0 "
        "ORDER BY shared DESC, segment LIMIT ?",
        [key, MOST_OVERLAPS],
    ).fetchall()
    return [
        {"segment": segment, "size": other, "shared": shared, "share": round(shared / size, 4)}
        for segment, other, shared in found
    ]


def _row(database: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = database.execute(query).fetchone()
    return row if row is not None else ()
