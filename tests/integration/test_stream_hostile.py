"""Hostile records straight on the stream: a bad row each, and the batch goes on, in the profiles and in the archive."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
import zstandard

from hoso.collect.handlers import archive
from hoso.platform.aws import client
from tests.unify_world import NOW, World, packed, unify_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with unify_world(tmp_path_factory.mktemp("world")) as made:
        archive._tools.cache_clear()
        yield made
        archive._tools.cache_clear()


def zipped(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(raw)


def record(**members: bytes) -> bytes:
    """The text of a sound record of one event, with some of its members replaced by raw text."""
    sound = {
        "v": b"1",
        "w": b'"main"',
        "s": b'"web"',
        "r": b"%d" % NOW,
        "h": b'["anonymous_id","odd"]',
        "o": b"{}",
        "e": b'[["m-odd",%d,%d,"X",[],{"messageId":"m-odd"}]]' % (NOW, NOW),
    }
    return b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), text) for name, text in {**sound, **members}.items())


def event(value: bytes) -> bytes:
    """The text of a record whose event has this raw text as a property."""
    return record(e=b'[["m-odd",%d,%d,"X",[],{"messageId":"m-odd","properties":{"x":%s}}]]' % (NOW, NOW, value))


def row(text: bytes) -> bytes:
    """The text of a record with this raw text as its only event."""
    return record(e=b"[%s]" % text)


NO_RECORD = {
    "empty": b"",
    "nul": b"\0" * 40,
    "text": b"hello",
    "json": record(),
    "gzip": gzip.compress(record(), mtime=0),
    "cut": zipped(record())[:-6],
    "flipped": zipped(record())[:20] + b"\xff\xff" + zipped(record())[22:],
    "no json": zipped(b"hello"),
    "cut json": zipped(record()[:-5]),
    "bom": zipped(b"\xef\xbb\xbf" + record()),
    "list": zipped(b"[%s]" % record()),
    "number": zipped(b"7"),
    "no members": zipped(b"{}"),
    "version": zipped(record(v=b"99")),
    "events absent": zipped(record(e=b"null")),
    "no events": zipped(record(e=b"[]")),
    "events an object": zipped(record(e=b'{"a":1}')),
    "row an object": zipped(row(b'{"a":1}')),
    "row short": zipped(row(b'["m-odd",1]')),
    "row long": zipped(row(b'["m-odd",1,1,"X",[],{},7,8]')),
    "hub a text": zipped(record(h=b'"anonymous_id"')),
    "hub of one": zipped(record(h=b'["anonymous_id"]')),
    "hub of numbers": zipped(record(h=b"[1,2]")),
    "hub empty": zipped(record(h=b'["anonymous_id",""]')),
    "hub long": zipped(record(h=b'["anonymous_id","%s"]' % (b"h" * 1_100))),
    "workspace empty": zipped(record(w=b'""')),
    "workspace of another's key": zipped(record(w=b'"main#F"')),
    "workspace a number": zipped(record(w=b"7")),
    "source a list": zipped(record(s=b"[]")),
    "origin null": zipped(record(o=b"null")),
    "origin a number": zipped(record(o=b"7")),
    "origin a text": zipped(record(o=b'"replay"')),
    "origin a list": zipped(record(o=b'["replay"]')),
    "sent text": zipped(record(t=b'"now"')),
    "flags a number": zipped(record(f=b"7")),
    "flags of numbers": zipped(record(f=b"[7]")),
    "flags at no place": zipped(record(f=b'[[[1],"plan",1,"why"]]')),
    "received text": zipped(record(r=b'"now"')),
    "received far": zipped(record(r=b"99999999999999999999")),
    "received real": zipped(record(r=b"1.5")),
    "nan": zipped(event(b"NaN")),
    "infinity": zipped(event(b"-Infinity")),
    "overflow": zipped(event(b"1e400")),
    "digits 5,000": zipped(event(b"9" * 5_000)),
    "surrogate": zipped(event(b'"\\ud800"')),
    "surrogate key": zipped(event(b'{"\\udfff":1}')),
    "control": zipped(event(b'"a\x01"')),
    "utf8": zipped(event(b'"\xe1\xba"')),
    "overlong": zipped(event(b'"\xc0\x80"')),
    "depth 200,000": zipped(event(b"[" * 200_000 + b"]" * 200_000)),
}
BAD_EVENT = {
    "depth 40": event(b"[" * 40 + b"]" * 40),
    "depth 300": event(b'{"a":' * 300 + b"1" + b"}" * 300),
    "id empty": row(b'["",%d,%d,"X",[],{}]' % (NOW, NOW)),
    "id long": row(b'["%s",%d,%d,"X",[],{}]' % (b"m" * 1_100, NOW, NOW)),
    "id number": row(b'[7,%d,%d,"X",[],{}]' % (NOW, NOW)),
    "time text": row(b'["m-odd","now",%d,"X",[],{}]' % NOW),
    "time of 40 digits": row(b'["m-odd",%s,%d,"X",[],{}]' % (b"9" * 40, NOW)),
    "time real": row(b'["m-odd",%d.5,%d,"X",[],{}]' % (NOW, NOW)),
    "name null": row(b'["m-odd",%d,%d,null,[],{}]' % (NOW, NOW)),
    "body list": row(b'["m-odd",%d,%d,"X",[],[]]' % (NOW, NOW)),
    "ids wrong": row(b'["m-odd",%d,%d,"X",[["email"]],{}]' % (NOW, NOW)),
}
TAKEN = {
    "digits 40": event(b"9" * 40),
    "tiny": event(b"1e-200"),
    "minus zero": event(b"-0.0"),
    "nul": event(b'"a\\u0000b"'),
    "keys": event(b'{"":1,"$set":2,"a.b":3,"__proto__":{"x":1},"constructor":4}'),
    "repeated": event(b'{"a":1,"a":2}'),
    "depth 28": event(b"[" * 26 + b"]" * 26),
    "depth 36": event(b"[" * 34 + b"]" * 34),
    "key of 10,000": event(b'{"%s":1}' % (b"k" * 10_000)),
    "wide": event(b"[%s]" % b",".join([b"[]"] * 9_000)),
    "members of wrong types": row(
        b'["m-odd",%d,%d,"$identify",[],{"traits":[1],"context":"mobile","properties":7,"type":[],"consent":0}]'
        % (NOW, NOW)
    ),
}


def neighbour(name: str, place: int) -> bytes:
    (blob,) = packed(
        [{"type": "track", "event": "E", "anonymousId": f"near-{name}-{place}", "messageId": f"near-{place}"}], NOW
    )
    return blob


def stored_keys() -> set[str]:
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="quarantine/")
    return {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def entry_of(key: str) -> dict[str, Any]:
    return json.loads(client("s3").get_object(Bucket="bucket", Key=key)["Body"].read())


def deliver(world: World, name: str, odd: bytes) -> tuple[list[int], list[dict[str, Any]]]:
    """The consumer gets a record between two good ones; what failed, and the new quarantine entries."""
    before = stored_keys()
    failed = world.deliver(world.kinesis([neighbour(name, 0), odd, neighbour(name, 1)]))
    return failed, [entry_of(key) for key in stored_keys() - before]


def assert_neighbours_stored(world: World, name: str) -> None:
    for place in (0, 1):
        assert world.profile(f"anonymous_id:near-{name}-{place}")["totals"]["events"] == 1


@pytest.mark.parametrize("name", NO_RECORD)
def test_r5_what_is_no_record_is_a_bad_row_and_the_batch_goes_on(world: World, name: str) -> None:
    failed, (entry,) = deliver(world, name, NO_RECORD[name])

    assert failed == []
    assert (entry["stage"], entry["code"], len(entry["rows"])) == ("consume", "bad_record", 1)
    assert_neighbours_stored(world, name)


@pytest.mark.parametrize("name", BAD_EVENT)
def test_r5_a_bad_event_is_a_bad_row_and_the_batch_goes_on(world: World, name: str) -> None:
    failed, (entry,) = deliver(world, name, zipped(BAD_EVENT[name].replace(b"m-odd", name.encode())))

    assert failed == []
    assert (entry["stage"], len(entry["rows"])) == ("consume", 1)
    assert_neighbours_stored(world, name)


@pytest.mark.parametrize("name", TAKEN)
def test_r5_what_is_odd_but_sound_is_taken(world: World, name: str) -> None:
    odd = TAKEN[name].replace(b'["anonymous_id","odd"]', orjson.dumps(["anonymous_id", f"odd-{name}"]))

    assert deliver(world, name, zipped(odd)) == ([], [])
    assert world.profile(f"anonymous_id:odd-{name}")["totals"]["events"] == 1
    assert_neighbours_stored(world, name)


def test_r5_the_archive_goes_on_after_every_one_of_them(world: World, tmp_path: Path) -> None:
    odd = [*NO_RECORD.values(), *map(zipped, [*BAD_EVENT.values(), *TAKEN.values()])]
    blobs = [blob for place, bad in enumerate(odd) for blob in (neighbour("archive", place), bad)]
    batch = world.kinesis(blobs)
    for raw in batch["Records"]:
        raw["eventID"] = f"shardId-0:{raw['kinesis']['sequenceNumber']}"
    before = stored_keys()

    assert archive.handler(batch, None) == {"batchItemFailures": []}

    (key,) = [entry["Key"] for entry in client("s3").list_objects_v2(Bucket="bucket", Prefix="archive/")["Contents"]]
    file = tmp_path / "events.parquet"
    file.write_bytes(client("s3").get_object(Bucket="bucket", Key=key)["Body"].read())
    with duckdb.connect() as connection:
        names = [
            name for (name,) in connection.execute("SELECT message_id FROM read_parquet(?)", [str(file)]).fetchall()
        ]
    assert sorted(name for name in names if name.startswith("near")) == sorted(f"near-{n}" for n in range(len(odd)))
    fresh = [entry_of(key) for key in stored_keys() - before]
    assert {entry["stage"] for entry in fresh} == {"archive"}
    assert len(NO_RECORD) - 6 < sum(len(entry["rows"]) for entry in fresh) <= len(NO_RECORD) + len(BAD_EVENT)
