"""Imports through the real handlers: admin API piece by piece, dropped files, repetition, quarantine, memory."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import import_admin, imports
from hoso.collect.imports.pieces import cut, open_rows
from hoso.collect.imports.rows import text_rows
from hoso.collect.imports.store import pack
from hoso.collect.imports.work import wait_for_budget
from hoso.model.errors import InvalidInput, Transient
from hoso.platform.aws import client
from tests.collect_world import World, world

RECEIPTS = (
    "receipt_id;store_id;occurred_at;line_no;sku;qty;unit_price;total;phone\n"
    "R1;001;05/01/2026 14:05;1;D1;2;450.000;1.150.000;912345678\n"
    "R1;001;05/01/2026 14:05;2;S1;1;250,000;1.150.000;912345678\n"
    "R2;001;05/01/2026 15:00;1;S1;1;250.000;200.000;\n"
)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        imports.tools.cache_clear()
        made.source("till", "server")
        try:
            yield made
        finally:
            imports.tools.cache_clear()


def call(
    route: str, body: object = None, raw: bytes | None = None, role: str = "engineer", **path: str
) -> tuple[int, Any]:
    event: dict[str, Any] = {
        "routeKey": route,
        "pathParameters": path,
        "headers": {"content-type": "application/json"},
        "body": base64.b64encode(raw).decode() if raw is not None else None if body is None else json.dumps(body),
        "isBase64Encoded": raw is not None,
        "requestContext": {
            "requestId": "r",
            "authorizer": {"jwt": {"claims": {"sub": "operator", "cognito:groups": f"[{role}]"}}},
        },
    }
    answer = import_admin.handler(event, None)
    return answer["statusCode"], json.loads(answer["body"])


def begin(content: bytes, source: str = "till", **more: Any) -> tuple[int, Any]:
    opened = open_rows(text_rows(iter([content]), "csv"), None, source)
    asked = {
        "source": source,
        "file": "x.csv",
        "digest": hashlib.sha256(content).hexdigest(),
        "columns": opened.columns,
    }
    return call("POST /v1/imports", {**asked, **more})


def hand_in(name: str, content: bytes) -> tuple[int, int]:
    opened = open_rows(text_rows(iter([content]), "csv"), None, "till")
    number = rows = 0
    for number, (count, piece) in enumerate(cut(opened.rows, opened.layout.group_of), 1):
        assert call("PUT /v1/imports/{id}/pieces/{n}", raw=pack(piece), id=name, n=str(number))[0] == 200
        rows += count
    return number, rows


def drop(key: str, content: bytes) -> Any:
    client("s3").put_object(Bucket="bucket", Key=key, Body=content)
    return imports.dropped({"detail": {"bucket": {"name": "bucket"}, "object": {"key": key}}}, None)


def stored(key: str) -> bytes:
    return client("s3").get_object(Bucket="bucket", Key=key)["Body"].read()


def test_a_file_handed_in_goes_on_the_stream_and_its_bad_rows_to_quarantine(here: World) -> None:
    status, state = begin(RECEIPTS.encode())
    assert (status, state["status"], state["layout"], state["received"]) == (200, "receiving", "pos", [])
    pieces, rows = hand_in(state["id"], RECEIPTS.encode())
    status, report = call("POST /v1/imports/{id}/start", {"pieces": pieces, "rows": rows}, id=state["id"])
    assert (status, report["status"], report["accepted"], report["rejected"]) == (200, "done", 2, 1)
    order = next(event for event in here.events() if event["type"] == "track")
    assert (order["properties"]["order_id"], order["properties"]["total"]) == ("001-R1", 1_150_000)
    assert {(record.source, record.hub) for record in here.records()} == {("till", ("phone", "+84912345678"))}
    (entry,) = here.quarantined()
    assert (entry["stage"], entry["source"], entry["rows"][0]["index"]) == ("import", "till", 4)
    assert entry["rows"][0]["payload"]["receipt_id"] == "R2"


def test_doing_it_twice_adds_nothing_and_makes_the_same_messages(here: World) -> None:
    for _ in range(2):
        _, state = begin(RECEIPTS.encode())
        pieces, rows = hand_in(state["id"], RECEIPTS.encode())
        _, report = call("POST /v1/imports/{id}/start", {"pieces": pieces, "rows": rows}, id=state["id"])
        here.advance(60_000)
    assert report["accepted"] == 2
    assert len(here.events()) == 2
    assert begin(RECEIPTS.encode())[1]["status"] == "done"


def test_a_piece_that_was_interrupted_is_done_again_with_the_same_time_and_ids(here: World) -> None:
    _, state = begin(RECEIPTS.encode())
    hand_in(state["id"], RECEIPTS.encode())
    importer = imports.tools().importer
    importer.do_piece(state["id"], 1)
    importer.do_piece(state["id"], 1)
    assert len(here.events()) == 2
    key = f"importing/main/{state['id']}/result/000001.json"
    client("s3").delete_object(Bucket="bucket", Key=key)
    here.advance(3_600_000)
    importer.do_piece(state["id"], 1)
    times = {record.received_at for record in here.records()}
    ids = [event["messageId"] for event in here.events()]
    assert len(times) == 1
    assert len(ids) == 2 * len(set(ids))
    assert len(here.quarantined()) == 1


def test_the_start_waits_for_all_pieces_and_bad_pieces_are_refused(here: World) -> None:
    _, state = begin(RECEIPTS.encode())
    assert call("POST /v1/imports/{id}/start", {"pieces": 2, "rows": 3}, id=state["id"])[0] == 409
    for raw in (b"no zstd", pack(b"x" * 17_000_000)):
        assert call("PUT /v1/imports/{id}/pieces/{n}", raw=raw, id=state["id"], n="1")[0] == 400
    assert call("PUT /v1/imports/{id}/pieces/{n}", raw=pack(b"[]"), id=state["id"], n="0")[0] == 400
    assert call("PUT /v1/imports/{id}/pieces/{n}", raw=pack(b"[]"), id="nobody", n="1")[0] == 404
    assert call("GET /v1/imports/{id}", id="nobody")[0] == 404


def test_only_engineers_import_and_only_for_sources_that_are_there(here: World) -> None:
    asked = {"source": "nobody", "file": "x.csv", "digest": "0" * 64, "columns": ["email"]}
    assert call("POST /v1/imports", asked)[0] == 404
    assert call("POST /v1/imports", {**asked, "source": "till"}, role="marketer")[0] == 403
    assert call("POST /v1/imports", {**asked, "source": "till", "columns": ["a"]})[0] == 400
    here.source("off", "server", enabled=False)
    assert call("POST /v1/imports", {**asked, "source": "off"})[0] == 409
    assert call("GET /v1/imports") == (200, {"items": [], "next": None})


def test_a_dropped_file_is_imported_with_its_rejects_beside_it(here: World) -> None:
    key = "imports/main/till/2026/receipts.csv"
    report = drop(key, RECEIPTS.encode("utf-16"))
    assert (report["status"], report["accepted"], report["rejected"]) == ("done", 2, 1)
    (reject,) = [json.loads(line) for line in stored(key + ".rejects.ndjson").splitlines()]
    assert (reject["row"], reject["code"]) == (4, "total_differs")
    assert drop(key + ".rejects.ndjson", b"{}") == {"ignored": "no file of rows"}
    count = len(here.events())
    assert drop(key, RECEIPTS.encode("utf-16"))["accepted"] == 2
    assert len(here.events()) == count


def test_a_dropped_file_takes_the_mapping_of_its_source_or_its_own(here: World) -> None:
    document = {"columns": {"Mail": "traits.email"}}
    client("s3").put_object(Bucket="bucket", Key="imports/main/till/mapping.json", Body=json.dumps(document).encode())
    assert drop("imports/main/till/a.csv", b"Mail,Since\nan@x.vn,05/01/2020\n")["accepted"] == 1
    own = {"columns": {"Mail": "traits.email", "Since": "timestamp"}}
    client("s3").put_object(Bucket="bucket", Key="imports/main/till/b.csv.mapping.json", Body=json.dumps(own).encode())
    assert drop("imports/main/till/b.csv", b"Mail,Since\nbinh@x.vn,05/01/2020\n")["accepted"] == 1
    (event,) = [event for event in here.events() if event["traits"]["email"] == "binh@x.vn"]
    assert event["timestamp"] == "2020-01-04T17:00:00.000Z"


@pytest.mark.parametrize(
    ("key", "content", "code"),
    [
        ("imports/main/till/a.csv", b"a,b\n1,2\n", "unknown_layout"),
        ("imports/main/till/a.pdf", b"%PDF", "unknown_format"),
        ("imports/main/nobody/a.csv", b"email\na@x.vn\n", "unknown_source"),
        ("imports/main/till/a.parquet", b"PAR1", "bad_parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_entry_in_quarantine(
    here: World, key: str, content: bytes, code: str
) -> None:
    assert drop(key, content)["status"] == "refused"
    (entry,) = here.quarantined()
    assert (entry["code"], entry["rows"][0]["payload"]) == (code, {"file": key})


def test_parquet_is_imported_too(here: World, tmp_path: Path) -> None:
    import duckdb

    file = tmp_path / "x.parquet"
    duckdb.sql("SELECT 'an@x.vn' AS email, 'Trần An' AS name").write_parquet(str(file))
    assert drop("imports/main/till/x.parquet", file.read_bytes())["accepted"] == 1
    assert here.events()[0]["traits"] == {"email": "an@x.vn", "name": "Trần An"}


def test_r49_imported_history_keeps_its_own_time(here: World) -> None:
    row = {"type": "identify", "userId": "u", "traits": {"city": "Huế"}, "timestamp": "2020-03-01T00:00:00Z"}
    drop("imports/main/till/old.ndjson", json.dumps(row).encode())
    (record,) = here.records()
    assert record.events[0].ts == 1_583_020_800_000
    assert record.received_at > record.events[0].ts + 1_000_000_000


def test_events_of_files_are_held_against_the_rules_of_all_events(here: World) -> None:
    rows = [
        {"type": "track", "event": "X", "userId": "u", "timestamp": "2026-01-01T00:00:00Z"},
        {"type": "track", "event": "X", "userId": "null", "timestamp": "2026-01-01T00:00:00Z"},
        {"type": "track", "event": "X", "userId": "u", "timestamp": "1999-01-01T00:00:00Z"},
        {"type": "track", "event": "X", "userId": "u", "properties": {"a": "x" * 40_000}},
    ]
    report = drop("imports/main/till/e.ndjson", "\n".join(map(json.dumps, rows)).encode())
    assert report["accepted"] == 1
    assert [(bad["row"], bad["code"]) for bad in report["first_rejects"]] == [
        (2, "missing_id"),
        (3, "invalid_timestamp"),
        (4, "event_too_large"),
    ]
    assert [row["payload"]["userId"] for row in here.quarantined()[0]["rows"]] == ["null", "u", "u"]


def test_an_import_waits_for_its_sources_budget_and_gives_up_after_a_minute() -> None:
    answers = iter([False, False, True])
    pauses: list[float] = []
    wait_for_budget(lambda _source, _events: next(answers), pauses.append)("till", 5)
    assert pauses == [5, 5]
    with pytest.raises(Transient):
        wait_for_budget(lambda _source, _events: False, pauses.append)("till", 5)
    assert sum(pauses[2:]) >= 60


def test_a_file_in_another_workspaces_folder_is_left_alone(here: World) -> None:
    assert "ignored" in drop("imports/other/till/a.csv", RECEIPTS.encode())
    assert "ignored" in drop("imports/main/a.csv", RECEIPTS.encode())
    assert here.events() == []


def test_an_unknown_layout_names_the_way_out() -> None:
    with pytest.raises(InvalidInput) as refused:
        open_rows(text_rows(iter([b"a,b\n1,2\n"]), "csv"), None, "till")
    assert "mapping" in refused.value.hint


_READ = """
import resource, sys
from hoso.collect.imports.pieces import cut, map_piece, open_rows
from hoso.collect.imports.rows import text_rows
def chunks():
    with open(sys.argv[1], "rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk
first = None
for rows, piece in cut((opened := open_rows(text_rows(chunks(), "csv"), None, "s")).rows, opened.layout.group_of):
    map_piece(piece, opened.layout)
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = first or now
print(now - first)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "big.csv"
    with file.open("w") as out:
        out.write("receipt_id,store_id,occurred_at,sku,qty,unit_price,phone,name\n")
        for number in range(30_000):
            out.write(f"R{number // 3},001,05/01/2026 14:05,SKU-{number},1,450.000,0912345678,{'x' * 60}\n")
    environment = {**os.environ, "PYTHONPATH": "functions"}
    command = [sys.executable, "-c", _READ, str(file)]
    grown_kb = int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert grown_kb < 12_000
