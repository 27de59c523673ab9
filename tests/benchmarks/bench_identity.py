"""Identity in the consumer: what many identifiers of a person cost, what known traffic reads, what a new fact writes.

``python -m tests.benchmarks identity`` prints JSON. Tables are in memory; the time of their calls is taken out. A
*unit* is a write unit of a transaction: twice the size in KB of the larger of old and new item, checks included.
"""

from __future__ import annotations

import base64
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hoso.model.identifiers import DEFAULT, STANDARD, Identifier, IdentityConfig, TypeRule
from hoso.model.time import DAY_MS, format_instant
from hoso.unify.evidence import Evidence
from infra.twin.moto_fixes.values import canonical
from tests.benchmarks.bench_consume import rules
from tests.identity_table import MemoryDynamo
from tests.traffic_generator import Generator
from tests.unify_in_memory import NOW as UNIFY_NOW
from tests.unify_in_memory import MemoryWorld, kinesis
from tests.unify_world import NOW, packed

IDENTIFIERS = (1, 10, 100)
PEOPLE = 100
EVENTS = 4_000
PER_BATCH = 50
CUSTOMERS = 300
SAMPLE = Path("events/traffic/events.ndjson")
WIDE = IdentityConfig({**STANDARD.types, "anonymous_id": TypeRule(8, limit=1_000)})

Row = dict[str, Any]


class Counting:
    """A client that counts, takes the time of its calls, and keeps what each decision of identity wrote."""

    def __init__(self, client: MemoryDynamo, *, weighs: bool = False) -> None:
        self.client = client
        self.seconds = 0.0
        self.calls = 0
        self.weighs = weighs
        self.decisions: list[tuple[bool, int, int]] = []
        """Per transaction of identity: whether people became one or parted, items, and units."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            began = time.process_time()
            self.calls += 1
            try:
                if self.weighs and name == "transact_write_items":
                    return self._written(request)
                return getattr(self.client, name)(**request)
            finally:
                self.seconds += time.process_time() - began

        return call

    def _written(self, request: Any) -> Any:
        entries = [(body["TableName"], _key(body)) for entry in request["TransactItems"] for body in entry.values()]
        before = [self._size(*entry) for entry in entries]
        answer = self.client.transact_write_items(**request)
        if any("#I#" in key[0] for _, key in entries):
            sizes = [max(old, self._size(*entry)) for old, entry in zip(before, entries, strict=True)]
            units = sum(2 * max(1, -(-size // 1024)) for size in sizes)
            self.decisions.append((any(key[1].startswith("M#") for _, key in entries), len(entries), units))
        return answer

    def _size(self, table: str, key: tuple[str, str]) -> int:
        held = self.client.tables.get(table, {}).get(key)
        return 0 if held is None else canonical(held)[1]


def measure() -> dict[str, Any]:
    """All three."""
    traffic = [line for line in Generator(5, CUSTOMERS).make().lines if "messageId" in line]
    return {
        "identifiers_per_person": _identifiers(),
        "sample": _passes([json.loads(line) for line in SAMPLE.read_text().splitlines()]),
        f"generated_{CUSTOMERS}_customers": _passes(traffic),
    }


def _identifiers() -> dict[str, Any]:
    """CPU per event of known people with so many identifiers, each event under any of them, to that with one."""
    found: dict[str, Any] = {}
    base: dict[int, float] = {}
    for rule_count in (0, 10):
        for count in IDENTIFIERS:
            spent, calls, keys = _steady(count, rule_count)
            base.setdefault(rule_count, spent)
            found[f"{count}_identifiers_{rule_count}_rules"] = {
                "us_per_event": round(spent * 1e6, 1),
                "ratio_to_one": round(spent / base[rule_count], 2),
                "calls_per_event": round(calls, 2),
                "items_read_per_event": round(keys, 2),
            }
    return found


def _steady(count: int, rule_count: int) -> tuple[float, float, float]:
    """Seconds, calls and items read per event in the steady state."""
    client = MemoryDynamo()
    counting = Counting(client)
    world = MemoryWorld(counting, WIDE, config_ttl_ms=60_000)
    for number, rule in enumerate(rules(rule_count)):
        body = {"schema": "segment/1", "key": f"s{number}", "name": f"s{number}", "rule": rule}
        world.control.put("main", "segment", f"s{number}", body)
    ids = [
        [Identifier("user_id", f"u{person}"), *(Identifier("anonymous_id", f"a{person}-{n}") for n in range(count - 1))]
        for person in range(PEOPLE)
    ]
    for held in ids:
        told = [Evidence(f"{held[0]}-{one}", DAY_MS, held[0], [one]) for one in held[1:]]
        _consume(world, [kinesis(one, world.now) for one in told or [Evidence(str(held[0]), DAY_MS, held[0])]])
    every = [one for held in ids for one in held]
    _batches(world, [_viewed(number, one) for number, one in enumerate(every)])
    draw = random.Random(3)
    # of each person one event a batch, so that batches are alike whatever the number of identifiers
    people = [person for _ in range(EVENTS // PER_BATCH) for person in draw.sample(ids, PER_BATCH)]
    rows = [_viewed(len(every) + number, draw.choice(held)) for number, held in enumerate(people)]
    client.keys.clear()
    counting.seconds, counting.calls = 0.0, 0
    began = time.process_time()
    _batches(world, rows)
    spent = time.process_time() - began - counting.seconds
    return spent / len(rows), counting.calls / len(rows), len(client.keys) / len(rows)


def _viewed(number: int, who: Identifier) -> Row:
    """A view, as a row of a batch, under one identifier."""
    body = {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"view-{number}",
        "timestamp": format_instant(UNIFY_NOW - DAY_MS + number),
        "properties": {"product_id": f"p{number % 400}", "price": 400_000 + number % 200_000},
        {"user_id": "userId", "anonymous_id": "anonymousId"}[who.type]: who.value,
    }
    return {"kinesis": {"data": base64.b64encode(packed([body], UNIFY_NOW)[0]).decode()}}


def _passes(events: list[Row]) -> dict[str, Any]:
    """The same events twice, one a batch: what identity reads and writes."""
    client = MemoryDynamo()
    counting = Counting(client, weighs=True)
    world = MemoryWorld(counting, DEFAULT, now=NOW, config_ttl_ms=60_000)
    rows = [{"kinesis": {"data": base64.b64encode(blob).decode()}} for event in events for blob in packed([event], NOW)]
    answer: dict[str, Any] = {"events": len(rows)}
    for name in ("first_pass", "second_pass"):
        client.keys.clear()
        counting.decisions.clear()
        for row in rows:
            _consume(world, [row])
        reads = sum("#I#" in key[0] for key in client.keys)
        answer[name] = {
            "identity_item_reads_per_event": round(reads / len(rows), 3),
            "identity_transactions_per_event": round(len(counting.decisions) / len(rows), 3),
        }
        if counting.decisions:
            answer["per_learnt_edge"] = _spread([one for one in counting.decisions if not one[0]])
            answer["per_merge"] = _spread([one for one in counting.decisions if one[0]])
    return answer


def _spread(decisions: list[tuple[bool, int, int]]) -> dict[str, Any]:
    return {
        "count": len(decisions),
        "items": _figures([items for _, items, _ in decisions]),
        "units": _figures([units for _, _, units in decisions]),
    }


def _figures(values: list[int]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": round(cuts[98], 1), "largest": max(values)}


def _batches(world: MemoryWorld, rows: list[Row]) -> None:
    for first in range(0, len(rows), PER_BATCH):
        _consume(world, rows[first : first + PER_BATCH])


def _consume(world: MemoryWorld, rows: Iterable[Row]) -> None:
    assert not world.consumer.consume(list(rows), lambda: 60_000).failed


def _key(body: Row) -> tuple[str, str]:
    wire = body.get("Key") or body["Item"]
    return wire["pk"]["S"], wire["sk"]["S"]


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
