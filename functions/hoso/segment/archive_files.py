"""Compaction of the archive: the many files of a day become one, each message once, the copy received first.

A day's file is named by what went into it. A manifest (``nightly/<ws>/manifests/day=….json``) tells which raw files
that were; raw files that came later are read beside it until the day is compacted again. Nothing is changed in place:
a reader with an older list of files still finds them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from hoso.model.errors import NotFound
from hoso.platform.ids import content_id
from hoso.platform.objects import Objects
from hoso.segment.batch import connect

if TYPE_CHECKING:
    import duckdb

PARQUET = "application/vnd.apache.parquet"
JSON = "application/json"
_PLACED_AT_ONCE = 10_000
COLUMNS = (
    "message_id, type, event, ts, original_ts, sent_at, received_at, source, hub_type, hub_value, ids, origin, flags, "
    "body"
)


class Placing(NamedTuple):
    """Under which identifier events stand that came under other identity rules (decision 0065): ``place`` tells it of
    hub type, hub value, ids and body (JSON text) of those received before ``until`` (UTC ms). ``mark`` names it."""

    mark: str
    until: int
    place: Callable[[str, str, str, str], tuple[str, str, str]]


class Archive:
    """The archive of a workspace."""

    def __init__(self, objects: Objects, workspace: str) -> None:
        self._objects = objects
        self._workspace = workspace

    def days(self, last: str) -> list[str]:
        """Days (``YYYY-MM-DD``, of receipt) up to ``last`` that have files."""
        prefix = f"archive/{self._workspace}/"
        found = [
            folder.removeprefix(prefix).strip("/").removeprefix("day=") for folder in self._objects.folders(prefix)
        ]
        return [day for day in found if day <= last]

    def compact(self, day: str, placing: Placing | None = None) -> bool:
        """Make a day's compacted file, if raw files came since the last time, or events stand elsewhere since
        (``placing``). Answers whether it did."""
        raw = self._raw(day)
        manifest = self._manifest(day)
        mark = [placing.mark] if placing else []
        if not raw or (sorted(manifest["raw"]) == raw and manifest.get("placed", []) == mark):
            return False
        key = f"archive-compact/{self._workspace}/day={day}/part-{content_id(*raw, *mark)}.parquet"
        with local_copies(self._objects, raw) as files:
            merged = files[0].parent / "merged.parquet"
            merge_files(files, merged, placing)
            with merged.open("rb") as body:
                self._objects.put(key, body, PARQUET)
        for stale in manifest["replaced"]:
            if stale != key:
                self._objects.delete(stale)
        # the file that is replaced now goes next time: somebody may be reading it
        replaced = [manifest["part"]] if manifest["part"] and manifest["part"] != key else []
        content = {"raw": raw, "part": key, "replaced": replaced, "placed": mark}
        self._objects.put(self._manifest_key(day), orjson.dumps(content), JSON)
        return True

    def files(self, day: str) -> list[str]:
        """The files that hold a day's events: the compacted one, and raw files that it does not know."""
        manifest = self._manifest(day)
        known = set(manifest["raw"])
        part = [manifest["part"]] if manifest["part"] else []
        return part + [key for key in self._raw(day) if key not in known]

    def _raw(self, day: str) -> list[str]:
        return sorted(self._objects.keys(f"archive/{self._workspace}/day={day}/"))

    def _manifest(self, day: str) -> dict[str, Any]:
        try:
            return orjson.loads(self._objects.get(self._manifest_key(day)))
        except NotFound:
            return {"raw": [], "part": "", "replaced": []}

    def _manifest_key(self, day: str) -> str:
        return f"nightly/{self._workspace}/manifests/day={day}.json"


def merge_files(files: Sequence[Path], target: Path, placing: Placing | None = None) -> None:
    """One Parquet file of several: each message of a source and hub once, the copy received first."""
    with connect() as connection:
        connection.execute(f"SET temp_directory = '{target.parent}'")
        connection.execute(
            "CREATE TABLE placed (source VARCHAR, message_id VARCHAR, hub_type VARCHAR, hub_value VARCHAR, "
            "received_at BIGINT, new_type VARCHAR, new_value VARCHAR, new_ids VARCHAR)"
        )
        given = {"files": [str(file) for file in files]}
        if placing is not None:
            _place(connection, given, placing)
        connection.execute(
            "COPY (WITH merged AS (SELECT stored.* REPLACE ("  # noqa: S608  constants and a name made here
            "coalesce(new_type, hub_type) AS hub_type, coalesce(new_value, hub_value) AS hub_value, "
            "coalesce(new_ids, ids) AS ids) FROM read_parquet($files) stored "
            "LEFT JOIN placed USING (source, message_id, hub_type, hub_value, received_at)) "
            f"SELECT {COLUMNS} FROM merged "
            "QUALIFY row_number() OVER (PARTITION BY source, message_id, hub_type, hub_value ORDER BY received_at) = 1 "
            f"ORDER BY event, ts) TO '{target}' (FORMAT parquet, COMPRESSION zstd)",
            given,
        )


def _place(connection: duckdb.DuckDBPyConnection, given: dict[str, list[str]], placing: Placing) -> None:
    """Note the events of these files that stand under another identifier than the one that they came under."""
    connection.execute(
        "SELECT DISTINCT ON (source, message_id, hub_type, hub_value, received_at) "
        "source, message_id, hub_type, hub_value, received_at, ids, body FROM read_parquet($files) "
        "WHERE received_at < $until",
        {**given, "until": placing.until},
    )
    moved: list[tuple[Any, ...]] = []
    while rows := connection.fetchmany(_PLACED_AT_ONCE):
        for *key, ids, body in rows:
            kind, value, others = placing.place(key[2], key[3], ids, body)
            if (kind, value) != (key[2], key[3]):
                moved.append((*key, kind, value, others))
    if moved:
        holders = ", ".join("unnest(?)" for _ in moved[0])
        columns = [list(column) for column in zip(*moved, strict=True)]
        connection.execute(f"INSERT INTO placed SELECT {holders}", columns)


@contextmanager
def local_copies(objects: Objects, keys: Iterable[str]) -> Generator[list[Path], None, None]:
    """Local copies of objects, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="hoso-") as folder:
        files: list[Path] = []
        for place, key in enumerate(keys):
            file = Path(folder) / f"{place:06d}-{Path(key).name}"
            file.write_bytes(objects.get(key))
            files.append(file)
        yield files
