"""GET /v1/profiles/{id} and its timeline: what a person looks like from outside."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import DAY_MS, format_instant
from hoso.platform.dynamo import Item
from tests.faults import Faults
from tests.unify_world import NOW, World, packed, unify_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        yield made


def seen(n: int, ts: int, **ids: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Seen",
        "messageId": f"m{n:03d}",
        "timestamp": format_instant(ts),
        **(ids or {"anonymousId": "a1"}),
    }


def test_every_trait_names_its_event_its_source_and_since_when(world: World) -> None:
    for n, ts in enumerate((NOW - 3_000, NOW - 2_000)):
        body = {"type": "identify", "userId": "u1", "messageId": f"id{n}", "timestamp": format_instant(ts)}
        world.consume({**body, "traits": {"city": "Huế", "gone": None}}, source="app")

    assert world.profile("user_id:u1")["traits"] == {
        "city": {
            "value": "Huế",
            "timestamp": format_instant(NOW - 2_000),
            "since": format_instant(NOW - 3_000),
            "message_id": "id1",
            "source": "app",
        }
    }


def test_a_value_is_normalised_and_a_profile_id_works_too(world: World) -> None:
    body = {"type": "identify", "userId": "u1", "messageId": "id", "traits": {"phone": "0901 234 567"}}
    world.consume(body)
    by_phone = world.profile("phone:+84 901 234 567")

    assert by_phone == world.profile(by_phone["profile_id"]) == world.profile("phone:0901234567")


def test_a_former_profile_id_leads_to_the_person_it_became(world: World) -> None:
    world.consume(seen(1, NOW - 2))
    former = world.profile("anonymous_id:a1")["profile_id"]
    world.consume({"type": "identify", "userId": "u1", "anonymousId": "a1", "messageId": "id", "traits": {}})

    now = world.profile(former)
    assert now["profile_id"] != former
    assert now["totals"]["events"] == 2


@pytest.mark.parametrize("who", ["user_id:nobody", "p_nobody", "email:nobody@example.vn"])
def test_nobody_is_not_found(world: World, who: str) -> None:
    status, body = world.get("GET /v1/profiles/{id}", who)

    assert (status, body["code"]) == (404, "not_found")


@pytest.mark.parametrize("who", ["nonsense", "shoe_size:44", "email:nonsense", "", "user_id:null"])
def test_what_is_no_identifier_is_a_clear_400(world: World, who: str) -> None:
    assert world.get("GET /v1/profiles/{id}", who)[0] == 400


def test_without_a_role_nothing_is_shown(world: World) -> None:
    world.consume(seen(1, NOW))

    assert world.get("GET /v1/profiles/{id}", "anonymous_id:a1", roles="[]")[0] == 403


def walked(world: World, who: str, limit: int) -> list[str]:
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        status, page = world.get("GET /v1/profiles/{id}/timeline", who, limit=str(limit), **cursor)
        assert status == 200, page
        assert len(page["items"]) <= limit
        found += [item["message_id"] for item in page["items"]]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_the_timeline_runs_newest_first_over_all_fragments_whatever_came_when(world: World, limit: int) -> None:
    dice = random.Random(5)
    world.consume({**seen(0, NOW - DAY_MS), "type": "identify", "userId": "u1", "anonymousId": "a1", "traits": {}})
    ids = [{"anonymousId": "a1"}, {"userId": "u1"}]
    events = [seen(n, NOW - dice.randrange(40) * 60_000, **dice.choice(ids)) for n in range(1, 60)]
    dice.shuffle(events)
    for start in range(0, 59, 5):
        world.consume(*events[start : start + 5])
        world.consume(*dice.sample(events[: start + 5], 3))

    stamps = {event["messageId"]: event["timestamp"] for event in events} | {"m000": format_instant(NOW - DAY_MS)}
    assert walked(world, "user_id:u1", limit) == sorted(stamps, key=lambda one: (stamps[one], one), reverse=True)


def test_pages_of_a_failed_try_are_no_part_of_the_timeline(world: World) -> None:
    world.consume(seen(1, NOW - 10))
    with Faults({"dynamodb"}, {"PutItem"}).throttle(1, times=100):
        assert world.deliver(world.kinesis(packed([seen(2, NOW - 9), seen(3, NOW - 8)], NOW))) == [0]
    world.consume(seen(2, NOW - 9))
    pages: list[Item] = [item for item in world.items(kind="F") if item["sk"].startswith("T#")]

    assert len(pages) > 2
    assert walked(world, "anonymous_id:a1", 50) == ["m002", "m001"]


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMl0", "eyJhIjoxfQ"])
def test_a_cursor_of_another_list_is_refused(world: World, cursor: str) -> None:
    world.consume(seen(1, NOW))

    assert world.get("GET /v1/profiles/{id}/timeline", "anonymous_id:a1", cursor=cursor)[0] == 400


def test_a_flood_of_one_visitor_is_paged_to_its_end(world: World) -> None:
    noise = "".join(random.Random(1).choices("0123456789abcdef", k=1_500))
    for start in range(0, 300, 100):
        flood = [
            {**seen(n, NOW - n * 10), "properties": {"x": noise[n:] + noise[:n]}} for n in range(start, start + 100)
        ]
        world.consume(*flood)
    assert walked(world, "anonymous_id:a1", 100) == [f"m{n:03d}" for n in range(300)]
