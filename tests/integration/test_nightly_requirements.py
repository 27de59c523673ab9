"""Reliability R30 to R36 of the nightly machine, where the other files of the night have no test of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import MINUTE_MS, format_instant, parse_instant
from hoso.segment.handlers import traits as trait_api
from hoso.segment.lease import LEASE_MS, LeaseHeld, StaleRun
from hoso.segment.traits.language import read_trait
from infra.constructs.nightly import STEPS, definition
from tests.faults import Faults
from tests.nightly_world import Night, make_segments, night, store_of_people

STATE_LIMIT = 64_000
MACHINE = definition({step: step for step in STEPS})


@pytest.fixture
def tonight(tmp_path: Path) -> Iterator[Night]:
    with night(tmp_path) as made:
        trait_api.definitions.cache_clear()
        yield made
    trait_api.definitions.cache_clear()


def states_in(machine: Any) -> Iterator[dict[str, Any]]:
    for state in machine["States"].values():
        yield state
        for inner in (state.get("ItemProcessor"), *state.get("Branches", ())):
            if inner is not None:
                yield from states_in(inner)


def given(tonight: Night, execution: str = "one") -> dict[str, Any]:
    return {"as_of": format_instant(tonight.world.now), "execution": execution}


def define(tonight: Night, key: str, of: dict[str, Any]) -> None:
    body = {"schema": "trait/1", "key": key, "of": of}
    read_trait(body)
    tonight.world.parts.control.put("main", "computed_trait", key, body)


# R30


def test_r30_every_map_reads_its_batches_from_a_file_and_is_distributed() -> None:
    maps = [state for state in states_in(MACHINE) if state["Type"] == "Map"]

    assert len(maps) == 3
    for state in maps:
        assert state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
        assert "ItemReader" in state and "Items" not in state and "ItemsPath" not in state
        assert state["ItemBatcher"]["MaxItemsPerBatch"] > 1


@pytest.mark.slow
def test_r30_a_thousand_people_travel_in_files_and_batches(tonight: Night) -> None:
    make_segments(tonight, "viewed-not-bought")
    people = 1_000
    for first in range(0, people, 500):
        tonight.consume(*(tonight.event(f"v{n}", "Hello") for n in range(first, first + 500)))
    tonight.world.segment("hello", {"kind": "event", "event": "Hello"})

    run = tonight.begin()

    items = tonight.items(run)
    assert (run["people"], len(items)) == (people, people // 50)
    for start in range(0, len(items), 4):
        child = {"Items": items[start : start + 4], "BatchInput": run}
        assert len(json.dumps(child)) < STATE_LIMIT
        tonight.step("apply", child)
    report = tonight.step("report", run)
    assert (report["entered"], report["failed"], len(tonight.world.members("hello"))) == (people, 0, people)


# R31


def test_r31_a_report_on_a_thousand_segments_of_the_longest_names_stays_small(tonight: Night) -> None:
    run = tonight.begin()
    keys = [f"{n:04d}" + "x" * 60 for n in range(1_000)]
    figures = dict.fromkeys(keys, 1_000_000)
    totals = json.loads(tonight.objects().get(run["prefix"] + "totals.json"))
    tonight.objects().put(run["prefix"] + "totals.json", json.dumps({**totals, "members": figures}).encode())
    failed = [f"p_{n:022d}" for n in range(1_000)]
    result = {"people": 2_000_000, "entered": figures, "exited": figures, "failed": failed}
    tonight.objects().put(run["prefix"] + "result/000000.json", json.dumps(result).encode())

    report = tonight.step("report", run)

    assert len(json.dumps(report)) < STATE_LIMIT
    whole = json.loads(tonight.objects().get(report["report_key"]))
    assert (len(whole["members"]), whole["failed_people"]) == (1_000, failed)


# R32


def test_r32_the_retry_of_a_crashed_execution_goes_on_at_once_and_what_it_left_behind_may_not(tonight: Night) -> None:
    store_of_people(tonight)
    make_segments(tonight)
    crashed = tonight.step("snapshot", tonight.step("compact", given(tonight)))

    retried = tonight.run()

    assert retried["entered"] == 3
    with pytest.raises(StaleRun):
        tonight.step("evaluate", crashed)


def test_r32_without_a_name_the_instant_is_the_name(tonight: Night) -> None:
    as_of = {"as_of": format_instant(tonight.world.now)}
    tonight.step("compact", as_of)

    assert tonight.step("compact", as_of)["token"] == 2
    with pytest.raises(LeaseHeld):
        tonight.step("compact", {"as_of": format_instant(tonight.world.now - 1)})


@pytest.mark.parametrize("steps", range(6))
def test_r32_two_runs_of_a_date_cannot_interleave(tonight: Night, steps: int) -> None:
    # given: a run that hangs after so many steps and loses its lease
    store_of_people(tonight)
    make_segments(tonight)
    one: Any = given(tonight, "one")
    names = ("compact", "snapshot", "evaluate", "apply", "report")
    for name in names[:steps]:
        if name == "apply":
            tonight.step("apply", {"Items": tonight.items(one)[:1], "BatchInput": one})
        else:
            one = tonight.step(name, one)
    tonight.world.now += 0 if steps in (0, 5) else LEASE_MS + 1

    # when another run of the date begins, and the first one goes on in the middle of it
    two = tonight.step("snapshot", tonight.step("compact", given(tonight, "two")))
    if 0 < steps < 5:
        rest = {"Items": [], "BatchInput": one}
        if steps >= 3:
            rest = {"Items": tonight.items(one), "BatchInput": one}
            for name, what in (("apply", rest), ("report", one)):
                with pytest.raises(StaleRun):
                    tonight.step(name, what)
        else:
            with pytest.raises(StaleRun):
                tonight.step(names[steps], one)
    two = tonight.step("evaluate", two)
    for item in tonight.items(two):
        tonight.step("apply", {"Items": [item], "BatchInput": two})
    report = tonight.step("report", two)

    # then: one set of memberships, each told once, and the report is the second run's
    assert report["token"] == two["token"]
    assert tonight.world.announced() == [
        ("segment.entered", "spent-100"),
        ("segment.entered", "spent-100"),
        ("segment.entered", "viewed-not-bought"),
    ]


# R33


def test_r33_values_whose_storing_fails_at_any_call_and_comes_again_are_the_same(tonight: Night) -> None:
    # given: values of two people to store, and what storing them once leads to
    define(tonight, "likes", {"kind": "affinity", "of": "properties.category"})
    for who in ("an", "binh"):
        tonight.consume(tonight.event(who, "Product Viewed", MINUTE_MS, category=f"c-{who}"))
    run = tonight.step("traits", tonight.step("snapshot", tonight.step("compact", given(tonight))))
    items = json.loads(tonight.objects().get(run["traits_key"]))
    profiles = tonight.world.parts.profiles
    start = list(profiles.scan())

    def store() -> dict[str, Any]:
        return tonight.step("store", {"Items": items, "BatchInput": run})

    def values() -> list[Any]:
        return [tonight.world.profile(f"anonymous_id:{who}")["computed_traits"] for who in ("an", "binh")]

    faults = Faults()
    with faults.watch() as seen:
        assert store() == {"people": 2, "failed": 0}
    want = values()
    assert [one["likes"]["value"] for one in want] == ["c-an", "c-binh"]

    for n in range(1, seen.calls + 1):
        for fault in (faults.fail_before, faults.fail_after):
            profiles.batch_write(start)

            # when: the n-th call fails, and the child of the map is tried again
            with fault(n, error="AccessDenied"), suppress(Exception):
                store()
            done = store()

            # then
            assert (done, values()) == ({"people": 2, "failed": 0}, want), f"call {n}: {seen.log[n - 1]}"


@pytest.mark.parametrize("step", ["compact", "snapshot", "traits", "evaluate", "report"])
def test_r33_a_step_that_dies_at_any_write_and_comes_again_hands_on_the_same(tonight: Night, step: str) -> None:
    store_of_people(tonight)
    make_segments(tonight)
    define(tonight, "orders", {"kind": "days_since", "event": "Order Completed"})
    run: Any = given(tonight)
    for name in ("compact", "snapshot", "traits", "evaluate", "report"):
        if name == "report":
            tonight.step("apply", {"Items": tonight.items(run), "BatchInput": run})
        if name == step:
            break
        run = tonight.step(name, run)
    faults = Faults(operations={"PutItem", "PutObject", "DeleteObject", "TransactWriteItems"})
    with faults.watch() as seen:
        want = tonight.step(step, run)

    for n in range(1, seen.calls + 1):
        for fault in (faults.fail_before, faults.fail_after):
            if step == "report":  # it lets the lease go: begin a run of the same state
                run = {**run, "token": tonight.step("compact", given(tonight, f"again-{n}"))["token"]}
                want = {**want, "token": run["token"]}
            with fault(n, error="AccessDenied"), suppress(Exception):
                tonight.step(step, run)
            found = tonight.step(step, run)

            changing = {"token", "prefix", "compacted", "traits_key", "batches_key"} if step == "compact" else set()
            assert {k: v for k, v in found.items() if k not in changing} == {
                k: v for k, v in want.items() if k not in changing
            }, f"write {n}: {seen.log[n - 1]}"


# R36

# fmt: off
EDGES = [
    # (as_of, zone, window, in, out)
    (
        "2026-01-01T00:00:00Z",
        "UTC",
        {"calendar": "year", "back": 1},
        "2025-12-31T23:59:59.999Z",
        "2026-01-01T00:00:00Z",
    ),
    (
        "2025-12-31T17:00:00Z",
        "Asia/Ho_Chi_Minh",
        {"calendar": "day"},
        "2025-12-31T17:00:00Z",
        "2025-12-31T16:59:59.999Z",
    ),
    ("2024-02-29T23:00:00Z", "UTC", {"calendar": "month"}, "2024-02-01T00:00:00Z", "2024-01-31T23:59:59.999Z"),
    ("2024-02-29T12:00:00Z", "UTC", {"last": "1y"}, "2023-02-28T00:00:00.001Z", "2023-02-28T00:00:00Z"),
    ("2026-03-29T12:00:00Z", "Europe/Berlin", {"calendar": "day"}, "2026-03-28T23:00:00Z", "2026-03-28T22:59:59.999Z"),
    ("2026-10-25T12:00:00Z", "Europe/Berlin", {"last": "1d"}, "2026-10-24T12:00:00.001Z", "2026-10-24T12:00:00Z"),
    (
        "2026-11-01T15:00:00Z",
        "America/New_York",
        {"calendar": "day"},
        "2026-11-01T04:00:00Z",
        "2026-11-01T03:59:59.999Z",
    ),
    (
        "2026-11-22T03:00:00Z",
        "UTC",
        {"from": "2026-11-01", "to": "2026-11-20"},
        "2026-11-20T23:59:59.999Z",
        "2026-11-21T00:00:00Z",
    ),
]


@pytest.mark.parametrize(("as_of", "zone", "window", "inside", "outside"), EDGES)
def test_r36_windows_are_half_open_at_year_ends_leap_days_and_clock_changes(
    tonight: Night, as_of: str, zone: str, window: dict[str, Any], inside: str, outside: str
) -> None:
    instant = parse_instant(as_of)
    assert instant is not None
    tonight.world.now = instant
    for who, spelt in (("in", inside), ("out", outside)):
        tonight.consume({**tonight.event(who, "Visited"), "timestamp": spelt})
    rule = {"kind": "event", "event": "Visited", "window": window}
    body = {"schema": "segment/1", "key": "edge", "timezone": zone, "rule": rule}
    tonight.world.parts.control.put("main", "segment", "edge", body)

    report = tonight.run()

    assert report["members"] == {"edge": 1}
    assert tonight.world.members("edge") == {f"p_{tonight.world.fid('anonymous_id', 'in')}"}


def test_r36_a_run_for_an_instant_of_the_past_answers_for_that_instant(tonight: Night) -> None:
    make_segments(tonight, "viewed-not-bought")
    yesterday = tonight.world.now
    tonight.consume(tonight.event("an", "Product Viewed"))
    tonight.world.now += 8 * 86_400_000
    tonight.consume(tonight.event("binh", "Product Viewed"))

    then, now = tonight.run(yesterday, "then"), tonight.run(execution="now")

    assert (then["as_of"], then["members"]) == (format_instant(yesterday), {"viewed-not-bought": 1})
    assert now["members"] == {"viewed-not-bought": 1}
    assert tonight.world.members("viewed-not-bought") == {f"p_{tonight.world.fid('anonymous_id', 'binh')}"}
