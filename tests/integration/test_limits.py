"""Budgets of sources and workspaces, and the cap on new profiles (security S7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from hoso.collect.handlers import ingest
from hoso.model.time import MINUTE_MS
from hoso.platform.aws import client
from hoso.platform.budget import Budgets, counter, leasable
from hoso.platform.dynamo import Table
from tests import unify_world
from tests.collect_world import NOW, World, says, track, world
from tests.faults import Faults

COUNTER = Faults({"dynamodb"}, {"UpdateItem"})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def limited(place: World, events_per_minute: int) -> str:
    body = {"name": "shop", "kind": "server", "events_per_minute": events_per_minute}
    assert place.manage("PUT /v1/sources/{key}", body, path={"key": "shop"})[0] == 200
    return place.manage("POST /v1/sources/{key}/keys", {}, path={"key": "shop"})[1]["key"]


def runtimes(number: int) -> list[Budgets]:
    count = counter(Table("delivery", client("dynamodb")), MINUTE_MS)
    return [Budgets(count, MINUTE_MS) for _ in range(number)]


@pytest.mark.parametrize(("budget", "each"), [(1_000, 1), (60_000, 10), (600_000, 100)])
def test_s7_twenty_runtimes_stay_within_the_budget_with_few_writes(place: World, budget: int, each: int) -> None:
    asked = round(budget * 4 / each)
    many = runtimes(20)

    with COUNTER.watch() as seen:
        allowed = sum(
            each for n in range(asked) if many[n * 7 % 20].take("main", "shop", each, budget, NOW) == "allowed"
        )

    assert 0.9 * budget <= allowed <= budget
    assert seen.calls <= 0.02 * asked


def test_s7_calm_traffic_writes_nothing(place: World) -> None:
    many = runtimes(20)

    with COUNTER.watch() as seen:
        verdicts = {many[n % 20].take("main", "shop", 10, 600_000, NOW) for n in range(1_000)}

    assert verdicts == {"allowed"}
    assert seen.calls == 0
    assert leasable(600_000) + 50 * 600 == 600_000


def test_s7_the_next_minute_has_a_budget_of_its_own(place: World) -> None:
    (one,) = runtimes(1)
    assert [one.take("main", "shop", 1, 2, NOW) for _ in range(3)] == ["allowed", "allowed", "spent"]
    assert one.take("main", "shop", 1, 2, NOW + MINUTE_MS) == "allowed"


def test_s7_scopes_and_workspaces_do_not_share(place: World) -> None:
    (one,) = runtimes(1)
    assert one.take("main", "shop", 2, 2, NOW) == "allowed"
    assert one.take("main", "app", 2, 2, NOW) == "allowed"
    assert one.take("second", "shop", 2, 2, NOW) == "allowed"
    assert one.take("main", "shop", 1, 2, NOW) == "spent"


def test_s7_over_the_budget_the_answer_is_429_with_whole_seconds(place: World) -> None:
    key = limited(place, 100)
    place.freeze(NOW)
    batch = {"batch": [track(n) for n in range(60)]}
    assert place.send("/v1/batch", batch, key=key)["statusCode"] == 200

    reply = place.send("/v1/batch", {"batch": [track(n) for n in range(100, 160)]}, key=key)

    assert (reply["statusCode"], says(reply)["code"]) == (429, "rate_limited")
    assert 1 <= int(reply["headers"]["retry-after"]) <= 60
    assert len(place.events()) == 60
    assert place.quarantined() == []


def test_s7_a_source_that_is_over_does_not_stop_another(place: World) -> None:
    key, other = limited(place, 1), place.source("web")
    place.freeze(NOW)
    assert [place.send("/v1/t", track(n), key=key)["statusCode"] for n in range(3)] == [200, 429, 429]
    assert place.send("/v1/t", track(), key=other)["statusCode"] == 200


def test_s7_a_flood_is_refused_before_its_body_is_read(place: World) -> None:
    key = limited(place, 1)
    place.freeze(NOW)
    place.send("/v1/t", track(1), key=key)
    place.send("/v1/t", track(2), key=key)
    with patch("hoso.collect.reception.decode", side_effect=AssertionError("read")):
        assert place.send("/v1/t", track(3), key=key)["statusCode"] == 429


def test_s7_a_batch_that_could_never_fit_is_400(place: World) -> None:
    key = limited(place, 10)
    reply = place.send("/v1/batch", {"batch": [track(n) for n in range(11)]}, key=key)
    assert (reply["statusCode"], says(reply)["code"]) == (400, "too_many_events")


def test_s7_the_workspace_has_a_budget_over_all_its_sources(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSO_WORKSPACE_EVENTS_PER_MINUTE", "3")
    ingest.reception.cache_clear()
    first, second = place.source("web"), place.source("app")
    place.freeze(NOW)
    codes = [place.send("/v1/t", track(n), key=key)["statusCode"] for n, key in enumerate([first, second] * 2)]
    assert codes == [200, 200, 200, 429]


def test_s7_a_counter_that_is_down_lets_everything_in_and_says_so(
    place: World, capsys: pytest.CaptureFixture[str]
) -> None:
    key = limited(place, 5)
    place.freeze(NOW)
    with COUNTER.throttle(1, times=100) as seen:
        codes = {place.send("/v1/t", track(n), key=key)["statusCode"] for n in range(20)}

    assert codes == {200}
    assert len(place.events()) == 20
    assert seen.calls <= 2  # the workspace's share is free; a counter that is down is left alone for a while
    assert "limit_unavailable" in capsys.readouterr().out


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[unify_world.World]:
    monkeypatch.setenv("HOSO_NEW_PROFILES_PER_HOUR", "10")
    with unify_world.unify_world(tmp_path) as made:
        yield made


def visit(who: int, number: int = 0) -> dict[str, Any]:
    return {"type": "track", "event": "Viewed", "anonymousId": f"a-{who}", "messageId": f"m-{who}-{number}"}


def test_s7_new_people_over_the_cap_wait_in_quarantine_and_known_ones_go_on(people: unify_world.World) -> None:
    people.consume(*[visit(who) for who in range(8)])
    people.consume(*[visit(who, 1) for who in range(12)])
    people.consume(*[visit(who, 2) for who in range(12)])

    hot = [item for item in people.items(kind="F") if item["sk"] == "H"]
    assert len(hot) <= 10
    assert {who for who in range(8) if people.profile(f"anonymous_id:a-{who}")["totals"]["events"] == 3} == {*range(8)}
    entries = people.quarantined()
    assert {(entry["stage"], entry["code"]) for entry in entries} == {("flood", "too_many_new_profiles")}
    waiting = {row["message_id"] for entry in entries for row in entry["rows"]}
    stored = sum(item["n"] for item in hot)
    assert stored + len(waiting) == 8 + 12 + 12


def test_s7_the_next_hour_lets_new_people_in_again(people: unify_world.World) -> None:
    people.consume(*[visit(who) for who in range(10)])
    people.consume(visit(10))
    people.now += 3_600_000
    people.consume(visit(11))

    assert len([item for item in people.items(kind="F") if item["sk"] == "H"]) == 11


def test_s7_a_counter_that_is_down_stops_no_person(people: unify_world.World) -> None:
    with COUNTER.throttle(1, times=1_000):
        for first in range(0, 30, 10):
            people.consume(*[visit(who) for who in range(first, first + 10)])
    assert len([item for item in people.items(kind="F") if item["sk"] == "H"]) == 30
