"""What the twin reads and writes straight in moto's memory: unread stream records, messages, items, objects.

Pollers, snapshots and the clock need these; through the API they would cost a call per look. Nothing else in the twin
touches moto's models.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, cast

from infra.twin.assembly import ACCOUNT
from infra.twin.moto_fixes import dynamodb as fixed_dynamodb
from infra.twin.moto_fixes import kinesis as fixed_kinesis

_kinesis: Any = import_module("moto.kinesis.models")
_dynamodb: Any = import_module("moto.dynamodb.models")
_sqs: Any = import_module("moto.sqs.models")
_s3: Any = import_module("moto.s3.models")
restoring: ContextVar[bool] = ContextVar("restoring", default=False)
"""Whether this thread puts back what a former run had."""
_parser: Any = import_module("moto.stepfunctions.parser.models")
_LOOK_S = 0.02
_PREFIX = 495_900_000_000_000 * 10**41
"""Kinesis numbers have 56 digits: moto's 1, 2, 3 … are shown above this base, so that they sort as text, too."""


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record of a stream: its position in the shard, arrival (ms), and the form that Lambda gets."""

    position: int
    arrived_ms: int
    event: dict[str, Any]
    size: int


class KinesisShard:
    """One shard of a Kinesis stream."""

    def __init__(self, stream_arn: str, region: str, shard: Any) -> None:
        self.id: str = shard.shard_id
        self.arn = stream_arn
        self._region = region
        self._shard = shard

    def last(self) -> int:
        """Position of the newest record; 0 when there was none."""
        return self._shard.get_max_sequence_number()

    def after(self, position: int, limit: int) -> list[StreamRecord]:
        """The records behind a position, oldest first."""
        with fixed_kinesis.LOCK:
            records = self._shard.get_records(position, limit)[0]
        return [self._form(record) for record in records]

    def sequence(self, position: int) -> str:
        """The sequence number of a position."""
        return str(_PREFIX + position)

    def position(self, sequence: str) -> int:
        """The position of a sequence number."""
        return int(sequence) - _PREFIX

    def _form(self, record: Any) -> StreamRecord:
        position: int = record.sequence_number
        sequence = self.sequence(position)
        event = {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record.partition_key,
                "sequenceNumber": sequence,
                "data": record.data,
                "approximateArrivalTimestamp": round(record.created_at, 3),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{self.id}:{sequence}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/twin",
            "awsRegion": self._region,
            "eventSourceARN": self.arn,
        }
        return StreamRecord(position, int(record.created_at * 1000), event, len(record.data))


class TableShard:
    """The stream of a DynamoDB table, as one shard."""

    def __init__(self, stream_arn: str, table: Any) -> None:
        self.id: str = table.stream_shard.id
        self.arn = stream_arn
        self._shard = table.stream_shard

    def last(self) -> int:
        """Position of the newest record."""
        return self._shard.starting_sequence_number + len(self._shard.items) - 1

    def after(self, position: int, limit: int) -> list[StreamRecord]:
        """The records behind a position, oldest first."""
        with fixed_dynamodb.LOCK:
            first = max(0, position + 1 - self._shard.starting_sequence_number)
            records = self._shard.items[first : first + limit]
        return [self._form(record.record) for record in records]

    def sequence(self, position: int) -> str:
        """The sequence number of a position."""
        return str(position)

    def position(self, sequence: str) -> int:
        """The position of a sequence number."""
        return int(sequence)

    def forget(self, position: int) -> None:
        """Drop the records up to a position; nobody reads them again."""
        with fixed_dynamodb.LOCK:
            count = position + 1 - self._shard.starting_sequence_number
            if count > 0:
                del self._shard.items[:count]
                self._shard.starting_sequence_number += count

    def _form(self, record: dict[str, Any]) -> StreamRecord:
        change: dict[str, Any] = record["dynamodb"]
        arrived_ms = int(change["ApproximateCreationDateTime"].timestamp() * 1000)
        shown = {**change, "ApproximateCreationDateTime": arrived_ms // 1000}
        for image in ("Keys", "NewImage", "OldImage"):
            if image in shown:
                shown[image] = wire_to_json(shown[image])
        event = {**record, "dynamodb": shown, "eventSourceARN": self.arn}
        return StreamRecord(int(change["SequenceNumber"]), arrived_ms, event, int(change["SizeBytes"]))


Shard = KinesisShard | TableShard


def shards(arn: str) -> Sequence[Shard]:
    """The shards of a stream by its ARN."""
    _, _, service, region, _, resource = arn.split(":", 5)
    if service == "kinesis":
        stream = _kinesis.kinesis_backends[ACCOUNT][region].streams[resource.removeprefix("stream/")]
        return [KinesisShard(arn, region, shard) for shard in stream.shards.values()]
    table = table_of(region, resource.split("/")[1])
    return [TableShard(arn, table)]


def table_of(region: str, name: str) -> Any:
    """Moto's table."""
    return _dynamodb.dynamodb_backends[ACCOUNT][region].tables[name]


class Queue:
    """One queue by its ARN."""

    def __init__(self, arn: str) -> None:
        self.arn = arn
        _, _, _, region, _, self.name = arn.split(":", 5)
        self._backend = _sqs.sqs_backends[ACCOUNT][region]
        self._queue = self._backend.get_queue(self.name)

    def receive(self, most: int) -> list[Any]:
        """Up to ``most`` visible messages, now invisible for the queue's time-out."""
        return self._backend.receive_message(self.name, most, 0, self._queue.visibility_timeout, ["All"])

    def delete(self, receipt_handle: str) -> None:
        """Take a message out."""
        self._queue.delete_message(receipt_handle)

    def send(self, body: str) -> None:
        """Put a message in."""
        self._backend.send_message(self.name, body)

    def depth(self) -> tuple[int, int]:
        """Visible messages, and all of them."""
        return self._queue.approximate_number_of_messages, len(self._queue._messages)

    def next_due_s(self) -> float:
        """Seconds until the next hidden message becomes visible; 0 when there is none."""
        with self._queue._messages_lock:
            due = [_due_ms(message) for message in self._queue._messages]
        return max(0.0, min(due, default=0) / 1000 - time.time())

    def advance(self, step_ms: int) -> None:
        """Time has moved: hidden messages become visible so much earlier."""
        with self._queue._messages_lock:
            for message in self._queue._messages:
                message.visible_at -= step_ms
                message.delayed_until -= step_ms
                self._queue._messages.append(message)
            self._queue._messages_lock.notify_all()

    def dump(self) -> list[dict[str, Any]]:
        """The messages as JSON values."""
        return [{name: getattr(message, name) for name in _MESSAGE} for message in self._queue._messages]

    def load(self, messages: list[dict[str, Any]]) -> None:
        """Put back what ``dump`` gave."""
        for saved in messages:
            message = _sqs.Message(saved["id"], saved["body"])
            for name in _MESSAGE:
                setattr(message, name, saved[name])
            self._queue.add_message(message)

    @property
    def lock(self) -> Any:
        """Held during every change of the queue."""
        return self._queue._messages_lock


_MESSAGE = (
    *("id", "body", "message_attributes", "sender_id", "sent_timestamp", "approximate_first_receive_timestamp"),
    *("approximate_receive_count", "visible_at", "delayed_until", "system_attributes"),
)


def _due_ms(message: Any) -> float:
    return max(message.visible_at, message.delayed_until)


def end_executions(patience_s: float) -> None:
    """Let the interpreter's executions end for so long, then stop those that go on (or wait for their next try)."""
    deadline = time.monotonic() + patience_s
    while (found := _interpreted()) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    for run in found:
        run.stop(stop_date=datetime.now(UTC), error=None, cause="the twin stops")


def running_executions() -> list[str]:
    """Names of the state machine executions that are not at their end."""
    return [run.name for run in _interpreted()]


def _interpreted() -> list[Any]:
    """The executions under way, of moto's interpreter: the twin runs no others."""
    return [
        run
        for backend in _parser.stepfunctions_parser_backends[ACCOUNT].values()
        for machine in backend.state_machines
        for run in machine.executions
        if run.exec_status is not None and run.exec_status.value == "RUNNING"
    ]


def dump_stream(region: str, name: str, read: Mapping[str, int]) -> dict[str, Any]:
    """The records of a Kinesis stream behind the positions (by shard id) that every consumer has passed."""
    saved: dict[str, Any] = {}
    for shard in _kinesis.kinesis_backends[ACCOUNT][region].streams[name].shards.values():
        position = read.get(shard.shard_id, 0)
        records = shard.get_records(position, None)[0]
        # Keeping the newest read record keeps the numbering.
        for number in [number for number in shard.records if number < position]:
            del shard.records[number]
        rows = [[r.sequence_number, r.partition_key, r.data, r.explicit_hash_key, r.created_at] for r in records]
        saved[shard.shard_id] = {"read": position, "records": rows}
    return saved


def load_stream(region: str, name: str, saved: Mapping[str, Any]) -> None:
    """Put back what ``dump_stream`` gave."""
    for shard in _kinesis.kinesis_backends[ACCOUNT][region].streams[name].shards.values():
        kept = saved.get(shard.shard_id)
        if kept is None:
            continue
        rows: list[list[Any]] = kept["records"]
        if kept["read"]:
            rows = [[kept["read"], "", "", "", 0.0], *rows]
        for number, key, data, hash_key, created_at in rows:
            record = _kinesis.Record(key, data, number, hash_key)
            record.created_at = created_at
            record.created_at_datetime = datetime.fromtimestamp(created_at, UTC)
            shard.records[number] = record


def dump_changes(region: str, name: str, position: int) -> list[dict[str, Any]]:
    """The stream records of a table behind a position, as JSON values."""
    shard = table_of(region, name).stream_shard
    first = max(0, position + 1 - shard.starting_sequence_number)
    rows: list[dict[str, Any]] = []
    for item in shard.items[first:]:
        change = dict(item.record["dynamodb"])
        change["ApproximateCreationDateTime"] = change["ApproximateCreationDateTime"].timestamp()
        rows.append({**item.record, "dynamodb": wire_to_json(change)})
    return rows


def load_changes(region: str, name: str, rows: list[dict[str, Any]]) -> None:
    """Put back what ``dump_changes`` gave; positions begin anew."""
    shard = table_of(region, name).stream_shard
    make: Any = import_module("infra.twin.moto_fixes.streams").StreamRecord
    for row in rows:
        change = row["dynamodb"]
        change["ApproximateCreationDateTime"] = datetime.fromtimestamp(change["ApproximateCreationDateTime"], UTC)
        change["SequenceNumber"] = str(shard.starting_sequence_number + len(shard.items))
        for image in ("Keys", "NewImage", "OldImage"):
            if image in change:
                change[image] = json_to_wire(change[image])
        shard.items.append(make(row))


def rows(region: str, name: str) -> list[Any]:
    """The rows of a table: each has its wire item in ``plain``, marshalled in ``blob``; a row is never changed."""
    with fixed_dynamodb.LOCK:
        return list(fixed_dynamodb.store_of(table_of(region, name)).primary.walk())


def expired(region: str, name: str, attribute: str, now_s: int) -> Iterator[dict[str, Any]]:
    """The keys of the items whose time to live is over."""
    keys: list[str] = table_of(region, name).table_key_attrs
    for row in rows(region, name):
        if attribute.encode() not in row.blob:
            continue
        plain = row.plain
        if 0 < float(plain.get(attribute, {}).get("N", 0)) < now_s:
            yield {key: plain[key] for key in keys}


def objects(bucket: str) -> list[Any]:
    """The current objects of a bucket (moto's keys), without delete markers."""
    keys: dict[str, Any] = _s3.s3_backends[ACCOUNT]["aws"].buckets[bucket].keys
    # moto's own values() gives the newest version only, and not in one step.
    versions = list(dict[str, Any].values(keys))
    return [entry[-1] for entry in versions if entry and isinstance(entry[-1], _s3.FakeKey)]


def load_object(bucket: str, name: str, value: bytes, about: Mapping[str, Any]) -> None:
    """Put an object back; nobody is told of it."""
    token = restoring.set(True)
    try:
        key = _s3.s3_backends[ACCOUNT]["aws"].put_object(bucket, name, value)
    finally:
        restoring.reset(token)
    for header, text in about["metadata"].items():
        key._metadata[header] = text
    key.last_modified = datetime.fromtimestamp(about["modified"], UTC).replace(tzinfo=None)


@contextmanager
def standing_still(queues: Sequence[Queue]) -> Generator[None, None, None]:
    """No table, stream, queue or bucket changes inside the block."""
    with ExitStack() as held:
        held.enter_context(fixed_dynamodb.LOCK)
        held.enter_context(fixed_kinesis.LOCK)
        # A queue's lock is taken before that of its dead-letter queue, which was made earlier.
        for queue in reversed(queues):
            held.enter_context(queue.lock)
        yield


def wire_to_json(value: Any) -> Any:
    """A wire item with its bytes as base64 text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: wire_to_json(entry) for name, entry in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [wire_to_json(entry) for entry in cast("list[Any]", value)]
    return value


def json_to_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    """The wire item of ``wire_to_json``."""
    return {name: _attribute(entry) for name, entry in item.items()}


def _attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    ((kind, content),) = attribute.items()
    convert = _FROM_JSON.get(kind)
    return {kind: content if convert is None else convert(content)}


_FROM_JSON: dict[str, Callable[[Any], Any]] = {
    "B": base64.b64decode,
    "BS": lambda content: [base64.b64decode(entry) for entry in content],
    "L": lambda content: [_attribute(entry) for entry in content],
    "M": json_to_wire,
}
