"""The newest records of the event stream, read beside its consumers: bounded in time, calls and records."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from hoso.model.errors import Transient

MAX_SHARDS = 32
_CALLS_PER_SHARD = 6
_RECORDS_PER_CALL = 2_000
_READ_TIMEOUT_S = 2.0


@dataclass(slots=True)
class Tail:
    """Data of records by their arrival; ``complete`` is false where time or calls ran out before the newest one."""

    records: list[bytes] = field(default_factory=list[bytes])
    complete: bool = True


def tail_client() -> Any:
    """The Kinesis client of ``StreamTail``."""
    from hoso.platform.aws import client

    return client("kinesis", read_timeout_s=_READ_TIMEOUT_S, attempts=1)


class StreamTail:
    """Reads the end of one stream. A shard takes five reads a second of all its readers: this one takes few."""

    def __init__(self, name: str, client: Any, now_s: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._client = client
        self._now_s = now_s

    def read(self, since_ms: int, budget_s: float) -> Tail:
        """What arrived since an instant (UTC ms, the stream's own clock), shard by shard.

        Raises:
            Transient: the stream does not answer at all.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = self._now_s() + budget_s
        found = Tail()
        try:
            listed = cast("dict[str, Any]", self._client.list_shards(StreamName=self._name, MaxResults=MAX_SHARDS + 1))
            shards: list[dict[str, Any]] = listed["Shards"]
            found.complete = len(shards) <= MAX_SHARDS
            for shard in shards[:MAX_SHARDS]:
                self._read_shard(shard["ShardId"], since_ms, deadline, found)
        except ClientError as error:
            response = cast("dict[str, Any]", error.response)
            code = str(response.get("Error", {}).get("Code", ""))
            if not found.records:
                raise Transient(f"the stream says {code}", hint="try again in a few seconds") from error
            found.complete = False
        except BotoCoreError as error:
            if not found.records:
                raise Transient(f"the stream: {type(error).__name__}", hint="try again in a few seconds") from error
            found.complete = False
        return found

    def _read_shard(self, shard: str, since_ms: int, deadline: float, found: Tail) -> None:
        iterator: str | None = self._client.get_shard_iterator(
            StreamName=self._name, ShardId=shard, ShardIteratorType="AT_TIMESTAMP", Timestamp=since_ms / 1_000
        )["ShardIterator"]
        for _ in range(_CALLS_PER_SHARD):
            if iterator is None or self._now_s() > deadline:
                break
            page: dict[str, Any] = self._client.get_records(ShardIterator=iterator, Limit=_RECORDS_PER_CALL)
            found.records += [record["Data"] for record in page["Records"]]
            if not page.get("MillisBehindLatest"):
                return
            iterator = page.get("NextShardIterator")
        found.complete = found.complete and iterator is None
