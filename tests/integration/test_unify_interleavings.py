"""Property: duplicates, delays and reorderings of the sample store leave the same people, byte for byte (P2, P3)."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unify_world import NOW, World, packed, unify_world

SAMPLE = Path("events/traffic/events.ndjson")
EVENTS = int(os.environ.get("INTERLEAVING_EVENTS", "260"))
SEEDS = int(os.environ.get("INTERLEAVING_SEEDS", "4"))
MINUTE = 60_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with unify_world(tmp_path_factory.mktemp("interleavings")) as made:
        yield made


def requests() -> list[tuple[int, list[dict[str, Any]]]]:
    """The sample as requests: time of receipt and events of one visitor each, in the order of the file."""
    events = [json.loads(line) for line in SAMPLE.open()][:EVENTS]
    cut: list[tuple[int, list[dict[str, Any]]]] = []
    for number, event in enumerate(events):
        who = (event.get("anonymousId"), event.get("userId"))
        if cut and number % 5 and (cut[-1][1][0].get("anonymousId"), cut[-1][1][0].get("userId")) == who:
            cut[-1][1].append(event)
        else:
            cut.append((NOW + number * MINUTE, [event]))
    return cut


def people(world: World) -> bytes:
    """Every profile with its timeline, as bytes. Left out: the receipt of a copy, which is the copy's own; and the id
    that splits go by, which stays with whoever was first here, so that a merge moves nobody to another branch."""
    found: dict[str, Any] = {}
    for hub in sorted({tuple(item["hub"]) for item in world.items(kind="F") if item["sk"] == "H" and "hub" in item}):
        shown = world.profile(":".join(hub))
        for event in shown["timeline"]["items"]:
            del event["received_at"]
        shown["timeline"].pop("next", None)
        del shown["split_id"]
        found[shown["profile_id"]] = shown
    return json.dumps(found, sort_keys=True, ensure_ascii=False).encode()


def deliver(world: World, records: list[bytes], size: int) -> None:
    for first in range(0, len(records), size):
        batch = world.kinesis(records[first : first + size])
        assert world.deliver(batch) == []


@pytest.fixture(scope="module")
def in_order(world: World) -> bytes:
    for at, events in requests():
        world.now = max(world.now, at)
        deliver(world, packed(events, at), 1)
    return people(world)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_p2_p3_any_interleaving_of_duplicates_delays_and_reorderings_gives_the_same_people(
    world: World, in_order: bytes, seed: int
) -> None:
    chance = random.Random(seed)
    records: list[tuple[float, bytes]] = []
    for at, events in requests():
        for blob in packed(events, at):
            # a redelivery by the stream, or a client's resend with a later receipt, however late
            records += [
                (at + chance.expovariate(1 / (40 * MINUTE)), blob) for _ in range(chance.choice((1, 1, 1, 2, 3)))
            ]
        if chance.random() < 0.2:
            late = at + chance.randrange(24 * 60) * MINUTE
            records += [(late + chance.expovariate(1 / (40 * MINUTE)), blob) for blob in packed(events, late)]
    records.sort()
    if seed % 2:
        chance.shuffle(records)
    world.wipe()
    world.now = NOW + 2 * 86_400_000

    deliver(world, [blob for _, blob in records], chance.choice((1, 7, 60, 500)))

    assert people(world) == in_order
