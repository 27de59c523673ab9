"""What the ingestion API stores, and what happens when a part of it changes or fails."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from hoso.collect.handlers import ingest
from hoso.model.record import MAX_RAW_BYTES, encode
from tests.collect_world import NOW, World, gateway_event, says, track, world
from tests.faults import Faults


@pytest.fixture
def place(tmp_path: Any) -> Iterator[World]:
    with world(tmp_path) as made:
        made.source("web", "web")
        yield made


@pytest.mark.parametrize(("count", "fits"), [(2_499, True), (2_500, True), (2_501, False)])
def test_r3_a_batch_holds_2500_events(place: World, count: int, fits: bool) -> None:
    reply = place.send("/v1/batch", {"batch": [track(n) for n in range(count)]}, key=place.keys["web"])

    assert reply["statusCode"] == (200 if fits else 400)
    assert fits or says(reply)["code"] == "too_many_events"
    assert len(place.events()) == (count if fits else 0)


def test_s3_a_revoked_key_and_a_disabled_source_stop_within_a_minute_and_the_other_key_works(place: World) -> None:
    first = place.keys["web"]
    second = place.manage("POST /v1/sources/{key}/keys", path={"key": "web"})[1]["key"]
    assert place.send("/v1/t", track(), key=first)["statusCode"] == 200

    place.manage("DELETE /v1/sources/{key}/keys/{prefix}", path={"key": "web", "prefix": first[:11]})

    place.advance(60_000)
    assert place.send("/v1/t", track(), key=first)["statusCode"] == 401
    assert place.send("/v1/t", track(), key=second)["statusCode"] == 200
    place.manage("PUT /v1/sources/{key}", {"name": "web", "kind": "web", "enabled": False}, path={"key": "web"})
    place.advance(120_000)
    assert place.send("/v1/t", track(), key=second)["statusCode"] == 401


def test_s4_the_workspace_comes_from_the_key_only(place: World) -> None:
    other = place.source("web", workspace="second")
    body = {"batch": [track() | {"workspaceId": "main", "workspace": "main"}], "workspaceId": "main"}

    place.send("/v1/batch", body, key=other, headers={"x-workspace": "main"}, query="workspace=main")

    assert {record.workspace for record in place.records()} == {"second"}


def test_a_table_that_does_not_answer_is_503_not_401(place: World) -> None:
    with Faults({"dynamodb"}).throttle(1, times=20):
        reply = place.send("/v1/t", track(), key=place.keys["web"])

    assert reply["statusCode"] == 503
    assert int(reply["headers"]["retry-after"]) >= 1


def test_a_key_is_looked_up_once_for_many_requests(place: World) -> None:
    place.send("/v1/t", track(), key=place.keys["web"])
    with Faults({"dynamodb"}).watch() as seen:
        for _ in range(5):
            place.send("/v1/t", track(), key=place.keys["web"])
    assert seen.calls == 0


def test_the_connection_of_a_browser_is_kept_truncated_and_that_of_a_server_is_not(place: World) -> None:
    server = place.source("backend", "server")
    agent = {"User-Agent": "Browser/1"}

    place.send("/v1/t", track(1), key=place.keys["web"], headers=agent)
    place.send("/v1/t", track(2), key=server, headers=agent)

    web, backend = place.records()
    assert web.origin == {"ip": "203.0.113.0", "user_agent": "Browser/1"}
    assert backend.origin == {}
    assert abs(web.received_at - NOW) < 10 * 365 * 86_400_000


def test_an_address_is_told_of_a_servers_event_only_where_it_came_direct(place: World) -> None:
    key = place.source("backend", "server")
    said = [True, True, None, False, True, "true"]
    events = [track(n) | ({} if it is None else {"context": {"direct": it}}) for n, it in enumerate(said)]

    assert place.send("/v1/batch", {"batch": events}, key=key)["statusCode"] == 200

    told = {event.message_id: record.origin for record in place.records() for event in record.events}
    assert [told[event["messageId"]] for event in events] == [
        {"ip": "203.0.113.0"} if it is True else {} for it in said
    ]


def test_a_direct_event_over_a_connection_without_an_address_has_no_origin(place: World) -> None:
    said = orjson.dumps({**track(1), "context": {"direct": True}})
    event = gateway_event("POST", "/v1/t", said, {"x-write-key": place.source("backend", "server")})
    event["requestContext"]["http"]["sourceIp"] = ""

    assert ingest.handler(event, None)["statusCode"] == 200

    assert place.records()[0].origin == {}


def test_the_connection_of_a_browser_is_told_whole_whatever_its_events_say(place: World) -> None:
    said = {**track(1), "context": {"direct": True}}

    assert place.send("/v1/t", said, key=place.keys["web"], headers={"User-Agent": "Browser/1"})["statusCode"] == 200

    assert place.records()[0].origin == {"ip": "203.0.113.0", "user_agent": "Browser/1"}


def test_a_pixel_stores_its_event_and_always_shows_the_image(place: World) -> None:
    key = place.keys["web"]
    data = base64.b64encode(orjson.dumps({**track(1), "writeKey": key})).decode().rstrip("=")
    rudder = f"writeKey={key}&event=Opened&anonymousId=a&messageId=m-2&properties.campaign=tet"

    replies = [
        place.send("/v1/pixel/track", method="GET", query=f"data={data}"),
        place.send("/pixel/v1/track", method="GET", query=rudder),
        place.send("/v1/pixel/page", method="GET", query="data=%%%"),
        place.send("/pixel/v1/track", method="GET", query="writeKey=unknown&event=x&userId=u"),
    ]

    for reply in replies:
        assert (reply["statusCode"], reply["headers"]["content-type"]) == (200, "image/gif")
        assert base64.b64decode(reply["body"]).startswith(b"GIF89a")
    assert [event["messageId"] for event in place.events()] == ["m-1", "m-2"]
    assert place.events()[1]["properties"] == {"campaign": "tet"}


def test_r1_partial_failures_are_sent_again_and_nothing_twice(place: World) -> None:
    events = [track(n) | {"anonymousId": f"a-{n}"} for n in range(10)]
    place.send("/v1/t", track(99), key=place.keys["web"])

    with Faults({"kinesis"}).partial(1) as seen:
        reply = place.send("/v1/batch", {"batch": events}, key=place.keys["web"])

    assert reply["statusCode"] == 200
    assert seen.calls == 2
    assert sorted(event["messageId"] for event in place.events()) == sorted(["m-99", *(f"m-{n}" for n in range(10))])


def test_r4_a_stream_that_takes_nothing_is_503_within_ten_seconds(place: World) -> None:
    place.send("/v1/t", track(1), key=place.keys["web"])
    started = time.monotonic()

    with Faults({"kinesis"}).throttle(1, times=1_000):
        reply = place.send("/v1/batch", {"batch": [track(2), {"type": "?"}]}, key=place.keys["web"])

    assert time.monotonic() - started < 10
    assert (reply["statusCode"], says(reply)["success"]) == (503, False)
    assert 1 <= int(reply["headers"]["retry-after"]) <= 300
    assert [event["messageId"] for event in place.events()] == ["m-1"]
    assert place.quarantined() == []


@pytest.mark.parametrize("fault", ["fail_before", "fail_after"])
def test_r9_a_request_that_died_at_any_call_can_be_sent_again(place: World, fault: str) -> None:
    batch = {"batch": [track(1), track(2), {"type": "?"}]}
    for number in range(1, 9):
        ingest.reception.cache_clear()
        with getattr(Faults(), fault)(number):
            reply = place.send("/v1/batch", batch, key=place.keys["web"])
        assert reply["statusCode"] in (200, 503)
        if reply["statusCode"] == 503:
            assert place.send("/v1/batch", batch, key=place.keys["web"])["statusCode"] == 200

    assert {event["messageId"] for event in place.events()} == {"m-1", "m-2"}


def test_a_quarantine_that_is_down_changes_no_answer(place: World, caplog: pytest.LogCaptureFixture) -> None:
    with Faults({"s3"}).throttle(1, times=50):
        reply = place.send("/v1/batch", {"batch": [track(1), {"type": "?"}]}, key=place.keys["web"])

    assert (reply["statusCode"], says(reply)["accepted"]) == (200, 1)
    assert "quarantine failed" in caplog.text


def test_r56_a_failing_log_fails_no_event(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(service: str) -> None:
        raise RuntimeError(service)

    monkeypatch.setattr("hoso.platform.log.logger", broken)

    reply = place.send("/v1/batch", {"batch": [track(1), {"type": "?"}]}, key=place.keys["web"])

    assert (reply["statusCode"], says(reply)["accepted"]) == (200, 1)


def test_r7_a_corrected_time_before_2000_is_a_bad_row(place: World) -> None:
    place.freeze(NOW)
    slow = track(1) | {"timestamp": "2025-01-01T00:00:00Z", "sentAt": "2090-01-01T00:00:00Z"}

    reply = place.send("/v1/t", slow, key=place.keys["web"])

    assert (reply["statusCode"], says(reply)["code"]) == (400, "invalid_timestamp")
    assert place.quarantined()[0]["rows"][0]["payload"] == slow


def test_events_of_one_person_travel_in_one_record_in_their_order(place: World) -> None:
    events = [track(n) | {"anonymousId": f"a-{n % 3}"} for n in range(30)]

    place.send("/v1/batch", {"batch": events}, key=place.keys["web"])

    records = place.records()
    assert sorted(record.hub for record in records) == [("anonymous_id", f"a-{n}") for n in range(3)]
    for record in records:
        ids = [event.body["properties"]["n"] for event in record.events]
        assert ids == sorted(ids)


def test_a_large_request_of_one_person_is_split_into_records_of_200_kb(place: World) -> None:
    events = [track(n) | {"properties": {"text": "x" * 20_000}} for n in range(30)]

    place.send("/v1/batch", {"batch": events}, key=place.keys["web"])

    records = place.records()
    assert len(records) > 2
    assert [event.message_id for record in records for event in record.events] == [f"m-{n}" for n in range(30)]
    for record in records:
        assert len(encode(record.workspace, "", 0, record.hub, [tuple(e) for e in record.events], {})) <= MAX_RAW_BYTES
