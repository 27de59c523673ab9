"""Kinesis: records of a shard are numbered 1..n, so every record is one step away.

Moto lists the shard for every put, walks it for every read, and keeps two metrics for every put for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from infra.twin.moto_fixes import replace

LOCK = threading.RLock()
"""Held while a record is numbered: two puts at once must not get one number."""
_models: Any = import_module("moto.kinesis.models")


def patch() -> None:
    """Put the repairs in place."""
    shard = _models.Shard
    replace(shard, "put_record", _one_at_a_time(shard.put_record))
    replace(shard, "get_records", get_records)
    replace(shard, "get_min_sequence_number", _first_number)
    replace(shard, "get_max_sequence_number", _last_number)
    replace(_models.KinesisBackend, "_send_stream_metrics", _no_metrics)


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


def _no_metrics(*_args: Any, **_kwargs: Any) -> None:
    return None
