"""What a marketer does with segments: preview, guard, backfill, pause, archive, why (real handlers on moto)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hoso.model.time import DAY_MS, format_instant
from hoso.segment import administration
from hoso.segment.handlers import admin
from tests.integration.test_nightly_repair import THRICE, lose_timeline, three_views
from tests.nightly_world import Night, night
from tests.unify_world import Context, packed

CACHED = (admin._parts, admin._segments, admin._objects, admin._pictures, admin._runs)
VIEWED = {"kind": "event", "event": "Product Viewed"}
BOUGHT = {"kind": "event", "event": "Order Completed"}


def document(key: str, rule: dict[str, Any]) -> dict[str, Any]:
    return {"schema": "segment/1", "key": key, "rule": rule}


class Desk:
    """The admin API on the world of a night."""

    def __init__(self, night: Night) -> None:
        self.night = night

    def call(self, route: str, body: Any = None, roles: str = "[marketer]", **given: Any) -> tuple[int, Any]:
        names = [name.strip("{}") for name in route.split("/") if name.startswith("{")]
        event = {
            "routeKey": route,
            "pathParameters": {name: quote(str(given[name]), safe="") for name in names},
            "queryStringParameters": {name: value for name, value in given.items() if name not in names} or None,
            "headers": {"content-type": "application/json"},
            "body": None if body is None else json.dumps(body),
            "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "m", "cognito:groups": roles}}}},
        }
        answer = admin.handler(event, Context())
        return answer["statusCode"], json.loads(answer["body"])

    def put(self, key: str, rule: dict[str, Any], **query: str) -> tuple[int, Any]:
        return self.call("PUT /v1/segments/{key}", document(key, rule), key=key, **query)

    def backfill(self, *keys: str) -> dict[str, Any]:
        """The machine's steps with the input that a backfill gives them."""
        night = self.night
        given = {
            "as_of": format_instant(night.world.now),
            "execution": "b",
            "segments": list(keys),
            "lease": "backfill-b",
        }
        run = night.step("evaluate", night.step("snapshot", night.step("compact", given)))
        for item in night.items(run):
            night.step("apply", {"Items": [item], "BatchInput": run})
        return night.step("report", run)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with night(tmp_path) as world:
        for made in CACHED:
            made.cache_clear()
        yield Desk(world)
    for made in CACHED:
        made.cache_clear()


def crowd(desk: Desk, viewers: int, buyers: int) -> None:
    """So many people who viewed, and of others so many who bought."""
    for number in range(viewers):
        desk.night.consume(desk.night.event(f"v{number}", "Product Viewed", DAY_MS))
    for number in range(buyers):
        desk.night.consume(desk.night.event(f"b{number}", "Order Completed", 20 * DAY_MS))


def test_a_preview_tells_size_examples_overlap_and_the_curve_of_the_past(desk: Desk) -> None:
    crowd(desk, viewers=3, buyers=2)
    desk.put("buyers", BOUGHT)
    desk.backfill("buyers")

    status, found = desk.call(
        "POST /v1/previews", {"document": document("all", {"kind": "any", "of": [VIEWED, BOUGHT]}), "history": True}
    )

    assert status == 200
    assert (found["size"], found["people"]) == (5, 5)
    assert len(found["examples"]) == 5
    assert found["overlap"] == [{"segment": "buyers", "size": 2, "shared": 2, "share": 0.4}]
    assert [point["size"] for point in found["history"]] == [0, 0, 0, 0, 0, 0, 0, 2, 2, 5]


def test_a_backfill_brings_in_those_who_were_there_before_the_segment_and_touches_no_other(desk: Desk) -> None:
    crowd(desk, viewers=2, buyers=3)
    desk.put("buyers", BOUGHT)
    desk.put("viewers", VIEWED)

    report = desk.backfill("buyers")

    assert (report["entered"], report["entered_by_segment"]) == (3, {"buyers": 3})
    assert len(desk.night.world.members("buyers")) == 3
    assert desk.night.world.members("viewers") == set()
    details = [json.loads(row["detail"]) for row in desk.night.world.items("outbox")]
    assert {detail["reason"]["kind"] for detail in details} == {"rule"}


def test_a_backfill_takes_in_those_whose_last_events_are_still_on_their_way_to_the_archive(desk: Desk) -> None:
    crowd(desk, viewers=1, buyers=1)
    night = desk.night
    late = [night.event("b0", "Product Viewed"), night.event("new", "Order Completed"), night.event("x", "Other")]
    assert night.world.deliver(night.world.kinesis(packed(late, night.world.now))) == []  # state has them, archive not
    desk.put("viewers", VIEWED)
    viewers = desk.backfill("viewers")
    desk.put("buyers", {**BOUGHT, "window": {"last": "60d"}})
    buyers = desk.backfill("buyers")

    assert (viewers["lagging"], viewers["entered"]) == (3, 2)
    assert (buyers["lagging"], buyers["entered"]) == (3, 2)
    assert (len(night.world.members("viewers")), len(night.world.members("buyers"))) == (2, 2)


def test_two_backfills_and_a_night_do_not_wait_for_each_other(desk: Desk) -> None:
    crowd(desk, viewers=1, buyers=1)
    desk.put("buyers", BOUGHT)
    night = desk.night
    given = {"as_of": format_instant(night.world.now), "execution": "b", "segments": ["buyers"], "lease": "backfill-b"}

    begun = night.step("compact", given)
    report = night.run()

    assert report["entered"] == 1
    assert night.step("snapshot", begun)["people"] == 2


def test_a_revision_that_moves_many_people_has_to_be_confirmed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administration, "GUARDED_PEOPLE", 4)
    crowd(desk, viewers=3, buyers=2)
    desk.put("s", BOUGHT)
    desk.night.run()

    status, refused = desk.put("s", VIEWED)
    kept = desk.call("GET /v1/segments/{key}", key="s")[1]["revision"]
    confirmed, stored = desk.put("s", VIEWED, confirm="true")

    assert (status, refused["code"], kept) == (409, "confirmation_needed", 1)
    assert (confirmed, stored["revision"]) == (200, 2)


def test_a_small_move_needs_no_confirmation(desk: Desk) -> None:
    crowd(desk, viewers=3, buyers=2)
    desk.put("s", BOUGHT)
    desk.night.run()

    assert desk.put("s", VIEWED)[0] == 200


def test_a_difference_names_who_enters_and_who_leaves(desk: Desk) -> None:
    crowd(desk, viewers=3, buyers=2)
    desk.put("s", BOUGHT)

    _, found = desk.call("POST /v1/differences", {"document": document("s", VIEWED)})

    assert (found["before"], found["after"], found["enter"], found["leave"]) == (2, 3, 3, 2)
    assert (len(found["entering"]), len(found["leaving"])) == (3, 2)


def test_a_paused_segment_neither_takes_nor_lets_go_live_and_by_night(desk: Desk) -> None:
    desk.put("viewers", {**VIEWED, "window": {"last": "7d"}})
    desk.night.consume(desk.night.event("an", "Product Viewed"))
    inside = desk.night.world.members("viewers")
    desk.call("PUT /v1/segments/{key}/state", {"state": "paused"}, key="viewers")

    desk.night.consume(desk.night.event("binh", "Product Viewed"))
    desk.night.world.now += 30 * DAY_MS
    desk.night.consume(desk.night.event("an", "Something"))
    report = desk.night.run()

    assert len(inside) == 1
    assert desk.night.world.members("viewers") == inside
    assert (report["entered"], report["exited"]) == (0, 0)


def test_a_segment_that_is_taken_up_again_is_right_after_a_backfill(desk: Desk) -> None:
    desk.put("viewers", VIEWED)
    desk.call("PUT /v1/segments/{key}/state", {"state": "paused"}, key="viewers")
    desk.night.consume(desk.night.event("an", "Product Viewed"))
    desk.call("PUT /v1/segments/{key}/state", {"state": "active"}, key="viewers")

    desk.backfill("viewers")

    assert len(desk.night.world.members("viewers")) == 1


def test_an_archived_segment_ends_its_memberships_and_leaves_the_list(desk: Desk) -> None:
    desk.put("viewers", VIEWED)
    desk.night.consume(desk.night.event("an", "Product Viewed"))

    desk.call("PUT /v1/segments/{key}/state", {"state": "archived"}, key="viewers")
    desk.night.run()

    assert desk.night.world.members("viewers") == set()
    assert ("segment.exited", "viewers") in desk.night.world.announced()
    assert desk.call("GET /v1/segments")[1]["items"] == []
    assert [one["key"] for one in desk.call("GET /v1/segments", state="archived")[1]["items"]] == ["viewers"]


def test_a_segment_that_others_refer_to_is_not_archived(desk: Desk) -> None:
    desk.put("viewers", VIEWED)
    desk.put("outer", {"kind": "segment", "key": "viewers"})

    status, refused = desk.call("PUT /v1/segments/{key}/state", {"state": "archived"}, key="viewers")

    assert (status, refused["code"]) == (409, "in_use")


def test_why_tells_the_event_that_made_it_true_and_the_stored_membership(desk: Desk) -> None:
    desk.put("viewers", {**VIEWED, "window": {"last": "7d"}})
    desk.night.consume(desk.night.event("an", "Product Viewed", DAY_MS))

    _, found = desk.call("GET /v1/segments/{key}/why/{id}", key="viewers", id="anonymous_id:an")
    _, other = desk.call("GET /v1/segments/{key}/why/{id}", key="viewers", id="anonymous_id:nobody")

    assert found["member"] is True
    assert [event["message_id"] for event in found["tree"]["events"]] == ["m-1"]
    assert found["until"] == format_instant(desk.night.world.now + 6 * DAY_MS)
    assert found["stored"]["message_id"] == "m-1"
    assert other["code"] == "not_found"


def test_where_the_nightly_answer_stands_the_profile_and_why_say_so(desk: Desk) -> None:
    # given: An viewed three times, of which only the archive still knows; the rule is younger
    desk.put("greeted", {**VIEWED, "event": "Hello"})
    three_views(desk.night)
    lose_timeline(desk.night, "an")
    desk.put("thrice", THRICE)
    desk.night.consume(desk.night.event("an", "Hello"))
    _, before = desk.call("GET /v1/segments/{key}/why/{id}", key="thrice", id="anonymous_id:an")

    # when
    desk.night.run()
    _, found = desk.call("GET /v1/segments/{key}/why/{id}", key="thrice", id="anonymous_id:an")
    _, other = desk.call("GET /v1/segments/{key}/why/{id}", key="greeted", id="anonymous_id:an")
    held = desk.night.world.profile("anonymous_id:an")["segments"]

    # then: both name the night's answer as what it is, and only for the rule that differed
    assert (before["member"], before["approximate"]) == (False, False)
    assert (found["member"], found["approximate"], found["until"], found["missing"]) == (True, True, None, [])
    assert found["stored"] is not None
    assert other["approximate"] is False
    assert {key: one["approximate"] for key, one in held.items()} == {"thrice": True, "greeted": False}


def test_why_of_a_paused_segment_tells_what_its_rule_says(desk: Desk) -> None:
    desk.put("viewers", VIEWED)
    desk.call("PUT /v1/segments/{key}/state", {"state": "paused"}, key="viewers")
    desk.night.consume(desk.night.event("an", "Product Viewed"))

    _, found = desk.call("GET /v1/segments/{key}/why/{id}", key="viewers", id="anonymous_id:an")

    assert (found["member"], found["approximate"], found["stored"]) == (True, False, None)


def test_every_change_is_in_the_audit_trail_with_its_actor(desk: Desk) -> None:
    desk.put("viewers", VIEWED)
    desk.call("PUT /v1/segments/{key}/state", {"state": "paused"}, key="viewers")

    table = desk.night.world.parts.control._table
    trail = [(entry["actor"], entry["action"]) for entry in table.query_all("main#audit")]

    assert sorted(trail) == [("m", "segment.paused"), ("m", "segment.put")]


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("PUT /v1/segments/{key}", document("s", VIEWED)),
        ("PUT /v1/segments/{key}/state", {"state": "paused"}),
        ("POST /v1/segments/{key}/backfill", None),
        ("POST /v1/previews", {"document": document("s", VIEWED)}),
        ("GET /v1/segments/{key}/why/{id}", None),
    ],
)
def test_a_viewer_may_only_look(desk: Desk, route: str, body: Any) -> None:
    assert desk.call(route, body, roles="[viewer]", key="s", id="anonymous_id:an")[0] == 403
