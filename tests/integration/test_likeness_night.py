"""Nightly likeness: links by score, the queue, decisions, re-scoring, restarts (R17, R31-R34)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import DAY_MS
from hoso.segment.lease import StaleRun
from tests.faults import Faults
from tests.likeness_night import LikenessWorld, likeness_world
from tests.likeness_people import people

HEADER, *RECORDS = people(33, 100)[0]
for place in (HEADER.index("email"), HEADER.index("phone")):
    for row in RECORDS[::2]:
        row[place] = ""  # else exact identifiers leave little to likeness
ROWS = [HEADER, *RECORDS]
FEW = ROWS[:20]
AN = {
    "firstName": "Thị Ngọc Ánh",
    "lastName": "Tôn Thất",
    "birthday": "1988-04-23",
    "gender": "F",
    "address": {"street": "71/4 Đường Bà Huyện", "district": "Quận 3", "city": "HCM"},
}
AN_AGAIN = {**AN, "firstName": "Ngoc Anh Thi", "lastName": "Ton That", "address": {**AN["address"], "city": "Sài Gòn"}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LikenessWorld]:
    with likeness_world(tmp_path) as made:
        yield made


def with_an(world: LikenessWorld, rows: list[list[str]] = ROWS) -> None:
    """Many people, and An under two telephones."""
    world.add(rows)
    world.night.consume(world.tell("an-1", {**AN, "phone": "0912345670"}))
    world.night.consume(world.tell("an-2", {**AN_AGAIN, "phone": "0987654320"}))


def groups(world: LikenessWorld) -> set[frozenset[str]]:
    """Records by person."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in [*(row[0] for row in RECORDS), "an-1", "an-2"]:
        found[world.person(name)].add(name)
    return {frozenset(names) for names in found.values()}


def test_r17_people_without_a_common_identifier_are_linked_asked_about_and_reported(world: LikenessWorld) -> None:
    with_an(world)
    before = groups(world)

    report = world.run()

    # then: An is one person, and so are others; hardly anybody wrongly
    assert world.person("an-1") == world.person("an-2")
    assert report["linked"] == report["joined"] == len(before) - len(groups(world)) > 1
    assert (report["records"], report["fresh"], report["refit"]) == (len(before), len(before), True)
    assert (report["queued"], report["failed"], report["refused"]) == (len(world.reviews("open")), 0, 0)
    assert report["precision_estimate"] > 0.94
    assert report["largest"][0] >= 2
    # and every link explains itself, values masked
    linked = world.reviews("linked")
    assert len(linked) == report["linked"]
    (an,) = [one for one in linked if {one["a"]["value"], one["b"]["value"]} == {"+84912345670", "+84987654320"}]
    told = {reason["comparison"]: reason for reason in an["why"]["reasons"]}
    assert told["birth date"]["level"] == "same birth date"
    assert told["birth date"]["against_others"] > 5
    assert "1988-04" not in json.dumps(an["why"])


def test_a_second_night_compares_nothing_and_changes_nothing(world: LikenessWorld) -> None:
    with_an(world)
    first = world.run()
    people_then, asked = groups(world), [one["id"] for one in world.reviews("open")]

    second = world.run("two")

    assert (second["fresh"], second["scored"], second["refit"]) == (0, 0, False)
    assert (second["linked"], second["withdrawn"]) == (0, 0)
    assert (second["in_force"], second["queued"]) == (first["in_force"], first["queued"])
    assert (groups(world), [one["id"] for one in world.reviews("open")]) == (people_then, asked)


def test_only_pairs_of_new_records_are_compared_and_after_a_week_all(world: LikenessWorld) -> None:
    world.add(ROWS)
    world.night.consume(world.tell("an-1", {**AN, "phone": "0912345670"}))
    full = world.run()

    world.night.consume(world.tell("an-2", {**AN_AGAIN, "phone": "0987654320"}))
    second = world.run("two")

    assert second["fresh"] == 1
    assert 0 < second["scored"] < full["scored"] / 10
    assert world.person("an-1") == world.person("an-2")
    world.world.now += 8 * DAY_MS
    assert world.run("three")["refit"]


def test_a_link_whose_score_falls_is_withdrawn(world: LikenessWorld) -> None:
    with_an(world)
    world.run()
    assert world.person("an-1") == world.person("an-2")

    # when: the second says to be somebody else
    world.world.now += DAY_MS
    other = {**AN_AGAIN, "birthday": "1961-11-02", "gender": "M", "phone": "0987654320"}
    world.night.consume(world.tell("an-2", {**other, "address": {"street": "9 Hàng Bông", "city": "Hà Nội"}}))
    report = world.run("two")

    assert report["withdrawn"] == 1
    assert world.person("an-1") != world.person("an-2")
    assert len(world.reviews("withdrawn")) >= 1


def test_a_rejected_link_is_taken_back_at_once_and_stays_away(world: LikenessWorld) -> None:
    with_an(world)
    world.run()
    (an,) = [one for one in world.reviews("linked") if "+84912345670" in (one["a"]["value"], one["b"]["value"])]

    shown = world.decide(an["id"], "reject")

    assert (shown["status"], shown["by"]) == ("rejected", "mai")
    assert world.person("an-1") != world.person("an-2")
    world.world.now += 8 * DAY_MS
    world.run("two")
    assert world.person("an-1") != world.person("an-2")
    assert [one["id"] for one in world.reviews("rejected")] == [an["id"]]
    # and the decision can be reversed
    world.decide(an["id"], "accept")
    assert world.person("an-1") == world.person("an-2")


def test_an_accepted_pair_is_linked_and_nights_leave_it(world: LikenessWorld) -> None:
    with_an(world)
    world.run()
    asked = world.reviews("open")
    assert asked

    world.decide(asked[0]["id"], "accept")

    ids = [f"{asked[0][side]['type']}:{asked[0][side]['value']}" for side in ("a", "b")]

    def held() -> set[str]:
        return {world.world.get("GET /v1/profiles/{id}", one)[1]["profile_id"] for one in ids}

    assert len(held()) == 1
    world.world.now += 8 * DAY_MS
    assert world.run("two")["decided"] == 1
    assert len(held()) == 1


def test_r17_people_with_different_logins_are_never_linked(world: LikenessWorld) -> None:
    world.add(FEW)
    for name, told in (("an-1", AN), ("an-2", AN_AGAIN)):
        event = world.tell(name, told)
        world.night.consume({**event, "userId": f"user-{name}"})

    report = world.run()

    assert report["contradicting"] >= 1
    assert world.person("an-1") != world.person("an-2")
    assert all("user-an-1" not in str(one) for one in (*world.reviews("open"), *world.reviews("linked")))


def test_r32_a_run_that_was_overtaken_links_nobody(world: LikenessWorld) -> None:
    with_an(world, FEW)
    run = world.decided()
    before = groups(world)
    world.world.now += DAY_MS
    world.begin("two")

    with pytest.raises(StaleRun):
        world.link(run)

    assert groups(world) == before


def test_r33_links_that_fail_at_any_call_and_come_again_end_the_same(world: LikenessWorld) -> None:
    # given: a small town, decided
    with_an(world, ROWS[:50])
    run = world.decided()
    parts = world.world.parts
    tables = {t.name: t for t in (parts.profiles, parts.outbox, parts.control._table)}
    start = {name: list(table.scan()) for name, table in tables.items()}
    lease = parts.store.delivery.get(("main#L", "nightly"))
    assert lease is not None
    world.link(run)
    want = (groups(world), {one["id"]: one["status"] for s in ("open", "linked") for one in world.reviews(s)})
    assert world.person("an-1") == world.person("an-2")
    faults = Faults()

    for fault in (faults.fail_before, faults.fail_after):
        for n in count(1, 6):
            _reset(world, tables, start, lease)
            with fault(n) as struck, suppress(Exception):
                world.link(run)
            world.link(run)
            found = {one["id"]: one["status"] for s in ("open", "linked") for one in world.reviews(s)}
            assert (groups(world), found) == want, f"call {n}: {struck.log[n - 1 : n]}"
            if not struck.hit:
                break
        assert n > 12


def test_r33_steps_that_run_twice_write_the_same(world: LikenessWorld) -> None:
    with_an(world, FEW)
    run = world.begin()
    objects = world.night.objects()

    def written(given: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        out = world.step(name, given)
        keys = [key for key in objects.keys(f"{run['prefix']}likeness/") if key.endswith(".json")]
        return out, {key: objects.get(key) for key in keys}

    for name in ("candidates", "weights", "decisions"):
        once, twice = written(run, name), written(run, name)
        once[0]["likeness"].pop("started"), twice[0]["likeness"].pop("started")
        assert once == twice
        run = world.step(name, run)
        assert len(json.dumps(run)) < 4_000  # R31: references only


def test_r34_batches_without_a_result_are_counted_and_the_next_night_starts_from_before(world: LikenessWorld) -> None:
    with_an(world, FEW)
    run = world.decided()

    with pytest.raises(Exception, match="likeness pairs failed"):
        world.finish(run)

    assert world.run("two")["refit"]


def test_the_queue_is_for_marketers_and_engineers_and_refuses_nonsense(world: LikenessWorld) -> None:
    for roles, status, code in (("[viewer]", "open", 403), ("[marketer]", "soon", 400), ("[engineer]", "open", 200)):
        assert world.call("GET /v1/likeness/reviews", roles=roles, status=status)[0] == code
    assert world.call("GET /v1/likeness/reviews/{id}", id="x")[0] == 404
    assert world.call("POST /v1/likeness/reviews/{id}", {"decision": "accept"}, id="x")[0] == 404
    assert world.call("POST /v1/likeness/reviews/{id}", {"decision": "perhaps"}, id="x")[0] == 400


def test_a_night_without_people_is_no_trouble(world: LikenessWorld) -> None:
    report = world.run()
    assert (report["records"], report["scored"]) == (0, 0)


def _reset(world: LikenessWorld, tables: dict[str, Any], start: dict[str, Any], lease: dict[str, Any]) -> None:
    world.world.wipe()
    control = tables["control"]
    control.batch_write(deletes=[(item["pk"], item["sk"]) for item in list(control.scan())])
    world.world.parts.store.delivery.put(lease)
    for name, table in tables.items():
        table.batch_write(start[name])
