"""The table of what the recipes make, and the one place where they write to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from hoso.platform.columns import columns
from hoso.segment.sql.duckdb import DuckDb
from hoso.segment.sql.values import Rows, compile_rows

if TYPE_CHECKING:
    import duckdb

EVENTS = "events_distinct"
_CHUNK = 50_000

Row = tuple[str, str, str, Any, Any]
"""Profile id, name, kind (``trait`` or ``score``), value, reason."""


class NotEnoughData(Exception):
    """A model has too little to learn from; the text says what is missing. Its definition makes nothing this time."""


@dataclass(slots=True)
class Bench:
    """What a recipe works with: a database with ``profiles`` and ``events_distinct``, the instant, and its report."""

    database: duckdb.DuckDBPyConnection
    as_of: int
    report: dict[str, Any] = field(default_factory=dict[str, Any])

    def rows(self, name: str, rows: Rows, as_of: int | None = None) -> None:
        """A table of the events that a recipe looks at."""
        statement = compile_rows(rows, self.as_of if as_of is None else as_of, DuckDb(), events=EVENTS)
        self.database.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {statement}")

    def columns(self, query: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        """The answer of a query as numpy arrays by column."""
        return columns(self.database.execute(query, list(parameters)))

    def put(self, rows: Iterable[Row]) -> None:
        """Add values to the table ``made``; a value that is None is none."""
        waiting: list[Row] = []
        for row in rows:
            if row[3] is not None:
                waiting.append(row)
            if len(waiting) >= _CHUNK:
                self._insert(waiting)
        self._insert(waiting)

    def put_from(self, query: str, parameters: Sequence[Any] = ()) -> None:
        """Add the rows of a query ``profile_id, name, kind, value, reason`` (the last two are JSON text)."""
        self.database.execute(f"INSERT INTO made {query}", list(parameters))

    def _insert(self, waiting: list[Row]) -> None:
        if not waiting:
            return
        columns = [
            *[[row[place] for row in waiting] for place in range(3)],
            *[[orjson.dumps(row[place]).decode() for row in waiting] for place in (3, 4)],
        ]
        self.database.execute("INSERT INTO made SELECT unnest(?), unnest(?), unnest(?), unnest(?), unnest(?)", columns)
        waiting.clear()


def make_table(database: duckdb.DuckDBPyConnection) -> None:
    """The empty table ``made``."""
    database.execute(
        "CREATE OR REPLACE TABLE made (profile_id VARCHAR, name VARCHAR, kind VARCHAR, value VARCHAR, reason VARCHAR)"
    )
