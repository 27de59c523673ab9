"""Kinesis: records of a shard are numbered 1..n, so every record is one step away.

Moto lists the shard for every put, walks it for every read, keeps two metrics for every put for ever, and holds other
limits than AWS: a request may have 10 MB, each of its records 1 MB with its partition key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from infra.twin.moto_fixes import replace

LOCK = threading.RLock()
"""Held while a record is numbered: two puts at once must not get one number."""
RECORD_BYTES = 1_048_576
REQUEST_BYTES = 10 * 1_048_576
REQUEST_RECORDS = 500
_models: Any = import_module("moto.kinesis.models")


def patch() -> None:
    """Put the repairs in place."""
    shard = _models.Shard
    replace(shard, "put_record", _one_at_a_time(shard.put_record))
    replace(shard, "get_records", get_records)
    replace(shard, "get_min_sequence_number", _first_number)
    replace(shard, "get_max_sequence_number", _last_number)
    replace(_models.KinesisBackend, "put_record", put_record)
    replace(_models.KinesisBackend, "put_records", put_records)


def put_record(
    self: Any, stream_arn: str, stream_name: str, partition_key: str, explicit_hash_key: str | None, data: str
) -> tuple[str, str]:
    """``KinesisBackend.put_record``: sequence number and shard. ``data`` is base64."""
    stream = self.describe_stream(stream_arn=stream_arn, stream_name=stream_name)
    if _bytes(data, partition_key) > RECORD_BYTES:
        raise _models.RecordSizeExceedsLimit(position=1)
    return stream.put_record(partition_key, explicit_hash_key, data)


def put_records(self: Any, stream_arn: str, stream_name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """``KinesisBackend.put_records``; all records are checked before one is stored."""
    stream = self.describe_stream(stream_arn=stream_arn, stream_name=stream_name)
    if len(records) > REQUEST_RECORDS:
        raise _models.TooManyRecords
    sizes = [_bytes(record["Data"], record["PartitionKey"]) for record in records]
    if sum(sizes) > REQUEST_BYTES:
        raise _models.InvalidArgumentError("Records size exceeds 10 MB limit")
    for position, size in enumerate(sizes, 1):
        if size > RECORD_BYTES:
            raise _models.RecordSizeExceedsLimit(position=position)
    done = [stream.put_record(r["PartitionKey"], r.get("ExplicitHashKey"), r["Data"]) for r in records]
    return {"FailedRecordCount": 0, "Records": [{"SequenceNumber": n, "ShardId": shard} for n, shard in done]}


def get_records(self: Any, last_sequence_id: str | int, limit: int | None) -> tuple[list[Any], int, int]:
    """``Shard.get_records``: the records behind a number, the last number read, and how far behind that is (ms)."""
    last = int(last_sequence_id)
    newest = _last_number(self)
    first = max(last + 1, _first_number(self))
    end = newest if limit is None else min(newest, first + limit - 1)
    records = [self.records[number] for number in range(first, end + 1)]
    if not records:
        return [], last, 0
    return records, end, int((self.records[newest].created_at - records[-1].created_at) * 1_000)


def _first_number(self: Any) -> int:
    return next(iter(self.records), 0)


def _last_number(self: Any) -> int:
    return next(reversed(self.records), 0)


def _one_at_a_time(stock: Callable[..., str]) -> Callable[..., str]:
    def put_record(self: Any, *args: Any) -> str:
        with LOCK:
            return stock(self, *args)

    return put_record


def _bytes(data: str, partition_key: str) -> int:
    """What a record counts: its data (here base64) and its partition key."""
    return len(data) * 3 // 4 - data[-2:].count("=") + len(partition_key.encode())
