"""The live feed: a source's latest events, accepted and refused, with everything personal as shapes.

Nothing is written for it. Accepted events are read from the end of the stream, in windows that widen until there are
enough; refused ones are the newest entries of the quarantine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast
from urllib.parse import quote

from hoso.collect.quarantine import load
from hoso.model.errors import InvalidInput, NotFound
from hoso.model.masks import shape, shown_event, shown_message_id, shown_name
from hoso.model.record import Record, unpack
from hoso.model.time import format_instant
from hoso.platform.clock import Clock
from hoso.platform.objects import Objects
from hoso.platform.stream_tail import StreamTail

MOST = 200
WINDOWS_S = (5, 60, 900, 7_200)
"""How far back is read, one after the other, until there are enough events."""

_BUDGET_S = 2.0
_REFUSED_WINDOW_MS = 7_200_000
_MAX_LISTED = 5_000
_MAX_LOADED = 60
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Feed:
    """The latest events, newest first; ``complete`` is false where newer ones may be missing."""

    items: list[Json]
    complete: bool


class Live:
    """The live feed of one workspace. ``stream_clock`` is the clock by which the stream tells arrival."""

    def __init__(self, tail: StreamTail, objects: Objects, workspace: str, clock: Clock, stream_clock: Clock) -> None:
        self._tail = tail
        self._objects = objects
        self._workspace = workspace
        self._clock = clock
        self._stream_clock = stream_clock

    def latest(self, source: str, limit: int) -> Feed:
        """At most ``limit`` (up to 200) events of a source. Raises ``Transient``."""
        taken, complete = self._taken(source, limit)
        items = taken + self._refused(source, limit)
        items.sort(key=lambda item: item["at"], reverse=True)
        return Feed(items[:limit], complete)

    def _taken(self, source: str, limit: int) -> tuple[list[Json], bool]:
        found: list[Record] = []
        complete = True
        for window in WINDOWS_S:
            tail = self._tail.read(self._stream_clock() - window * 1_000, _BUDGET_S)
            found = [record for blob in tail.records for record in self._of_source(blob, source)]
            complete = tail.complete
            if sum(len(record.events) for record in found) >= limit or not complete:
                break
        return _newest(found, limit), complete

    def _of_source(self, blob: bytes, source: str) -> Iterator[Record]:
        try:
            record = unpack(blob)
        except InvalidInput:
            return
        if record.source == source and record.workspace == self._workspace:
            yield record

    def _refused(self, source: str, limit: int) -> list[Json]:
        items: list[Json] = []
        for entry_id in islice(self._newest_refused(), _MAX_LOADED):
            try:
                entry = load(self._objects, self._workspace, entry_id)
            except NotFound:
                continue
            if entry["source"] == source:
                items += [shown_refusal(entry, row) for row in entry["rows"]]
            if len(items) >= limit:
                break
        return items

    def _newest_refused(self) -> Iterator[str]:
        """Ids of the quarantine's newest entries of collect, newest first."""
        now = self._clock()
        since = now - _REFUSED_WINDOW_MS
        for at in dict.fromkeys((format_instant(now)[:10], format_instant(since)[:10])):
            folder = f"quarantine/{quote(self._workspace, safe='')}/{at}/collect/"
            names = islice(self._objects.keys(folder, after=f"{folder}{since:013d}"), _MAX_LISTED)
            for name in reversed(list(names)):
                yield name.rpartition("/")[2].removesuffix(".json")


def _newest(records: list[Record], limit: int) -> list[Json]:
    """The newest events, as many as are asked for; only these are put into shapes."""
    items: list[Json] = []
    for record in sorted(records, key=lambda record: record.received_at, reverse=True):
        if len(items) >= limit:
            break
        items += shown_record(record)
    return items[:limit]


def shown_record(record: Record) -> Iterator[Json]:
    """The events of a record as the feed shows them; times are UTC ms."""
    reasons = {flag[0]: flag[3] for flag in record.flags}
    for place, event in enumerate(record.events):
        reason = reasons.get(place)
        yield {
            "at": record.received_at,
            "status": "accepted" if reason is None else "flagged",
            "code": None if reason is None else "plan_violation",
            "reason": reason,
            "type": event.body.get("type"),
            "event": shown_name(event.name),
            "message_id": shown_message_id(event.message_id),
            "timestamp": event.ts,
            "person": {"type": record.hub[0], "shape": shape(record.hub[1])},
            "body": shown_event(event.body),
        }


def shown_refusal(entry: Mapping[str, Any], row: Mapping[str, Any]) -> Json:
    """A refused event as the feed shows it. Text that could not be parsed is not shown."""
    payload: object = row["payload"]
    body = cast("Json", payload) if type(payload) is dict else None
    kind: object = body.get("type") if body else None
    name: object = body.get("event") if body else None
    return {
        "at": entry["at"],
        "status": "refused",
        "code": row["code"],
        "reason": row["reason"],
        "type": shown_name(kind) if type(kind) is str else None,
        "event": shown_name(name) if type(name) is str else None,
        "message_id": shown_message_id(row["message_id"]),
        "timestamp": None,
        "person": None,
        "body": None if body is None else shown_event(body),
    }
