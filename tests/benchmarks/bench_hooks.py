"""CPU of a webhook's delivery, as a ratio to ``orjson.loads + dumps`` of the events that it makes.

``python -m tests.benchmarks hooks`` prints JSON. The whole handler is measured, from the gateway's event to the answer,
with a stream and marks that cost nothing, over the good cases of the sources' tables.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import orjson

from hoso.collect.handlers import hooks
from hoso.collect.sources import KINDS
from hoso.collect.sources.marks import Marks
from hoso.model.time import parse_instant
from hoso.platform.stream import Stream
from tests.hook_world import HookWorld, hook_world

TABLES = Path(__file__).parent.parent / "fixtures" / "sources"
ROUNDS = 200


class Sink:
    """A stream that takes everything at no cost."""

    def put_records(self, **_request: Any) -> dict[str, Any]:
        return {"FailedRecordCount": 0}


class NothingSeen:
    """Marks that know no transaction."""

    def find(self, *_: object) -> None:
        return None

    def put(self, *_: object) -> None:
        return None


def measure() -> dict[str, Any]:
    """Per kind: microseconds and events of its first good case, and the ratio; the worst ratio of all."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        table = json.loads((TABLES / f"{kind}.json").read_text())
        case = next(case for case in table["cases"] if case.get("events") and "quarantined" not in case)
        with tempfile.TemporaryDirectory() as folder, hook_world(Path(folder)) as place:
            path = place.source(kind, kind, table["settings"], table["secrets"])
            found[kind] = _case(place, path, case)
    ratios = [figures["ratio"] for figures in found.values()]
    return {"kinds": found, "worst_ratio": max(ratios), "median_ratio": sorted(ratios)[len(ratios) // 2]}


def _case(place: HookWorld, path: str, case: dict[str, Any]) -> dict[str, Any]:
    at = parse_instant(case["at"]) or 0
    free = replace(
        hooks.reception(), stream=Stream("events", Sink()), marks=cast("Marks", NothingSeen()), clock=lambda: at
    )
    http = {"method": case.get("method", "POST"), "path": path, "sourceIp": "203.0.113.7"}
    event = {
        "rawPath": path,
        "rawQueryString": case.get("query", ""),
        "headers": {"host": "cdp.example.com", **case.get("headers", {})},
        "requestContext": {"http": http},
        "body": case.get("body"),
        "isBase64Encoded": False,
    }
    raws = [orjson.dumps(body) for body in case["events"]]
    assert free.receive(event)["statusCode"] == 200
    whole = _best(lambda: free.receive(event))
    base = _best(lambda: [orjson.dumps(orjson.loads(raw)) for raw in raws])
    return {"us": round(whole * 1e6, 1), "events": len(raws), "ratio": round(whole / base, 1)}


def _best(work: Callable[[], object]) -> float:
    """CPU seconds of the fastest of some rounds."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(ROUNDS):
            work()
        best = min(best, (time.process_time() - started) / ROUNDS)
    return best
