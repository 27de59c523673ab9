"""Columns of events as a Parquet file (zstd), written by DuckDB."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hoso.collect.archive import Columns

_MEMORY = "512MB"


@contextmanager
def parquet_file(columns: Columns) -> Generator[BinaryIO, None, None]:
    """The file, open for reading and gone at the end."""
    import duckdb
    import numpy as np

    def times(values: Sequence[int | None]) -> Any:
        known = np.array([value or 0 for value in values], np.int64)
        return np.ma.array(known, mask=[value is None for value in values])

    arrays = {
        "message_id": np.array(columns.message_id, dtype=object),
        "type": np.array(columns.type, dtype=object),
        "event": np.array(columns.event, dtype=object),
        "ts": np.array(columns.ts, dtype=np.int64),
        "original_ts": times(columns.original_ts),
        "sent_at": times(columns.sent_at),
        "received_at": np.array(columns.received_at, dtype=np.int64),
        "source": np.array(columns.source, dtype=object),
        "hub_type": np.array(columns.hub_type, dtype=object),
        "hub_value": np.array(columns.hub_value, dtype=object),
        "ids": np.array(columns.ids, dtype=object),
        "origin": np.array(columns.origin, dtype=object),
        "flags": np.array(columns.flags, dtype=object),
        "body": np.array(columns.body, dtype=object),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        with duckdb.connect(":memory:", config={"memory_limit": _MEMORY, "temp_directory": folder}) as connection:
            connection.register("events", arrays)
            # the name of the file is made here; no outside text is in the statement
            connection.execute(f"COPY (SELECT * FROM events) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")  # noqa: S608
        with path.open("rb") as file:
            yield file
