"""DynamoDB streams: one record per change, with the whole image; none when nothing changed.

Moto makes two records for an upsert by UpdateItem and one for a write without change, sizes each by a JSON dump, and
keeps every shard iterator that a poller ever took.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from uuid import uuid4

from infra.twin.moto_fixes import replace
from infra.twin.moto_fixes.rows import Snapshot

ITERATORS_KEPT = 1_000
_shard: Any = import_module("moto.dynamodb.models.table").StreamShard
_iterator: Any = import_module("moto.dynamodbstreams.models").ShardIterator


class StreamRecord:
    """A record as moto's streams backend reads it; binary values are bytes."""

    __slots__ = ("record",)

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record

    def to_json(self) -> dict[str, Any]:
        """The record in the form of GetRecords."""
        return self.record


def patch() -> None:
    """Put the repairs in place."""
    replace(_shard, "add", add)
    replace(_iterator, "get", _forgetful(_iterator.get))


def add(self: Any, old: Snapshot | None, new: Snapshot | None) -> None:
    """``StreamShard.add``."""
    image = new or old
    if image is None or (old and new and old.plain == new.plain):
        return
    kind = self.table.stream_specification["StreamViewType"]
    change: dict[str, Any] = {
        "StreamViewType": kind,
        "ApproximateCreationDateTime": datetime.now(UTC),
        "SequenceNumber": str(self.starting_sequence_number + len(self.items)),
        "SizeBytes": image.bytes,
        "Keys": {name: image.plain[name] for name in self.table.table_key_attrs},
    }
    if new and kind in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
        change["NewImage"] = new.plain
    if old and kind in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
        change["OldImage"] = old.plain
    record = {
        "eventID": uuid4().hex,
        "eventName": "INSERT" if old is None else "MODIFY" if new else "REMOVE",
        "eventSource": "aws:dynamodb",
        "eventVersion": "1.1",
        "awsRegion": self.table.region_name,
        "dynamodb": change,
    }
    self.items.append(StreamRecord(record))


def _forgetful(stock: Callable[..., Any]) -> Callable[..., Any]:
    """``ShardIterator.get`` that keeps the last iterators only."""

    def get(self: Any, limit: int = 1_000) -> Any:
        held = self.streams_backend.shard_iterators
        while len(held) > ITERATORS_KEPT:
            del held[next(iter(held))]
        return stock(self, limit)

    return get
