"""Traffic of another seed through the consumer: totals are exactly right wherever the evidence is exact."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from hoso.model.identifiers import extract
from tests.traffic_generator import Generator
from tests.unify_world import unify_world

TOTALS = ("events", "orders", "revenue", "total", "items", "cancelled", "refunded", "firstSeen", "lastSeen")


@pytest.mark.parametrize(("seed", "customers"), [(11, 120)])
def test_totals_equal_the_truth_of_customers_with_exact_evidence(tmp_path: Path, seed: int, customers: int) -> None:
    traffic = Generator(seed, customers, harsh=True).make()
    hub: dict[str, Any] = {}
    for event in traffic.lines:
        hub[event["messageId"]] = extract(event)[0]
    mine: dict[str, list[str]] = defaultdict(list)
    for message, (who, _) in traffic.truth.items():
        mine[who].append(message)
    with unify_world(tmp_path, config_ttl_ms=60_000) as world:
        for start in range(0, len(traffic.lines), 200):
            world.consume(*traffic.lines[start : start + 200])
        wrong = []
        for who, totals in traffic.totals.items():
            shown = world.profile(str(hub[mine[who][0]]))["totals"]
            if {key: shown[key] for key in TOTALS} != totals:
                wrong.append((who, {key: shown[key] for key in TOTALS}, totals))
    assert len(traffic.totals) > 25
    assert wrong == []
