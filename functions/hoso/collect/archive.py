"""The archive: every event of the stream in Parquet files, by workspace and day of receipt.

A file holds the events of a range of the stream and is named by it, so that a repeated try makes the same name
(reliability R24). A batch is cut into ranges by the size of its events: memory stays bounded however well they were
compressed. Records that cannot be read are handed back for the quarantine and never stop the shard (R10).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hoso.collect.catalogue import Summary, summaries_of
from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput
from hoso.model.record import Event, Flag, Record, unpack
from hoso.model.time import format_instant, parse_instant

MAX_RANGE_BYTES = 24_000_000
"""Bytes of event bodies after which a range ends."""

_WORKSPACE = re.compile(r"[A-Za-z0-9_-]{1,63}")
_MAX_INT64 = 2**63
_REPLAY = "replay"
"""Member of the origin of records that a replay of the archive sent."""


@dataclass(slots=True)
class Columns:
    """The archive's columns (see ``docs/data-model.md``); the lists are equally long."""

    message_id: list[str] = field(default_factory=list[str])
    type: list[str] = field(default_factory=list[str])
    event: list[str] = field(default_factory=list[str])
    ts: list[int] = field(default_factory=list[int])
    original_ts: list[int | None] = field(default_factory=list["int | None"])
    sent_at: list[int | None] = field(default_factory=list["int | None"])
    received_at: list[int] = field(default_factory=list[int])
    source: list[str] = field(default_factory=list[str])
    hub_type: list[str] = field(default_factory=list[str])
    hub_value: list[str] = field(default_factory=list[str])
    ids: list[str] = field(default_factory=list[str])
    origin: list[str] = field(default_factory=list[str])
    flags: list[str] = field(default_factory=list[str])
    body: list[str] = field(default_factory=list[str])

    def add(self, record: Record, event: Event, body: str, flags: Sequence[Flag] = ()) -> None:
        """Add an event; ``flags`` are those of its record that are about it."""
        self.message_id.append(event.message_id)
        self.type.append(str(event.body.get("type", "")))
        self.event.append(event.name)
        self.ts.append(event.ts)
        self.original_ts.append(event.original_ts)
        self.sent_at.append(_sent_at(event, record))
        self.received_at.append(record.received_at)
        self.source.append(record.source)
        self.hub_type.append(record.hub[0])
        self.hub_value.append(record.hub[1])
        self.ids.append(orjson.dumps(event.ids).decode() if event.ids else "[]")
        self.origin.append(orjson.dumps(record.origin).decode() if record.origin else "{}")
        self.flags.append(orjson.dumps([_flag(flag) for flag in flags]).decode() if flags else "[]")
        self.body.append(body)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A stream record that cannot be archived. ``at`` is its arrival on the stream (UTC ms)."""

    workspace: str
    at: int
    rows: list[BadRow]


@dataclass(slots=True)
class Range:
    """Events of consecutive stream records; ``files`` maps object names to their columns."""

    shard: str
    first: str
    last: str = ""
    size: int = 0
    parts: dict[tuple[str, str], Columns] = field(default_factory=dict[tuple[str, str], Columns])
    summaries: dict[tuple[str, str], Summary] = field(default_factory=dict[tuple[str, str], Summary])
    bad: list[BadRecord] = field(default_factory=list[BadRecord])

    def files(self) -> Iterator[tuple[str, Columns]]:
        """Object names and what goes into them."""
        for (workspace, day), columns in self.parts.items():
            yield f"archive/{workspace}/day={day}/{self.shard}-{self.first}-{self.last}.parquet", columns

    def summary_files(self) -> Iterator[tuple[str, bytes]]:
        """Object names and contents of the summaries for the catalogue, by the same range."""
        for (workspace, day), summary in self.summaries.items():
            name = f"{summaries_of(workspace, day)}{self.shard}-{self.first}-{self.last}.json"
            yield name, orjson.dumps(summary.body())


def ranges(records: Iterable[Mapping[str, Any]], default_workspace: str) -> Iterator[Range]:
    """The events of a Kinesis batch of one shard, in ranges of bounded size."""
    current: Range | None = None
    for raw in records:
        kinesis: Mapping[str, Any] = raw["kinesis"]
        number: str = kinesis["sequenceNumber"]
        if current is None:
            current = Range(str(raw["eventID"]).partition(":")[0], number)
        current.last = number
        _add(current, kinesis, default_workspace)
        if current.size >= MAX_RANGE_BYTES:
            yield current
            current = None
    if current is not None:
        yield current


def _add(into: Range, kinesis: Mapping[str, Any], default_workspace: str) -> None:
    """Add one stream record to a range, as events or as a bad record."""
    blob = b64decode(kinesis["data"])
    arrived = int(kinesis.get("approximateArrivalTimestamp", 0) * 1_000)
    try:
        record = unpack(blob)
        day = _day(record)
    except InvalidInput as error:
        row = BadRow(0, None, error.code, error.message, blob)
        into.bad.append(BadRecord(default_workspace, arrived, [row]))
        return
    if _REPLAY in record.origin:
        return  # it came from here
    bad: list[BadRow] = []
    place = (record.workspace, day)
    columns = into.parts.get(place)
    if columns is None:
        columns = into.parts[place] = Columns()
        into.summaries[place] = Summary()
    summary = into.summaries[place]
    flags: dict[int, list[Flag]] = {}
    for flag in record.flags:
        flags.setdefault(flag[0], []).append(flag)
    for index, event in enumerate(record.events):
        try:
            _check(event)
            body = orjson.dumps(event.body).decode()
        except (InvalidInput, TypeError):
            bad.append(BadRow(index, None, "bad_record", "not an event of a packed record", repr(event)))
            continue
        told = flags.get(index, [])
        columns.add(record, event, body, told)
        summary.add(record, event, str(told[-1][3]) if told else None)
        into.size += len(body)
    if bad:
        into.bad.append(BadRecord(record.workspace, arrived, bad))


def _day(record: Record) -> str:
    """The day of receipt; checks what names and columns are made of. Raises ``InvalidInput``."""
    sound = (
        type(record.workspace) is str
        and _WORKSPACE.fullmatch(record.workspace) is not None
        and type(record.source) is str
        and _is_int(record.received_at)
        and (record.sent_at is None or _is_int(record.sent_at))
        and all(type(part) is str for part in record.hub)
        and type(record.origin) is dict
        and all(type(flag[0]) is int for flag in record.flags)
        and 0 <= record.received_at < 4_102_444_800_000
    )
    if not sound:
        raise InvalidInput("not a packed record", code="bad_record")
    return format_instant(record.received_at)[:10]


def _check(event: Event) -> None:
    """Raise ``InvalidInput`` when an event's members have other types than the columns."""
    message_id, ts, original_ts, name, ids, body = event
    sound = (
        type(message_id) is str
        and _is_int(ts)
        and (original_ts is None or _is_int(original_ts))
        and type(name) is str
        and type(ids) is list
        and type(body) is dict
    )
    if not sound:
        raise InvalidInput("not an event", code="bad_record")


def _sent_at(event: Event, record: Record) -> int | None:
    """The client's clock when the event was sent: its own word, else that of its batch or header (UTC ms)."""
    own = parse_instant(event.body["sentAt"]) if "sentAt" in event.body else None
    return record.sent_at if own is None else own


def _flag(flag: Flag) -> dict[str, Any]:
    """What a plan said, as the column ``flags`` holds it."""
    return {"plan": flag[1], "revision": flag[2], "reason": flag[3]}


def _is_int(value: object) -> bool:
    return type(value) is int and -_MAX_INT64 <= value < _MAX_INT64
