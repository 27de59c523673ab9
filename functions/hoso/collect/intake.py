"""From the JSON bytes of a request to packed records for the stream, and the list of what was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from hoso.collect.events import MAX_ID_BYTES, Frame, admit, impose
from hoso.collect.parse import (
    REFUSED,
    Batch,
    parse_object,
    reject_too_deep,
)
from hoso.collect.scan import BLANKS
from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput
from hoso.model.identifiers import Identifier
from hoso.model.record import MAX_RAW_BYTES, Row, compress, encode
from hoso.model.time import parse_instant

MAX_SPREAD_BYTES = 16 * 1024 * 1024
"""What the context of a batch may take in all its events together: it is sent once and stored in each of them."""

Hash = Callable[[str, str], str]
"""The keyed hash of an identifier's type and value (``Hasher.identifier``)."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose events these are. ``origin`` is what the connection tells of a browser or an app."""

    workspace: str
    source: str
    origin: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class Taken:
    """What became of the events of a request. ``records`` are partition keys and bytes for the stream."""

    accepted: int
    rejected: list[BadRow]
    records: list[tuple[str, bytes]]


def open_single(raw: bytes) -> Batch:
    """A single event as a batch of one. Raises ``InvalidInput``, see ``parse_object``."""
    event = parse_object(raw.strip(BLANKS))  # blanks around it are no part of the event, nor of its size
    return Batch(envelope={"writeKey": event.get("writeKey")}, events=[event])


def take(raw: bytes, batch: Batch, frame: Frame, sender: Sender, hash_of: Hash) -> Taken:
    """Judge each event by itself and pack the good ones: one record per hub, events in their order.

    Raises:
        InvalidInput: ``body_too_large``, the shared members would grow beyond measure in so many events.
    """
    frame = _with_envelope(batch, frame)
    hubs, rejected = _judge(batch, frame)
    try:
        records = _pack(hubs, sender, frame.received_at, hash_of)
    except TypeError:  # nesting shows for free where events are written, so it is looked for only then
        reject_too_deep(raw, batch)
        hubs, rejected = _judge(batch, frame)
        records = _pack(hubs, sender, frame.received_at, hash_of)
    rejected.sort(key=lambda refused: refused.index)
    return Taken(sum(map(len, hubs.values())), rejected, records)


def _with_envelope(batch: Batch, frame: Frame) -> Frame:
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
        frame.identity,
    )


def _shared(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if type(value) is dict else {}


def _judge(batch: Batch, frame: Frame) -> tuple[dict[Identifier, list[Row]], list[BadRow]]:
    """The good events under their hubs, and all refused ones."""
    if frame.kind or frame.context or frame.integrations:
        impose(batch.events, frame)
    hubs: dict[Identifier, list[Row]] = {}
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
        if hub is not last:  # a device's requests are about one person
            last, rows = hub, hubs.setdefault(hub, [])
        rows.append(row)
    return hubs, rejected


def _rejected(index: int, body: Any, error: InvalidInput) -> BadRow:
    message_id: object = cast("dict[str, Any]", body).get("messageId") if type(body) is dict else None
    named = message_id if type(message_id) is str and len(message_id) <= MAX_ID_BYTES else None
    return BadRow(index, named, error.code, error.message, body)


def _pack(
    hubs: Mapping[Identifier, list[Row]], sender: Sender, received_at: int, hash_of: Hash
) -> list[tuple[str, bytes]]:
    """Partition keys and bytes, in halves where a record would be too large. Raises ``TypeError``, see ``encode``."""
    packed: list[tuple[str, bytes]] = []
    origin = dict(sender.origin)
    for hub, rows in hubs.items():
        key = f"{sender.workspace}#{hash_of(hub[0], hub[1])}"
        waiting = [rows]
        while waiting:
            part = waiting.pop()
            raw = encode(sender.workspace, sender.source, received_at, hub, part, origin)
            if len(raw) > MAX_RAW_BYTES and len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            else:
                packed.append((key, compress(raw)))
    return packed
