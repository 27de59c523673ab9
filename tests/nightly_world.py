"""The world of unify with an archive and the nightly steps, driven as the state machine drives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hoso.collect.handlers import archive
from hoso.model.time import DAY_MS, format_instant
from hoso.segment.handlers import nightly
from tests.unify_world import Context, World, packed, unify_world

VIEWED = {"kind": "event", "event": "Product Viewed", "window": {"last": "7d"}}
BOUGHT = {"kind": "event", "event": "Order Completed", "window": {"last": "7d"}}
RULES = {
    "viewed-not-bought": {"kind": "all", "of": [VIEWED, {"kind": "not", "of": BOUGHT}]},
    "spent-100": {
        "kind": "event",
        "event": "Order Completed",
        "measure": {"agg": "sum", "of": "properties.revenue"},
        "op": "gte",
        "value": 100,
    },
    "vip": {"kind": "trait", "name": "plan", "op": "is", "value": "pro"},
}


class Night:
    """The nightly machine without Step Functions: outputs travel as JSON text."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._number = 0

    def consume(self, *events: dict[str, Any]) -> None:
        """Events through the stream: both consumers."""
        batch = self.world.kinesis(packed(events, self.world.now))
        for row in batch["Records"]:
            row["eventID"] = f"shardId-0:{row['kinesis']['sequenceNumber']}"
        assert self.world.deliver(batch) == []
        assert archive.handler(json.loads(json.dumps(batch)), None) == {"batchItemFailures": []}

    def event(self, who: str, name: str, ago_ms: int = 0, **properties: Any) -> dict[str, Any]:
        """A track call of an anonymous visitor."""
        self._number += 1
        return {
            "type": "track",
            "event": name,
            "anonymousId": who,
            "messageId": f"m-{self._number}",
            "timestamp": format_instant(self.world.now - ago_ms),
            "properties": properties,
        }

    def step(self, name: str, given: Any) -> Any:
        """One step, as Lambda is called: JSON in, JSON out."""
        return json.loads(json.dumps(getattr(nightly, name)(json.loads(json.dumps(given)), Context())))

    def items(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """What the Distributed Map reads."""
        return json.loads(self.objects().get(run["batches_key"]))

    def begin(self, as_of: int | None = None, execution: str = "one") -> dict[str, Any]:
        """The machine up to the differences."""
        run = self.step("compact", {"as_of": format_instant(as_of or self.world.now), "execution": execution})
        return self.step("evaluate", self.step("snapshot", run))

    def run(self, as_of: int | None = None, execution: str = "one") -> dict[str, Any]:
        """The whole machine; the report."""
        run = self.begin(as_of, execution)
        for item in self.items(run):
            self.step("apply", {"Items": [item], "BatchInput": run})
        return self.step("report", run)

    def objects(self) -> Any:
        """The bucket."""
        return nightly.run_of("main")._objects

    def memberships(self) -> dict[str, list[str]]:
        """Segments by person, as stored."""
        people = [item for item in self.world.items(kind="P") if item["sk"] == "P"]
        return {item["pk"]: sorted(item.get("m", {})) for item in people if item.get("m")}


@contextmanager
def night(folder: Path) -> Iterator[Night]:
    """The world with its steps."""
    with unify_world(folder) as world:
        archive._tools.cache_clear()
        nightly.steps_of.cache_clear()
        yield Night(world)
    archive._tools.cache_clear()
    nightly.steps_of.cache_clear()


def store_of_people(night: Night) -> None:
    """Three visitors: one viewed, one viewed and bought, one bought long ago."""
    night.consume(night.event("an", "Product Viewed", DAY_MS))
    night.consume(night.event("binh", "Product Viewed", DAY_MS), night.event("binh", "Order Completed", revenue=150))
    night.consume(night.event("chi", "Order Completed", 30 * DAY_MS, revenue=60))
    night.consume(night.event("chi", "Order Completed", 20 * DAY_MS, revenue=50))


def make_segments(night: Night, *keys: str) -> None:
    """Store these segments (all when none is named)."""
    for key in keys or RULES:
        night.world.segment(key, RULES[key])
