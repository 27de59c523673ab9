"""Stream batches that were given up: listed, shown, done again by the consumer that failed, dropped (R44)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import archive
from hoso.govern.handlers import failed_batches
from hoso.model.time import format_instant
from hoso.platform.aws import client
from hoso.platform.web import encode_cursor
from tests.admin_calls import admin_event, answered
from tests.unify_world import NOW, Context, World, packed, unify_world

KEY = "0f3c/shardId-000000000000/2026/11/28/2026-11-28T04.00.00-uuid"
REDRIVE = "POST /v1/failed-batches/redrive"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        for cached in (archive._tools, failed_batches.objects):
            cached.cache_clear()
        yield made
        for cached in (archive._tools, failed_batches.objects):
            cached.cache_clear()


def given_up(world: World, function: str, *numbers: int, key: str = KEY, payload: str | None = None) -> str:
    """Store what Lambda stores of a batch of these events; its id."""
    batch = world.kinesis(packed([viewed(number) for number in numbers], NOW))
    for row in batch["Records"]:
        row["eventID"] = f"shardId-000000000000:{row['kinesis']['sequenceNumber']}"
    arn = f"arn:aws:lambda:eu-central-1:123456789012:function:Hoso-dev-x-{function}AB12-xYz:live"
    document = {
        "requestContext": {
            "functionArn": arn,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 101,
        },
        "timestamp": "2026-11-28T04:00:00.000Z",
        "KinesisBatchInfo": {"shardId": "shardId-000000000000", "batchSize": len(batch["Records"])},
        "payload": json.dumps(batch) if payload is None else payload,
    }
    client("s3").put_object(Bucket="bucket", Key=f"aws/lambda/{key}", Body=json.dumps(document).encode())
    return key


def viewed(number: int) -> dict[str, Any]:
    at = format_instant(NOW - 100_000 + number)
    return {"type": "track", "event": "Viewed", "anonymousId": "a", "messageId": f"m-{number}", "timestamp": at}


def ask(route: str, body: Any = None, roles: str = "[engineer]", left_ms: int = 29_000, **path: str) -> tuple[int, Any]:
    return answered(failed_batches.handler(admin_event(route, path, body, roles=roles), Context(left_ms)))


def waiting() -> list[str]:
    return [item["id"] for item in ask("GET /v1/failed-batches")[1]["items"]]


def events(world: World) -> int:
    return world.profile("anonymous_id:a")["totals"]["events"]


def test_r44_a_failed_batch_is_listed_without_and_shown_with_its_records(world: World) -> None:
    name = given_up(world, "ConsumeFunction", 1)

    (item,) = ask("GET /v1/failed-batches")[1]["items"]
    assert (item["id"], item["function"], item["records"], item["tries"]) == (name, "ConsumeFunction", 1, 101)
    assert "event" not in item
    assert len(ask("GET /v1/failed-batches/{id}", id=encode_cursor(name))[1]["event"]["Records"]) == 1


def test_r44_a_batch_of_the_consumer_is_applied_once_however_often_it_is_replayed(world: World) -> None:
    world.consume(viewed(1))
    name = given_up(world, "ConsumeFunction", 1, 2)
    assert ask(REDRIVE, {"ids": [name]})[1]["dry_run"] is True
    assert events(world) == 1

    first = ask(REDRIVE, {"ids": [name], "dry_run": False})[1]["items"]
    again = ask(REDRIVE, {"ids": [name], "dry_run": False})[1]["items"]
    given_up(world, "ConsumeFunction", 1, 2)
    ask(REDRIVE, {"dry_run": False})

    assert ([one["status"] for one in first], [one["status"] for one in again]) == (["done"], ["gone"])
    assert (events(world), waiting()) == (2, [])


def test_r44_a_batch_of_the_archive_writer_changes_no_people(world: World) -> None:
    name = given_up(world, "ArchiveFunction", 1, 2)

    assert ask(REDRIVE, {"ids": [name], "dry_run": False})[1]["items"][0]["status"] == "done"

    listed = client("s3").list_objects_v2(Bucket="bucket", Prefix="archive/")["Contents"]
    assert len(listed) == 1
    assert world.items(kind="F") == []


def test_r44_what_fails_again_stays(world: World) -> None:
    name = given_up(world, "ConsumeFunction", 1)

    answer = ask(REDRIVE, {"ids": [name], "dry_run": False}, left_ms=1_000)[1]  # no time: the consumer does nothing

    assert (answer["items"], waiting()) == ([{"id": name, "status": "failed"}], [name])


def test_r44_batches_of_one_function_are_chosen_and_dropped_by_name_only(world: World) -> None:
    given_up(world, "ConsumeFunction", 1, key=f"{KEY}-1")
    name = given_up(world, "ArchiveFunction", 1, key=f"{KEY}-2")
    assert ask(REDRIVE, {"drop": True, "dry_run": False})[0] == 400
    chosen = ask(REDRIVE, {"function": "ArchiveFunction"})[1]["items"]

    assert [one["id"] for one in chosen] == [name]
    assert ask(REDRIVE, {"ids": [name], "drop": True, "dry_run": False})[1]["items"][0]["status"] == "dropped"
    assert waiting() == [f"{KEY}-1"]


@pytest.mark.parametrize("payload", ["", "{", "[]", '{"Records": 1}'])
def test_r5_a_batch_that_cannot_be_read_is_400_and_stays(world: World, payload: str) -> None:
    name = given_up(world, "ConsumeFunction", 1, payload=payload)

    assert ask(REDRIVE, {"ids": [name], "dry_run": False})[0] == 400
    assert waiting() == [name]


def test_s1_only_engineers_replay_and_no_other_object_is_reached(world: World) -> None:
    client("s3").put_object(Bucket="bucket", Key="archive/x", Body=b"{}")
    assert ask(REDRIVE, {}, roles="[analyst]")[0] == 403
    assert ask("GET /v1/failed-batches/{id}", id=encode_cursor("../../archive/x"))[0] == 404
    assert ask("GET /v1/failed-batches/{id}", id="?")[0] == 404
    assert ask(REDRIVE, {"ids": ["nothing"]})[0] == 404
