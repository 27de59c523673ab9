"""What stands beside an event without changing it: the machine it came from, and what a tracking plan said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import archive
from hoso.insight.warehouse import Warehouse, fetch_archive
from hoso.model.record import Event, Record, pack, unpack
from hoso.segment.archive_files import merge_files
from hoso.unify.archive_range import ArchiveRange, Range, records_of
from hoso.unify.handlers import rewind
from tests.unify_world import NOW, World, unify_world

BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Version/17.1 Mobile Safari/604.1"
CACHED = (archive._tools, rewind.parts, rewind.objects)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        for cached in CACHED:
            cached.cache_clear()
        receive(made)
        yield made
        for cached in CACHED:
            cached.cache_clear()


def receive(world: World) -> None:
    """Three page calls by a crawler's connection: the second names a user agent of its own, the third was flagged."""
    bodies: list[dict[str, Any]] = [{}, {"context": {"userAgent": PHONE}}, {}]
    events = [
        Event(f"m-{n}", NOW + n, None, "$page", [], {"type": "page", "messageId": f"m-{n}", "anonymousId": "a", **body})
        for n, body in enumerate(bodies)
    ]
    origin = {"ip": "10.0.0.0", "user_agent": BOT}
    record = Record("main", "web", NOW, ("anonymous_id", "a"), events, origin, [(2, "shop", 3, "price is missing")])
    batch = world.kinesis([pack(record)])
    for row in batch["Records"]:
        row["eventID"] = f"shardId-000000000000:{row['kinesis']['sequenceNumber']}"
    assert world.deliver(batch) == []
    assert archive.handler(batch, None) == {"batchItemFailures": []}


def test_the_user_agent_of_the_connection_tells_a_bot_where_the_event_names_none(world: World) -> None:
    items = world.get("GET /v1/profiles/{id}/timeline", "anonymous_id:a")[1]["items"]

    assert [one["derived"]["agent"]["bot"] for one in items] == [True, False, True]
    assert "userAgent" not in json.dumps(items[0]["body"])


def test_what_a_plan_said_stands_in_the_timeline_beside_the_event(world: World) -> None:
    items = world.get("GET /v1/profiles/{id}/timeline", "anonymous_id:a")[1]["items"]

    assert [one["flags"] for one in items] == [[{"plan": "shop", "revision": 3, "reason": "price is missing"}], [], []]


def asked(files: list[Path], query: str) -> list[dict[str, Any]]:
    with Warehouse() as warehouse:
        warehouse.events(files, [], lambda kind, value: f"p_{kind}_{value}")
        return warehouse.run(query, 10)


def test_bots_and_flags_are_columns_in_sql_also_after_the_compaction(world: World, tmp_path: Path) -> None:
    raw = fetch_archive(rewind.objects(), "main", tmp_path)
    merge_files(raw, tmp_path / "day.parquet")

    for files in (raw, [tmp_path / "day.parquet"]):
        assert asked(files, "SELECT message_id FROM events WHERE NOT bot") == [{"message_id": "m-1"}]
        (flagged,) = asked(files, "SELECT message_id, flags FROM events WHERE flags != '[]'")
        assert flagged["message_id"] == "m-2"
        assert json.loads(flagged["flags"])[0]["reason"] == "price is missing"
        assert asked(files, "SELECT derived->>'$.agent.bot' AS b FROM events ORDER BY ts")[0] == {"b": "true"}


def test_r48_a_replay_sends_connection_and_flags_again(world: World) -> None:
    stored = ArchiveRange(rewind.objects(), "main", Range(NOW, NOW + 1)).after(None, 10)

    ((_, blob),) = records_of("main", stored, "r-1", lambda kind, value: value)

    again = unpack(blob)
    assert again.origin == {"ip": "10.0.0.0", "user_agent": BOT, "replay": "r-1"}
    assert again.flags == [(2, "shop", 3, "price is missing")]


def test_a_profile_shows_its_traits_in_normal_form_beside_the_originals(world: World) -> None:
    traits = {"name": "TRẦN VĂN AN", "phone": "0123 456 7890", "address": "12 Lê Lợi, phường Bến Nghé, Quận 1, TP HCM"}
    world.consume({"type": "identify", "messageId": "i", "userId": "u", "traits": traits, "timestamp": "2026-11-01"})

    shown = world.profile("user_id:u")

    assert {name: entry["value"] for name, entry in shown["traits"].items()} == traits
    assert shown["normalised"]["phone"] == "+84834567890"
    assert shown["normalised"]["name"]["family"] == "TRẦN"
    assert 0 < shown["normalised"]["name"]["confidence"] <= 1
    assert shown["normalised"]["address"]["province"]["code"] == "79"
