"""The due table is swept: in time, resumably, and nobody is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from moto import mock_aws

from hoso.model.errors import Transient
from hoso.platform.dynamo import Table
from hoso.segment.due import POSTPONED_MS, DueTable, sweep
from hoso.unify.settlement import SLOT_MS, due_item

NOW = 1_790_000_000_000
KEYS = [{"AttributeName": name, "KeyType": kind} for name, kind in (("pk", "HASH"), ("sk", "RANGE"))]


@pytest.fixture
def delivery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        client: Any = botocore.session.get_session().create_client("dynamodb", region_name="eu-west-1")
        names = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
        client.create_table(TableName="d", KeySchema=KEYS, AttributeDefinitions=names, BillingMode="PAY_PER_REQUEST")
        yield Table("d", client)


def arm(delivery: Table, **people: int) -> None:
    for pid, due in people.items():
        delivery.put(due_item("main", pid, due))


def run(
    delivery: Table,
    now: int,
    looked: list[str],
    *,
    fail: frozenset[str] = frozenset(),
    broken: frozenset[str] = frozenset(),
    room: int = 99,
) -> Any:
    def look(pid: str) -> int:
        if pid in fail:
            raise Transient("busy")
        if pid in broken:
            raise ValueError(pid)
        looked.append(pid)
        return 1

    return sweep(DueTable(delivery, "main"), look, now, lambda: len(looked) < room, workers=1)


def test_only_people_whose_instant_has_come_are_looked_at(delivery: Table) -> None:
    arm(delivery, past=NOW - 1, present=NOW, future=NOW + 1)
    looked: list[str] = []

    run(delivery, NOW, looked)
    run(delivery, NOW, looked)

    assert sorted(looked) == ["past", "present"]


def test_who_waits_in_a_swept_slot_is_found_in_the_next_minute(delivery: Table) -> None:
    arm(delivery, soon=NOW + 30_000)
    looked: list[str] = []

    run(delivery, NOW, looked)
    run(delivery, NOW + 60_000, looked)

    assert looked == ["soon"]


@pytest.mark.parametrize("late_slots", [1, 200, 9_000])
def test_a_sweeper_that_was_down_forgets_nobody(delivery: Table, late_slots: int) -> None:
    looked: list[str] = []
    run(delivery, NOW, looked)
    arm(delivery, one=NOW + 1, two=NOW + late_slots * SLOT_MS // 2, three=NOW + late_slots * SLOT_MS)

    run(delivery, NOW + late_slots * SLOT_MS, looked)

    assert sorted(looked) == ["one", "three", "two"]


def test_a_person_who_cannot_be_evaluated_now_is_tried_again(delivery: Table) -> None:
    arm(delivery, busy=NOW - SLOT_MS, free=NOW)
    looked: list[str] = []

    assert run(delivery, NOW, looked, fail=frozenset({"busy"})).left == 1
    run(delivery, NOW + SLOT_MS * 3, looked)

    assert looked == ["free", "busy"]


def test_r15_a_sweep_without_time_left_is_taken_up_by_the_next(delivery: Table) -> None:
    arm(delivery, **{f"p{number}": NOW - number * SLOT_MS for number in range(6)})
    looked: list[str] = []

    assert run(delivery, NOW, looked, room=2).left == 4
    run(delivery, NOW + SLOT_MS, looked)

    assert sorted(looked) == [f"p{number}" for number in range(6)]


def test_a_person_armed_again_in_the_same_slot_keeps_the_new_entry(delivery: Table) -> None:
    due = NOW // SLOT_MS * SLOT_MS
    arm(delivery, again=due)
    looked: list[str] = []

    def look(pid: str) -> int:
        looked.append(pid)
        if len(looked) == 1:
            arm(delivery, again=due + 1_000)
        return 0

    sweep(DueTable(delivery, "main"), look, due, lambda: True)
    sweep(DueTable(delivery, "main"), look, due + 2_000, lambda: True)

    assert looked == ["again", "again"]


def test_a_person_whose_evaluation_breaks_is_postponed_and_holds_up_nobody(delivery: Table) -> None:
    arm(delivery, broken=NOW - SLOT_MS, free=NOW)
    looked: list[str] = []

    swept = run(delivery, NOW, looked, broken=frozenset({"broken"}))

    assert (looked, swept.failed, swept.left) == (["free"], 1, 0)
    assert DueTable(delivery, "main").reached() == NOW // SLOT_MS
    run(delivery, NOW + POSTPONED_MS - 1, looked)
    run(delivery, NOW + POSTPONED_MS, looked)
    assert looked == ["free", "broken"]


def test_several_people_are_looked_at_at_once_and_each_once(delivery: Table) -> None:
    everybody = [f"p{number}" for number in range(60)]
    arm(delivery, **dict.fromkeys(everybody, NOW))
    looked: list[str] = []
    together = threading.Barrier(5, timeout=20)

    def look(pid: str) -> int:
        if len(looked) < 5:
            looked.append(pid)
            together.wait()  # passes only when five are looked at at the same time
        else:
            looked.append(pid)
        return 1

    swept = sweep(DueTable(delivery, "main"), look, NOW, lambda: True, workers=5)

    assert (sorted(looked), swept.people, swept.changes) == (sorted(everybody), 60, 60)


def test_who_is_not_due_yet_is_told_of(delivery: Table) -> None:
    arm(delivery, soon=NOW + 7_000, later=NOW + 9_000, present=NOW)

    assert run(delivery, NOW, []).following == NOW + 7_000
