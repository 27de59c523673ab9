"""The batch engine on DuckDB: people and events as tables, one statement for all segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from hoso.segment.language import Segment
from hoso.segment.person import PersonState, RuleEvent
from hoso.segment.sql.compiler import compile_batch
from hoso.segment.sql.duckdb import DuckDb

if TYPE_CHECKING:
    import duckdb

PROFILE_COLUMNS = (
    "profile_id VARCHAR, split_id VARCHAR, deleted BOOLEAN, traits VARCHAR, trait_since VARCHAR, identifiers VARCHAR, "
    "lists VARCHAR, consent VARCHAR, suppressed VARCHAR, scores VARCHAR"
)
EVENT_COLUMNS = "profile_id VARCHAR, message_id VARCHAR, event VARCHAR, ts BIGINT, received_at BIGINT, body VARCHAR"


def connect(memory_mb: int = 1_024, threads: int = 2) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory. DuckDB is loaded here: only batch work pays for it."""
    import duckdb as engine

    connection = engine.connect(":memory:")
    connection.execute(f"SET memory_limit = '{int(memory_mb)}MB'")
    connection.execute(f"SET threads = {int(threads)}")
    return connection


def profile_row(person: PersonState) -> tuple[Any, ...]:
    """A person as a row of the ``profiles`` relation."""
    return (
        person.id,
        person.split_id,
        person.deleted,
        _json(person.traits),
        _json(person.trait_since),
        _json({kind: list(values) for kind, values in person.identifiers.items()}),
        _json(list(person.lists)),
        _json(person.consent),
        _json(list(person.suppressed)),
        _json({name: {"value": score.value, "at": score.at} for name, score in person.scores.items()}),
    )


def event_row(profile_id: str, event: RuleEvent) -> tuple[Any, ...]:
    """An event of a person as a row of the ``events`` relation."""
    return profile_id, event.message_id, event.name, event.ts, event.received_at, _json(event.body)


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Empty relations ``profiles`` and ``events``."""
    connection.execute(f"CREATE OR REPLACE TABLE profiles ({PROFILE_COLUMNS})")
    connection.execute(f"CREATE OR REPLACE TABLE events ({EVENT_COLUMNS})")


def fill_tables(
    connection: duckdb.DuckDBPyConnection, people: Iterable[PersonState], events: Iterable[tuple[str, RuleEvent]]
) -> None:
    """Add people, and events with the id of their person."""
    profile_rows = [profile_row(person) for person in people]
    event_rows = [event_row(profile_id, event) for profile_id, event in events]
    if profile_rows:
        connection.executemany("INSERT INTO profiles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", profile_rows)
    if event_rows:
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", event_rows)


def members(
    connection: duckdb.DuckDBPyConnection, segments: Sequence[Segment], as_of: int, keys: Sequence[str] | None = None
) -> dict[str, set[str]]:
    """The members of each segment at ``as_of``, from the relations of the connection."""
    batch = compile_batch(segments, as_of, DuckDb(), keys=keys)
    found: dict[str, set[str]] = {key: set() for key in batch.columns}
    for row in connection.execute(batch.sql()).fetchall():
        for key, member in zip(batch.columns, row[1:], strict=True):
            if member:
                found[key].add(row[0])
    return found


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
