"""What goes wrong in the middle of a night: lost batches, broken people, failing calls, people who move on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import format_instant
from hoso.segment.nightly_run import TooManyFailed
from tests.faults import Faults
from tests.nightly_world import Night, make_segments, night, store_of_people


@pytest.fixture
def tonight(tmp_path: Path) -> Iterator[Night]:
    with night(tmp_path) as made:
        yield made


def evaluated(tonight: Night) -> dict[str, Any]:
    """A run that has come to its differences."""
    given = {"as_of": format_instant(tonight.world.now), "execution": "one"}
    return tonight.step("evaluate", tonight.step("snapshot", tonight.step("compact", given)))


def apply(tonight: Night, run: dict[str, Any]) -> dict[str, Any]:
    return tonight.step("apply", {"Items": tonight.items(run), "BatchInput": run})


def stored_report(tonight: Night, run: dict[str, Any]) -> dict[str, Any]:
    return json.loads(tonight.objects().get(f"nightly/main/{run['as_of'][:10]}/report.json"))


def test_r34_people_of_a_batch_that_left_no_result_are_listed_and_fail_the_run(tonight: Night) -> None:
    store_of_people(tonight)
    make_segments(tonight, "spent-100")
    run = evaluated(tonight)

    with pytest.raises(TooManyFailed):
        tonight.step("report", run)

    wanted = {f"p_{tonight.world.fid('anonymous_id', who)}" for who in ("binh", "chi")}
    report = stored_report(tonight, run)
    assert (set(report["failed_people"]), report["worked"]) == (wanted, 2)


def test_r34_a_person_whose_state_cannot_be_read_is_listed_and_stops_nobody(tonight: Night) -> None:
    store_of_people(tonight)
    make_segments(tonight, "spent-100")
    run = evaluated(tonight)
    broken = tonight.world.fid("anonymous_id", "binh")
    profiles = tonight.world.parts.profiles
    hot = profiles.get((f"main#F#{broken}", "H"))
    assert hot is not None
    profiles.put({**hot, "m": b"not what was stored"})

    done = apply(tonight, run)

    assert done == {"people": 2, "failed": 1}
    assert tonight.world.members("spent-100") == {f"p_{tonight.world.fid('anonymous_id', 'chi')}"}
    with pytest.raises(TooManyFailed):
        tonight.step("report", run)
    assert stored_report(tonight, run)["failed_people"] == [f"p_{broken}"]


def test_who_moved_on_after_the_evaluation_keeps_the_answer_of_the_present(tonight: Night) -> None:
    # given: An, who by the evaluation has viewed and not bought …
    store_of_people(tonight)
    make_segments(tonight, "viewed-not-bought")
    run = evaluated(tonight)

    # when she buys before the night reaches her
    tonight.world.now += 60_000
    tonight.consume(tonight.event("an", "Order Completed", revenue=10))
    apply(tonight, run)

    # then
    assert tonight.world.members("viewed-not-bought") == set()
    assert tonight.world.announced() == []


def test_r33_a_batch_in_which_any_call_fails_and_that_comes_again_ends_the_same(tonight: Night) -> None:
    # given: what applying once leads to
    store_of_people(tonight)
    make_segments(tonight)
    run = evaluated(tonight)
    tables = {t.name: t for t in (tonight.world.parts.profiles, tonight.world.parts.outbox)}
    start = {name: list(table.scan()) for name, table in tables.items()}
    lease = tonight.world.parts.store.delivery.get(("main#L", "nightly"))
    assert lease is not None
    apply(tonight, run)
    want = (tonight.memberships(), tonight.world.announced())
    faults = Faults()

    for fault in (faults.fail_before, faults.fail_after):
        for n in count(1):
            tonight.world.wipe()
            tonight.world.parts.store.delivery.put(lease)
            for name, table in tables.items():
                table.batch_write(start[name])

            # when: the n-th call fails, and the child of the map is tried again
            with fault(n) as struck, suppress(Exception):
                apply(tonight, run)
            apply(tonight, run)

            # then: the same memberships, each announced once, and the report counts each once
            assert (tonight.memberships(), tonight.world.announced()) == want, f"call {n}: {struck.log[n - 1 : n]}"
            assert tonight.step("report", run)["entered"] == 3
            if not struck.hit:
                break
        assert n > 20
