"""Files on living twins: handed in by the command, in pieces through the machine, and dropped into the bucket."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from hoso.collect.imports.pieces import MAX_ROWS
from infra.cli.connection import Connection
from infra.cli.import_file import send_import, try_file

RECEIPTS = (
    "receipt_id,store_id,occurred_at,line_no,sku,qty,unit_price,total,phone,customer_name\n"
    "R1,001,05/01/2026 14:05,1,D1,2,450.000,900.000,0168 123 4567,Nguyễn Thị An\n"
    "R2,001,06/01/2026 14:05,1,D1,1,450.000,450.000,+84381234567,\n"
    "R3,001,07/01/2026 14:05,1,D1,1,450.000,100.000,0381234567,\n"
)


def until(connection: Connection, file: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [item for item in connection.pages("/v1/imports") if item["file"] == file]
        if found and found[0]["status"] not in ("receiving", "running"):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"{file} is not done")


def test_receipts_make_a_person_with_orders_whatever_the_notation_of_the_phone(
    hoso: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "receipts.csv"
    file.write_text(RECEIPTS)
    assert [problem["row"] for problem in try_file(file, "local-server", None).problems] == [4]
    report = send_import(hoso, file, "local-server", None)
    assert (report["status"], report["rejected"]) == ("done", 1)
    assert hoso.drain(60)["stuck"] == []
    person = hoso.call("GET", "/v1/profiles/phone:01681234567")
    assert (person["totals"]["orders"], person["totals"]["total"]) == (2, 1_350_000)
    assert person["traits"]["name"]["value"] == "Nguyễn Thị An"
    assert send_import(hoso, file, "local-server", None)["known"]


def test_what_events_tell_is_in_the_timeline_and_in_sql_and_not_in_the_event(hoso: Connection) -> None:
    bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    context = {"userAgent": bot, "page": {"url": "https://x.vn/?utm_source=zalo&gclid=G"}}
    event = {"type": "page", "userId": "seen-by-a-bot", "messageId": "bot-1", "context": context}
    sent = hoso.request("POST", "/v1/batch", json={"batch": [event]}, auth=(hoso.write_key(), ""))
    assert sent.status_code == 200
    assert hoso.drain(60)["stuck"] == []
    told = hoso.call("GET", "/v1/profiles/user_id:seen-by-a-bot/timeline")["items"][0]["derived"]
    assert told["agent"]["bot"] is True
    assert told["campaign"] == {"source": "zalo", "click_ids": {"gclid": "G"}}
    query = "SELECT body, json_extract_string(derived, '$.agent.bot') AS bot FROM events WHERE message_id = 'bot-1'"
    (row,) = hoso.call("POST", "/v1/sql", {"query": query, "limit": 5})["items"]
    assert row["bot"] == "true"
    assert json.loads(row["body"]) == event


def test_a_file_of_many_pieces_goes_through_the_machine(hoso: Connection, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    event = {"type": "track", "event": "Seen", "userId": "many", "timestamp": "2026-01-05T00:00:00Z"}
    count = 2 * MAX_ROWS + 5
    file.write_text("\n".join(json.dumps({**event, "properties": {"n": n}}) for n in range(count)))
    report = send_import(hoso, file, "local-server", None)
    assert (report["status"], report["accepted"], report["pieces_done"]) == ("done", count, 3)
    assert hoso.drain(60)["stuck"] == []
    assert hoso.call("GET", "/v1/profiles/user_id:many")["totals"]["events"] == count


def bucket_of_the_twin() -> tuple[Any, str]:
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    return s3, next(held["Name"] for held in s3.list_buckets()["Buckets"] if "files" in held["Name"])


@pytest.mark.both_ways
def test_a_large_file_dropped_into_the_bucket_is_cut_by_the_machine(hoso: Connection) -> None:
    s3, bucket = bucket_of_the_twin()
    event = {"type": "track", "event": "Seen", "userId": "large", "timestamp": "2026-01-05T00:00:00Z"}
    rows = [json.dumps({**event, "properties": {"n": n, "text": "x" * 20_000}}) for n in range(220)]
    key = "imports/main/local-server/large.ndjson"
    s3.put_object(Bucket=bucket, Key=key, Body="\n".join([*rows, "no JSON"]).encode())
    report = until(hoso, "large.ndjson")
    assert (report["status"], report["accepted"], report["codes"]) == ("done", 220, {"invalid_json": 1})
    assert report["pieces"] == 3
    assert json.loads(s3.get_object(Bucket=bucket, Key=key + ".rejects.ndjson")["Body"].read())["row"] == 221


def test_a_file_dropped_into_the_bucket_is_imported(hoso: Connection) -> None:
    s3, bucket = bucket_of_the_twin()
    text = "email;name\nbinh@example.vn;TrÇn V¨n B×nh\nno mail;X\n"
    s3.put_object(Bucket=bucket, Key="imports/main/local-server/2026/customers.csv", Body=text.encode("utf-16"))
    report = until(hoso, "customers.csv")
    assert (report["accepted"], report["codes"]) == (1, {"missing_id": 1})
    assert hoso.drain(60)["stuck"] == []
    assert hoso.call("GET", "/v1/profiles/email:binh@example.vn")["traits"]["name"]["value"] == "Trần Văn Bình"
    rejects = s3.get_object(Bucket=bucket, Key="imports/main/local-server/2026/customers.csv.rejects.ndjson")
    assert json.loads(rejects["Body"].read())["row"] == 3
