"""Put records on the event stream: only what failed is sent again, within a time budget (reliability R1, R3, R4)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from hoso.model.errors import Transient

MAX_RECORDS = 500
MAX_CALL_BYTES = 4_000_000
BUDGET_S = 6.0
"""Longest time for all calls of one ``put``: the answer to the client must go out within 10 s."""

READ_TIMEOUT_S = 2.0
_BASE_DELAY_S = 0.05
_MAX_DELAY_S = 1.0

StreamRecord = tuple[str, bytes]
"""Partition key and data."""


def stream_client() -> Any:
    """The Kinesis client of ``Stream``: its calls are short and not repeated by the SDK, ``put`` does that."""
    from hoso.platform.aws import client

    return client("kinesis", read_timeout_s=READ_TIMEOUT_S, attempts=1)


class Stream:
    """One Kinesis data stream. ``now_s`` is a monotonic clock in seconds."""

    __slots__ = ("_client", "_name", "_now_s", "_sleep")

    def __init__(
        self,
        name: str,
        client: Any,
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._client = client
        self._sleep = sleep
        self._now_s = now_s

    def put(self, records: Sequence[StreamRecord], budget_s: float = BUDGET_S) -> None:
        """Store all records. A record may be stored twice when a call's answer is lost, never reordered by itself.

        Raises:
            Transient: some records could not be stored within ``budget_s``; the caller sends all of them again.
        """
        deadline = self._now_s() + budget_s
        for part in batches(records):
            self._put_part(part, deadline)

    def _put_part(self, records: Sequence[StreamRecord], deadline: float) -> None:
        pending = records
        attempt = 0
        while True:
            pending, reason = self._call(pending)
            if not pending:
                return
            # full jitter: a throttled shard must not see its clients again all at once
            delay = random.uniform(0, min(_MAX_DELAY_S, _BASE_DELAY_S * 2**attempt))  # noqa: S311  no secret
            if self._now_s() + delay >= deadline:
                raise Transient(f"{len(pending)} records stayed off the stream: {reason}", hint="send them again")
            self._sleep(delay)
            attempt += 1

    def _call(self, records: Sequence[StreamRecord]) -> tuple[Sequence[StreamRecord], str]:
        """One call; the records that it did not store, and the first reason."""
        entries = [{"PartitionKey": key, "Data": data} for key, data in records]
        try:
            answer: dict[str, Any] = self._client.put_records(StreamName=self._name, Records=entries)
        except Exception as error:
            from botocore.exceptions import BotoCoreError, ClientError  # looked up at each run: only where it is needed

            if isinstance(error, ClientError):
                response = cast("dict[str, Any]", error.response)
                return records, str(response.get("Error", {}).get("Code", "ClientError"))
            if isinstance(error, BotoCoreError):
                return records, type(error).__name__
            raise
        if not answer.get("FailedRecordCount"):
            return (), ""
        results: list[dict[str, Any]] = answer["Records"]
        failed = [index for index, result in enumerate(results) if result.get("ErrorCode")]
        return [records[index] for index in failed], str(results[failed[0]]["ErrorCode"]) if failed else ""


def batches(records: Sequence[StreamRecord]) -> Iterator[Sequence[StreamRecord]]:
    """The records in calls of at most ``MAX_RECORDS`` and ``MAX_CALL_BYTES``, keys included."""
    first = size = 0
    for index, (key, data) in enumerate(records):
        bytes_here = len(key.encode()) + len(data)
        if index > first and (index - first >= MAX_RECORDS or size + bytes_here > MAX_CALL_BYTES):
            yield records[first:index]
            first, size = index, 0
        size += bytes_here
    if first < len(records):
        yield records[first:]
