"""Records every AWS call: who made it, on what, how large it was, what it costs, and which permission it needs.

Counts are kept per function, operation and resource; quantities carry the names of the price list, so that ``price`` is
a multiplication. Sizes of items are those that DynamoDB bills, read from the tables before and after the call. Without
secondary indexes (the templates have none) a write is billed once. Of a failed call only what AWS bills is counted:
failed conditions and cancelled transactions.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.dynamodb.exceptions import MockValidationException

from infra.twin import calls, iam
from infra.twin.calls import Call, Proceed, current_function
from infra.twin.moto_fixes import dynamodb, pages

WRITE_BYTES = 1024
READ_BYTES = 4096
GIB = 1024**3
NEEDS_KEPT = 100_000
RAW_KEPT = 1_000
_BILLED_FAILURES = {"ConditionalCheckFailedException", "TransactionCanceledException"}
_PROVISIONED = {"kinesis_put_payload_unit"}
Quantities = dict[str, float]
"""Amounts by price name (``dynamodb_write_unit``, ``kinesis_od_gb_in``, …) in the unit that the name says."""


@dataclass(slots=True)
class Total:
    """What one function did to one resource with one operation. ``bytes`` are what was written or read, unrounded."""

    calls: int = 0
    errors: int = 0
    items: int = 0
    bytes: int = 0
    units: Quantities = field(default_factory=Quantities)


@dataclass(frozen=True, slots=True)
class Measured:
    """One call's part on one resource."""

    resource: str
    items: int = 0
    bytes: int = 0
    units: Quantities = field(default_factory=Quantities)


class Recorder:
    """Totals, needed permissions, and the last raw calls."""

    def __init__(self, raw: int) -> None:
        self.totals: dict[tuple[str, str, str, str], Total] = {}
        self.needs: dict[tuple[str, str, str], int] = {}
        self.raw: deque[dict[str, Any]] = deque(maxlen=raw)
        self._lock = threading.Lock()

    def add(self, function: str, service: str, operation: str, parts: Iterable[Measured], error: str = "") -> None:
        """Count one call. Other work with a price (invocations, requests of an API) is counted the same way."""
        with self._lock:
            for part in parts:
                total = self.totals.setdefault((function, service, operation, part.resource), Total())
                total.calls += 1
                total.errors += bool(error)
                total.items += part.items
                total.bytes += part.bytes
                for name, amount in part.units.items():
                    total.units[name] = total.units.get(name, 0) + amount
                if self.raw.maxlen:
                    entry = {"function": function, "service": service, "operation": operation, "error": error}
                    about = {"resource": part.resource, "items": part.items, "bytes": part.bytes, "units": part.units}
                    self.raw.append(entry | about)

    def need(self, function: str, needed: Iterable[tuple[str, str]]) -> None:
        """Remember the permissions that a call needs."""
        with self._lock:
            for action, resource in needed:
                key = (function, action, resource)
                if key in self.needs or len(self.needs) < NEEDS_KEPT:
                    self.needs[key] = self.needs.get(key, 0) + 1


_recorder = Recorder(0)


def install(keep: int = RAW_KEPT) -> None:
    """Record from now on; ``keep`` is how many single calls are kept besides the totals."""
    reset(keep)
    calls.use("recorder", _record)


def reset(keep: int | None = None) -> None:
    """Forget what was recorded."""
    global _recorder  # noqa: PLW0603  one recorder per process, like the layers
    _recorder = Recorder(_recorder.raw.maxlen or 0 if keep is None else keep)


def add(function: str, service: str, operation: str, resource: str, units: Mapping[str, float]) -> None:
    """Count work that is no call of botocore but has a price, such as an invocation."""
    _recorder.add(function, service, operation, [Measured(resource, units=dict(units))])


def summary() -> dict[str, Any]:
    """The totals as JSON.

    ``calls``: {function, service, operation, resource, calls, errors, items, bytes, units};
    ``needs``: {function, action, resource, calls}.
    """
    names = ("function", "service", "operation", "resource")
    rows = [
        {**dict(zip(names, key, strict=True)), **{name: getattr(total, name) for name in Total.__slots__}}
        for key, total in sorted(_recorder.totals.items())
    ]
    needed = [
        {"function": function, "action": action, "resource": resource, "calls": times}
        for (function, action, resource), times in sorted(_recorder.needs.items())
    ]
    return {"calls": rows, "needs": needed}


def raw() -> list[dict[str, Any]]:
    """The last single calls, oldest first; one entry per resource that a call touched."""
    return list(_recorder.raw)


def needs() -> list[iam.Need]:
    """The permissions that the recorded calls needed, for ``iam.replay``."""
    return [iam.Need(*key) for key in sorted(_recorder.needs)]


def dump(path: Path) -> None:
    """Write the raw calls as NDJSON."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in raw()))


def price(recorded: Mapping[str, Any], prices: Mapping[str, Any], *, provisioned_stream: bool = False) -> float:
    """USD of a ``summary``. ``prices`` is the table ``prices`` of unit-prices.json.

    A stream is billed as on-demand by default, else by the put payload units of a provisioned one, without its hours.
    """
    unwanted = {name for name in prices if name.startswith("kinesis_od")} if provisioned_stream else _PROVISIONED
    return sum(
        amount / prices[name]["per"] * prices[name]["usd"]
        for row in recorded["calls"]
        for name, amount in row["units"].items()
        if name not in unwanted
    )


def _record(call: Call, proceed: Proceed) -> dict[str, Any]:
    body: Any = call.params.get("Body")  # botocore puts a stream in its place
    before = [len(body)] if hasattr(body, "__len__") else _stored_bytes(call)
    pages.looked_at.set(0)
    try:
        answer = proceed(call)
    except ClientError as failed:
        response: Any = failed.response
        _note(call, {}, before, response.get("Error", {}).get("Code", "unknown"))
        raise
    _note(call, answer, before, "")
    return answer


def _note(call: Call, answer: dict[str, Any], before: list[int], error: str) -> None:
    needed = iam.needed(call)
    meter = _METERS.get((call.service, call.operation))
    if meter is None or (error and error not in _BILLED_FAILURES):
        parts = [Measured(resource) for resource in dict.fromkeys(resource for _, resource in needed)]
    else:
        parts = meter(call, answer, before)
    function = current_function.get()
    _recorder.add(function, call.service, call.operation, parts, error)
    _recorder.need(function, needed)


# ── DynamoDB ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_Target = tuple[str, dict[str, Any]]
"""A table's name and the item or key that is written."""


def _targets(call: Call) -> list[_Target]:
    """What a call writes."""
    if call.service != "dynamodb":
        return []
    params = call.params
    if call.operation in ("PutItem", "UpdateItem", "DeleteItem"):
        return [(params["TableName"], params.get("Item") or params["Key"])]
    if call.operation == "BatchWriteItem":
        return [
            (table, body.get("Item") or body["Key"])
            for table, requests in params["RequestItems"].items()
            for request in requests
            for body in request.values()
        ]
    if call.operation == "TransactWriteItems":
        bodies: list[dict[str, Any]] = [body for entry in params["TransactItems"] for body in entry.values()]
        return [(body["TableName"], body.get("Item") or body["Key"]) for body in bodies]
    return []


def _stored_bytes(call: Call) -> list[int]:
    """The present size of each item that a call writes; 0 where there is none."""
    region = call.client.meta.region_name
    try:
        return [_size(region, table, item) for table, item in _targets(call)]
    except (KeyError, TypeError, AttributeError):
        return []  # a malformed request, which botocore is about to refuse


def _size(region: str, name: str, item: dict[str, Any]) -> int:
    table = dynamodb.table_named(region, name)
    try:
        row = dynamodb.row_of(table, item) if table is not None else None
    except MockValidationException:
        return 0
    return row.size if row else 0


def _written(call: Call, _answer: dict[str, Any], before: list[int]) -> list[Measured]:
    """1 KB of the larger of old and new item, twice that in a transaction."""
    factor = 2 if call.operation == "TransactWriteItems" else 1
    parts: dict[str, Measured] = {}
    for (table, _), old, new in zip(_targets(call), before, _stored_bytes(call), strict=True):
        held = parts.get(table) or Measured(_table(call, table), units={"dynamodb_write_unit": 0})
        units = held.units["dynamodb_write_unit"] + factor * _rounded(max(old, new), WRITE_BYTES)
        parts[table] = Measured(held.resource, held.items + 1, held.bytes + new, {"dynamodb_write_unit": units})
    return list(parts.values())


def _got(call: Call, answer: dict[str, Any], _before: list[int]) -> list[Measured]:
    """GetItem: 4 KB, half when eventually consistent; nothing found costs as the smallest item."""
    size = pages.looked_at.get()
    units = _rounded(size, READ_BYTES) * _consistency(call.params)
    return [
        Measured(_table(call, call.params["TableName"]), int("Item" in answer), size, {"dynamodb_read_unit": units})
    ]


def _paged(call: Call, answer: dict[str, Any], _before: list[int]) -> list[Measured]:
    """Query and Scan: all that was looked at, together rounded up."""
    size = pages.looked_at.get()
    units = _rounded(size, READ_BYTES) * _consistency(call.params)
    resource = iam.needed(call)[0][1]
    return [Measured(resource, answer.get("Count", 0), size, {"dynamodb_read_unit": units})]


def _batch_got(call: Call, _answer: dict[str, Any], _before: list[int]) -> list[Measured]:
    """BatchGetItem: each item rounded by itself."""
    region = call.client.meta.region_name
    parts: list[Measured] = []
    for table, request in call.params["RequestItems"].items():
        sizes = [_size(region, table, key) for key in request["Keys"]]
        units = sum(_rounded(size, READ_BYTES) for size in sizes) * _consistency(request)
        parts.append(Measured(_table(call, table), len(sizes), sum(sizes), {"dynamodb_read_unit": units}))
    return parts


def _transaction_got(call: Call, _answer: dict[str, Any], _before: list[int]) -> list[Measured]:
    region = call.client.meta.region_name
    gets = [entry["Get"] for entry in call.params["TransactItems"]]
    sizes = [(get["TableName"], _size(region, get["TableName"], get["Key"])) for get in gets]
    return [
        Measured(_table(call, table), 1, size, {"dynamodb_read_unit": 2 * _rounded(size, READ_BYTES)})
        for table, size in sizes
    ]


def _consistency(request: Mapping[str, Any]) -> float:
    return 1 if request.get("ConsistentRead") else 0.5


def _rounded(size: int, step: int) -> int:
    return max(1, ceil(size / step))


def _table(call: Call, name: str) -> str:
    return iam.arn(call, "dynamodb", f"table/{name}")


# ── the others ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _streamed(call: Call, _answer: dict[str, Any], _before: list[int]) -> list[Measured]:
    """Kinesis puts: each record up to 1 KB (on-demand) or 25 KB (provisioned)."""
    records: list[dict[str, Any]] = call.params.get("Records") or [call.params]
    sizes = [len(record["Data"]) + len(record["PartitionKey"].encode()) for record in records]
    units: Quantities = {
        "kinesis_od_gb_in": sum(_rounded(size, 1024) * 1024 for size in sizes) / GIB,
        "kinesis_put_payload_unit": sum(_rounded(size, 25 * 1024) for size in sizes),
    }
    return [Measured(iam.needed(call)[0][1], len(records), sum(sizes), units)]


def _stream_read(call: Call, answer: dict[str, Any], _before: list[int]) -> list[Measured]:
    sizes = [len(record["Data"]) + len(record["PartitionKey"].encode()) for record in answer.get("Records", [])]
    return [Measured(iam.needed(call)[0][1], len(sizes), sum(sizes), {"kinesis_od_gb_out": sum(sizes) / GIB})]


def _event_entries(call: Call, _answer: dict[str, Any], _before: list[int]) -> list[Measured]:
    """Each started 64 KB of an entry is an event."""
    from infra.twin.moto_fixes.events import entry_bytes

    sizes = [entry_bytes(entry) for entry in call.params["Entries"]]
    units: Quantities = {"eventbridge_event": sum(_rounded(size, 65_536) for size in sizes)}
    return [Measured(iam.needed(call)[0][1], len(sizes), sum(sizes), units)]


def _queued(call: Call, answer: dict[str, Any], _before: list[int]) -> list[Measured]:
    """Each started 64 KB of a request is a request, a batch is one."""
    sent = call.params.get("Entries") or [call.params]
    bodies = [entry.get("MessageBody", "") for entry in sent] + [m["Body"] for m in answer.get("Messages", [])]
    size = sum(len(body.encode()) for body in bodies)
    units: Quantities = {"sqs_request": _rounded(size, 65_536)}
    return [Measured(iam.needed(call)[0][1], len(answer.get("Messages", sent)), size, units)]


def _objects(name: str) -> Callable[[Call, dict[str, Any], list[int]], list[Measured]]:
    def measure(call: Call, answer: dict[str, Any], before: list[int]) -> list[Measured]:
        size = sum(before) or int(answer.get("ContentLength", 0))
        return [Measured(iam.arn(call, "s3", str(call.params.get("Bucket"))), 1, size, {name: 1})]

    return measure


Meter = Callable[[Call, dict[str, Any], list[int]], list[Measured]]
_WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")
_MESSAGES = ("SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch")
_PUTS = ("PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "ListObjectsV2")
_METERS: dict[tuple[str, str], Meter] = {
    **{("dynamodb", name): _written for name in _WRITES},
    ("dynamodb", "GetItem"): _got,
    ("dynamodb", "BatchGetItem"): _batch_got,
    ("dynamodb", "TransactGetItems"): _transaction_got,
    ("dynamodb", "Query"): _paged,
    ("dynamodb", "Scan"): _paged,
    ("kinesis", "PutRecord"): _streamed,
    ("kinesis", "PutRecords"): _streamed,
    ("kinesis", "GetRecords"): _stream_read,
    ("events", "PutEvents"): _event_entries,
    **{("sqs", name): _queued for name in _MESSAGES},
    **{("s3", name): _objects("s3_put") for name in _PUTS},
    ("s3", "GetObject"): _objects("s3_get"),
    ("s3", "HeadObject"): _objects("s3_get"),
}
