"""Tracking plans through the APIs: stored by revision, held against what comes in, released and replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.collect import plan_store
from hoso.collect.handlers import plans
from tests.collect_world import World, says, track, world
from tests.faults import Faults
from tests.integration.test_counters import counted

SHOP = json.loads(Path("tests/fixtures/plans/shop.json").read_text())
PUT, GET, PREVIEW = "PUT /v1/plans/{key}", "GET /v1/plans/{key}", "POST /v1/plans/{key}/preview"
REVISIONS = "GET /v1/plans/{key}/revisions"
CACHE_MS = 6_000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def ask(
    place: World, route: str, body: object = None, *, key: str = "shop", roles: str = "[admin]", **query: str
) -> tuple[int, Any]:
    return place.manage(route, body, path={"key": key}, query=query, roles=roles, handler=plans.handler)


def small(violation: str = "flag", unplanned: str = "allow", **event: Any) -> dict[str, Any]:
    return {
        "name": "Small",
        "sources": {"web": {"violation": violation, "unplanned": unplanned}},
        "events": {"Product Viewed": {"schema": {"properties": {"n": {"type": "integer", "maximum": 9, **event}}}}},
    }


def flags(place: World) -> list[tuple[int, str, int, str]]:
    return [flag for record in place.records() for flag in record.flags]


def test_a_plan_is_stored_by_revision_and_the_same_again_makes_none(place: World) -> None:
    status, first = ask(place, PUT, SHOP)
    assert (status, first["revision"]) == (200, 1)
    assert ask(place, PUT, SHOP)[1]["revision"] == 1
    assert ask(place, PUT, {**SHOP, "name": "Shop 2"})[1]["revision"] == 2

    assert ask(place, GET)[1]["document"]["name"] == "Shop 2"
    assert ask(place, GET, revision="1")[1]["document"] == first["document"]
    assert [each["revision"] for each in ask(place, REVISIONS)[1]["items"]] == [2, 1]
    page = ask(place, REVISIONS, limit="1")[1]
    assert [each["revision"] for each in page["items"]] == [2]
    rest = ask(place, REVISIONS, cursor=page["next"])[1]
    assert ([each["revision"] for each in rest["items"]], rest["next"]) == ([1], None)
    (listed,) = ask(place, "GET /v1/plans", roles="[viewer]")[1]["items"]
    assert (listed["key"], listed["revision"], listed["events"]) == ("shop", 2, 6)


def test_plans_are_listed_in_pages(place: World) -> None:
    for key in ("a", "b", "c"):
        ask(place, PUT, {"name": key, "events": {}}, key=key)
    first = ask(place, "GET /v1/plans", limit="2")[1]
    rest = ask(place, "GET /v1/plans", limit="2", cursor=first["next"])[1]
    assert [plan["key"] for plan in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("route", "body", "status", "code"),
    [
        (PUT, {"name": "", "events": {}}, 400, "invalid_plan"),
        (PUT, {"name": "P", "events": {"A": {"schema": {"requierd": []}}}}, 400, "invalid_schema"),
        (PUT, {**SHOP, "breaking": "yes"}, 400, "invalid_plan"),
        (PREVIEW, {"name": "P"}, 400, "invalid_plan"),
        (GET, None, 404, "not_found"),
        (REVISIONS, None, 404, "not_found"),
    ],
)
def test_what_is_wrong_is_said(place: World, route: str, body: object, status: int, code: str) -> None:
    found, answer = ask(place, route, body)
    assert (found, answer["code"]) == (status, code)


def test_a_bad_key_a_bad_revision_and_a_bad_cursor_are_refused(place: World) -> None:
    ask(place, PUT, SHOP)
    assert ask(place, PUT, SHOP, key="../x")[1]["code"] == "invalid_key"
    assert ask(place, PREVIEW, SHOP, key="A")[1]["code"] == "invalid_key"
    assert ask(place, GET, revision="x")[0] == 400
    assert ask(place, GET, revision="9")[0] == 404
    assert ask(place, REVISIONS, cursor="ImEi")[0] == 400


def test_s11_everybody_reads_plans_and_engineers_write_them(place: World) -> None:
    assert ask(place, PUT, SHOP, roles="[viewer marketer analyst privacy]")[0] == 403
    assert ask(place, PUT, SHOP, roles="[engineer]")[0] == 200
    for route in (GET, REVISIONS, "GET /v1/plans"):
        assert ask(place, route, roles="[viewer]")[0] == 200
    assert ask(place, PREVIEW, SHOP, roles="[viewer]")[0] == 200


def test_s41_a_change_of_a_plan_is_audited(place: World) -> None:
    ask(place, PUT, SHOP)
    (entry,) = place.table.query_all("main#audit")
    assert (entry["actor"], entry["action"], entry["subject"]) == ("operator", "plan.put", "shop")


def test_a_breaking_revision_must_be_confirmed(place: World) -> None:
    ask(place, PUT, small())
    narrow = small(maximum=5)

    preview = ask(place, PREVIEW, narrow)[1]
    assert (preview["breaking"], preview["unchanged"], preview["revision"]) == (1, False, 1)
    assert preview["changes"][0]["text"] == "Product Viewed: n maximum is 5, was 9"
    status, answer = ask(place, PUT, narrow)
    assert (status, answer["code"]) == (409, "breaking_change")
    assert "maximum is 5" in answer["message"]
    assert ask(place, GET)[1]["revision"] == 1

    assert ask(place, PUT, {**narrow, "breaking": True})[1]["revision"] == 2
    assert "breaking" not in ask(place, GET)[1]["document"]


def test_a_source_follows_one_plan_at_most_and_is_free_once_it_is_let_go(place: World) -> None:
    ask(place, PUT, small(), key="one")
    status, answer = ask(place, PUT, small(), key="two")
    assert status == 409
    assert "web" in answer["message"]

    ask(place, PUT, {**small(), "sources": {}}, key="one")
    assert ask(place, PUT, small(), key="two")[0] == 200


def test_two_plans_that_reach_for_a_source_at_once_do_not_both_get_it(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_store.PlanAdmin, "_check_free", lambda *_: None)  # both looked before either wrote
    assert ask(place, PUT, small(), key="one")[0] == 200
    assert ask(place, PUT, small(), key="two")[0] == 409
    assert ask(place, GET, key="two")[0] == 404


def test_o5_flagged_events_are_counted(place: World, capsys: pytest.CaptureFixture[str]) -> None:
    ask(place, PUT, small("flag"))
    key = place.source()
    place.advance(CACHE_MS)
    capsys.readouterr()

    place.send("/v1/batch", {"batch": [track(n, properties={"n": n}) for n in (8, 9, 10)]}, key=key)

    assert counted(capsys.readouterr().out) == {"accepted": 3, "flagged": 1}


def test_flagged_events_are_stored_as_sent_with_the_violation_beside_them(place: World) -> None:
    ask(place, PUT, small("flag", "flag"))
    key = place.source("web")
    sent = [track(1), track(2, properties={"n": 10}), track(3, event="Other"), track(4, type="page")]

    answer = place.send("/v1/batch", {"batch": sent}, key=key)

    assert says(answer) == {"success": True}
    (record,) = place.records()
    assert [event.body for event in record.events] == sent
    assert list(record.flags) == [
        (1, "shop", 1, "properties.n must be at most 9"),
        (2, "shop", 1, "the plan does not name this event"),
        (3, "shop", 1, "the plan does not name this event"),
    ]
    assert place.quarantined() == []


def test_r8_a_quarantined_violation_does_not_cost_its_neighbours(
    place: World, caplog: pytest.LogCaptureFixture
) -> None:
    ask(place, PUT, small("quarantine", "allow"))
    key = place.source("web")
    bad = track(2, properties={"n": "an@example.vn"})

    answer = says(place.send("/v1/batch", {"batch": [track(1), bad, track(3), track(4, event="Other")]}, key=key))

    assert [event["messageId"] for event in place.events()] == ["m-1", "m-3", "m-4"]
    assert answer["accepted"] == 3
    (rejected,) = answer["rejected"]
    assert (rejected["index"], rejected["messageId"], rejected["code"]) == (1, "m-2", "plan_violation")
    assert rejected["message"] == "properties.n must be integer"
    (entry,) = place.quarantined()
    assert (entry["stage"], entry["code"], entry["rows"][0]["payload"]) == ("collect", "plan_violation", bad)
    assert "an@example.vn" not in str([record.__dict__ for record in caplog.records])


def test_a_single_violation_is_answered_with_400_and_its_reason(place: World) -> None:
    ask(place, PUT, small("quarantine", "quarantine"))
    key = place.source("web")
    answer = place.send("/v1/t", track(1, event="Other"), key=key)
    assert answer["statusCode"] == 400
    assert says(answer)["code"] == "plan_violation"
    assert place.records() == []


def test_only_sources_of_the_plan_follow_it(place: World) -> None:
    ask(place, PUT, small("quarantine", "quarantine"))
    other = place.source("app")
    assert says(place.send("/v1/t", track(1, event="Other"), key=other)) == {"success": True}
    assert flags(place) == []


def test_a_new_revision_counts_after_the_configuration_time(place: World) -> None:
    ask(place, PUT, small("flag"))
    key = place.source("web")
    bad = {"n": 10}
    place.send("/v1/t", track(1, properties=bad), key=key)
    ask(place, PUT, {**small("quarantine"), "breaking": True})
    assert place.send("/v1/t", track(2, properties=bad), key=key)["statusCode"] == 200
    place.advance(CACHE_MS)
    assert place.send("/v1/t", track(3, properties=bad), key=key)["statusCode"] == 400

    ask(place, PUT, {**small(), "sources": {}})
    place.advance(2 * CACHE_MS)
    assert place.send("/v1/t", track(4, properties=bad), key=key)["statusCode"] == 200
    assert [flag[2] for flag in flags(place)] == [1, 1]


def test_a_plan_that_was_read_holds_while_the_table_does_not_answer(place: World) -> None:
    ask(place, PUT, small("quarantine"))
    key = place.source("web")
    place.send("/v1/t", track(1), key=key)
    place.advance(CACHE_MS)
    with Faults(operations={"Query"}).throttle(1, times=1_000) as seen:
        assert place.send("/v1/t", track(2, properties={"n": 10}), key=key)["statusCode"] == 400
        assert place.send("/v1/t", track(3), key=key)["statusCode"] == 200
    assert seen.hit


def test_a_record_too_large_for_one_piece_keeps_its_flags_at_their_events(place: World) -> None:
    ask(place, PUT, small("flag"))
    key = place.source("web")
    filling = {"text": "x" * 20_000}
    sent = [track(n, properties={**filling, "n": 10 if n % 5 == 0 else 1}) for n in range(24)]

    assert says(place.send("/v1/batch", {"batch": sent}, key=key)) == {"success": True}

    records = place.records()
    assert len(records) > 1
    marked = [record.events[flag[0]].message_id for record in records for flag in record.flags]
    assert sorted(marked) == sorted(f"m-{n}" for n in range(0, 24, 5))


def test_a_replay_is_held_against_the_plan_of_now(place: World) -> None:
    replay = "POST /v1/quarantine/{id}/replay"
    ask(place, PUT, small("quarantine"))
    key = place.source("web")
    place.send("/v1/t", track(1, properties={"n": 10}), key=key)
    (entry,) = place.quarantined()

    assert place.manage(replay, path={"id": entry["id"]})[1]["accepted"] == 0
    repaired = {"rows": [{"index": 0, "payload": track(1, properties={"n": 5})}]}
    assert place.manage(replay, {**repaired, "dry_run": True}, path={"id": entry["id"]})[1]["accepted"] == 1
    ask(place, PUT, small("quarantine", maximum=10))
    assert place.manage(replay, path={"id": entry["id"]})[1]["accepted"] == 1
    assert [event["messageId"] for event in place.events()] == ["m-1"]
