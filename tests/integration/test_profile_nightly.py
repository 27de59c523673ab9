"""What the profile merges is what the night evaluates: policies, computed values and scores in both engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import format_instant
from hoso.unify.computed import Computed
from tests.nightly_world import Night, night


@pytest.fixture
def tonight(tmp_path: Path) -> Iterator[Night]:
    with night(tmp_path) as made:
        yield made


def said(n: int, points: int, tonight: Night) -> dict[str, Any]:
    stamp = format_instant(tonight.world.now - 1_000 + n)
    return {"type": "identify", "userId": "u1", "messageId": f"i{n}", "timestamp": stamp, "traits": {"points": points}}


def test_a_new_policy_and_new_scores_count_for_both_engines_by_the_next_night(tonight: Night) -> None:
    world = tonight.world
    world.segment("rich", {"kind": "trait", "name": "points", "op": "gte", "value": 5})
    world.segment("likely", {"kind": "score", "name": "propensity", "op": "gte", "value": 0.5})
    world.segment("fans", {"kind": "trait", "name": "favourite", "op": "is", "value": "tea"})
    tonight.consume(said(1, 7, tonight))
    tonight.consume(said(2, 3, tonight))
    pid = world.profile("user_id:u1")["profile_id"]
    assert world.profile("user_id:u1")["segments"] == {}

    world.parts.control.put(
        "main", "traits", "policies", {"schema": "traits/1", "policies": {"points": {"merge": "max"}}}
    )
    at = world.now
    values = {
        "propensity": Computed("score", 0.9, at, "m1", None, at),
        "favourite": Computed("trait", "tea", at, "1", None, at),
    }
    world.parts.people.put_computed("main", pid, values)
    report = tonight.run()

    assert (report["differences"], report["entered"], report["lagging"]) == (0, 3, 0)
    assert report["members"] == {"rich": 1, "likely": 1, "fans": 1}
    reasons = {key: held["reason"]["kind"] for key, held in world.profile("user_id:u1")["segments"].items()}
    assert reasons == {"rich": "nightly", "likely": "nightly", "fans": "nightly"}
