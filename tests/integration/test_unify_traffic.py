"""The sample traffic through the consumer: totals of customers with exact evidence equal the truth file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unify_world import World, unify_world

TRAFFIC = Path(__file__).parents[2] / "events" / "traffic"
BATCH = 200
TOTALS = ("events", "orders", "revenue", "total", "items", "cancelled", "refunded", "firstSeen", "lastSeen")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    lines = [json.loads(line) for line in (TRAFFIC / "events.ndjson").open()]
    with unify_world(tmp_path_factory.mktemp("traffic"), config_ttl_ms=60_000) as made:
        for start in range(0, len(lines), BATCH):
            made.consume(*lines[start : start + BATCH])
        yield made


def test_totals_equal_the_truth_for_customers_with_exact_evidence(world: World) -> None:
    truth = [json.loads(line) for line in (TRAFFIC / "truth_events.ndjson").open()]
    customers: dict[str, Any] = json.loads((TRAFFIC / "truth.json").read_text())["customers"]
    inexact = {entry["customer"] for entry in truth if entry["class"] != "exact"}
    wrong: list[Any] = []
    checked = 0
    for name, customer in customers.items():
        if name in inexact or not customer["userId"] or not customer["totals"]["events"]:
            continue
        checked += 1
        shown = world.profile(f"user_id:{customer['userId']}")["totals"]
        wanted = {key: customer["totals"][key] for key in TOTALS}
        if {key: shown[key] for key in TOTALS} != wanted:
            wrong.append((name, shown, wanted))

    assert checked > 30
    assert wrong == []


def test_every_message_is_in_one_timeline_once(world: World) -> None:
    hots = [item for item in world.items(kind="F") if item["sk"] == "H" and "n" in item]
    messages = {json.loads(line)["messageId"] for line in (TRAFFIC / "truth_events.ndjson").open()}
    told = [
        new.event.message_id
        for owner in {item.get("o") or "p_" + item["pk"].rsplit("#", 1)[1] for item in hots}
        for new in world.parts.people.timeline("main", owner)
    ]

    # Events that carry no identifier at all (walk-ins) come under what the till filled in, so all of them are there.
    assert sorted(told) == sorted(messages)
    assert sum(item["n"] for item in hots) == len(messages)


def test_everyone_is_everyone_once(world: World) -> None:
    whole = list(world.parts.people.everyone("main"))
    shares = [profile for part in range(3) for profile in world.parts.people.everyone("main", part=part, parts=3)]

    assert sorted(profile.pid for profile in shares) == sorted({profile.pid for profile in whole})
    assert sum(profile.totals["events"] for profile in whole) == len(
        (TRAFFIC / "truth_events.ndjson").read_text().splitlines()
    )
    one = whole[len(whole) // 2]
    assert one == world.parts.people.load_person("main", one.pid)
