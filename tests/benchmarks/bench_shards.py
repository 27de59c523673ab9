"""The stream consumer over 1, 2 and 4 shards: the same events, the same people, the same work per event (R16).

Every shard has a consumer of its own, with its own caches, and the batches of the shards alternate; people with several
identifiers are on several shards. The figure is CPU per event without the calls to AWS, as a ratio to one shard, and
the calls per thousand events.

``python -m tests.benchmarks.bench_shards`` prints JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.unify.compare import prints_of
from hoso.unify.handlers import consume
from infra.twin import calls
from tests.benchmarks.bench_consume import rules
from tests.benchmarks.traffic import shop_events
from tests.unify_world import CACHED, NOW, Context, World, packed, unify_world

SHARDS = (1, 2, 4)
EVENTS = 6_000
PEOPLE = 600
_BATCH = 200


def measure(events: int = EVENTS, people: int = PEOPLE) -> dict[str, Any]:
    """Per number of shards the ratio of CPU per event to one shard, and whether the state is that of one shard."""
    found: dict[str, Any] = {}
    base: tuple[float, Any] | None = None
    for shards in SHARDS:
        with tempfile.TemporaryDirectory() as folder, unify_world(Path(folder), config_ttl_ms=60_000) as world:
            # one key for all runs, so that people have the same ids in each
            Table("control", client("dynamodb")).put({"pk": "main#secret", "sk": "identity", "key": bytes(32)})
            for number, rule in enumerate(rules(10)):
                world.segment(f"s{number}", rule)
            seconds, asked = _consumed(world, shards, events, people)
            state = prints_of(world.parts.profiles.scan(), "main")
        base = base or (seconds, state)
        found[f"{shards}_shards"] = {
            "ratio_to_one": round(seconds / base[0], 2),
            "us_per_event": round(seconds / events * 1e6, 1),
            "calls_per_1000_events": round(asked * 1_000 / events, 1),
            "same_state": state == base[1],
        }
    return found


def _consumed(world: World, shards: int, events: int, people: int) -> tuple[float, int]:
    """Seconds of CPU for all batches, less those of the calls to AWS, and how many calls there were."""
    lanes: list[list[bytes]] = [[] for _ in range(shards)]
    for blob, hub in _records(events, people):
        lanes[blake2b(hub.encode(), digest_size=4).digest()[0] % shards].append(blob)
    queues = [[lane[first : first + _BATCH] for first in range(0, len(lane), _BATCH)] for lane in lanes]
    consumers = [_own_consumer() for _ in lanes]
    aws, asked = 0.0, 0

    def timed(call: Any, proceed: Any) -> Any:
        nonlocal aws, asked
        start = time.process_time()
        asked += 1
        try:
            return proceed(call)
        finally:
            aws += time.process_time() - start

    batches = [
        (consumer, world.kinesis(batch)["Records"])
        for turn in zip_longest(*queues)
        for consumer, batch in zip(consumers, turn, strict=True)
        if batch
    ]
    calls.use("faults", timed)
    began = time.process_time()
    try:
        for consumer, records in batches:
            assert not consumer.consume(records, Context().get_remaining_time_in_millis).failed
    finally:
        spent = time.process_time() - began
        calls.drop("faults")
    return spent - aws, asked


def _records(events: int, people: int) -> list[tuple[bytes, str]]:
    """Packed records of one event each with the text of their hub."""
    found: list[tuple[bytes, str]] = []
    for number, event in enumerate(shop_events(events, people)):
        (blob,) = packed([event], NOW + number)
        found.append((blob, event.get("userId") or event["anonymousId"]))
    return found


def _own_consumer() -> Any:
    """A consumer with caches of its own, as another execution environment has."""
    for cached in CACHED:
        if cached is not client:
            cached.cache_clear()
    return consume.consumer()


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
