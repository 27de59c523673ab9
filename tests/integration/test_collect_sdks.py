"""Every captured request of the published SDKs is answered as it was, and its events are stored as they were sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hoso.collect.handlers import ingest
from tests.collect_world import World, gateway_event, world

SDK = Path(__file__).parent.parent / "fixtures" / "sdk"
FIXTURE_KEY = "test-write-key"
CASES = [
    pytest.param(case["requests"], id=f"{file.stem}-{case['case']}")
    for file in sorted(SDK.glob("*.json"))
    for case in json.loads(file.read_text())["cases"]
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        made.source("web", "web")
        yield made


def wire_event(request: dict[str, Any], key: str) -> dict[str, Any]:
    """The gateway's event for a captured request, with the key of this world in the place of the captured one."""
    headers = {name.lower(): value for name, value in request["headers"].items()}
    mine = base64.b64encode(f"{key}:".encode()).decode()
    headers = {
        name: value.replace(base64.b64encode(f"{FIXTURE_KEY}:".encode()).decode(), mine).replace(FIXTURE_KEY, key)
        for name, value in headers.items()
    }
    raw = b""
    if "body" in request:
        raw = orjson.dumps(request["body"]).replace(FIXTURE_KEY.encode(), key.encode())
        if headers.get("content-encoding") == "gzip":
            import gzip

            raw = gzip.compress(raw)
    query = (request.get("query") or "").replace(FIXTURE_KEY, key)
    headers.setdefault("host", "shop.example.vn")
    return gateway_event(request["method"], request["path"].replace(FIXTURE_KEY, key), raw, headers, query)


def sent_events(request: dict[str, Any]) -> list[dict[str, Any]]:
    body = request["body"]
    events = body.get("batch", [body])
    return [{name: value for name, value in event.items() if name != "writeKey"} for event in events]


@pytest.mark.parametrize("requests", CASES)
def test_captured_requests_are_answered_and_stored_as_sent(place: World, requests: list[dict[str, Any]]) -> None:
    before = len(place.events())
    expected: list[dict[str, Any]] = []

    for request in requests:
        if "cut" in request:
            continue
        reply = ingest.handler(wire_event(request, place.keys["web"]), None)

        own_answer = "by" not in request["answer"]
        assert reply["statusCode"] == (request["answer"]["status"] if own_answer else 200), reply
        if reply["statusCode"] == 200 and request["method"] == "POST":
            assert json.loads(reply["body"]) == {"success": True}
            expected += sent_events(request)
        if reply["statusCode"] == 401:
            assert json.loads(reply["body"])["code"] == "invalid_write_key"

    assert sorted(map(orjson.dumps, place.events()[before:])) == sorted(map(orjson.dumps, expected))


def test_gzip_bodies_are_read_as_the_sdks_packed_them(place: World) -> None:
    packed = [
        request
        for file in SDK.glob("*.json")
        for case in json.loads(file.read_text())["cases"]
        for request in case["requests"]
        if "gzip_base64" in request and case["case"] != "wrong_key"
    ]
    assert len(packed) > 10
    for request in packed:
        event = wire_event(request, place.keys["web"])
        event["body"], event["isBase64Encoded"] = request["gzip_base64"], True
        before = len(place.events())

        reply = ingest.handler(event, None)

        assert reply["statusCode"] == 200, reply
        assert len(place.events()) - before == len(request["body"]["batch"])
