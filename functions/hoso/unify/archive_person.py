"""Every event that the archive holds of some identifiers, for the past that timelines have forgotten.

It tells what timelines told: each message once, the copy received first; a copy under another identifier that came
within the dedupe window of the first is none (decision 0055); and each event stands where the last switch of identity
rules put it (decision 0065).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from hoso.model.errors import Conflict
from hoso.model.identifiers import Identifier
from hoso.model.record import Event
from hoso.platform.objects import Objects
from hoso.segment.archive_files import Archive
from hoso.segment.batch import connect
from hoso.unify.archive_range import Stored
from hoso.unify.fragments import New
from hoso.unify.placement import placement_of
from hoso.unify.rehub import stored_under

MOST_BYTES = 3_000_000_000
"""Files of the archive that one answer reads; the function's scratch space holds them."""
_AT_ONCE = 16
_LEAST_MS = 8_000
"""What is left for the query and the fold when the last file has to be here."""
_LAST_DAY = "9999-12-31"
_COLUMNS = "received_at, source, hub_type, hub_value, message_id, ts, original_ts, event, ids, body, sent_at"


class ArchivePerson:
    """Reads people out of a workspace's archive. ``within_ms`` is the dedupe window, ``remaining_ms`` the time left."""

    def __init__(self, objects: Objects, workspace: str, within_ms: int, remaining_ms: Callable[[], int]) -> None:
        self._objects = objects
        self._archive = Archive(objects, workspace)
        self._workspace = workspace
        self._within_ms = within_ms
        self._remaining_ms = remaining_ms

    def events(self, members: Sequence[Identifier]) -> dict[Identifier, list[New]]:
        """The events under each of these identifiers, whenever they were received.

        Raises:
            Conflict: ``archive_too_large``: one answer cannot read so much.
        """
        names = [name for day in self._archive.days(_LAST_DAY) for name in self._archive.files(day)]
        found: dict[Identifier, list[New]] = {member: [] for member in members}
        placed = placement_of(self._objects, self._workspace)
        if not names or not members:
            return found
        with self._files(names) as files:
            rows = _rows(files, members, self._within_ms)
        seen: set[tuple[str, ...]] = set()
        for row in rows:
            stored = Stored(*row) if placed is None else stored_under(Stored(*row), placed.rules_at)
            hub = Identifier(stored.hub_type, stored.hub_value)
            # copies under two identifiers that became one are repeats, however far apart
            once = (*hub, stored.source, stored.message_id)
            if hub in found and once not in seen:
                seen.add(once)
                found[hub].append(_new(stored))
        return found

    @contextmanager
    def _files(self, names: Sequence[str]) -> Generator[list[Path]]:
        """Local copies, some at a time, gone at the end."""
        size = 0
        with tempfile.TemporaryDirectory(prefix="hoso-") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
            files: list[Path] = []
            for start in range(0, len(names), _AT_ONCE):
                for body in pool.map(self._objects.get, names[start : start + _AT_ONCE]):
                    size += len(body)
                    file = Path(folder) / f"{len(files):06d}.parquet"
                    file.write_bytes(body)
                    files.append(file)
                if size > MOST_BYTES or self._remaining_ms() < _LEAST_MS:
                    raise Conflict(
                        "the archive is too large for one answer",
                        code="archive_too_large",
                        hint="ask POST /v1/sql for the events, or replay the range into a shadow",
                    )
            yield files


def _rows(files: Sequence[Path], members: Sequence[Identifier], within_ms: int) -> list[tuple[Any, ...]]:
    """The events that came under one of the identifiers, or name one, each message once."""
    pairs = [orjson.dumps([one.type, one.value]).decode() for one in members]
    names = {f"n{number}": pair for number, pair in enumerate(pairs)}
    named = " OR ".join(f"contains(ids, ${name})" for name in names)
    statement = f"""
        WITH wanted AS (
            SELECT DISTINCT source, message_id FROM read_parquet($files)
            WHERE (hub_type, hub_value) IN (SELECT (kind, value) FROM
                (SELECT unnest($kinds) AS kind, unnest($values) AS value)) OR {named}
        ), held AS (
            SELECT * FROM read_parquet($files) SEMI JOIN wanted USING (source, message_id) QUALIFY row_number() OVER
                (PARTITION BY source, message_id, hub_type, hub_value ORDER BY received_at) = 1
        )
        SELECT {_COLUMNS} FROM held
        QUALIFY row_number() OVER (PARTITION BY source, message_id ORDER BY received_at, hub_type, hub_value) = 1
            OR received_at > $within + first_value(received_at) OVER
                (PARTITION BY source, message_id ORDER BY received_at, hub_type, hub_value)
        ORDER BY received_at, source, message_id
    """  # noqa: S608  names of parameters and columns that are made here
    values: dict[str, Any] = {
        "files": [str(file) for file in files],
        "kinds": [one.type for one in members],
        "values": [one.value for one in members],
        "within": within_ms,
        **names,
    }
    with connect() as connection:
        connection.execute(f"SET temp_directory = '{files[0].parent}'")
        return connection.execute(statement, values).fetchall()


def _new(stored: Stored) -> New:
    ids: list[Any] = orjson.loads(stored.ids)
    body: Mapping[str, Any] = orjson.loads(stored.body)
    event = Event(stored.message_id, stored.ts, stored.original_ts, stored.event, ids, dict(body))
    return New(event, stored.source, stored.received_at)
