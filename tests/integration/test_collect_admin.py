"""Sources, write keys and the quarantine through the admin API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import admin
from hoso.model.time import format_instant
from hoso.platform.aws import client
from hoso.platform.control import ControlStore
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
        ("POST /v1/sources/{key}/rotate", {"engineer", "admin"}),
        ("POST /v1/quarantine/repair", {"engineer", "admin"}),
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

    answers = [place.manage(REPLAY, repaired, path={"id": entry_id})[1] for _ in range(2)]

    (record,) = place.records()
    assert [(answer["accepted"], answer["already"]) for answer in answers] == [(1, 0), (0, 1)]
    assert record.received_at == received_at
    assert record.events[0].ts == received_at
    assert record.events[0].message_id.startswith(entry_id)


def test_a_repaired_event_stands_under_the_hub_that_the_rules_in_force_choose(place: World) -> None:
    control = ControlStore(place.table, client("dynamodb"), lambda: 0, 0)
    bad = {"type": "track", "userId": "u", "anonymousId": "a"}
    entry_id = refuse(place, bad)
    first = {"anonymous_id": {"rank": 0.5}}
    control.put("main", "identity", "rules", {"schema": "identity/1", "base": "retail", "types": first})

    place.manage(REPLAY, {"rows": [{"index": 0, "payload": {**bad, "event": "E"}}]}, path={"id": entry_id})

    (record,) = place.records()
    assert record.hub == ("anonymous_id", "a")


def test_p4_a_replay_whose_note_is_lost_sends_the_same_message_again(place: World) -> None:
    bad = {"type": "track", "anonymousId": "a"}
    entry_id = refuse(place, bad)
    repaired = {"rows": [{"index": 0, "payload": {**bad, "event": "Repaired"}}]}

    with Faults({"s3"}, {"PutObject"}).fail_before(1):
        place.manage(REPLAY, repaired, path={"id": entry_id})
    place.manage(REPLAY, repaired, path={"id": entry_id})

    first, second = place.records()
    assert first.events == second.events


REPAIR = "POST /v1/quarantine/repair"


def test_p4_a_mapping_is_shown_first_and_repairs_many_entries(place: World) -> None:
    for number in range(3):
        refuse(place, {"type": "track", "anonymousId": "a", "name": f"E{number}", "messageId": f"m-{number}"})
    refuse(place, {"type": "fax", "anonymousId": "a"})
    order = {"code": "missing_event", "map": "merge(@, {event: name})"}

    status, tried = place.manage(REPAIR, order)

    assert status == 200
    assert (tried["dry_run"], tried["matched"], tried["accepted"]) == (True, 3, 3)
    assert place.events() == []
    row = tried["rows"][-1]
    assert ("event" in row["before"], row["after"]["event"], row["accepted"]) == (False, "E0", True)

    done = place.manage(REPAIR, {**order, "dry_run": False})[1]
    again = place.manage(REPAIR, {**order, "dry_run": False})[1]

    assert (done["accepted"], again["matched"]) == (3, 0)
    assert sorted(event["event"] for event in place.events()) == ["E0", "E1", "E2"]
    assert len(place.manage("GET /v1/quarantine")[1]["items"]) == 1
    assert [entry["action"] for entry in place.table.query_all("main#audit")].count("quarantine.repair") == 1


def test_p4_rows_of_an_entry_are_repaired_each_by_its_code(place: World) -> None:
    entry_id = refuse(
        place,
        {"type": "track", "anonymousId": "a", "messageId": "m-1"},
        {"type": "track", "event": "E", "messageId": "m-2"},
    )
    patch = [{"op": "add", "path": "/event", "value": "Repaired"}]

    done = place.manage(REPAIR, {"ids": [entry_id], "code": "missing_event", "map": patch, "dry_run": False})[1]

    assert (done["matched"], done["accepted"]) == (1, 1)
    (item,) = place.manage("GET /v1/quarantine")[1]["items"]
    assert (item["rows"], item["open"]) == (2, 1)
    assert [event["messageId"] for event in place.events()] == ["m-1"]


def test_p4_pages_of_a_repair_go_on_with_the_cursor_and_filters_hold(place: World) -> None:
    for day in range(3):
        place.advance(day * 86_400_000)
        refuse(place, {"type": "track", "anonymousId": "a", "messageId": f"m-{day}"})
    order: dict[str, Any] = {"map": [{"op": "add", "path": "/event", "value": "E"}], "limit": 1}
    found: list[str] = []
    while True:
        page = place.manage(REPAIR, order)[1]
        found += [row["message_id"] for row in page["rows"]]
        if page["next"] is None:
            break
        order["cursor"] = page["next"]

    assert found == ["m-2", "m-1", "m-0"]
    later = place.manage("GET /v1/quarantine")[1]["items"][1]["at"]
    for member, expected in (
        ({"since": later}, 2),
        ({"until": later}, 1),
        ({"source": "other"}, 0),
        ({"stage": "consume"}, 0),
    ):
        asked = {"map": order["map"], **{k: format_instant(v) if isinstance(v, int) else v for k, v in member.items()}}
        assert place.manage(REPAIR, asked)[1]["matched"] == expected, member


def test_r44_dropped_rows_leave_the_list_and_stay_stored(place: World) -> None:
    entry_id = refuse(place, {"type": "track", "anonymousId": "a"})
    assert place.manage(REPAIR, {"ids": [entry_id], "drop": True})[1]["accepted"] == 1
    assert len(place.manage("GET /v1/quarantine")[1]["items"]) == 1

    place.manage(REPAIR, {"ids": [entry_id], "drop": True, "dry_run": False})

    assert place.manage("GET /v1/quarantine")[1]["items"] == []
    assert place.events() == []
    assert place.manage("GET /v1/quarantine/{id}", path={"id": entry_id})[1]["rows"]


@pytest.mark.parametrize(
    "spec", ["", "][", "a" * 5_000, "[" * 100, [], [{"op": "eval", "path": "/x"}], [{"op": "add", "path": "x"}], 7, [1]]
)
def test_s15_a_mapping_that_is_none_is_refused(place: World, spec: Any) -> None:
    status, body = place.manage(REPAIR, {"map": spec})
    assert (status, body["code"]) == (400, "invalid_map")


# rotation of keys

ROTATE = "POST /v1/sources/{key}/rotate"


def test_s3_a_rotated_key_works_until_the_chosen_time_and_then_no_more(place: World) -> None:
    old = place.source("shop")
    until = format_instant(place.clock() + 3_600_000)
    status, made = place.manage(ROTATE, {"revoke_at": until}, path={"key": "shop"})

    assert (status, made["old_keys_until"]) == (200, until)
    for offset, expected in ((0, 200), (3_500_000, 200), (3_660_000, 401)):
        place.advance(offset)
        assert place.send("/v1/t", track(), key=old)["statusCode"] == expected
        assert place.send("/v1/t", track(), key=made["key"])["statusCode"] == 200
    actions = [entry["action"] for entry in place.table.query_all("main#audit")]
    assert actions.count("key.rotate") == 1


def test_s3_two_rotations_in_a_row_wait_for_the_first(place: World) -> None:
    place.source("shop")
    assert place.manage(ROTATE, {}, path={"key": "shop"})[0] == 200
    assert place.manage(ROTATE, {}, path={"key": "shop"})[0] == 409
    place.advance(86_400_000)
    assert place.manage(ROTATE, {}, path={"key": "shop"})[0] == 200


def test_s3_a_key_can_be_revoked_at_a_time_to_come_and_earlier_after_all(place: World) -> None:
    key = place.source("shop")
    at = format_instant(place.clock() + 86_400_000)
    path = {"key": "shop", "prefix": key[:11]}
    place.manage(REVOKE, path=path, query={"at": at})
    assert place.send("/v1/t", track(), key=key)["statusCode"] == 200

    place.manage(REVOKE, path=path)

    place.advance(60_000)
    assert place.send("/v1/t", track(), key=key)["statusCode"] == 401


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
