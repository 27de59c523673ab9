"""CPU of the stream consumer per event, as a ratio to ``orjson.loads + dumps`` of the same events.

A third of the traffic is consumed first, so that most people are known when the clock starts.

``python -m tests.benchmarks.bench_consume`` prints JSON. The state engine alone is measured: calls to AWS are answered
by a stand-in that costs next to nothing and whose time is taken out.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from infra.twin import calls
from tests.benchmarks.traffic import visits
from tests.unify_world import NOW, World, packed, unify_world

RULES = 10
LIMIT = 6.0
EVENTS_PER_BATCH = 3_000
"""About 2.5 MB of events: a batch may hold 6 MB, base64 included."""


def rules(count: int) -> list[dict[str, Any]]:
    """Live rules as shops write them: windows, thresholds, filters, absence, traits."""
    kinds: list[dict[str, Any]] = [
        {"kind": "event", "event": ["Product Viewed"], "window": {"last": "7d"}, "op": "gte", "value": 3},
        {
            "kind": "all",
            "of": [
                {"kind": "event", "event": ["Product Added"], "window": {"last": "3d"}},
                {"kind": "not", "of": {"kind": "event", "event": ["Order Completed"], "window": {"last": "3d"}}},
            ],
        },
        {
            "kind": "event",
            "event": ["Product Viewed"],
            "where": {"kind": "prop", "path": "properties.price", "op": "gte", "value": 500_000},
            "window": {"last": "30d"},
        },
        {
            "kind": "event",
            "event": ["Order Completed"],
            "measure": {"agg": "sum", "of": "properties.revenue"},
            "op": "gte",
            "value": 1_000_000,
        },
        {"kind": "trait", "name": "plan", "op": "is", "value": "gold"},
    ]
    return [json.loads(json.dumps(kinds[n % len(kinds)]).replace("7d", f"{7 + n}d")) for n in range(count)]


def ratio(
    world: World, per_record: int, events: int = 20_000, requests: list[list[dict[str, Any]]] | None = None
) -> dict[str, float]:
    """CPU of consuming over CPU of parsing and writing the same events, at so many events a record."""
    requests = requests or list(visits(events // per_record, per_record, max(1, events // per_record // 4)))
    first = len(requests) // 3
    for batch in _batches(world, requests[:first], per_record):
        assert world.deliver(batch) == []
    bodies = [body for request in requests[first:] for body in request]
    batches = _batches(world, requests[first:], per_record)
    raws = [orjson.dumps(body) for body in bodies]
    began = time.process_time()
    for raw in raws:
        orjson.dumps(orjson.loads(raw))
    base = time.process_time() - began
    aws = [0.0]
    botocore: dict[str, int] = {}

    def timed(call: Any, proceed: Any) -> Any:
        start = time.process_time()
        botocore[call.operation] = botocore.get(call.operation, 0) + 1
        try:
            return proceed(call)
        finally:
            aws[0] += time.process_time() - start

    calls.use("faults", timed)
    began = time.process_time()
    for batch in batches:
        assert world.deliver(batch) == []
    spent = time.process_time() - began
    calls.drop("faults")
    return {
        "events_per_record": round(len(bodies) / sum(len(batch["Records"]) for batch in batches), 1),
        "ratio": round((spent - aws[0]) / base, 2),
        "us_per_event": round((spent - aws[0]) / len(bodies) * 1e6, 2),
        "parse_us_per_event": round(base / len(bodies) * 1e6, 2),
        **{f"{name}_per_1000_events": round(count * 1_000 / len(bodies), 1) for name, count in botocore.items()},
    }


def _batches(world: World, requests: list[list[dict[str, Any]]], per_record: int) -> list[dict[str, Any]]:
    """Stream batches of these requests, one record each."""
    blobs = [blob for request in requests for blob in packed(request, NOW)]
    size = min(1_000, EVENTS_PER_BATCH // per_record)
    return [world.kinesis(blobs[start : start + size]) for start in range(0, len(blobs), size)]


def bench_consume() -> dict[str, Any]:
    """The ratios at 1, 10 and 100 events a record with ten rules, and at 100 without rules."""
    results: dict[str, Any] = {"limit": LIMIT}
    for count, per_record in ((RULES, 100), (0, 100), (RULES, 10), (RULES, 1), (100, 100)):
        with tempfile.TemporaryDirectory() as folder, unify_world(Path(folder), config_ttl_ms=5_000) as world:
            for number, rule in enumerate(rules(count)):
                world.segment(f"s{number}", rule)
            results[f"{count}_rules_{per_record}_events"] = ratio(
                world, per_record, 20_000 if per_record > 1 else 4_000
            )
    return results


if __name__ == "__main__":
    print(json.dumps(bench_consume(), indent=1))
