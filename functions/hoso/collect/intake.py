"""From the JSON bytes of a request to packed records for the stream, and the list of what was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, cast

import orjson

from hoso.collect.events import MAX_ID_BYTES, Frame, admit, impose
from hoso.collect.parse import (
    REFUSED,
    Batch,
    parse_object,
    reject_too_deep,
)
from hoso.collect.plans import CODE, Plan
from hoso.collect.scan import BLANKS
from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput
from hoso.model.identifiers import DEFAULT, Identifier, IdentityConfig
from hoso.model.record import MAX_RAW_BYTES, Flag, Row, any_nests_too_deep, encode
from hoso.model.time import parse_instant
from hoso.model.zstd import compress_record

MAX_SPREAD_BYTES = 16 * 1024 * 1024
"""What the context of a batch may take in all its events together: it is sent once and stored in each of them."""

_SEVERAL = 8

Hash = Callable[[str, str], str]
"""The keyed hash of an identifier's type and value (``Hasher.identifier``)."""


@dataclass(slots=True)
class Sender:
    """Whose events these are. ``origin`` is what the connection tells of a browser or an app; ``direct`` what it tells
    of those events of a server's key that say ``context.direct``: they come from the customer's own machine.

    ``plan`` is the tracking plan that the source follows, if any; ``identity`` are the workspace's identity rules.
    """

    workspace: str
    source: str
    origin: Mapping[str, str] = field(default_factory=dict[str, str])
    plan: Plan | None = None
    identity: IdentityConfig = DEFAULT
    direct: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class _Judged:
    """The good events under their hubs, with what the plan says of them, and all refused ones."""

    hubs: dict[Identifier, list[Row]]
    flags: dict[Identifier, list[Flag]]
    rejected: list[BadRow]


@dataclass(slots=True)
class Taken:
    """What became of the events of a request. ``records`` are partition keys and bytes for the stream; ``flagged`` of
    the accepted were found fault with by the tracking plan."""

    accepted: int
    rejected: list[BadRow]
    records: list[tuple[str, bytes]]
    flagged: int = 0


def open_single(raw: bytes) -> Batch:
    """A single event as a batch of one. Raises ``InvalidInput``, see ``parse_object``."""
    event = parse_object(raw.strip(BLANKS))  # blanks around it are no part of the event, nor of its size
    return Batch(envelope={"writeKey": event.get("writeKey")}, events=[event])


def take(raw: bytes, batch: Batch, frame: Frame, sender: Sender, hash_of: Hash) -> Taken:
    """Judge each event by itself and pack the good ones: one record per hub, events in their order.

    Raises:
        InvalidInput: ``body_too_large``, the shared members would grow beyond measure in so many events.
    """
    frame = _with_envelope(batch, frame, sender.identity)
    direct = dict(sender.direct) if sender.direct and b'"direct"' in raw else None
    judged = _judge(batch, frame, sender.plan)
    try:
        records = _pack(judged, sender, frame, hash_of, direct)
    except TypeError:  # nesting shows for free where events are written, so it is looked for only then
        reject_too_deep(raw, batch)
        judged = _judge(batch, frame, sender.plan)
        records = _pack(judged, sender, frame, hash_of, direct)
    judged.rejected.sort(key=lambda refused: refused.index)
    flagged = sum(map(len, judged.flags.values()))
    return Taken(sum(map(len, judged.hubs.values())), judged.rejected, records, flagged)


def _with_envelope(batch: Batch, frame: Frame, identity: IdentityConfig) -> Frame:
    """The frame with what the batch says for all its events."""
    envelope = batch.envelope
    sent_at = parse_instant(envelope.get("sentAt"))
    context, integrations = _shared(envelope.get("context")), _shared(envelope.get("integrations"))
    if (context or integrations) and len(orjson.dumps((context, integrations))) * len(batch.events) > MAX_SPREAD_BYTES:
        raise InvalidInput("the batch's context is too large for so many events", code="body_too_large")
    return Frame(
        frame.received_at,
        frame.new_id,
        frame.kind,
        frame.sent_at if sent_at is None else sent_at,
        context,
        integrations,
        identity,
    )


def _shared(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if type(value) is dict else {}


def _judge(batch: Batch, frame: Frame, plan: Plan | None) -> _Judged:
    if frame.kind or frame.context or frame.integrations:
        impose(batch.events, frame)
    hubs: dict[Identifier, list[Row]] = {}
    flags: dict[Identifier, list[Flag]] = {}
    rejected = list(batch.rejected)
    last: Identifier | None = None
    rows: list[Row] = []
    for index, body in enumerate(batch.events):
        if body is REFUSED:
            continue
        try:
            hub, row = admit(body, frame)
        except InvalidInput as error:
            rejected.append(_rejected(index, body, error))
            continue
        fault = None if plan is None else plan.fault(row[3], body)
        if fault is not None and fault.refuse:
            rejected.append(BadRow(index, row[0], CODE, fault.reason, body))
            continue
        if hub is not last:  # a device's requests are about one person
            last, rows = hub, hubs.setdefault(hub, [])
        if fault is not None and plan is not None:
            flags.setdefault(hub, []).append((len(rows), plan.key, plan.revision, fault.reason))
        rows.append(row)
    return _Judged(hubs, flags, rejected)


def _rejected(index: int, body: Any, error: InvalidInput) -> BadRow:
    message_id: object = cast("dict[str, Any]", body).get("messageId") if type(body) is dict else None
    named = message_id if type(message_id) is str and len(message_id) <= MAX_ID_BYTES else None
    return BadRow(index, named, error.code, error.message, body)


def _pack(
    judged: _Judged, sender: Sender, frame: Frame, hash_of: Hash, direct: dict[str, str] | None
) -> list[tuple[str, bytes]]:
    """Partition keys and bytes, in halves where a record would be too large. Raises ``TypeError``, see ``encode``.

    A record has one origin: events that came ``direct`` travel in records of their own (None: none can have).
    """
    packed: list[tuple[str, bytes]] = []
    origin = dict(sender.origin)
    is_shallow = _are_small(judged.hubs) and not any_nests_too_deep(
        [row[5] for rows in judged.hubs.values() for row in rows]
    )
    for hub, rows in judged.hubs.items():
        key = f"{sender.workspace}#{hash_of(hub[0], hub[1])}"
        flags = judged.flags.get(hub, ())
        waiting = [(0, rows)] if direct is None else _runs(rows)
        while waiting:
            first, part = waiting.pop()
            marked = _within(flags, first, len(part)) if flags else ()
            told = origin if direct is None or not _came_direct(part[0]) else direct
            raw = encode(
                *(sender.workspace, sender.source, frame.received_at, hub, part, told, marked, frame.sent_at),
                is_shallow=is_shallow,
            )
            if len(raw) > MAX_RAW_BYTES and len(part) > 1:
                middle = len(part) // 2
                waiting += [(first + middle, part[middle:]), (first, part[:middle])]
            else:
                packed.append((key, compress_record(raw)))
    return packed


def _are_small(hubs: dict[Identifier, list[Row]]) -> bool:
    """Whether one look at all events for how deep they nest takes less than one at each record."""
    return len(hubs) > _SEVERAL and sum(map(len, hubs.values())) < 4 * len(hubs)


def _runs(rows: list[Row]) -> list[tuple[int, list[Row]]]:
    """The rows in runs of those that came direct and those that did not, each with the place of its first."""
    runs: list[tuple[int, list[Row]]] = []
    first = 0
    for _, run in groupby(rows, _came_direct):
        runs.append((first, list(run)))
        first += len(runs[-1][1])
    return runs


def _came_direct(row: Row) -> bool:
    return _shared(row[5].get("context")).get("direct") is True


def _within(flags: Sequence[Flag], first: int, count: int) -> list[Flag]:
    """The flags of a part of the rows, by their places in it."""
    return [(flag[0] - first, *flag[1:]) for flag in flags if first <= flag[0] < first + count]
