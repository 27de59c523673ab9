"""Memberships: entry with the event, one announcement per transition, whatever fails or runs beside."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hoso.model.errors import Conflict
from hoso.model.time import DAY_MS, format_instant
from hoso.unify.store import ProfileStore
from infra.twin import calls
from tests.faults import Faults
from tests.unify_world import NOW, World, packed, unify_world

VIEWED_NOT_BOUGHT = {
    "kind": "all",
    "of": [
        {"kind": "event", "event": ["Product Viewed"], "window": {"last": "7d"}},
        {"kind": "not", "of": {"kind": "event", "event": ["Order Completed"], "window": {"last": "7d"}}},
    ],
}
BOTH = {
    "kind": "all",
    "of": [{"kind": "event", "event": ["Product Viewed"]}, {"kind": "event", "event": ["Store Visited"]}],
}
THREE = {"kind": "event", "event": ["Product Viewed"], "op": "gte", "value": 3}
SCHEDULES = 40
"""Interleavings per test; 300 were run when the tests were written."""
GOLD = {"kind": "trait", "name": "plan", "op": "is", "value": "gold"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        yield made


def told(name: str, n: int, at: int = NOW, **ids: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": name,
        "messageId": f"{name}-{n}-{ids}",
        "timestamp": format_instant(at - 60_000 + n),
        "properties": {},
        **(ids or {"anonymousId": "a1"}),
    }


def identify(n: int, at: int = NOW, traits: dict[str, Any] | None = None, **ids: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "messageId": f"id-{n}-{ids}",
        "timestamp": format_instant(at - 60_000 + n),
        "traits": traits or {},
        **ids,
    }


def test_an_event_makes_a_member_in_one_transaction_with_its_announcement(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    world.consume(told("Product Viewed", 1))

    shown = world.profile("anonymous_id:a1")
    assert shown["segments"]["viewed-not-bought"]["message_id"] == told("Product Viewed", 1)["messageId"]
    assert world.members("viewed-not-bought") == {shown["profile_id"]}
    (row,) = world.items("outbox")
    detail = json.loads(row["detail"])
    assert (row["type"], detail["segment"], detail["profile_id"]) == (
        "segment.entered",
        "viewed-not-bought",
        shown["profile_id"],
    )
    assert detail["reason"] == {
        "kind": "event",
        "event": "Product Viewed",
        "message_id": told("Product Viewed", 1)["messageId"],
    }
    (due,) = world.items("delivery")
    assert due["due"] == NOW - 60_000 + 1 + 7 * DAY_MS


def test_a_purchase_ends_the_membership(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    world.consume(told("Product Viewed", 1))
    world.consume(told("Order Completed", 2))

    assert world.profile("anonymous_id:a1")["segments"] == {}
    assert world.members("viewed-not-bought") == set()
    assert world.announced() == [("segment.entered", "viewed-not-bought"), ("segment.exited", "viewed-not-bought")]


def test_further_events_of_a_member_cost_one_put(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    world.consume(told("Product Viewed", 1))
    with Faults({"dynamodb"}).watch() as seen:
        world.consume(told("Product Viewed", 2))

    assert [operation for _, operation in seen.log if "Write" in operation or "Put" in operation] == [
        "BatchWriteItem",
        "PutItem",
    ]


def test_a_membership_that_time_ended_is_not_shown(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    world.consume(told("Product Viewed", 1))
    world.now += 8 * DAY_MS

    assert world.profile("anonymous_id:a1")["segments"] == {}


def test_time_ends_a_membership_through_reevaluate(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    world.consume(told("Product Viewed", 1))
    pid = world.profile("anonymous_id:a1")["profile_id"]
    world.now += 8 * DAY_MS
    rows = world.parts.people.reevaluate("main", pid, world.now)

    assert [row["type"] for row in rows] == ["segment.exited"]
    assert json.loads(rows[0]["detail"])["reason"]["kind"] == "time"
    assert world.parts.people.reevaluate("main", pid, world.now) == []
    assert world.members("viewed-not-bought") == set()


def test_reevaluate_before_its_time_arms_the_timer_for_the_later_event(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    world.consume(told("Product Viewed", 1))
    world.now += 3 * DAY_MS
    world.consume(told("Product Viewed", 2, at=world.now))
    pid = world.profile("anonymous_id:a1")["profile_id"]
    world.now += 4 * DAY_MS
    assert world.parts.people.reevaluate("main", pid, world.now) == []

    assert max(item["due"] for item in world.items("delivery")) == NOW - 60_000 + 2 + 10 * DAY_MS
    assert world.members("viewed-not-bought") == {pid}


def test_history_before_a_merge_counts_for_the_merged_person(world: World) -> None:
    world.segment("both", BOTH)
    world.consume(told("Product Viewed", 1, anonymousId="a1"))
    world.consume(told("Store Visited", 2, userId="u1"))
    assert world.announced() == []
    world.consume(identify(3, userId="u1", anonymousId="a1"))

    assert world.announced() == [("segment.entered", "both")]
    assert world.members("both") == {world.profile("user_id:u1")["profile_id"]}


def test_a_merge_of_two_members_announces_nothing_and_lists_the_survivor(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    world.consume(told("Product Viewed", 1, anonymousId="a1"))
    world.consume(told("Product Viewed", 2, userId="u1"))
    assert len(world.members("viewed-not-bought")) == 2
    world.consume(identify(3, userId="u1", anonymousId="a1"))

    assert world.announced() == [("segment.entered", "viewed-not-bought")] * 2
    assert world.members("viewed-not-bought") == {world.profile("user_id:u1")["profile_id"]}


def test_a_trait_makes_a_member_and_its_removal_ends_it(world: World) -> None:
    world.segment("gold", GOLD)
    world.consume(identify(1, traits={"plan": "gold"}, userId="u1"))
    world.consume(identify(2, traits={"plan": None}, userId="u1"))

    assert world.announced() == [("segment.entered", "gold"), ("segment.exited", "gold")]


def test_consent_moves_a_segment(world: World) -> None:
    world.segment("reachable", {"kind": "consent", "purpose": "marketing", "channel": "email", "state": ["granted"]})
    world.consume(identify(1, traits={"marketingConsent": True}, userId="u1"))
    world.consume(told("Unsubscribed", 2, userId="u1"))

    assert world.announced() == [("segment.entered", "reachable"), ("segment.exited", "reachable")]


def test_consent_of_a_banner_moves_a_segment(world: World) -> None:
    world.segment("ads", {"kind": "consent", "purpose": "ads", "state": ["granted"]})
    world.consume({**told("Product Viewed", 1), "context": {"consent": {"categoryPreferences": {"ads": True}}}})
    world.consume({**told("Product Viewed", 2), "context": {"consent": {"categoryPreferences": {"ads": False}}}})

    assert world.announced() == [("segment.entered", "ads"), ("segment.exited", "ads")]


def test_a_new_segment_counts_the_events_that_came_before_it(world: World) -> None:
    world.consume(told("Product Viewed", 1))
    world.consume(told("Product Viewed", 2))
    world.segment("three", THREE)
    world.consume(told("Product Viewed", 3))

    assert world.announced() == [("segment.entered", "three")]


def test_a_new_segment_counts_the_events_of_the_other_fragments(world: World) -> None:
    world.consume(identify(0, userId="u1", anonymousId="a1"))
    world.consume(told("Product Viewed", 1), told("Product Viewed", 2))
    world.segment("three", THREE)
    world.consume(told("Product Viewed", 3, userId="u1"))

    assert world.announced() == [("segment.entered", "three")]


def test_a_person_enters_more_segments_than_one_transaction_takes(world: World) -> None:
    for n in range(60):
        world.segment(f"s{n:02d}", {"kind": "event", "event": ["Product Viewed"], "op": "gte", "value": 1})
    world.consume(told("Product Viewed", 1))

    assert len(world.announced()) == 60
    assert len(world.profile("anonymous_id:a1")["segments"]) == 60


def test_a_person_of_more_fragments_than_a_transaction_takes_enters_and_leaves(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    world.consume(*[identify(0, at=NOW - n * 2 * DAY_MS, userId="u1", anonymousId=f"a{n}") for n in range(120)])
    pid = world.profile("user_id:u1")["profile_id"]
    assert len(world.profile(pid)["identifiers"]) == 121
    world.consume(told("Product Viewed", 1, anonymousId="a7"))
    assert world.members("viewed-not-bought") == {pid}
    world.consume(told("Order Completed", 2, userId="u1"))

    assert world.members("viewed-not-bought") == set()
    assert world.announced() == [("segment.entered", "viewed-not-bought"), ("segment.exited", "viewed-not-bought")]


def ten() -> list[dict[str, Any]]:
    """Ten events of one person under two hubs, with a merge, an order and a consent among them."""
    return [
        told("Product Viewed", 1),
        told("Product Viewed", 2),
        identify(3, traits={"plan": "gold", "email": "an@example.vn"}, userId="u1", anonymousId="a1"),
        told("Store Visited", 4, userId="u1"),
        told("Product Viewed", 5),
        {**told("Order Completed", 6, userId="u1"), "properties": {"order_id": "1", "revenue": 5}},
        told("Product Viewed", 7),
        identify(8, traits={"city": "Huế"}, userId="u1", anonymousId="a1"),
        told("Product Viewed", 9),
        told("Product Viewed", 10, userId="u1"),
    ]


def snapshot(world: World) -> dict[str, Any]:
    """What a user can see: the profile, the lists of members, what was announced."""
    shown = world.profile("user_id:u1")
    for entry in shown["segments"].values():
        entry.pop("message_id")
        entry.pop("reason")  # the event of the batch that came through first
    shown.pop("split_id")  # whose side of a split a merged person keeps is a matter of who came first
    return {
        "profile": shown,
        "members": {key: world.members(key) for key in ("both", "three", "gold", "viewed-not-bought")},
        "announced": world.announced(),
    }


def segments(world: World) -> None:
    for key, rule in (("both", BOTH), ("three", THREE), ("gold", GOLD), ("viewed-not-bought", VIEWED_NOT_BOUGHT)):
        world.segment(key, rule)


@pytest.mark.parametrize("kind", ["fail_before", "fail_after"])
def test_r13_every_call_that_fails_or_lies_leaves_ten_events_counting_ten(world: World, kind: str) -> None:
    segments(world)
    batches = [world.kinesis(packed(ten()[:5], NOW)), world.kinesis(packed(ten()[5:], NOW))]
    with Faults().watch() as seen:
        for batch in batches:
            assert world.deliver(batch) == []
    clean = snapshot(world)
    assert clean["profile"]["totals"]["events"] == 10

    for n in range(1, seen.calls + 1):
        world.wipe()
        with getattr(Faults(), kind)(n), suppress(Exception):
            for batch in batches:
                world.deliver(batch)
        for batch in batches:
            assert world.deliver(batch) == [], f"call {n}"
        assert snapshot(world) == clean, f"call {n}: {seen.log[n - 1]}"


class Killed(BaseException):
    """The process dies."""


def test_r13_a_process_that_dies_after_any_call_leaves_ten_events_counting_ten(world: World) -> None:
    segments(world)
    batch = world.kinesis(packed(ten(), NOW))
    with Faults().watch() as seen:
        world.deliver(batch)
    clean = snapshot(world)

    for n in range(1, seen.calls + 1):
        world.wipe()
        count = 0

        def die(call: Any, proceed: Any, at: int = n) -> Any:
            nonlocal count
            count += 1
            answer = proceed(call)
            if count == at:
                raise Killed
            return answer

        calls.use("faults", die)
        try:
            with suppress(Killed):
                world.deliver(batch)
        finally:
            calls.drop("faults")
        assert world.deliver(batch) == []
        assert snapshot(world) == clean, f"call {n}: {seen.log[n - 1]}"


def interleaved(works: list[Callable[[], None]], dice: random.Random) -> None:
    """Run the works in threads that take turns at every AWS call, in an order that the dice decide."""
    turn = threading.Condition()
    waiting: dict[int, bool] = {}
    current: list[int | None] = [None]
    alive = set(range(len(works)))
    local = threading.local()

    def gate(call: Any, proceed: Any) -> Any:
        me = getattr(local, "me", None)
        if me is None:
            return proceed(call)
        with turn:
            waiting[me] = True
            turn.notify_all()
            turn.wait_for(lambda: current[0] == me)
            waiting[me] = False
            current[0] = None
        try:
            return proceed(call)
        finally:
            with turn:
                turn.notify_all()

    def run(me: int) -> None:
        local.me = me
        try:
            works[me]()
        finally:
            with turn:
                alive.discard(me)
                waiting.pop(me, None)
                turn.notify_all()

    calls.use("faults", gate)
    threads = [threading.Thread(target=run, args=(me,), daemon=True) for me in range(len(works))]
    try:
        for thread in threads:
            thread.start()
        while True:
            with turn:
                assert turn.wait_for(
                    lambda: not alive or (current[0] is None and all(waiting.get(me) for me in alive)), timeout=20
                )
                if not alive:
                    break
                current[0] = dice.choice(sorted(alive))
                turn.notify_all()
    finally:
        calls.drop("faults")
        for thread in threads:
            thread.join(5)


def at_once(world: World, batches: list[dict[str, Any]], seed: int) -> None:
    """Deliver the batches at the same time; what is reported comes again, as the stream does it."""
    failed: list[dict[str, Any]] = []

    def work(batch: dict[str, Any]) -> Callable[[], None]:
        def run() -> None:
            if world.deliver(batch):
                failed.append(batch)

        return run

    interleaved([work(batch) for batch in batches], random.Random(seed))
    for batch in failed:
        assert world.deliver(batch) == []


def test_r22_two_workers_on_one_fragment_lose_no_update(world: World) -> None:
    world.segment("three", THREE)
    for seed in range(SCHEDULES):
        world.wipe()
        batches = [world.kinesis(packed([told("Product Viewed", n) for n in (k, k + 2)], NOW)) for k in (0, 1)]
        at_once(world, batches, seed)

        shown = world.profile("anonymous_id:a1")
        assert shown["totals"]["events"] == 4
        assert len(shown["timeline"]["items"]) == 4
        assert world.announced() == [("segment.entered", "three")]


def test_r22_two_workers_on_two_fragments_of_a_person_see_each_other(world: World) -> None:
    """Each brings half of what the segment needs; whoever commits last has to notice."""
    world.segment("both", BOTH)
    for seed in range(SCHEDULES):
        world.wipe()
        world.consume(identify(0, userId="u1", anonymousId="a1"))
        batches = [
            world.kinesis(packed([told("Product Viewed", 1)], NOW)),
            world.kinesis(packed([told("Store Visited", 2, userId="u1")], NOW)),
        ]
        at_once(world, batches, seed)

        assert world.profile("user_id:u1")["totals"]["events"] == 3
        assert world.announced() == [("segment.entered", "both")], f"schedule {seed}"


def test_r22_an_entry_and_an_exit_at_once_end_as_the_events_say(world: World) -> None:
    segments(world)
    for seed in range(SCHEDULES // 2):
        world.wipe()
        world.consume(identify(0, userId="u1", anonymousId="a1"))
        batches = [
            world.kinesis(packed([told("Product Viewed", n) for n in range(1, 4)], NOW)),
            world.kinesis(packed([told("Order Completed", 5, userId="u1")], NOW)),
        ]
        at_once(world, batches, seed)

        assert set(world.profile("user_id:u1")["segments"]) == {"three"}, f"schedule {seed}"
        assert world.members("viewed-not-bought") == set()


def test_r22_the_timer_beside_a_worker_ends_as_the_events_say(world: World) -> None:
    world.segment("viewed-not-bought", VIEWED_NOT_BOUGHT)
    for seed in range(SCHEDULES // 2):
        world.wipe()
        world.now = NOW
        world.consume(told("Product Viewed", 1))
        pid = world.profile("anonymous_id:a1")["profile_id"]
        world.now += 8 * DAY_MS
        batch = world.kinesis(packed([told("Product Viewed", 2, at=world.now)], world.now))

        def work(one: dict[str, Any] = batch) -> None:
            assert world.deliver(one) == []

        def timer(of: str = pid) -> None:
            world.parts.people.reevaluate("main", of, world.now)

        interleaved([work, timer], random.Random(seed))

        assert world.members("viewed-not-bought") == {pid}, f"schedule {seed}"
        assert len(world.announced()) in (1, 3)


def test_r26_a_merge_beside_two_writers_loses_nothing(world: World) -> None:
    segments(world)
    for seed in range(SCHEDULES):
        world.wipe()
        batches = [
            world.kinesis(packed([told("Product Viewed", n) for n in range(1, 4)], NOW)),
            world.kinesis(packed([told("Store Visited", n, userId="u1") for n in range(1, 4)], NOW)),
            world.kinesis(packed([identify(0, userId="u1", anonymousId="a1", traits={"plan": "gold"})], NOW)),
        ]
        at_once(world, batches, seed)

        shown = world.profile("user_id:u1")
        assert shown["totals"]["events"] == 7
        assert set(shown["segments"]) == {"both", "three", "gold", "viewed-not-bought"}, f"schedule {seed}"
        assert world.members("both") == {shown["profile_id"]}
        assert world.members("three") == {shown["profile_id"]}
        assert [entry for entry in world.announced() if entry[1] == "both"] == [("segment.entered", "both")]


def test_r12_a_conflict_is_tried_again_and_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = ProfileStore.commit
    left = [2]

    def contested(self: ProfileStore, writes: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise Conflict("someone was faster")
        commit(self, writes)

    monkeypatch.setattr(ProfileStore, "commit", contested)
    world.consume(told("Product Viewed", 1))

    assert world.profile("anonymous_id:a1")["totals"]["events"] == 1
    assert len(world.profile("anonymous_id:a1")["timeline"]["items"]) == 1


def test_a_newcomer_who_enters_sixty_segments_at_once_enters_them_all_with_the_first_event(world: World) -> None:
    """More than one transaction takes: also the segments that the event itself does not touch."""
    keys = [f"s{n:02d}" for n in range(60)]
    for key in keys:
        world.segment(key, {"kind": "not", "of": {"kind": "event", "event": f"Never {key}"}})

    world.consume(told("Hello", 1))

    assert world.announced() == [("segment.entered", key) for key in keys]


def test_a_newcomer_whose_worker_dies_between_the_rounds_is_finished_by_the_sweeper(world: World) -> None:
    keys = [f"s{n:02d}" for n in range(60)]
    for key in keys:
        world.segment(key, {"kind": "not", "of": {"kind": "event", "event": f"Never {key}"}})
    faults = Faults(operations={"TransactWriteItems"})
    with faults.fail_before(2, error="AccessDenied"), suppress(Exception):
        world.deliver(world.kinesis(packed([told("Hello", 1)], world.now)))
    assert len(world.announced()) == 25

    (due,) = world.items("delivery", "D")
    assert due["due"] <= world.now
    world.parts.people.reevaluate("main", due["sk"], world.now)

    assert world.announced() == [("segment.entered", key) for key in keys]


def test_a_change_of_one_membership_leaves_the_reasons_of_the_others(world: World) -> None:
    world.segment("viewers", {"kind": "event", "event": "Product Viewed"})
    world.segment("buyers", {"kind": "event", "event": "Order Completed"})
    world.consume(told("Product Viewed", 1))
    world.consume(told("Order Completed", 2))
    world.consume(told("Product Viewed", 3))

    (person,) = [item for item in world.items(kind="P") if item["sk"] == "P"]
    assert person["mr"] == {"viewers": ["event", "Product Viewed"], "buyers": ["event", "Order Completed"]}
