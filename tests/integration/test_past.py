"""GET /v1/profiles/{id}/past: a person at a past moment out of the archive, equal to what the timeline told."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hoso.collect.handlers import archive
from hoso.model.time import DAY_MS, MINUTE_MS, format_instant
from hoso.platform.dynamo import Key
from hoso.segment.handlers import nightly
from hoso.unify import archive_person
from hoso.unify.handlers import copies, past, profiles
from tests.switch_world import OTHER, switch_world, switched
from tests.unify_world import Context, World, packed, unify_world

CACHED = (archive._tools, nightly.steps_of, past.objects, copies.parts, copies.objects)
WHO = ("user_id:u1", "anonymous_id:a1", "email:an@example.vn", "anonymous_id:a2")
AS_OF, PAST = "GET /v1/profiles/{id}", "GET /v1/profiles/{id}/past"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        for one in CACHED:
            one.cache_clear()
        yield made
    for one in CACHED:
        one.cache_clear()


def receive(world: World, *events: dict[str, Any], source: str = "web") -> None:
    """Events into state and archive."""
    batch = world.kinesis(packed(list(events), world.now, source=source))
    for row in batch["Records"]:
        row["eventID"] = f"shardId-000000000000:{row['kinesis']['sequenceNumber']}"
    assert world.deliver(batch) == []
    assert archive.handler(batch, None) == {"batchItemFailures": []}


def life(world: World, seed: int, days: int = 6) -> list[int]:
    """Days of one person on two browsers, with late, repeated and copied messages; the moments between them."""
    dice = random.Random(seed)
    moments: list[int] = []
    sent: list[dict[str, Any]] = []
    for day in range(days):
        world.now += DAY_MS
        for number in range(5):
            hub = dice.choice([{"anonymousId": "a1"}, {"anonymousId": "a2"}, {"userId": "u1"}, {"userId": "u1"}])
            stamp = format_instant(world.now - dice.choice([10, MINUTE_MS, 3 * DAY_MS]))
            body = {"messageId": f"m{day}.{number}", "timestamp": stamp, **hub}
            event: dict[str, Any] = dice.choice(
                [
                    {"type": "track", "event": "Viewed", "properties": {"n": number}},
                    {"type": "identify", "traits": {"city": f"c{day}", "email": "an@example.vn"}},
                    {"type": "identify", "traits": {"phone": "0912345678", "email": "an@example.vn"}},
                    {"type": "identify", "userId": "u1", "anonymousId": "a1", "traits": {"tier": f"t{number}"}},
                    {
                        "type": "track",
                        "event": "Order Completed",
                        "properties": {"order_id": f"o{dice.randrange(6)}", "total": 10_000 * day, "revenue": 5},
                    },
                ]
            )
            sent.append({**body, **event})
        again = dice.sample(sent, min(3, len(sent)))
        receive(world, *sent[-5:], *again)
        # the same message under another identifier, in the dedupe window: its copy is taken out at night
        copied = dict(dice.choice(sent[-5:]))
        copied.pop("userId", None)
        world.now += MINUTE_MS
        receive(world, {**copied, "anonymousId": "a3"})
        moments.append(world.now)
    return moments


def strike(world: World) -> None:
    """Take out the copies of all that came."""
    body = {"from": format_instant(world.now - 30 * DAY_MS), "to": format_instant(world.now + 1), "dry_run": False}
    request = {
        "routeKey": "POST /v1/duplicates/repair",
        "headers": {"content-type": "application/json"},
        "body": json.dumps({**body, "limit": 200}),
        "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "op", "cognito:groups": "[engineer]"}}}},
    }
    assert copies.handler(request, Context())["statusCode"] == 200


def ask(route: str, who: str, **query: str) -> tuple[int, Any]:
    event = {
        "routeKey": route,
        "pathParameters": {"id": quote(who, safe="")},
        "queryStringParameters": query,
        "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "op", "cognito:groups": "[engineer]"}}}},
    }
    answer = (profiles if route == AS_OF else past).handler(event, Context())
    return answer["statusCode"], json.loads(answer["body"])


def told(route: str, who: str, at: int) -> tuple[int, Any]:
    """An answer without what differs by its source: where it is from, and whether the timeline goes on."""
    status, body = ask(route, who, **{"as_of" if route == AS_OF else "at": format_instant(at)})
    if status == 200:
        body["as_of"].pop("from", None)
        body["timeline"] = [(item["message_id"], item["event"], item["body"]) for item in body["timeline"]["items"]]
    else:
        body.pop("requestId")
    return status, body


def forget(world: World, keep: int) -> None:
    """What the table does after 400 days: all but the newest pages of every fragment go."""
    pages: dict[str, list[Key]] = {}
    for item in world.items(kind="F"):
        if item["sk"].startswith("T#"):
            pages.setdefault(item["pk"], []).append((item["pk"], item["sk"]))
    world.parts.profiles.batch_write(deletes=[key for keys in pages.values() for key in sorted(keys)[:-keep]])


@pytest.mark.parametrize("seed", [1])
def test_the_archive_tells_what_the_timeline_told_and_goes_on_telling_it(world: World, seed: int) -> None:
    moments = life(world, seed, days=4)[1::2]
    strike(world)
    world.now += MINUTE_MS
    asked = [(who, at) for who in WHO for at in moments]
    before = {(who, at): told(AS_OF, who, at) for who, at in asked}
    assert {status for status, _ in before.values()} >= {200}

    assert {(who, at): told(PAST, who, at) for who, at in asked} == before

    # when the pages have expired, the timeline says that it cannot, and the archive still can
    forget(world, keep=1)
    status, problem = told(AS_OF, "user_id:u1", moments[-1])
    assert (status, problem["code"]) == (409, "past_incomplete")
    assert {(who, at): told(PAST, who, at) for who, at in asked} == before
    status, partial = ask(AS_OF, "user_id:u1", as_of=format_instant(moments[-1]), partial="true")
    assert (status, partial["as_of"]["complete"]) == (200, False)


def test_events_that_neither_archive_nor_timeline_has_make_an_answer_a_refusal(world: World) -> None:
    at = format_instant(life(world, 3, days=2)[-1])
    objects = past.objects()
    for key in list(objects.keys("archive/")):
        objects.delete(key)
    assert ask(PAST, "user_id:u1", at=at)[0] == 200
    forget(world, keep=1)

    status, problem = ask(PAST, "user_id:u1", at=at)

    assert (status, problem["code"]) == (409, "past_incomplete")
    assert ask(PAST, "user_id:u1", at=at, partial="true")[1]["as_of"]["complete"] is False


def test_an_archive_too_large_for_one_answer_is_said_plainly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at = format_instant(life(world, 4, days=1)[-1])
    monkeypatch.setattr(archive_person, "MOST_BYTES", 10)

    status, problem = ask(PAST, "user_id:u1", at=at)

    assert (status, problem["code"]) == (409, "archive_too_large")


@pytest.mark.parametrize("query", [{}, {"at": "yesterday"}, {"at": "2100-01-01T00:00:00Z"}])
def test_a_moment_is_needed_and_it_is_past(world: World, query: dict[str, str]) -> None:
    life(world, 5, days=1)

    assert ask(PAST, "user_id:u1", **query)[0] == 400


def test_after_a_switch_of_rules_events_stand_in_the_past_where_the_switch_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with switch_world(tmp_path, monkeypatch) as world:
        past.objects.cache_clear()
        moment = life(world, 1, days=4)[1]
        strike(world)
        assert switched(world, OTHER)["moved"] > 0
        world.now += MINUTE_MS
        asked = [(who, at) for who in WHO for at in (moment, world.now)]
        before = {(who, at): told(AS_OF, who, at) for who, at in asked}
        assert [status for status, _ in before.values()].count(200) > 3

        assert {(who, at): told(PAST, who, at) for who, at in asked} == before
