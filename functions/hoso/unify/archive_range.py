"""Events of a range of the archive, in an order that a cut run can go on in, packed as they came (R48)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from hoso.model.record import MAX_RAW_BYTES, Flag, Row, encode
from hoso.model.time import format_instant
from hoso.model.zstd import compress_record
from hoso.platform.objects import Objects
from hoso.segment.archive_files import Archive, local_copies
from hoso.segment.batch import connect
from hoso.unify.intake import REPLAY

_ORDER = "received_at, source, hub_type, hub_value, message_id"

Place = tuple[int, str, str, str, str]
"""Where a run stands: the last event's (received_at, source, hub type, hub value, message id)."""

StreamRecord = tuple[str, bytes]


class Stored(NamedTuple):
    """One event of the archive; ``ids``, ``body``, ``origin`` and ``flags`` are JSON text."""

    received_at: int
    source: str
    hub_type: str
    hub_value: str
    message_id: str
    ts: int
    original_ts: int | None
    event: str
    ids: str
    body: str
    sent_at: int | None
    origin: str = "{}"
    flags: str = "[]"

    @property
    def place(self) -> Place:
        """Its place in the order of the range."""
        return self.received_at, self.source, self.hub_type, self.hub_value, self.message_id


class Copies(NamedTuple):
    """One message of a source under several hubs; ``found`` are the copies in the order of their receipt, each with
    ``type`` and ``value`` of its hub, ``received_at`` and ``event``: the first is the event, the others are its copies.

    ``same_content``: name, properties and traits of all are equal (identifiers and context are not compared).
    """

    message_id: str
    source: str
    same_content: bool
    found: list[dict[str, Any]]

    @property
    def place(self) -> str:
        """Its place in the list, for the next page."""
        return f"{self.message_id}\x1f{self.source}"


class Range(NamedTuple):
    """Events received at or after ``since`` and before ``until`` (UTC ms), of one source or all (empty)."""

    since: int
    until: int
    source: str = ""


class ArchiveRange:
    """Reads a range of a workspace's archive: compacted files, and the raw ones beside them, each message once."""

    def __init__(self, objects: Objects, workspace: str, wanted: Range) -> None:
        self._objects = objects
        self._workspace = workspace
        self._archive = Archive(objects, workspace)
        self._wanted = wanted

    def days(self) -> list[str]:
        """The days of the range that have files."""
        first = format_instant(self._wanted.since)[:10]
        last = format_instant(max(self._wanted.since, self._wanted.until - 1))[:10]
        return [day for day in self._archive.days(last) if day >= first]

    def count(self) -> dict[str, int]:
        """Events by day and in total (``total``)."""
        found = {day: self._query(day, "SELECT count(*) FROM chosen", None)[0][0] for day in self.days()}
        return {**found, "total": sum(found.values())}

    def after(self, place: Place | None, limit: int) -> list[Stored]:
        """The next events, at most ``limit``; none at the end."""
        found: list[Stored] = []
        for day in self.days():
            if place is not None and day < format_instant(place[0])[:10]:
                continue
            columns = f"{_ORDER}, ts, original_ts, event, ids, body, sent_at, origin, flags"
            ask = f"SELECT {columns} FROM chosen ORDER BY {_ORDER} LIMIT {limit - len(found):d}"  # noqa: S608  constants
            found += [Stored(*row) for row in self._query(day, ask, place)]
            if len(found) >= limit:
                break
        return found

    def copies(self, within_ms: int, after: str, limit: int, *, bodies: bool = False) -> list[Copies]:
        """Messages that came again under another hub within the range, by id, beginning after this place
        (decision 0028).

        The copy received first is the event, be it of before the range; of the others those that came within
        ``within_ms`` of it. With ``bodies`` each copy has ``ids`` and ``body`` too, as JSON text.
        """
        whole = ", 'ids': ids, 'body': body" if bodies else ""
        wanted = self._wanted
        earlier = ArchiveRange(self._objects, self._workspace, wanted._replace(since=wanted.since - within_ms))
        names = [name for day in earlier.days() for name in self._archive.files(day)]
        if not names:
            return []
        values = {"since": wanted.since, "until": wanted.until, "source": wanted.source, "after": after, "most": limit}
        with local_copies(self._objects, names) as files, connect() as connection:
            connection.execute(f"SET temp_directory = '{files[0].parent}'")
            statement = f"""
                WITH held AS (
                    SELECT message_id, source, hub_type, hub_value, received_at, event, ids, body,
                           hash(event, json_extract(body, '$.properties'), json_extract(body, '$.traits')) AS content
                    FROM read_parquet($files)
                    WHERE received_at >= $since - $within AND received_at < $until
                      AND message_id || chr(31) || source > $after AND ($source = '' OR source = $source)
                    QUALIFY row_number() OVER
                        (PARTITION BY source, message_id, hub_type, hub_value ORDER BY received_at) = 1
                ), near AS (
                    SELECT * FROM held QUALIFY received_at <= $within + first_value(received_at) OVER
                        (PARTITION BY source, message_id ORDER BY received_at, hub_type, hub_value)
                )
                SELECT message_id, source, count(DISTINCT content) = 1,
                       list({{'type': hub_type, 'value': hub_value, 'received_at': received_at, 'event': event{whole}}}
                            ORDER BY received_at, hub_type, hub_value)
                FROM near GROUP BY message_id, source
                HAVING count(*) > 1 AND max(received_at) >= $since
                ORDER BY message_id || chr(31) || source LIMIT $most
                """  # noqa: S608  constants
            rows = connection.execute(
                statement, {"files": [str(file) for file in files], "within": within_ms, **values}
            ).fetchall()
        return [Copies(*row) for row in rows]

    def _query(self, day: str, ask: str, place: Place | None) -> list[tuple[Any, ...]]:
        wanted = self._wanted
        names = self._archive.files(day)
        if not names:
            return []
        chosen = "received_at >= $since AND received_at < $until AND ($source = '' OR source = $source)"
        values: dict[str, Any] = {"since": wanted.since, "until": wanted.until, "source": wanted.source}
        if place is not None:
            chosen += f" AND ({_ORDER}) > ($p0, $p1, $p2, $p3, $p4)"
            values |= {f"p{number}": part for number, part in enumerate(place)}
        with local_copies(self._objects, names) as files, connect() as connection:
            connection.execute(f"SET temp_directory = '{files[0].parent}'")
            statement = (
                "WITH held AS (SELECT * FROM read_parquet($files) QUALIFY row_number() OVER "  # noqa: S608  constants
                "(PARTITION BY source, message_id, hub_type, hub_value ORDER BY received_at) = 1), "
                f"chosen AS (SELECT * FROM held WHERE {chosen}) {ask}"
            )
            return connection.execute(statement, {"files": [str(file) for file in files], **values}).fetchall()


def records_of(
    workspace: str, events: Sequence[Stored], replay: str, hash_of: Callable[[str, str], str]
) -> Iterator[StreamRecord]:
    """Partition keys and packed records, marked as a replay: one per run of events that came together about one hub."""
    for (received_at, source, kind, value, sent_at, told), run in groupby(events, key=_together):
        origin = {**orjson.loads(told), REPLAY: replay}
        waiting = [list(run)]
        while waiting:
            part = waiting.pop()
            rows: list[Row] = [
                (one.message_id, one.ts, one.original_ts, one.event, orjson.loads(one.ids), orjson.loads(one.body))
                for one in part
            ]
            flags: list[Flag] = [
                (place, flag["plan"], flag["revision"], flag["reason"])
                for place, one in enumerate(part)
                for flag in orjson.loads(one.flags)
            ]
            raw = encode(workspace, source, received_at, (kind, value), rows, origin, flags, sent_at)
            if len(raw) > MAX_RAW_BYTES and len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            else:
                yield f"{workspace}#{hash_of(kind, value)}", compress_record(raw)


def _together(one: Stored) -> tuple[int, str, str, str, int | None, str]:
    return one.received_at, one.source, one.hub_type, one.hub_value, one.sent_at, one.origin
