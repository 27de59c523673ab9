"""Sources, write keys and the quarantine through the admin API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import admin
from hoso.platform.aws import client
from hoso.platform.stream import Stream, stream_client
from tests.collect_world import World, says, track, world
from tests.faults import Faults

SOURCE = {"name": "Shop", "kind": "web", "enabled": True}
KEYS = "POST /v1/sources/{key}/keys"
REVOKE = "DELETE /v1/sources/{key}/keys/{prefix}"
PUT = "PUT /v1/sources/{key}"
REPLAY = "POST /v1/quarantine/{id}/replay"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_a_source_is_made_gets_a_key_and_takes_events(place: World) -> None:
    assert place.manage(PUT, SOURCE, path={"key": "shop"})[0] == 200
    status, made = place.manage(KEYS, {}, path={"key": "shop"})

    assert status == 200
    assert place.send("/v1/t", track(), key=made["key"])["statusCode"] == 200
    status, listed = place.manage("GET /v1/sources", roles="[viewer]")
    (source,) = listed["items"]
    assert (source["key"], source["name"], source["kind"], source["enabled"]) == ("shop", "Shop", "web", True)
    assert [key["prefix"] for key in source["keys"]] == [made["prefix"]]


def test_s2_a_key_is_shown_once_and_stored_only_as_a_hash(place: World, caplog: pytest.LogCaptureFixture) -> None:
    key = place.source("shop")
    place.send("/v1/t", track(), key=key)
    place.send("/v1/t", {"type": "?"}, key=key)

    raw = client("dynamodb").scan(TableName="control")["Items"]
    shown = str(place.manage("GET /v1/sources")[1]) + str(place.quarantined()) + str(raw)
    assert key not in shown + str([record.__dict__ for record in caplog.records])
    assert key[:11] in shown


def test_s3_a_source_has_at_most_two_live_keys(place: World) -> None:
    place.manage(PUT, SOURCE, path={"key": "shop"})
    first = place.manage(KEYS, path={"key": "shop"})[1]
    assert place.manage(KEYS, path={"key": "shop"})[0] == 200
    assert place.manage(KEYS, path={"key": "shop"})[0] == 409

    for _ in range(2):
        assert place.manage(REVOKE, path={"key": "shop", "prefix": first["prefix"]})[0] == 200
    assert place.manage(KEYS, path={"key": "shop"})[0] == 200


def test_s41_changes_of_sources_and_keys_are_audited_without_secrets(place: World) -> None:
    place.manage(PUT, SOURCE, path={"key": "shop"})
    made = place.manage(KEYS, path={"key": "shop"})[1]
    place.manage(REVOKE, path={"key": "shop", "prefix": made["prefix"]})

    entries = list(place.table.query_all("main#audit"))
    subjects = {entry["action"]: entry["subject"] for entry in entries}
    prefix = f"shop/{made['prefix']}"
    assert subjects == {"source.put": "shop", "key.new": prefix, "key.revoke": prefix}
    assert {entry["actor"] for entry in entries} == {"operator"}
    assert made["key"] not in str(entries)


@pytest.mark.parametrize(
    ("route", "path", "body", "status"),
    [
        (PUT, {"key": "Shop"}, SOURCE, 400),
        (PUT, {"key": "a#b"}, SOURCE, 400),
        (PUT, {"key": "../x"}, SOURCE, 400),
        (PUT, {"key": "x" * 64}, SOURCE, 400),
        (PUT, {"key": "shop"}, {**SOURCE, "kind": "fax"}, 400),
        (PUT, {"key": "shop"}, {"kind": "web"}, 400),
        (PUT, {"key": "shop"}, {**SOURCE, "more": 1}, 400),
        (KEYS, {"key": "nothing"}, None, 404),
        (REVOKE, {"key": "nothing", "prefix": "wk_x"}, None, 404),
        ("GET /v1/quarantine/{id}", {"id": "nothing"}, None, 404),
        ("GET /v1/quarantine/{id}", {"id": "1795358100000-collect-aaaaaaaaaaaa"}, None, 404),
        ("GET /v1/quarantine/{id}", {"id": "../../archive/x"}, None, 404),
        (REPLAY, {"id": "1795358100000-collect-aaaaaaaaaaaa"}, None, 404),
    ],
)
def test_bad_input_is_refused(place: World, route: str, path: dict[str, str], body: Any, status: int) -> None:
    assert place.manage(route, body, path=path)[0] == status


@pytest.mark.parametrize(
    ("route", "allowed"),
    [
        ("GET /v1/sources", {"viewer", "marketer", "analyst", "engineer", "privacy", "admin"}),
        (PUT, {"engineer", "admin"}),
        (KEYS, {"engineer", "admin"}),
        (REVOKE, {"engineer", "admin"}),
        ("GET /v1/quarantine", {"engineer", "privacy", "analyst", "admin"}),
        ("GET /v1/quarantine/{id}", {"engineer", "privacy", "admin"}),
        (REPLAY, {"engineer", "admin"}),
    ],
)
def test_s11_each_route_wants_its_role(place: World, route: str, allowed: set[str]) -> None:
    path = {"key": "shop", "prefix": "wk_x", "id": "1795358100000-collect-aaaaaaaaaaaa"}
    for role in ("viewer", "marketer", "analyst", "engineer", "privacy", "admin", "stranger"):
        status = place.manage(route, SOURCE if route == PUT else None, path=path, roles=f"[{role}]")[0]
        assert (status == 403) is (role not in allowed), role


# quarantine


def refuse(place: World, *events: Any) -> str:
    """The id of the entry that these events make."""
    place.send("/v1/batch", {"batch": list(events)}, key=place.keys.get("shop") or place.source("shop"))
    return place.quarantined()[-1]["id"]


def test_what_was_refused_is_listed_shown_repaired_and_replayed(place: World) -> None:
    bad = {"type": "track", "anonymousId": "a", "messageId": "m-bad"}
    entry_id = refuse(place, track(1), bad)

    (item,) = place.manage("GET /v1/quarantine")[1]["items"]
    assert (item["id"], item["stage"], item["code"], item["source"], item["rows"]) == (
        entry_id,
        "collect",
        "missing_event",
        "shop",
        1,
    )
    shown = place.manage("GET /v1/quarantine/{id}", path={"id": entry_id})[1]
    assert shown["rows"] == [
        {
            "index": 1,
            "message_id": "m-bad",
            "code": "missing_event",
            "reason": "a track call needs an event name",
            "payload": bad,
        }
    ]

    repaired = {"rows": [{"index": 1, "payload": {**bad, "event": "Repaired"}}]}
    tried = place.manage(REPLAY, {**repaired, "dry_run": True}, path={"id": entry_id})[1]
    assert (tried["accepted"], len(place.events())) == (1, 1)
    done = place.manage(REPLAY, repaired, path={"id": entry_id})[1]
    assert (done["accepted"], done["rejected"]) == (1, [])
    assert [event["messageId"] for event in place.events()] == ["m-1", "m-bad"]
    assert place.manage("GET /v1/quarantine")[1]["items"] == []
    assert len(place.manage("GET /v1/quarantine", query={"state": "all"})[1]["items"]) == 1


def test_a_row_that_is_refused_again_stays(place: World) -> None:
    entry_id = refuse(place, {"type": "track", "anonymousId": "a"})

    done = place.manage(REPLAY, path={"id": entry_id})[1]

    assert (done["accepted"], done["rejected"][0]["code"]) == (0, "missing_event")
    assert len(place.manage("GET /v1/quarantine")[1]["items"]) == 1


def test_a_replay_keeps_message_ids_and_the_time_of_receipt(place: World) -> None:
    bad = {"type": "track", "anonymousId": "a"}
    entry_id = refuse(place, bad)
    received_at = place.manage("GET /v1/quarantine/{id}", path={"id": entry_id})[1]["at"]
    repaired = {"rows": [{"index": 0, "payload": {**bad, "event": "Repaired"}}]}
    place.advance(3_600_000)

    for _ in range(2):
        place.manage(REPLAY, repaired, path={"id": entry_id})

    first, second = place.records()
    assert first.events == second.events
    assert first.received_at == second.received_at == received_at
    assert first.events[0].ts == received_at


def test_a_body_that_was_no_json_can_be_replayed_when_repaired(place: World) -> None:
    key = place.source("shop")
    place.send("/v1/batch", b'{"batch":[{"type":"track","event":"E","userId":"u"}', key=key)
    (entry,) = place.quarantined()
    assert entry["rows"][0]["payload"] == '{"batch":[{"type":"track","event":"E","userId":"u"}'

    done = place.manage(
        REPLAY, {"rows": [{"index": 0, "payload": entry["rows"][0]["payload"] + "]}"}]}, path={"id": entry["id"]}
    )[1]

    assert done["accepted"] == 1
    assert [event["event"] for event in place.events()] == ["E"]


def test_bytes_that_are_no_text_need_a_repair(place: World) -> None:
    place.send("/v1/batch", b"\x1f\x8bdamaged", key=place.source("shop"))
    (entry,) = place.quarantined()

    done = place.manage(REPLAY, path={"id": entry["id"]})[1]

    assert done["rejected"][0]["code"] == "needs_repair"


def test_a_refused_body_is_kept_when_its_key_stands_inside_of_it(place: World) -> None:
    key = place.source("shop")

    place.send("/v1/batch", b'{"writeKey": "%s", "batch": [' % key.encode())
    place.send("/v1/batch", b'{"writeKey": "unknown", "batch": [')

    (entry,) = place.quarantined()
    assert (entry["source"], entry["code"]) == ("shop", "invalid_json")


def test_the_list_goes_newest_first_over_days_and_pages(place: World) -> None:
    ids: list[str] = []
    for day in range(3):
        place.advance(day * 86_400_000)
        ids += [refuse(place, {"type": f"{day}-{number}"}) for number in range(3)]

    found: list[str] = []
    cursor = None
    for _ in range(10):
        page = place.manage("GET /v1/quarantine", query={"limit": "2", **({"cursor": cursor} if cursor else {})})[1]
        found += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if not cursor:
            break

    assert found == sorted(ids, reverse=True)
    assert place.manage("GET /v1/quarantine", query={"stage": "consume"})[1]["items"] == []
    assert place.manage("GET /v1/quarantine", query={"stage": "nothing"})[0] == 400


def test_a_replay_that_the_stream_refuses_changes_nothing(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    entry_id = refuse(place, {"type": "track", "anonymousId": "a"})
    repaired = {"rows": [{"index": 0, "payload": track(5)}]}
    seconds = count()
    hasty = Stream("events", stream_client(), lambda _: None, lambda: next(seconds))
    desk = replace(admin.desk(), stream=hasty)
    monkeypatch.setattr(admin, "desk", lambda: desk)

    with Faults({"kinesis"}).throttle(1, times=1_000):
        assert place.manage(REPLAY, repaired, path={"id": entry_id})[0] == 503

    assert len(place.manage("GET /v1/quarantine")[1]["items"]) == 1
    assert says(place.send("/v1/t", track(), key=place.keys["shop"])) == {"success": True}
