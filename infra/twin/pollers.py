"""Event source mappings: what Lambda's pollers do for streams and queues, with the settings of the template.

Streams: per shard in order, a batch at BatchSize, window or 6 MB; after an error the same records again, halved if
bisecting; ``ReportBatchItemFailures`` moves the checkpoint to the lowest failed record; past the tries or the age they
go to the on-failure destination and the shard goes on. Queues: what is not named as failed is deleted, the rest becomes
visible again after the queue's time-out. (Lambda developer guide, "Event source mappings".)
"""

from __future__ import annotations

import json
import threading
import time
import traceback
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from moto.events.models import EventPattern

from infra.twin.lambdas import Outcome, Runtime
from infra.twin.memory import Queue, Shard, StreamRecord
from infra.twin.registry import Source

BATCH_BYTES = 6 * 1024 * 1024 - 64 * 1024
_RECORD_OVERHEAD = 600
_IDLE_S = 0.02
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


class Flow:
    """What all pollers share: whether to go on, and whether to wait for full batches."""

    def __init__(self) -> None:
        self.open = True
        self.flushing = 0
        self.activity = 0
        """Number of batches that began."""
        self._change = threading.Condition()

    def rest(self, seconds: float) -> None:
        """Wait; shorter if something changes."""
        if self.open:
            with self._change:
                self._change.wait(seconds)

    def wake(self) -> None:
        """Let everybody look again."""
        with self._change:
            self._change.notify_all()


class _Poller(ABC):
    def __init__(self, source: Source, runtime: Runtime, flow: Flow) -> None:
        self.source = source
        self._runtime = runtime
        self._flow = flow
        self._patterns = [EventPattern(text, json.loads(text)) for text in source.filters]
        self._thread = threading.Thread(target=self._loop, daemon=True, name=f"poller {source.key}")

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, after the flow was closed."""
        if self._thread.is_alive():
            self._thread.join(timeout=60)

    @abstractmethod
    def lag(self) -> int:
        """What is not processed yet."""

    @abstractmethod
    def step(self) -> bool:
        """Process one batch, if one is ready."""

    def _loop(self) -> None:
        while self._flow.open:
            try:
                worked = self.step()
            except Exception:
                traceback.print_exc()
                worked = False
                self._flow.rest(_PAUSE_S)
            if not worked:
                self._flow.rest(_IDLE_S)

    def _matches(self, event: Any) -> bool:
        return not self._patterns or any(pattern.matches_event(event) for pattern in self._patterns)

    def _invoke(self, events: list[dict[str, Any]]) -> Outcome:
        self._flow.activity += 1
        return self._runtime.invoke(self.source.function, json.dumps({"Records": events}).encode())


@dataclass(slots=True)
class _Work:
    """Records that are to be processed together; ``tries`` are those that failed."""

    records: list[StreamRecord]
    tries: int = 0


class StreamPoller(_Poller):
    """Reads one shard. ``position`` is the checkpoint: everything up to it is done."""

    def __init__(
        self,
        source: Source,
        shard: Shard,
        runtime: Runtime,
        flow: Flow,
        discard: Callable[[Source, str, bytes], None],
    ) -> None:
        super().__init__(source, runtime, flow)
        self.shard = shard
        self.position = shard.last()
        self.discarded = 0
        self._discard = discard
        self._work: list[_Work] = []
        self._waiting_since: float | None = None

    def lag(self) -> int:
        """Records behind the checkpoint."""
        return max(0, self.shard.last() - self.position)

    def step(self) -> bool:
        """Process the next batch, or what an interruption left of the last one."""
        records: list[StreamRecord] = []
        if not self._work:
            records = self._ready()
            if not records:
                return False
            matching = [record for record in records if self._matches(record.event)]
            if matching:
                self._work.append(_Work(matching))
        while self._work and self._flow.open:
            self._process(self._work[0])
        if records and not self._work:
            self.position = records[-1].position
        return True

    def _ready(self) -> list[StreamRecord]:
        """A batch that is full or whose window is over; otherwise nothing."""
        source = self.source
        waiting = self.lag()
        if not waiting:
            self._waiting_since = None
            return []
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        due = waiting >= source.batch_size or now - self._waiting_since >= source.window_s or self._flow.flushing > 0
        if not due:
            return []
        self._waiting_since = None
        records = self.shard.after(self.position, source.batch_size)
        size = 0
        for count, record in enumerate(records):
            size += record.size + _RECORD_OVERHEAD
            if size > BATCH_BYTES and count:
                return records[:count]
        return records

    def _process(self, work: _Work) -> None:
        expired = self._expired(work)
        if expired:
            self._give_up(work, expired, "RecordAgeExceeded")
            return
        outcome = self._invoke([record.event for record in work.records])
        failed = self._first_failed(work.records, outcome)
        if failed is None:
            self._done(work, len(work.records))
        elif failed:
            self._done(work, failed)
            self._flow.rest(_PAUSE_S)
        else:
            self._retry(work)

    def _first_failed(self, records: Sequence[StreamRecord], outcome: Outcome) -> int | None:
        """Index of the record where processing must begin again; None when all is done."""
        if outcome.failed:
            return 0
        if not self.source.partial:
            return None
        named = reported_failures(outcome.value)
        if named is None:
            return 0
        places = {self.shard.sequence(record.position): place for place, record in enumerate(records)}
        if not all(name in places for name in named):
            return 0
        return min((places[name] for name in named), default=None)

    def _retry(self, work: _Work) -> None:
        """What failed is halved, or tried again, or given up."""
        middle = len(work.records) // 2
        if self.source.bisect and middle:
            # A split does not count as a try.
            self._work[:1] = [_Work(work.records[:middle], work.tries), _Work(work.records[middle:], work.tries)]
            return
        work.tries += 1
        if 0 <= self.source.retries < work.tries:
            self._give_up(work, len(work.records), "RetryAttemptsExhausted")
        else:
            self._flow.rest(min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** min(work.tries, 10)))

    def _done(self, work: _Work, count: int) -> None:
        """The first records of the work in hand are done; the others go on as new work."""
        self.position = work.records[count - 1].position
        rest = work.records[count:]
        self._work[:1] = [_Work(rest)] if rest else []

    def _expired(self, work: _Work) -> int:
        if self.source.max_age_s < 0 or not work.tries:
            return 0
        oldest_ms = time.time() * 1000 - self.source.max_age_s * 1000
        return sum(record.arrived_ms < oldest_ms for record in work.records)

    def _give_up(self, work: _Work, count: int, condition: str) -> None:
        given_up = work.records[:count]
        self.discarded += count
        if self.source.on_failure:
            body = failure_document(self.source, self.shard, given_up, condition, work.tries)
            payload = json.dumps({"Records": [record.event for record in given_up]})
            if self.source.on_failure.startswith("arn:aws:s3:"):
                body["payload"] = payload
            self._discard(self.source, self.shard.id, json.dumps(body).encode())
        self._done(work, count)


def reported_failures(result: Any) -> list[str] | None:
    """The identifiers in an answer of ``ReportBatchItemFailures``; None when it is malformed: all have failed."""
    if not isinstance(result, dict):
        return [] if result is None else None
    entries = cast("dict[str, Any]", result).get("batchItemFailures")
    if entries is None:
        return []
    if not isinstance(entries, list):
        return None
    names: list[Any] = [entry.get("itemIdentifier") if isinstance(entry, dict) else None for entry in entries]  # pyright: ignore
    return names if all(isinstance(name, str) and name for name in names) else None


def failure_document(
    source: Source, shard: Shard, records: Sequence[StreamRecord], condition: str, tries: int
) -> dict[str, Any]:
    """What Lambda writes to an on-failure destination, without the payload."""
    kind = "KinesisBatchInfo" if ":kinesis:" in source.arn else "DDBStreamBatchInfo"
    return {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": source.function,
            "condition": condition,
            "approximateInvokeCount": tries,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": _iso(time.time()),
        kind: {
            "shardId": shard.id,
            "startSequenceNumber": shard.sequence(records[0].position),
            "endSequenceNumber": shard.sequence(records[-1].position),
            "approximateArrivalOfFirstRecord": _iso(records[0].arrived_ms / 1000),
            "approximateArrivalOfLastRecord": _iso(records[-1].arrived_ms / 1000),
            "batchSize": len(records),
            "streamArn": source.arn,
        },
    }


def failure_key(source: Source, shard_id: str) -> str:
    """The key under which Lambda stores a failure document in S3."""
    now = datetime.now(UTC)
    return f"aws/lambda/{source.key}/{shard_id}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"


class QueuePoller(_Poller):
    """Reads one queue."""

    def __init__(self, source: Source, queue: Queue, runtime: Runtime, flow: Flow, region: str) -> None:
        super().__init__(source, runtime, flow)
        self.queue = queue
        self._region = region
        self._held: list[Any] = []
        self._held_since = 0.0

    def lag(self) -> int:
        """Messages in the queue, hidden ones included."""
        return self.queue.depth()[1]

    def step(self) -> bool:
        """Receive until the batch is full or the window over, then process."""
        source = self.source
        while len(self._held) < source.batch_size:
            received = self.queue.receive(min(10, source.batch_size - len(self._held)))
            if received and not self._held:
                self._held_since = time.monotonic()
            self._held += received
            if not received:
                break
        if not self._held:
            return False
        waited = time.monotonic() - self._held_since
        if len(self._held) < source.batch_size and waited < source.window_s and not self._flow.flushing:
            return False
        messages, self._held = self._held, []
        self._process(messages)
        return True

    def _process(self, messages: list[Any]) -> None:
        wanted: list[Any] = []
        for message in messages:
            if self._matches({"body": _parsed(message.body)}):
                wanted.append(message)
            else:
                self.queue.delete(message.receipt_handle)
        if not wanted:
            return
        outcome = self._invoke([self._form(message) for message in wanted])
        failed = self._failed({message.id for message in wanted}, outcome)
        for message in wanted:
            if message.id not in failed:
                self.queue.delete(message.receipt_handle)

    def _failed(self, ids: set[str], outcome: Outcome) -> set[str]:
        if outcome.failed:
            return ids
        if not self.source.partial:
            return set()
        named = reported_failures(outcome.value)
        return ids if named is None or not ids.issuperset(named) else set(named)

    def _form(self, message: Any) -> dict[str, Any]:
        return {
            "messageId": message.id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": str(message.approximate_receive_count),
                "SentTimestamp": str(message.sent_timestamp),
                "SenderId": message.sender_id,
                "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
            },
            "messageAttributes": {
                name: {"stringValue": entry.get("StringValue"), "dataType": entry.get("DataType")}
                for name, entry in message.message_attributes.items()
            },
            "md5OfBody": message.body_md5,
            "eventSource": "aws:sqs",
            "eventSourceARN": self.source.arn,
            "awsRegion": self._region,
        }


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
