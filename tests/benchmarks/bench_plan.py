"""CPU of collect under a tracking plan, as a ratio to ``orjson.loads + dumps`` of the same events.

``python -m tests.benchmarks.bench_plan`` prints JSON. As in ``bench_collect`` the whole handler is measured at 100
events a request: without a plan, with a plan that every event keeps, and with one that every event breaks and that
only flags them, which is the dearest way.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson

from hoso.collect.handlers import ingest
from hoso.collect.plan_document import read_plan
from hoso.collect.plans import Plan, plan_of
from hoso.platform.stream import Stream
from tests.benchmarks.bench_collect import Sink, _base64, _cpu_us, _fresh, _run
from tests.benchmarks.traffic import visits
from tests.collect_world import gateway_event, world

LIMIT = 6.0
EVENTS = 1_000
PER_REQUEST = 100
_NAMES = ("Product Viewed", "Product Added", "Cart Viewed")


def measure() -> dict[str, Any]:
    """Ratios at 100 events a request; ``limit`` holds for ``kept``."""
    with (
        tempfile.TemporaryDirectory() as folder,
        world(Path(folder)) as place,
        patch.dict(os.environ, {"HOSO_CLOCK_FILE": ""}),
    ):
        key = place.source("web", "web")
        headers = {"authorization": "Basic " + _base64(f"{key}:"), "content-type": "application/json"}
        bodies = [
            orjson.dumps({"batch": events, "sentAt": "2026-01-01T00:00:00.000Z"})
            for events in visits(EVENTS // PER_REQUEST, PER_REQUEST, 50)
        ]
        calls = [gateway_event("POST", "/v1/batch", body, headers) for body in bodies]
        base, making, none, kept, broken = _cpu_us(
            lambda: [orjson.dumps(orjson.loads(body)) for body in bodies],
            lambda: [_fresh(call) for call in calls],
            *(_work(calls, plan) for plan in (None, _plan(100_000_000), _plan(1))),
        )
    return {
        "limit": LIMIT,
        "base_us_per_event": round(base / EVENTS, 2),
        **{
            name: round((work - making) / base, 2)
            for name, work in (("none", none), ("kept", kept), ("broken", broken))
        },
    }


def _work(calls: list[dict[str, Any]], plan: Plan | None) -> Callable[[], None]:
    made = replace(ingest.reception(), stream=Stream("events", Sink()), plan_of=lambda _workspace, _source: plan)

    def run() -> None:
        with patch.object(ingest, "reception", lambda: made):
            _run(calls)

    return run


def _plan(highest_price: int) -> Plan:
    """The plan of the traffic's shop, with patterns, lists of values and nested products."""
    product = {
        "type": "object",
        "required": ["product_id"],
        "properties": {"product_id": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}},
    }
    schema = {
        "required": ["product_id", "price", "currency"],
        "properties": {
            "product_id": {"type": "string", "pattern": "^p-[0-9]+$", "maxLength": 40},
            "name": {"type": "string", "minLength": 1},
            "category": {"type": "string"},
            "price": {"type": "number", "minimum": 0, "maximum": highest_price},
            "currency": {"enum": ["VND", "USD"]},
            "products": {"type": "array", "items": product},
        },
    }
    document = {
        "name": "Bench",
        "sources": {"web": {"violation": "flag", "unplanned": "quarantine"}},
        "events": {name: {"schema": schema} for name in _NAMES},
    }
    found = plan_of("bench", 1, read_plan(document), "web")
    assert found is not None
    return found


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
