"""The archive: every event once, as it was sent, under a name that is a function of the stream's range (R24)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from hoso.collect import archive as archive_rules
from hoso.collect.handlers import archive
from hoso.model.record import Event, Record, pack
from hoso.model.time import format_instant
from hoso.platform.aws import client
from hoso.platform.objects import Objects
from tests.collect_world import NOW, World, track, world
from tests.faults import Faults

DAY = 86_400_000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        archive._tools.cache_clear()
        yield made
        archive._tools.cache_clear()


def record(*bodies: dict[str, Any], at: int = NOW, workspace: str = "main") -> bytes:
    events = [Event(body["messageId"], at - 5, at - 9, body["event"], [["email", "a@b.vn"]], body) for body in bodies]
    return pack(Record(workspace, "web", at, ("anonymous_id", "anon-1"), events))


def kinesis(*blobs: bytes, first: int = 100) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventID": f"shardId-000000000000:{first + index}",
                "kinesis": {
                    "sequenceNumber": str(first + index),
                    "partitionKey": "main#x",
                    "data": base64.b64encode(blob).decode(),
                    "approximateArrivalTimestamp": NOW / 1000,
                },
            }
            for index, blob in enumerate(blobs)
        ]
    }


def names() -> list[str]:
    listed = client("s3").list_objects_v2(Bucket="bucket", Prefix="archive/").get("Contents", [])
    return [entry["Key"] for entry in listed]


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    file = folder / "read.parquet"
    file.write_bytes(client("s3").get_object(Bucket="bucket", Key=name)["Body"].read())
    table = duckdb.sql(f"SELECT * FROM '{file}'")
    return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]


def test_r24_a_batch_is_one_file_named_by_its_range_however_often_it_runs(place: World, tmp_path: Path) -> None:
    odd = track(2, properties={"": None, "x": "a\0b", "big": 12345678901234567890, "vi": "áo dài 🌸"})
    event = kinesis(record(track(1), odd), record(track(3)))

    for _ in range(5):
        assert archive.handler(event, None) == {"batchItemFailures": []}

    (name,) = names()
    day = "2026-11-22"
    assert name == f"archive/main/day={day}/shardId-000000000000-100-101.parquet"
    found = rows(tmp_path, name)
    assert [row["message_id"] for row in found] == ["m-1", "m-2", "m-3"]
    assert orjson.loads(found[1]["body"]) == odd
    assert found[0] == {
        "message_id": "m-1",
        "type": "track",
        "event": "Product Viewed",
        "ts": NOW - 5,
        "original_ts": NOW - 9,
        "sent_at": None,
        "received_at": NOW,
        "source": "web",
        "hub_type": "anonymous_id",
        "hub_value": "anon-1",
        "ids": '[["email","a@b.vn"]]',
        "origin": "{}",
        "flags": "[]",
        "body": orjson.dumps(track(1)).decode(),
    }


def test_r24_an_object_is_written_once(place: World) -> None:
    objects = Objects("bucket", client("s3"))

    assert objects.put_once("a/b", b"first") is True
    assert objects.put_once("a/b", b"second") is False
    assert objects.get("a/b") == b"first"


def test_times_are_whole_numbers_and_absent_ones_are_null(place: World, tmp_path: Path) -> None:
    blob = pack(Record("main", "web", NOW, ("user_id", "u"), [Event("m", NOW, None, "$page", [], {"type": "page"})]))
    archive.handler(kinesis(blob), None)

    (name,) = names()
    (row,) = rows(tmp_path, name)
    assert (row["original_ts"], row["ids"], row["type"], row["event"]) == (None, "[]", "page", "$page")
    types = dict(
        duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE '{tmp_path / 'read.parquet'}')").fetchall()
    )
    assert [types[column] for column in ("ts", "original_ts", "sent_at", "received_at")] == ["BIGINT"] * 4


def test_all_four_times_are_stored(place: World, tmp_path: Path) -> None:
    own = {**track(2), "sentAt": format_instant(NOW - 7)}
    unreadable = {**track(3), "sentAt": "soon"}
    events = [Event(body["messageId"], NOW, NOW - 9, "E", [], body) for body in (track(1), own, unreadable)]
    archive.handler(kinesis(pack(Record("main", "web", NOW, ("user_id", "u"), events, sent_at=NOW - 3))), None)

    (name,) = names()
    assert [row["sent_at"] for row in rows(tmp_path, name)] == [NOW - 3, NOW - 7, NOW - 3]


def test_what_the_connection_told_is_kept(place: World, tmp_path: Path) -> None:
    place.send("/v1/t", track(1), key=place.source("app", "mobile"), headers={"User-Agent": "okhttp/5"})
    (told,) = place.records()
    archive.handler(kinesis(pack(told)), None)

    (row,) = rows(tmp_path, names()[0])
    assert orjson.loads(row["origin"]) == {"ip": "203.0.113.0", "user_agent": "okhttp/5"}


def test_workspaces_and_days_have_files_of_their_own(place: World) -> None:
    archive.handler(kinesis(record(track(1)), record(track(2), at=NOW + DAY), record(track(3), workspace="b")), None)

    assert names() == [
        "archive/b/day=2026-11-22/shardId-000000000000-100-102.parquet",
        "archive/main/day=2026-11-22/shardId-000000000000-100-102.parquet",
        "archive/main/day=2026-11-23/shardId-000000000000-100-102.parquet",
    ]


POISON = {
    "no-zstd": b"poison",
    "empty": b"",
    "wrong-version": __import__("zstandard").compress(b'{"v":99}'),
    "no-json": __import__("zstandard").compress(b"{"),
    "workspace": pack(Record("../x", "web", NOW, ("a", "b"), [])),
    "time": pack(Record("main", "web", "now", ("a", "b"), [])),  # type: ignore[arg-type]
    "hub": pack(Record("main", "web", NOW, ("a", 7), [])),  # type: ignore[arg-type]
    "event": pack(Record("main", "web", NOW, ("a", "b"), [Event(7, "x", None, "n", [], {})])),  # type: ignore[arg-type]
    "body": pack(Record("main", "web", NOW, ("a", "b"), [Event("m", 1, None, "n", [], "text")])),  # type: ignore[arg-type]
    "huge-time": pack(Record("main", "web", NOW, ("a", "b"), [Event("m", 2**63, None, "n", [], {})])),
}


def test_r10_poison_goes_into_quarantine_and_the_shard_moves_on(place: World, tmp_path: Path) -> None:
    for number, name in enumerate(POISON):
        for position in range(3):
            blobs = [record(track(1)), record(track(2))]
            blobs.insert(position, POISON[name])
            first = 1_000 + number * 100 + position * 10

            for _ in range(2):
                assert archive.handler(kinesis(*blobs, first=first), None) == {"batchItemFailures": []}, name

            (stored,) = [found for found in names() if f"-{first}-" in found]
            assert [row["message_id"] for row in rows(tmp_path, stored)] == ["m-1", "m-2"], name
        (entry,) = place.quarantined()
        assert (entry["stage"], entry["code"]) == ("archive", "bad_record")


def test_a_batch_is_cut_into_ranges_of_bounded_size(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_rules, "MAX_RANGE_BYTES", 5_000)
    blobs = [record(track(n, text="x" * 1_000)) for n in range(12)]

    archive.handler(kinesis(*blobs), None)

    assert [name.rpartition("/")[2] for name in names()] == [
        "shardId-000000000000-100-104.parquet",
        "shardId-000000000000-105-109.parquet",
        "shardId-000000000000-110-111.parquet",
    ]


def test_r10_what_could_not_be_stored_comes_again_under_the_same_name(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_rules, "MAX_RANGE_BYTES", 5_000)
    batch = kinesis(*(record(track(n, text="x" * 1_000)) for n in range(12)))
    archive.handler(kinesis(record(track(0)), first=1), None)

    with Faults({"s3"}).fail_before(3, error="AccessDenied"):
        answer = archive.handler(batch, None)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "105"}]}
    batch["Records"] = batch["Records"][5:]
    assert archive.handler(batch, None) == {"batchItemFailures": []}
    assert [name.rpartition("-")[2] for name in names()] == ["1.parquet", "104.parquet", "109.parquet", "111.parquet"]


def test_ten_thousand_events_take_less_than_a_second(place: World, tmp_path: Path) -> None:
    event = kinesis(*(record(*(track(n * 10 + k) for k in range(10))) for n in range(1_000)))
    archive.handler(kinesis(record(track(1)), first=1), None)
    started = time.process_time()

    archive.handler(event, None)

    assert time.process_time() - started < 1
    assert len(rows(tmp_path, names()[1])) == 10_000


def test_a_record_as_collect_packs_it_can_be_archived(place: World, tmp_path: Path) -> None:
    key = place.source("web", "web")
    sent = [track(n) for n in range(3)]
    place.send("/v1/batch", {"batch": sent}, key=key)
    stream = client("kinesis")
    shard = stream.list_shards(StreamName="events")["Shards"][0]["ShardId"]
    start = stream.get_shard_iterator(StreamName="events", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    found = stream.get_records(ShardIterator=start["ShardIterator"])["Records"]

    archive.handler(kinesis(*(entry["Data"] for entry in found)), None)

    (name,) = names()
    assert [json.loads(row["body"]) for row in rows(tmp_path, name)] == sent
