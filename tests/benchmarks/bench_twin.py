"""Measures on a living twin: what events cost, how long they take to show, how many fit in a minute."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from infra.cli.connection import Connection
from infra.cli.serve import open_twin
from infra.synth import assembly
from infra.twin.recorder import price
from tests.benchmarks.traffic import shop_events, visits

PRICES = json.loads((Path(__file__).parent / "unit-prices.json").read_text())["prices"]
# Design: list-price floor in USD per million events, by events a request.
FLOOR = {1: 1.90, 10: 0.29, 100: 0.16}
COST_EVENTS = 6_000
LATENCY_TRIES = 60
THROUGHPUT = (100_000, 20_000)
BATCH = 500
DEADLINE_S = 900
RULES = [
    {"schema": "segment/1", "key": f"bench-{number}", "name": f"bench {number}", "rule": rule}
    for number, rule in enumerate(
        [
            {"kind": "event", "event": "Product Viewed", "window": {"last": "7d"}, "op": "gte", "value": 3},
            {"kind": "event", "event": "Order Completed", "window": {"last": "30d"}},
            {"kind": "event", "event": "Product Added", "window": {"last": "3d"}},
            {"kind": "event", "event": "Cart Viewed", "window": {"last": "1d"}, "op": "gte", "value": 2},
            {"kind": "trait", "name": "email", "op": "exists"},
            {
                "kind": "all",
                "of": [
                    {"kind": "event", "event": "Product Viewed", "window": {"last": "30d"}},
                    {"kind": "not", "of": {"kind": "event", "event": "Order Completed", "window": {"last": "30d"}}},
                ],
            },
            {
                "kind": "event",
                "event": "Order Completed",
                "measure": {"agg": "sum", "of": "properties.revenue"},
                "op": "gte",
                "value": 5_000_000,
            },
            {"kind": "trait", "name": "name", "op": "starts_with", "value": "Nguyễn"},
            {
                "kind": "event",
                "event": ["Product Viewed", "Product Added"],
                "window": {"last": "14d"},
                "op": "gte",
                "value": 10,
            },
            {
                "kind": "event",
                "event": "Order Completed",
                "measure": {"agg": "last", "of": "timestamp"},
                "op": "older_than",
                "value": "60d",
            },
        ]
    )
]


@contextmanager
def twin(*, rules: int) -> Iterator[Connection]:
    """A fresh twin with the first ``rules`` segments."""
    with tempfile.TemporaryDirectory() as folder, open_twin(Path(folder), port=0) as connection:
        for document in RULES[:rules]:
            connection.call("PUT", f"/v1/segments/{document['key']}", document)
        yield connection


def cost() -> dict[str, Any]:
    """USD per million events from recorded calls, at 1, 10 and 100 events a request, and its ratio to the floor."""
    return {f"{size} a request": _cost(size) for size in FLOOR}


def _cost(per_request: int) -> dict[str, Any]:
    events = max(COST_EVENTS // 3, 1_000) if per_request == 1 else COST_EVENTS
    with twin(rules=10) as connection:
        key = connection.write_key("local-web")
        # People come back: the second half is measured, on people that the first half made known.
        requests = list(visits(2 * events // per_request, per_request, people=max(events // per_request // 4, 10)))
        half = len(requests) // 2
        for batch in requests[:half]:
            _post(connection, batch, key)
        connection.drain(DEADLINE_S)
        before, worked = connection.call("GET", "/_twin/calls"), _compute(connection)
        for batch in requests[half:]:
            _post(connection, batch, key)
        connection.drain(DEADLINE_S)
        after, compute = connection.call("GET", "/_twin/calls"), _compute(connection) - worked
    counted = (len(requests) - half) * per_request
    parts = {
        "api": PRICES["apigw_http_request"]["usd"] / per_request,
        "calls": (price(after, PRICES) - price(before, PRICES)) / counted * 1e6,
        "lambda": compute / counted * 1e6,
    }
    usd = sum(parts.values())
    shown = {name: round(part, 3) for name, part in parts.items()}
    return {
        "usd_per_million": round(usd, 3),
        **shown,
        "floor": FLOOR[per_request],
        "ratio": round(usd / FLOOR[per_request], 2),
    }


def _compute(connection: Connection) -> float:
    """USD of all Lambda invocations so far: requests, and wall-clock time here at the memory of the template.

    The functions share one interpreter here, so the time is an upper bound of what they would take alone.
    """
    usd = 0.0
    for name, held in connection.call("GET", "/_twin/status")["functions"].items():
        seconds = held["duration_ms"] / 1000
        usd += held["invocations"] * PRICES["lambda_request"]["usd"] / PRICES["lambda_request"]["per"]
        usd += seconds * _memory_mb()[name] / 1024 * PRICES["lambda_gb_second_arm64"]["usd"]
    return usd


@cache
def _memory_mb() -> dict[str, int]:
    """Memory of each function by logical name, from the templates."""
    return {
        re.sub(r"[0-9A-F]{8}$", "", logical_id): resource["Properties"]["MemorySize"]
        for template in assembly("dev").glob("*.template.json")
        for logical_id, resource in json.loads(template.read_text())["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }


def latency() -> dict[str, Any]:
    """Seconds from the accepting answer to the readable profile and to the membership, one visitor at a time."""
    readable: list[float] = []
    entered: list[float] = []
    with twin(rules=10) as connection:
        key = connection.write_key("local-web")
        for number in range(LATENCY_TRIES):
            user = f"latency-{number}"
            event = {
                "type": "track",
                "event": "Order Completed",
                "userId": user,
                "messageId": f"m-{number}",
                "properties": {"order_id": user, "revenue": 1},
            }
            _post(connection, [event], key)
            started = time.perf_counter()
            path = f"/v1/profiles/user_id:{user}"
            while connection.request("GET", path, headers=_bearer(connection)).status_code != 200:
                time.sleep(0.01)
            readable.append(time.perf_counter() - started)
            while "bench-1" not in connection.call("GET", path)["segments"]:
                time.sleep(0.01)
            entered.append(time.perf_counter() - started)
    return {"readable_s": _spread(readable), "segment_entry_s": _spread(entered)}


def throughput() -> dict[str, Any]:
    """Minutes for 100,000 events of 20,000 people, from the first request to the last commit."""
    events, people = THROUGHPUT
    stream = shop_events(events, people)
    with twin(rules=10) as connection:
        key = connection.write_key()
        started = time.perf_counter()
        while batch := list(islice(stream, BATCH)):
            _post(connection, batch, key)
        accepted = time.perf_counter() - started
        stuck = connection.drain(DEADLINE_S)["stuck"]
        done = time.perf_counter() - started
    return {
        "events": events,
        "people": people,
        "accepted_s": round(accepted),
        "processed_s": round(done),
        "stuck": stuck,
    }


def _post(connection: Connection, batch: list[dict[str, Any]], key: str) -> None:
    answer = connection.request("POST", "/v1/batch", json={"batch": batch}, auth=(key, ""))
    assert answer.status_code == 200, answer.text


def _bearer(connection: Connection) -> dict[str, str]:
    return {"Authorization": f"Bearer {connection.token}"}


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50": round(statistics.median(ordered), 2), "p95": round(ordered[int(len(ordered) * 0.95)], 2)}
