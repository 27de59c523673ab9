"""Replays of the archive: into a shadow and compared, and into the stream (reliability R48, R49)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.activate.routing import Route, route
from hoso.collect.handlers import archive
from hoso.model.time import format_instant
from hoso.platform.aws import client
from hoso.unify.archive_range import ArchiveRange, Range
from hoso.unify.compare import prints_of
from hoso.unify.handlers import rewind
from tests.admin_calls import admin_event, answered
from tests.unify_world import NOW, Context, World, packed, shadow_table, unify_world

DAY = 86_400_000
SAMPLE = Path("events/traffic/events.ndjson")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        for cached in (archive._tools, rewind.parts, rewind.objects):
            cached.cache_clear()
        shadow_table(monkeypatch)
        client("kinesis").create_stream(StreamName="events", ShardCount=1)
        yield made
        for cached in (archive._tools, rewind.parts, rewind.objects):
            cached.cache_clear()


def receive(world: World, events: list[dict[str, Any]], source: str = "web") -> None:
    """Let events come in: state and archive get the same records."""
    batch = world.kinesis(packed(events, world.now, source=source))
    for row in batch["Records"]:
        row["eventID"] = f"shardId-000000000000:{row['kinesis']['sequenceNumber']}"
    assert world.deliver(batch) == []
    assert archive.handler(batch, None) == {"batchItemFailures": []}


def sample(people: int, world: World) -> list[dict[str, Any]]:
    """The first events of the sample store, in three days of receipt."""
    events = [json.loads(line) for line in SAMPLE.open()][:people]
    for day, first in enumerate(range(0, len(events), 1 + len(events) // 3)):
        world.now = NOW + day * DAY
        receive(world, events[first : first + 1 + len(events) // 3])
    return events


def replay(world: World, into: str, **more: Any) -> dict[str, Any]:
    """Run a replay to its end, step by step, as the machine does."""
    wanted = Range(more.pop("since", NOW), more.pop("until", world.now + 1), more.pop("source", ""))
    held = rewind.rewinds("main").create(f"{world.now:013d}-{into}", wanted, into, more.pop("rate", 2_000), "test")  # type: ignore[arg-type]
    event = {"workspace": "main", "replay": held["sk"]}
    for _ in range(1_000):
        event = rewind.step(event, Context())
        if event["done"]:
            return rewind.shown(rewind.rewinds("main").get(held["sk"]))
    raise AssertionError("the replay does not end")


def sent_again(world: World) -> int:
    """Deliver to the consumer, and to the archive, what a live replay put on the stream; how many records it was."""
    kinesis = client("kinesis")
    shard = kinesis.list_shards(StreamName="events")["Shards"][0]["ShardId"]
    start = kinesis.get_shard_iterator(StreamName="events", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    found = kinesis.get_records(ShardIterator=start["ShardIterator"], Limit=10_000)["Records"]
    batch = world.kinesis(record["Data"] for record in found)
    for row in batch["Records"]:
        row["eventID"] = f"shardId-000000000000:{row['kinesis']['sequenceNumber']}"
    assert world.deliver(batch) == []
    archive.handler(batch, None)
    return len(found)


def prints(world: World) -> dict[Any, Any]:
    return prints_of(world.parts.profiles.scan(), "main")


def stored(world: World) -> int:
    return ArchiveRange(rewind.objects(), "main", Range(NOW, world.now + 1)).count()["total"]


def archived() -> list[str]:
    listed = client("s3").list_objects_v2(Bucket="bucket", Prefix="archive/")
    return [entry["Key"] for entry in listed.get("Contents", [])]


def test_r48_a_shadow_from_the_archive_equals_the_live_people(world: World) -> None:
    world.segment("buyers", {"kind": "everyone"})
    sample(400, world)
    before = prints(world)

    ended = replay(world, "shadow", rate=30)

    assert ended["status"] == "done"
    assert ended["events"] == stored(world)
    assert (ended["report"]["equal"], ended["report"]["same"]) == (True, len(before))
    assert prints(world) == before


def test_r48_a_shadow_names_what_differs(world: World) -> None:
    sample(200, world)
    hot = next(item for item in world.items(kind="F") if "n" in item)
    world.parts.profiles.put({**hot, "n": hot["n"] + 1})

    report = replay(world, "shadow")["report"]

    assert (report["equal"], report["differ"], report["named"]) == (False, 1, [f"{hot['pk']}/H"])


def test_r48_the_archive_restores_empty_tables_and_announces_nothing(world: World) -> None:
    world.segment("all", {"kind": "everyone"})
    sample(300, world)
    before, members, files = prints(world), world.members("all"), archived()
    world.wipe()
    assert prints(world) == {}

    ended = replay(world, "live")
    sent_again(world)

    assert ended["events"] == stored(world)
    assert prints(world) == before
    assert world.members("all") == members
    rows = [json.loads(row["detail"]) for row in world.items("outbox")]
    assert rows
    assert {row["silent"] for row in rows} == {True}
    assert archived() == files


def test_r48_a_live_replay_of_what_is_there_changes_nothing(world: World) -> None:
    sample(150, world)
    before, rows = prints(world), world.items("outbox")

    replay(world, "live")
    sent_again(world)

    assert prints(world) == before
    assert world.items("outbox") == rows


def test_r48_events_older_than_the_dedupe_window_are_known_to_a_replay(world: World) -> None:
    receive(world, [event(n) for n in range(100)])
    world.now += 30 * DAY
    receive(world, [event(n) for n in range(100, 200)])

    replay(world, "live", since=NOW)
    sent_again(world)

    assert world.profile("anonymous_id:a")["totals"]["events"] == 200


def test_r48_a_silent_event_has_no_route() -> None:
    detail = {"type": "segment.entered", "segment": "all", "silent": True, "activations": ["x"]}
    assert route(detail, {}, {}) == Route([], [], [])


def test_a_live_event_in_the_same_batch_is_announced(world: World) -> None:
    world.segment("all", {"kind": "everyone"})
    receive(world, [event(1)])
    world.wipe()
    replay(world, "live")
    kinesis = client("kinesis")
    shard = kinesis.list_shards(StreamName="events")["Shards"][0]["ShardId"]
    start = kinesis.get_shard_iterator(StreamName="events", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    (record,) = kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]
    fresh = packed([{**event(2), "anonymousId": "b"}], world.now)

    world.deliver(world.kinesis([record["Data"], *fresh]))

    told = [json.loads(row["detail"]) for row in world.items("outbox")]
    assert sorted(row.get("silent", False) for row in told) == [False, True]


def test_a_replay_takes_the_events_of_its_range_and_source_only(world: World) -> None:
    receive(world, [event(1)], source="web")
    receive(world, [event(2)], source="pos")
    world.now += DAY
    receive(world, [event(3)], source="web")

    read = ArchiveRange(rewind.objects(), "main", Range(NOW, NOW + DAY, "web"))
    assert [one.message_id for one in read.after(None, 10)] == ["m-1"]
    assert ArchiveRange(rewind.objects(), "main", Range(NOW, NOW + DAY + 1)).count()["total"] == 3


def test_p2_a_range_keeps_the_message_ids_of_two_sources_apart(world: World) -> None:
    for source in ("web", "server", "web"):
        receive(world, [event(1)], source=source)

    found = ArchiveRange(rewind.objects(), "main", Range(NOW, NOW + 1)).after(None, 10)
    assert [(one.source, one.message_id) for one in found] == [
        ("server", event(1)["messageId"]),
        ("web", event(1)["messageId"]),
    ]


def test_pages_of_a_range_are_whole_and_each_event_comes_once(world: World) -> None:
    receive(world, [event(n) for n in range(50)])
    receive(world, [event(n) for n in range(50)])  # sent twice
    world.now += DAY
    receive(world, [event(n) for n in range(50, 70)])
    read, place, found = ArchiveRange(rewind.objects(), "main", Range(NOW, world.now + 1)), None, []
    while page := read.after(place, 7):
        found += [one.message_id for one in page]
        place = page[-1].place

    assert sorted(found) == sorted(f"m-{n}" for n in range(70))


def test_r9_a_step_that_dies_before_its_note_is_repeated_without_harm(world: World) -> None:
    receive(world, [event(n) for n in range(30)])
    world.wipe()
    held = rewind.rewinds("main").create("r-1", Range(NOW, NOW + 1), "live", 1, "test")
    rewind.rewinder("main").step("r-1", lambda: 60_000)
    rewind.parts().store.delivery.put({**held, "v": 1})  # the note is lost
    while not rewind.rewinder("main").step("r-1", lambda: 60_000):
        pass
    sent_again(world)

    assert world.profile("anonymous_id:a")["totals"]["events"] == 30


def test_a_stopped_replay_sends_nothing_more(world: World) -> None:
    receive(world, [event(n) for n in range(30)])
    rewind.rewinds("main").create("r-1", Range(NOW, NOW + 1), "live", 1, "test")
    assert rewind.rewinder("main").step("r-1", lambda: 60_000) is False
    rewind.rewinds("main").stop("r-1")

    assert rewind.rewinder("main").step("r-1", lambda: 60_000) is True
    assert rewind.rewinds("main").get("r-1")["events"] == 10


def ask(route_key: str, body: Any = None, roles: str = "[engineer]", **path: str) -> tuple[int, Any]:
    return answered(rewind.handler(admin_event(route_key, path, body, roles=roles), None))


def test_o9_a_dry_run_counts_and_starts_nothing(world: World) -> None:
    receive(world, [event(n) for n in range(30)])
    order = {"from": format_instant(NOW), "to": format_instant(NOW + 1), "dry_run": True}

    status, answer = ask("POST /v1/replays", order)

    assert (status, answer["events"]["total"]) == (200, 30)
    assert ask("GET /v1/replays")[1]["items"] == []
    assert ask("POST /v1/replays", order, roles="[analyst]")[0] == 403


@pytest.mark.parametrize(
    "order",
    [
        {"from": "2020", "to": "x"},
        {"from": format_instant(NOW), "to": format_instant(NOW)},
        {"from": "2020-01-01T00:00:00Z", "to": format_instant(NOW), "into": "live"},
        {"from": format_instant(NOW), "to": format_instant(NOW + 1), "into": "elsewhere"},
        {"from": format_instant(NOW), "to": format_instant(NOW + 1), "rate": 0},
    ],
)
def test_a_replay_that_makes_no_sense_is_400(world: World, order: dict[str, Any]) -> None:
    assert ask("POST /v1/replays", order)[0] == 400


def test_one_shadow_at_a_time(world: World) -> None:
    rewind.rewinds("main").create("r-1", Range(NOW, NOW + 1), "shadow", 1, "test")
    order = {"from": format_instant(NOW), "to": format_instant(NOW + 1)}
    assert ask("POST /v1/replays", order)[0] == 409
    ask("POST /v1/replays/{id}/stop", {}, id="r-1")
    assert ask("GET /v1/replays/{id}", id="r-1")[1]["status"] == "stopped"


def test_p2_a_message_under_two_identifiers_is_found_in_the_archive(world: World) -> None:
    receive(world, [event(1), event(2)])
    world.now += 60_000
    receive(world, [{**event(1), "userId": "u"}, event(2)])  # the same message after the login; a plain repeat

    read = ArchiveRange(rewind.objects(), "main", Range(NOW, world.now + 1))
    (found,) = read.copies(7 * DAY, "", 10)
    assert (found.message_id, found.source, found.same_content) == ("m-1", "web", True)
    assert [copy["value"] for copy in found.found] == ["a", "u"]
    assert read.copies(7 * DAY, found.place, 10) == []
    assert read.copies(59_999, "", 10) == []


def test_r49_late_history_never_beats_newer_values(world: World) -> None:
    told = [
        {"type": "identify", "userId": "u", "messageId": f"i-{year}", "timestamp": f"{year}-06-01T00:00:00Z"}
        | {"traits": {"city": f"City of {year}", "plan": "gold" if year == 2020 else None}}
        for year in (2026, 2020, 2023)
    ]
    for one in told:
        world.consume(one)
        world.now += DAY

    traits = world.profile("user_id:u")["traits"]
    assert traits["city"]["value"] == "City of 2026"
    assert "plan" not in traits


def test_r48_a_replay_whose_machine_gives_up_says_so_and_why(world: World) -> None:
    receive(world, [event(n) for n in range(30)])
    rewind.rewinds("main").create("r-1", Range(NOW, NOW + 1), "shadow", 1, "test")

    answer = rewind.step({"workspace": "main", "replay": "r-1", "error": "Transient"}, Context())

    held = ask("GET /v1/replays/{id}", id="r-1")[1]
    assert answer["done"] is True
    assert (held["status"], held["reason"].partition(";")[0]) == (
        "failed",
        "a step failed after all tries: Transient",
    )
    assert rewind.rewinder("main").step("r-1", lambda: 60_000) is True  # a late step does nothing
    assert rewind.rewinds("main").stop("r-1")["status"] == "failed"
    rewind.rewinds("main").create("r-2", Range(NOW, NOW + 1), "shadow", 1, "test")  # it blocks no other


def event(number: int) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Viewed",
        "anonymousId": "a",
        "messageId": f"m-{number}",
        "timestamp": format_instant(NOW - 100_000 + number),
    }
