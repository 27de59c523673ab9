"""DuckDB over everything that is stored: the archive's Parquet files, and rows of people and deliveries."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import duckdb
import orjson

from hoso.insight.query import BadQuery, tables_of
from hoso.insight.snapshot import COLUMNS, Row, owners
from hoso.model.derived import derived, is_bot
from hoso.platform.objects import Objects
from hoso.segment.archive_files import Archive
from hoso.unify.placement import placement_of

MEMORY = "2GB"
_ARCHIVE = ("archive", "archive-compact")
_LAST_DAY = "9999-12-31"
_EVENTS = {
    **{"message_id": "VARCHAR", "type": "VARCHAR", "event": "VARCHAR"},
    **{"ts": "BIGINT", "original_ts": "BIGINT", "sent_at": "BIGINT", "received_at": "BIGINT"},
    **{"source": "VARCHAR", "hub_type": "VARCHAR", "hub_value": "VARCHAR", "ids": "VARCHAR"},
    **{"origin": "VARCHAR", "flags": "VARCHAR", "body": "VARCHAR"},
}


class Warehouse:
    """One database for one query. Use as a context manager."""

    def __init__(self) -> None:
        self._db = duckdb.connect(":memory:", config={"memory_limit": MEMORY, "threads": 2})
        self._spill = tempfile.TemporaryDirectory(prefix="sql-")
        self._db.execute("SET temp_directory = ?", [self._spill.name])

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._spill.cleanup()

    def fill(self, table: str, rows: Iterable[Row]) -> None:
        """Make a table of people or deliveries."""
        columns = COLUMNS[table]
        self._db.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        self._insert(table, len(columns), list(rows))

    def events(
        self,
        files: Sequence[Path],
        identities: Iterable[Row],
        alone: Callable[[str, str], str],
        shared: Collection[tuple[str, str]] = (),
        erased: Callable[[str, str], int | None] | None = None,
    ) -> None:
        """Make ``events`` of archive files, each message once (the copy received first), with its owner. One whose hub
        is among the ``shared`` identifiers is owned by its best identifier that is not. ``erased`` tells up to when
        (UTC ms) whoever had an identifier was erased: what happened or came up to then is left out."""
        self._db.execute(f"CREATE TABLE stored ({', '.join(f'{name} {kind}' for name, kind in _EVENTS.items())})")
        if files:
            self._db.execute(
                f"INSERT INTO stored SELECT {', '.join(_EVENTS)} FROM read_parquet(?) "  # noqa: S608  constants only
                "QUALIFY row_number() OVER "
                "(PARTITION BY source, message_id ORDER BY received_at, hub_type, hub_value) = 1",
                [[str(file) for file in files]],
            )
        if erased is not None:
            self._leave_out(erased)
        self._db.execute(
            "CREATE TABLE stand_in (source VARCHAR, message_id VARCHAR, by_type VARCHAR, by_value VARCHAR)"
        )
        if shared:
            self._stand_in(shared)
        self._db.execute(
            "CREATE VIEW placed AS SELECT stored.*, coalesce(by_type, hub_type) AS by_type, "
            "coalesce(by_value, hub_value) AS by_value FROM stored LEFT JOIN stand_in USING (source, message_id)"
        )
        self._db.create_function("derived", _derived, ["VARCHAR", "VARCHAR"], "VARCHAR")
        self._db.create_function("bot", _bot, ["VARCHAR", "VARCHAR"], "BOOLEAN")
        hubs = self._db.execute("SELECT DISTINCT by_type, by_value FROM placed").fetchall()
        self._db.execute("CREATE TABLE owners (by_type VARCHAR, by_value VARCHAR, profile_id VARCHAR)")
        self._insert("owners", 3, owners(identities, hubs, alone))
        self._db.execute(
            "CREATE VIEW events AS SELECT placed.* EXCLUDE (by_type, by_value), owners.profile_id, "
            # computed only where a query asks for it
            "derived(placed.body, placed.origin) AS derived, bot(placed.body, placed.origin) AS bot "
            "FROM placed JOIN owners USING (by_type, by_value)"
        )

    def _leave_out(self, erased: Callable[[str, str], int | None]) -> None:
        hubs = self._db.execute("SELECT DISTINCT hub_type, hub_value FROM stored").fetchall()
        gone = [(kind, value, until) for kind, value in hubs if (until := erased(kind, value)) is not None]
        self._db.execute("CREATE TABLE erased (hub_type VARCHAR, hub_value VARCHAR, until BIGINT)")
        self._insert("erased", 3, gone)
        self._db.execute(
            "DELETE FROM stored USING erased e WHERE stored.hub_type = e.hub_type AND stored.hub_value = e.hub_value "
            "AND (ts <= e.until OR received_at <= e.until)"
        )

    def _stand_in(self, shared: Collection[tuple[str, str]]) -> None:
        """Note for each event with a shared hub under which of its identifiers it stands."""
        self._db.execute("CREATE TABLE shared (hub_type VARCHAR, hub_value VARCHAR)")
        self._insert("shared", 2, list(shared))
        found = self._db.execute(
            "SELECT source, message_id, ids FROM stored SEMI JOIN shared USING (hub_type, hub_value)"
        )
        known = set(shared)
        rows: list[Row] = []
        for source, message_id, ids in found.fetchall():
            free = next((one for one in map(tuple, orjson.loads(ids or "[]")) if one not in known), None)
            if free is not None:
                rows.append((source, message_id, *free))
        self._insert("stand_in", 4, rows)

    def run(self, query: str, limit: int) -> list[dict[str, Any]]:
        """The first ``limit`` rows. Raises ``BadQuery``."""
        tables_of(query)
        # From here on the database reads no file, loads nothing and cannot be told otherwise.
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")
        try:
            found = self._db.execute(query)
            names = [column[0] for column in found.description or []]
            return [dict(zip(names, map(_plain, row), strict=True)) for row in found.fetchmany(limit)]
        except duckdb.Error as error:
            raise BadQuery(str(error).partition("\n")[0][:500]) from error

    def _insert(self, table: str, width: int, rows: list[Row]) -> None:
        if not rows:
            return
        columns = list(zip(*rows, strict=True))
        holders = ", ".join(f"unnest(?) AS c{number}" for number in range(width))
        self._db.execute(f"INSERT INTO {table} SELECT {holders}", [list(column) for column in columns])


def fetch_archive(objects: Objects, workspace: str, folder: Path) -> list[Path]:
    """Local copies of a workspace's archive files; files never change, so those that are here stay."""
    files: list[Path] = []
    if placement_of(objects, workspace) is None:
        keys = [key for part in _ARCHIVE for key in objects.keys(f"{part}/{workspace}/")]
    else:  # only the compaction tells where events stand since: files that it replaced are left out
        archive = Archive(objects, workspace)
        keys = [key for day in archive.days(_LAST_DAY) for key in archive.files(day)]
    for key in keys:
        file = folder / key.replace("/", "__")
        if not file.exists():
            fresh = file.with_suffix(".new")
            fresh.write_bytes(objects.get(key))
            fresh.rename(file)
        files.append(file)
    return files


def _derived(body: str, origin: str) -> str:
    """The JSON of what an event tells beyond its words; its connection's user agent stands in for one of its own."""
    try:
        agent: object = orjson.loads(origin).get("user_agent")
        return orjson.dumps(derived(orjson.loads(body), agent if type(agent) is str else "")).decode()
    except (AttributeError, ValueError, TypeError):
        return "{}"


def _bot(body: str, origin: str) -> bool:
    """Whether the machine that sent an event is a crawler, by its own user agent or its connection's."""
    try:
        context: object = orjson.loads(body).get("context")
        told: object = cast("dict[str, object]", context).get("userAgent") if type(context) is dict else None
        text = told if type(told) is str and told else orjson.loads(origin).get("user_agent")
        return type(text) is str and text != "" and is_bot(text)
    except (AttributeError, ValueError, TypeError):
        return False


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value)
