"""The bytes of records: the dictionary, frames without one, frames of another one."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import zstandard

from hoso.model import zstd
from hoso.model.errors import InvalidInput
from hoso.model.record import Event, Record, pack, unpack
from infra import record_dictionary

EVENT = Event("m-1", 5, 4, "Product Viewed", [["email", "a@x.vn"]], {"type": "track", "event": "Product Viewed"})
RECORD = Record("main", "web", 6, ("anonymous_id", "a"), [EVENT], {"ip": "203.0.113.0"}, [], 4)


def test_r50_the_dictionary_that_stored_records_name_is_never_another() -> None:
    content = zstd.RECORDS.read_bytes()

    assert hashlib.sha256(content).hexdigest() == "5461762ae8d66a74099b97b89ae656e37c64af56749512c08c5ef2621833ba1a"
    assert zstd.dictionary().dict_id() == record_dictionary.ID


def test_a_record_names_its_dictionary_and_comes_back_whole() -> None:
    blob = pack(RECORD)

    assert zstandard.get_frame_parameters(blob).dict_id == record_dictionary.ID
    assert unpack(blob) == RECORD


def test_r50_records_that_were_written_before_there_was_a_dictionary_are_read() -> None:
    raw = zstd.decompress(pack(RECORD), 10_000)

    assert unpack(zstandard.ZstdCompressor(level=1).compress(raw)) == RECORD


def test_a_record_of_a_dictionary_that_is_not_known_here_is_poison_with_its_reason() -> None:
    samples = [json.dumps({"name": f"n{n}", "other": n * 7}).encode() * 3 for n in range(500)]
    other = zstandard.train_dictionary(2_000, samples, dict_id=record_dictionary.ID + 1)
    raw = zstd.decompress(pack(RECORD), 10_000)

    with pytest.raises(InvalidInput) as refused:
        unpack(zstandard.ZstdCompressor(dict_data=other).compress(raw))

    assert refused.value.code == "bad_record"


def test_threads_pack_and_unpack_beside_each_other() -> None:
    records = [replace(RECORD, received_at=n, hub=("anonymous_id", f"a{n}")) for n in range(400)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda record: unpack(pack(record)), records))

    assert found == records


def test_a_small_event_takes_a_quarter_less_than_without() -> None:
    context = {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}}
    body = {"type": "track", "event": "Cart Viewed", "userId": "u-77", "context": context, "messageId": "m-1"}
    body |= {"timestamp": "2026-11-22T14:53:07.950Z", "properties": {"cart_id": "c-9", "value": 310000}}
    raw = zstd.decompress(pack(Record("main", "web", 6, ("user_id", "u-77"), [EVENT._replace(body=body)])), 10_000)

    assert len(zstd.compress_record(raw)) < 0.75 * len(zstd.compress(raw))
