"""Messages that came under several identifiers: taken out, state is as if each had come once (promise 2, P2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import archive
from hoso.model.time import format_instant
from hoso.unify.compare import prints_of
from hoso.unify.computed import Computed
from hoso.unify.handlers import copies, rewind
from tests.admin_calls import admin_event, answered
from tests.faults import Faults
from tests.unify_world import NOW, Context, World, packed, shadow_table, unify_world

MINUTE, DAY = 60_000, 86_400_000
THREE = {"kind": "event", "event": ["Viewed"], "op": "gte", "value": 3}
CACHED = (archive._tools, rewind.parts, rewind.objects, copies.parts, copies.objects)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        for cached in CACHED:
            cached.cache_clear()
        yield made
        for cached in CACHED:
            cached.cache_clear()


def receive(world: World, *events: dict[str, Any], source: str = "web") -> None:
    """Let events come in, to state and archive, a minute after the last ones."""
    world.now += MINUTE
    batch = world.kinesis(packed(list(events), world.now, source=source))
    for row in batch["Records"]:
        row["eventID"] = f"shardId-000000000000:{row['kinesis']['sequenceNumber']}"
    assert world.deliver(batch) == []
    assert archive.handler(batch, None) == {"batchItemFailures": []}


def viewed(number: int, **ids: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Viewed",
        "messageId": f"m-{number}",
        "timestamp": format_instant(NOW - 100_000 + number),
        "properties": {"product": number},
        **(ids or {"anonymousId": "a"}),
    }


def identified(number: int, city: str, **ids: Any) -> dict[str, Any]:
    at = format_instant(NOW - 90_000 + number)
    return {"type": "identify", "messageId": f"i-{number}", "timestamp": at, "traits": {"city": city}, **ids}


def ask(body: dict[str, Any], roles: str = "[engineer]") -> tuple[int, Any]:
    request = admin_event("POST /v1/duplicates/repair", body=body, roles=roles)
    return answered(copies.handler(request, Context()))


def repair(world: World, *, dry_run: bool = False, **more: Any) -> dict[str, Any]:
    order = {"from": format_instant(NOW), "to": format_instant(world.now + 1), "dry_run": dry_run, **more}
    status, answer = ask(order)
    assert status == 200, answer
    return answer["counts"]


def prints(world: World) -> dict[Any, Any]:
    return prints_of(world.parts.profiles.scan(), "main")


def story(world: World, *, twice: bool) -> None:
    """A visitor logs in; with ``twice`` two of its messages come again under the user id, among them one that makes
    the third event."""
    receive(world, viewed(1), viewed(2))
    receive(world, identified(1, "Huế", userId="u", anonymousId="a"))
    if twice:
        receive(world, viewed(1, userId="u"), viewed(2, userId="u"))
    receive(world, identified(2, "Đà Nẵng", userId="u"))


def test_p2_repaired_state_is_as_if_each_message_had_come_once(world: World) -> None:
    world.segment("three", THREE)
    story(world, twice=True)
    spoiled = world.profile("user_id:u")
    assert spoiled["totals"]["events"] == 6
    assert "three" in spoiled["segments"]

    counts = repair(world)

    assert counts == {"messages": 2, "struck": 2, "known": 0, "expired": 0, "absent": 0, "conflicts": 0}
    mended, told = world.profile("user_id:u"), prints(world)
    timeline = world.get("GET /v1/profiles/{id}/timeline", "user_id:u")[1]["items"]
    assert mended["totals"]["events"] == 4
    assert (mended["segments"], world.members("three")) == ({}, set())
    assert world.announced() == [("segment.entered", "three"), ("segment.exited", "three")]
    assert [one["message_id"] for one in timeline] == ["i-2", "i-1", "m-2", "m-1"]
    world.wipe()
    world.now = NOW
    story(world, twice=False)
    assert prints(world) == told


def test_p2_a_dry_run_counts_and_changes_nothing(world: World) -> None:
    story(world, twice=True)
    before = world.items()

    assert repair(world, dry_run=True)["struck"] == 2
    assert world.items() == before


@pytest.mark.parametrize("repaired", [True, False])
def test_r48_a_shadow_equals_the_live_people_before_and_after_a_repair(
    world: World, monkeypatch: pytest.MonkeyPatch, repaired: bool
) -> None:
    shadow_table(monkeypatch)
    world.segment("three", THREE)
    story(world, twice=True)
    if repaired:
        repair(world)
    rewind.rewinds("main").create("r-1", rewind.Range(NOW, world.now + 1), "shadow", 2_000, "test")
    while not rewind.step({"workspace": "main", "replay": "r-1"}, Context())["done"]:
        pass

    report = rewind.shown(rewind.rewinds("main").get("r-1"))["report"]
    assert report["equal"], report


def test_p2_what_is_no_fold_of_events_outlives_a_repair(world: World) -> None:
    story(world, twice=True)
    pid = world.profile("user_id:u")["profile_id"]
    value = Computed("score", 0.5, NOW, 1, "", NOW)
    assert world.parts.people.put_computed("main", pid, {"churn": value})
    fid = world.fid("user_id", "u")
    before = world.parts.people.fragment("main", fid).cold

    repair(world)

    after = world.parts.people.fragment("main", fid).cold
    assert (after.computed, after.listed, after.rest) == (before.computed, before.listed, before.rest)
    assert after.computed


def test_p2_a_second_repair_finds_nothing_left_to_do(world: World) -> None:
    story(world, twice=True)
    repair(world)
    before = world.items()

    again = repair(world)

    assert (again["struck"], again["known"]) == (0, 2)
    assert world.items() == before


def test_p2_a_struck_copy_that_comes_again_is_a_repeat_even_out_of_the_ring(world: World) -> None:
    story(world, twice=True)
    repair(world)
    receive(world, *(viewed(n, userId="u") for n in range(100, 180)))
    before = world.profile("user_id:u")["totals"]["events"]

    receive(world, viewed(1, userId="u"))

    assert world.profile("user_id:u")["totals"]["events"] == before


def test_p2_the_copy_received_first_stays_also_when_it_came_before_the_range(world: World) -> None:
    receive(world, viewed(1))
    world.now += DAY
    receive(world, viewed(1, userId="u"))
    order = {"from": format_instant(world.now), "to": format_instant(world.now + 1)}

    assert ask({**order, "dry_run": False})[1]["counts"]["struck"] == 1
    assert [world.profile(who)["totals"]["events"] for who in ("anonymous_id:a", "user_id:u")] == [1, 0]


def test_p2_copies_outside_the_window_and_ids_of_other_sources_count(world: World) -> None:
    receive(world, viewed(1))
    receive(world, viewed(1, userId="u"), source="server")
    world.now += 8 * DAY
    receive(world, viewed(1, userId="v"))

    assert repair(world)["messages"] == 0


def test_r6_a_copy_with_other_content_is_kept_aside_and_counted(world: World) -> None:
    receive(world, viewed(1))
    receive(world, viewed(1, userId="u") | {"properties": {"product": "another"}})

    counts = repair(world)

    assert (counts["struck"], counts["conflicts"]) == (1, 1)
    (entry,) = world.quarantined()
    assert (entry["stage"], entry["rows"][0]["message_id"]) == ("duplicate", "m-1")
    assert world.profile("user_id:u")["overflow"]["conflicts"] == 1


def test_r13_a_repair_that_dies_anywhere_is_finished_by_the_next(world: World) -> None:
    world.segment("three", THREE)
    story(world, twice=True)
    faults = Faults(services={"dynamodb"}, operations={"TransactWriteItems"})
    with suppress(Exception), faults.fail_after(1):
        copies._strike(copies._settings(), rewind.Range(NOW, world.now + 1), "", 50, dry_run=False)

    repair(world)

    assert world.profile("user_id:u")["totals"]["events"] == 4
    assert world.members("three") == set()


def test_p2_a_fragment_older_than_its_timeline_is_left_and_said(world: World) -> None:
    story(world, twice=True)
    fid = world.fid("user_id", "u")
    first = min(item["sk"] for item in world.items(kind="F") if item["pk"] == f"main#F#{fid}" and "d" in item)
    world.parts.profiles.delete((f"main#F#{fid}", first))

    counts = repair(world)

    assert (counts["struck"], counts["expired"]) == (0, 2)
    assert world.profile("user_id:u")["totals"]["events"] == 6


def test_p2_the_night_takes_out_the_copies_of_the_last_days(world: World) -> None:
    story(world, twice=True)
    copies.parts().clock = lambda: world.now  # type: ignore[method-assign]

    assert copies.nightly({}, Context(900_000))["struck"] == 2
    told = json.loads(copies.objects().get("nightly/main/copies.json"))
    assert (told["at"], told["struck"]) == (world.now, 2)
    assert world.profile("user_id:u")["totals"]["events"] == 4


def test_s1_only_engineers_repair_and_bad_ranges_are_400(world: World) -> None:
    order = {"from": format_instant(NOW), "to": format_instant(NOW + 1)}
    assert ask(order, roles="[analyst]")[0] == 403
    assert ask({"from": "x", "to": "y"})[0] == 400
    assert ask({**order, "to": order["from"]})[0] == 400
    assert ask({**order, "cursor": "?"})[0] == 400
