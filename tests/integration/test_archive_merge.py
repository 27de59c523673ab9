"""Compaction of archive files: each message of a source once."""

from __future__ import annotations

from pathlib import Path

import duckdb

from hoso.collect.archive import Columns
from hoso.collect.parquet import parquet_file
from hoso.model.record import Event, Record
from hoso.segment.archive_files import merge_files

NOW = 1_795_358_100_000


def archived(folder: Path, name: str, source: str, received_at: int) -> Path:
    """A file with one event, always under the same message id."""
    columns = Columns()
    event = Event("m-1", NOW, NOW, "E", [], {"messageId": "m-1"})
    columns.add(Record("main", source, received_at, ("user_id", "u"), [event], sent_at=NOW - 1), event, "{}")
    with parquet_file(columns) as file:
        (folder / name).write_bytes(file.read())
    return folder / name


def test_p2_copies_are_dropped_and_the_ids_of_two_sources_are_kept_apart(tmp_path: Path) -> None:
    files = [
        archived(tmp_path, "a.parquet", "web", NOW + 2),
        archived(tmp_path, "b.parquet", "web", NOW + 1),
        archived(tmp_path, "c.parquet", "server", NOW + 3),
    ]
    merge_files(files, tmp_path / "merged.parquet")

    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT source, received_at, sent_at FROM read_parquet(?) ORDER BY source",
            [str(tmp_path / "merged.parquet")],
        ).fetchall()
    assert found == [("server", NOW + 3, NOW - 1), ("web", NOW + 1, NOW - 1)]
