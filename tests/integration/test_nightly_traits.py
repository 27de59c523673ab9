"""Computed traits and scores by night: made, stored once, seen by segments, shown in profiles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import DAY_MS, format_instant
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.segment import nightly_traits
from hoso.segment.handlers import traits as trait_api
from hoso.segment.handlers.admin import handler
from hoso.segment.lease import LEASE_MS, StaleRun
from hoso.segment.traits import batch as trait_batch
from tests.nightly_world import Night, night
from tests.unify_world import Context

ORDERED = "Order Completed"
COUNT = {"kind": "measure", "event": ORDERED, "measure": {"agg": "count"}}


class Office:
    """The world of a night with definitions, and its whole run with the steps of traits."""

    def __init__(self, night: Night) -> None:
        self.night = night

    def put(self, key: str, of: dict[str, Any]) -> tuple[int, Any]:
        document = {"schema": "trait/1", "key": key, "of": of}
        return self.call("PUT /v1/computed-traits/{key}", document, key=key)

    def call(self, route: str, body: Any = None, roles: str = "[analyst]", **path: str) -> tuple[int, Any]:
        event = {
            "routeKey": route,
            "pathParameters": path,
            "headers": {"content-type": "application/json"},
            "body": None if body is None else json.dumps(body),
            "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "m", "cognito:groups": roles}}}},
        }
        answer = handler(event, Context())
        return answer["statusCode"], json.loads(answer["body"])

    def begin(self) -> dict[str, Any]:
        given = {"as_of": format_instant(self.night.world.now), "execution": str(self.night.world.now)}
        run = self.night.step("snapshot", self.night.step("compact", given))
        return self.night.step("traits", run)

    def store(self, run: dict[str, Any]) -> None:
        for item in json.loads(self.night.objects().get(run["traits_key"])):
            self.night.step("store", {"Items": [item], "BatchInput": run})

    def run(self) -> dict[str, Any]:
        run = self.begin()
        self.store(run)
        run = self.night.step("evaluate", run)
        for item in self.night.items(run):
            self.night.step("apply", {"Items": [item], "BatchInput": run})
        return self.night.step("report", run)

    def computed(self, who: str) -> dict[str, Any]:
        return self.night.world.profile(f"anonymous_id:{who}")["computed_traits"]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with night(tmp_path) as world:
        trait_api.definitions.cache_clear()
        yield Office(world)
    trait_api.definitions.cache_clear()


def test_a_value_is_stored_with_its_revision_and_reason_and_stands_in_the_profile(office: Office) -> None:
    office.put("likes", {"kind": "affinity", "of": "properties.category"})
    office.night.consume(office.night.event("an", "Product Viewed", DAY_MS, category="shoes"))

    report = office.run()

    entry = office.computed("an")["likes"]
    assert report["computed"] == 1
    assert (entry["value"], entry["revision"], entry["freshness"]) == ("shoes", "likes@1", "nightly")
    assert entry["reason"]["favoured"] == [{"value": "shoes", "share": 1.0}]


def test_a_second_night_writes_nothing_when_nothing_changed(office: Office) -> None:
    office.put("likes", {"kind": "affinity", "of": "properties.category"})
    office.night.consume(office.night.event("an", "Product Viewed", DAY_MS, category="shoes"))
    office.run()
    before = office.night.world.items(kind="F")

    office.night.world.now += 1_000
    report = office.run()

    assert report["computed"] == 0
    assert office.night.world.items(kind="F") == before


def test_a_measure_is_live_in_the_profile_and_in_segments_before_any_night(office: Office) -> None:
    office.put("orders", COUNT)
    office.night.world.segment("repeaters", {"kind": "trait", "name": "orders", "op": "gte", "value": 2})

    office.night.consume(office.night.event("an", ORDERED), office.night.event("an", ORDERED))

    assert office.computed("an")["orders"]["value"] == 2
    assert office.computed("an")["orders"]["freshness"] == "live"
    assert len(office.night.world.members("repeaters")) == 1


def test_segments_of_the_same_night_see_the_fresh_values_in_both_engines(office: Office) -> None:
    office.put("likes", {"kind": "affinity", "of": "properties.category"})
    office.night.world.segment("shoe-lovers", {"kind": "trait", "name": "likes", "op": "is", "value": "shoes"})
    office.night.consume(office.night.event("an", "Product Viewed", DAY_MS, category="shoes"))

    report = office.run()

    assert report["entered_by_segment"] == {"shoe-lovers": 1}
    assert report["differences"] == 0
    assert len(office.night.world.members("shoe-lovers")) == 1


def test_a_definition_that_goes_takes_its_values_along(office: Office) -> None:
    office.put("likes", {"kind": "affinity", "of": "properties.category"})
    office.night.world.segment("shoe-lovers", {"kind": "trait", "name": "likes", "op": "is", "value": "shoes"})
    office.night.consume(office.night.event("an", "Product Viewed", DAY_MS, category="shoes"))
    office.run()

    office.call("DELETE /v1/computed-traits/{key}", key="likes")
    office.night.world.now += 1_000
    report = office.run()

    assert report["exited_by_segment"] == {"shoe-lovers": 1}
    assert office.night.world.members("shoe-lovers") == set()


def test_r33_killed_after_any_batch_and_run_again_the_values_are_the_same(office: Office) -> None:
    office.put("likes", {"kind": "affinity", "of": "properties.category"})
    for who in range(60):
        office.night.consume(office.night.event(f"v{who}", "Product Viewed", DAY_MS, category=f"c{who}"))
    run = office.begin()
    first, *_ = json.loads(office.night.objects().get(run["traits_key"]))
    office.night.step("store", {"Items": [first], "BatchInput": run})

    office.night.world.now += 3_600_000
    report = office.run()

    assert report["computed"] == 10
    assert office.computed("v59")["likes"]["value"] == "c59"


def test_values_are_written_and_read_in_parts_and_none_is_lost_between_them(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly_traits, "PART_PEOPLE", 3)
    monkeypatch.setattr(nightly_traits, "BATCH_PEOPLE", 2)
    monkeypatch.setattr(trait_batch, "_PATCHED_AT_ONCE", 3)
    office.put("likes", {"kind": "affinity", "of": "properties.category"})
    for who in range(7):
        office.night.consume(office.night.event(f"v{who}", "Product Viewed", DAY_MS, category=f"c{who}"))
    office.night.world.segment("liking", {"kind": "trait", "name": "likes", "op": "exists"})

    report = office.run()

    assert (report["computed"], report["failed"]) == (7, 0)
    assert [office.computed(f"v{who}")["likes"]["value"] for who in range(7)] == [f"c{who}" for who in range(7)]
    assert len(office.night.world.members("liking")) == 7


def test_what_a_model_lacks_is_told_where_its_definition_is_shown(office: Office) -> None:
    office.put("clv", {"kind": "lifetime"})
    office.night.consume(office.night.event("an", ORDERED, DAY_MS, total=5))
    office.run()

    _, shown = office.call("GET /v1/computed-traits/{key}", key="clv")

    assert "are needed" in shown["report"]["withheld"]
    assert (shown["freshness"], shown["makes"]) == ("nightly", "scores")


def test_what_each_night_made_is_kept_and_comes_page_by_page(office: Office) -> None:
    office.put("likes", {"kind": "affinity", "of": "properties.category"})
    office.night.consume(office.night.event("an", "Product Viewed", DAY_MS, category="shoes"))
    office.run()
    office.run()  # the same night again takes its own place
    office.night.world.now += DAY_MS
    office.run()

    _, page = office.call("GET /v1/computed-traits/{key}/history", key="likes")

    first, second = (one["as_of"] for one in page["items"])
    assert (first > second, page["next"]) == (True, None)
    assert office.call("GET /v1/computed-traits/{key}/history", key="nothing")[0] == 404


def test_a_definition_that_is_deleted_and_made_again_goes_on_with_its_revisions(office: Office) -> None:
    office.put("orders", COUNT)
    office.call("DELETE /v1/computed-traits/{key}", key="orders")

    status, stored = office.put("orders", COUNT)

    assert (status, stored["revision"]) == (200, 2)


def test_a_viewer_defines_nothing_and_a_faulty_definition_is_refused_with_its_path(office: Office) -> None:
    document = {"schema": "trait/1", "key": "n", "of": COUNT}
    assert office.call("PUT /v1/computed-traits/{key}", document, roles="[viewer]", key="n")[0] == 403

    status, refused = office.put("n", {**COUNT, "colour": "red"})

    assert (status, refused["code"]) == (400, "invalid_trait")
    assert refused["message"].startswith("of.measure.colour")


def test_a_definition_that_a_rank_is_made_of_stays_until_the_rank_is_gone(office: Office) -> None:
    office.put("orders", COUNT)
    office.put("sums", COUNT)
    office.put("place", {"kind": "rank", "of": "orders"})

    status, refused = office.call("DELETE /v1/computed-traits/{key}", key="orders")

    assert (status, refused["code"], refused["message"]) == (409, "in_use", "place ranks it")
    for free in ("sums", "place", "orders"):
        assert office.call("DELETE /v1/computed-traits/{key}", key=free)[0] == 200


def test_a_definition_is_held_against_the_others(office: Office) -> None:
    status, refused = office.put("place", {"kind": "rank", "of": "orders"})

    assert (status, refused["message"]) == (400, "of.of: no definition but a rank makes orders")


def test_who_took_a_definition_out_of_use_stands_in_the_audit_trail(office: Office) -> None:
    office.put("orders", COUNT)

    assert office.call("DELETE /v1/computed-traits/{key}", key="missing")[0] == 404
    office.call("DELETE /v1/computed-traits/{key}", key="orders")

    trail = Table("control", client("dynamodb")).query("main#audit").items
    assert {(entry["actor"], entry["action"], entry["subject"]) for entry in trail} == {
        ("m", "trait.put", "orders"),
        ("m", "trait.delete", "orders"),
    }


def test_r32_a_run_whose_lease_was_taken_over_stores_no_values(office: Office) -> None:
    office.night.consume(office.night.event("an", ORDERED))
    office.put("orders", COUNT)
    stale = office.begin()
    office.night.world.now += LEASE_MS + 1
    office.night.step("compact", {"as_of": format_instant(office.night.world.now), "execution": "two"})

    with pytest.raises(StaleRun):
        office.store(stale)
