"""Files and bodies of connectors 2.10: JSON arrays, manifests, receipts in a request, the list of imports."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.collect.handlers import import_admin
from hoso.collect.imports.rows import text_rows
from hoso.platform.aws import client
from tests.collect_world import World, says
from tests.integration.test_imports import RECEIPTS, drop, here

__all__ = ["here"]
ROWS = [
    {"receipt_id": "R1", "store_id": "001", "occurred_at": "2026-11-01T10:00:00Z", "line_no": "1", "unit_price": "100"},
    {"receipt_id": "R2", "store_id": "001", "occurred_at": "yesterday", "line_no": "1", "unit_price": "100"},
    {"receipt_id": "R3", "store_id": "001", "occurred_at": "2026-11-01T11:00:00Z", "line_no": "1", "unit_price": "200"},
]
JSON = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def rows(text: bytes, step: int = 7) -> list[Any]:
    chunks = [text[first : first + step] for first in range(0, len(text), step)]
    return [(row.line, row.data if row.data is not None else row.code) for row in text_rows(chunks, "ndjson")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), max_size=6), st.integers(1, 40), st.booleans())
def test_an_array_is_read_as_its_elements_however_it_is_cut(found: list[Any], step: int, indent: bool) -> None:
    text = json.dumps(found, indent=2 if indent else None, ensure_ascii=step % 2 == 0).encode()
    assert rows(text, step) == list(enumerate(found, 1))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b'[{"a":1},2,{"b":2}]', [(1, {"a": 1}), (2, "invalid_json"), (3, {"b": 2})]),
        (b'[{"a":"]}"},{"b":"\\""}]', [(1, {"a": "]}"}), (2, {"b": '"'})]),
        (b'[{"a":1},{"b":', [(1, {"a": 1}), (2, "file_truncated")]),
        (b'[{"a":1}] x', [(1, {"a": 1}), (2, "invalid_json")]),
        (b"[]", []),
        (b'\xef\xbb\xbf [ {"a":1} ] \n', [(1, {"a": 1})]),
        (b'[{"a":1},{"b":"' + b"x" * 2_000_000 + b'"},{"c":1}]', [(1, {"a": 1}), (2, "line_too_long"), (3, {"c": 1})]),
    ],
)
def test_what_is_no_object_is_a_bad_row_and_the_rest_goes_on(text: bytes, read: list[Any]) -> None:
    assert rows(text, 1_000) == read


def test_a_dropped_json_array_is_imported_with_the_numbers_of_its_rejects(here: World) -> None:
    report = drop("imports/main/till/r.json", orjson.dumps(ROWS))

    assert (report["status"], report["layout"], report["rows"], report["accepted"]) == ("done", "pos", 3, 2)
    assert [bad["row"] for bad in report["first_rejects"]] == [2]


def manifest(content: bytes, **more: Any) -> bytes:
    return orjson.dumps({"file": "r.csv", "sha256": hashlib.sha256(content).hexdigest(), "rows": 3, **more})


def put(key: str, content: bytes) -> None:
    client("s3").put_object(Bucket="bucket", Key=key, Body=content)


def test_a_file_is_held_against_its_manifest(here: World) -> None:
    content, key = RECEIPTS.encode(), "imports/main/till/r.csv"
    put(f"{key}.manifest.json", manifest(b"another"))
    assert drop(key, content)["code"] == "manifest_differs"
    put(f"{key}.manifest.json", manifest(content, rows=9))
    assert drop(key, content)["code"] == "manifest_differs"
    put(f"{key}.manifest.json", b"{")
    assert drop(key, content)["code"] == "invalid_manifest"
    assert here.records() == []

    report = drop(f"{key}.manifest.json", manifest(content))  # the right one starts the file that waits

    assert (report["status"], report["rows"]) == ("done", 3)


def test_the_same_content_is_one_import_whatever_its_name(here: World) -> None:
    first = drop("imports/main/till/r.csv", RECEIPTS.encode())
    stored = len(here.records())

    again = drop("imports/main/till/other.csv", RECEIPTS.encode())

    assert (again["id"], len(here.records())) == (first["id"], stored)


def test_imports_are_listed_newest_first_in_pages(here: World) -> None:
    made: list[str] = []
    for number in range(3):
        here.advance(number * 60_000)
        made.append(drop("imports/main/till/r.json", orjson.dumps([{**ROWS[0], "receipt_id": f"R{number}"}]))["id"])

    def page(**query: str) -> Any:
        more: dict[str, Any] = {"query": query, "handler": import_admin.handler}
        return here.manage("GET /v1/imports", roles="[engineer]", **more)[1]

    first = page(limit="2")
    rest = page(limit="2", cursor=first["next"])
    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (RECEIPTS.encode(), "text/csv"),
        (orjson.dumps(ROWS), "application/json"),
        (b"\n".join(map(orjson.dumps, ROWS)), "application/x-ndjson"),
    ],
)
def test_receipts_in_a_body_are_stored_and_their_bad_rows_named(here: World, body: bytes, media: str) -> None:
    key = here.keys["till"]

    answer = here.send("/v1/import/pos", body, key=key, headers={"content-type": media})

    told = says(answer)
    assert (answer["statusCode"], told["success"], told["rows"], told["refused"]) == (200, True, 3, 1)
    assert told["accepted"] == len(here.events())
    assert [(bad["row"], bool(bad["code"])) for bad in told["rejected"]] == [(4 if media == "text/csv" else 2, True)]
    (entry,) = here.quarantined()
    assert (entry["stage"], entry["source"]) == ("import", "till")
    ids = sorted(event["messageId"] for event in here.events())
    here.send("/v1/import/pos", body, key=key, headers={"content-type": media})
    assert sorted({event["messageId"] for event in here.events()}) == ids


def test_s1_receipts_need_the_key_of_a_server_and_bounded_receipts(here: World) -> None:
    path, csv = "/v1/import/pos", {"content-type": "text/csv"}
    assert here.send(path, RECEIPTS.encode(), headers=csv)["statusCode"] == 401
    assert here.send(path, RECEIPTS.encode(), key="wk_no", headers=csv)["statusCode"] == 401
    assert here.send(path, RECEIPTS.encode(), key=here.source("shop", "web"), headers=csv)["statusCode"] == 403
    key = here.keys["till"]
    assert says(here.send(path, b"a,b\n1,2\n", key=key, headers=csv))["code"] == "unknown_layout"
    assert says(here.send(path, b"x" * 5_000_000, key=key, headers=csv))["code"] == "body_too_large"
    assert here.send(path, orjson.dumps(ROWS[1:2]), key=key)["statusCode"] == 400
    assert here.send(path, b"", key=key)["statusCode"] == 400
    assert here.events() == []
