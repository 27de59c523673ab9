"""The nightly run: memberships, report, restarts, the lease (reliability R30-R36)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from hoso.model.errors import InvalidInput, Transient
from hoso.model.time import DAY_MS, HOUR_MS, format_instant, parse_instant
from hoso.platform.aws import client
from hoso.segment.handlers import nightly
from hoso.segment.lease import LEASE_MS, LeaseHeld, StaleRun
from hoso.segment.nightly_run import TooManyFailed
from tests.faults import Faults
from tests.nightly_world import Night, make_segments, night, store_of_people


@pytest.fixture
def tonight(tmp_path: Path) -> Iterator[Night]:
    with night(tmp_path) as made:
        yield made


def test_segments_made_after_the_events_are_filled_by_the_night(tonight: Night) -> None:
    store_of_people(tonight)
    make_segments(tonight)

    report = tonight.run()

    assert report["members"] == {"spent-100": 2, "viewed-not-bought": 1, "vip": 0}
    assert (report["people"], report["entered"], report["exited"], report["differences"]) == (3, 3, 0, 0)
    assert tonight.world.announced() == [
        ("segment.entered", "spent-100"),
        ("segment.entered", "spent-100"),
        ("segment.entered", "viewed-not-bought"),
    ]
    reasons = {json.loads(row["detail"])["reason"]["kind"] for row in tonight.world.items("outbox")}
    assert reasons == {"nightly"}


def test_what_the_stream_has_done_is_left_alone(tonight: Night) -> None:
    make_segments(tonight)
    store_of_people(tonight)
    before = tonight.world.announced()

    report = tonight.run()

    assert (report["worked"], report["entered"], report["differences"], report["lagging"]) == (0, 0, 0, 0)
    assert tonight.world.announced() == before


def test_time_alone_ends_a_membership_at_night(tonight: Night) -> None:
    make_segments(tonight, "viewed-not-bought")
    store_of_people(tonight)
    tonight.world.now += 7 * DAY_MS

    report = tonight.run()

    assert (report["exited_by_segment"], report["members"]) == ({"viewed-not-bought": 1}, {"viewed-not-bought": 0})
    assert tonight.world.members("viewed-not-bought") == set()


def test_r33_a_second_run_of_a_date_changes_nothing(tonight: Night) -> None:
    store_of_people(tonight)
    make_segments(tonight)
    tonight.run()
    state, announced = tonight.memberships(), tonight.world.announced()

    report = tonight.run(execution="two")

    assert (report["entered"], report["exited"]) == (0, 0)
    assert (tonight.memberships(), tonight.world.announced()) == (state, announced)


@pytest.mark.slow
def test_r33_killed_at_any_write_and_run_again_gives_the_same_and_no_second_event(tonight: Night) -> None:
    # given: what one good run leads to, and how many writes it makes (between two of them nothing can be lost)
    store_of_people(tonight)
    make_segments(tonight)
    store = {name: table.scan() for name, table in _tables(tonight).items()}
    start = {name: list(items) for name, items in store.items()}
    faults = Faults(operations={"TransactWriteItems", "PutItem", "PutObject", "DeleteItem", "DeleteObject"})
    with faults.watch() as seen:
        tonight.run()
    want = (tonight.memberships(), tonight.world.announced())

    for n in range(1, seen.calls + 1):
        for fault in (faults.fail_before, faults.fail_after):
            _restore(tonight, start)

            # when: the n-th write fails and ends the run, which is started again
            with fault(n, error="AccessDenied"), suppress(Exception):
                tonight.run()
            tonight.run()

            # then
            assert (tonight.memberships(), tonight.world.announced()) == want, f"write {n} ({seen.log[n - 1]})"


def test_r35_an_entry_and_its_event_are_one_transaction(tonight: Night) -> None:
    store_of_people(tonight)
    make_segments(tonight)
    run = tonight.step("evaluate", tonight.step("snapshot", tonight.step("compact", _as_of(tonight))))
    faults = Faults(operations={"TransactWriteItems"})

    with faults.fail_after(1, error="AccessDenied"), suppress(Exception):
        tonight.step("apply", {"Items": tonight.items(run), "BatchInput": run})
    tonight.step("apply", {"Items": tonight.items(run), "BatchInput": run})
    report = tonight.step("report", run)

    assert len(tonight.world.announced()) == report["entered"] == 3


def test_r32_another_execution_is_kept_out_while_one_runs(tonight: Night) -> None:
    tonight.step("compact", _as_of(tonight, "one"))

    with pytest.raises(LeaseHeld):
        tonight.step("compact", _as_of(tonight, "two"))

    tonight.world.now += LEASE_MS + 1
    assert tonight.step("compact", _as_of(tonight, "two"))["token"] == 2


def test_r32_a_run_whose_lease_was_taken_over_writes_nothing(tonight: Night) -> None:
    # given: a run that stops before it applies, and another one that takes the lease
    store_of_people(tonight)
    make_segments(tonight)
    stale = tonight.step("evaluate", tonight.step("snapshot", tonight.step("compact", _as_of(tonight, "one"))))
    items = tonight.items(stale)
    tonight.world.now += LEASE_MS + 1
    tonight.step("compact", _as_of(tonight, "two"))

    # when the first one goes on
    for step, given in (("apply", {"Items": items, "BatchInput": stale}), ("snapshot", stale), ("report", stale)):
        with pytest.raises(StaleRun):
            tonight.step(step, given)

    # then
    assert tonight.world.announced() == []


def test_r32_the_lease_is_asked_for_every_person(tonight: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    store_of_people(tonight)
    make_segments(tonight)
    run = tonight.step("evaluate", tonight.step("snapshot", tonight.step("compact", _as_of(tonight))))
    steps = nightly.run_of("main")
    checks = iter([None, None])

    def lost(_lease: Any, token: int) -> None:
        if next(checks, "lost") == "lost":
            raise StaleRun("another run took over")

    monkeypatch.setattr(type(steps._lease), "check", lost)

    with pytest.raises(StaleRun):
        tonight.step("apply", {"Items": tonight.items(run), "BatchInput": run})
    assert len(tonight.world.announced()) <= 1


@pytest.mark.parametrize(("failed", "fails"), [(1, False), (2, True), (20, True)])
def test_r34_failed_people_are_listed_and_fail_the_run_above_a_thousandth(
    tonight: Night, failed: int, fails: bool
) -> None:
    run = tonight.step("evaluate", tonight.step("snapshot", tonight.step("compact", _as_of(tonight))))
    people = [f"p_{number}" for number in range(failed)]
    result = {"people": 1_000, "entered": {}, "exited": {}, "failed": people}
    tonight.objects().put(run["prefix"] + "result/000000.json", json.dumps(result).encode())

    if fails:
        with pytest.raises(TooManyFailed):
            tonight.step("report", run)
    else:
        tonight.step("report", run)

    report = json.loads(tonight.objects().get(f"nightly/main/{run['as_of'][:10]}/report.json"))
    assert report["failed_people"] == people


def test_r34_a_person_that_cannot_be_written_does_not_stop_the_others(
    tonight: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_of_people(tonight)
    make_segments(tonight, "spent-100")
    run = tonight.step("evaluate", tonight.step("snapshot", tonight.step("compact", _as_of(tonight))))
    people = nightly.run_of("main")._people
    good = people.apply_verdicts
    broken = f"p_{tonight.world.fid('anonymous_id', 'binh')}"

    def apply(workspace: str, pid: str, *rest: Any, **more: Any) -> Any:
        if pid == broken:
            raise Transient("busy")
        return good(workspace, pid, *rest, **more)

    monkeypatch.setattr(people, "apply_verdicts", apply)

    done = tonight.step("apply", {"Items": tonight.items(run), "BatchInput": run})

    assert done == {"people": 2, "failed": 1}
    assert tonight.world.announced() == [("segment.entered", "spent-100")]


def test_r31_only_references_travel_between_the_steps(tonight: Night) -> None:
    store_of_people(tonight)
    make_segments(tonight)

    run = tonight.step("compact", _as_of(tonight))
    for step in ("snapshot", "evaluate"):
        run = tonight.step(step, run)
        assert len(json.dumps(run)) < 1_000


@pytest.mark.parametrize("as_of", [None, "", "tomorrow", 5, format_instant(1_795_358_100_000 + HOUR_MS)])
def test_r36_as_of_is_an_instant_that_has_come(tonight: Night, as_of: object) -> None:
    with pytest.raises(InvalidInput):
        tonight.step("compact", {"as_of": as_of})


@pytest.mark.parametrize("edge", ["2026-01-01T00:00:00Z", "2024-02-29T12:00:00Z", "2026-03-29T01:00:00Z"])
def test_r36_an_event_exactly_on_the_edge_is_out_and_one_millisecond_younger_is_in(tonight: Night, edge: str) -> None:
    as_of = parse_instant(edge)
    assert as_of is not None
    tonight.world.now = as_of
    tonight.consume(tonight.event("on", "Product Viewed", 7 * DAY_MS))
    tonight.consume(tonight.event("in", "Product Viewed", 7 * DAY_MS - 1))
    make_segments(tonight, "viewed-not-bought")

    report = tonight.run(as_of)

    assert report["members"] == {"viewed-not-bought": 1}
    assert tonight.world.members("viewed-not-bought") == {f"p_{tonight.world.fid('anonymous_id', 'in')}"}


def test_events_after_as_of_do_not_count_for_the_answer(tonight: Night) -> None:
    as_of = tonight.world.now
    make_segments(tonight, "viewed-not-bought")
    tonight.world.now += HOUR_MS
    tonight.consume(tonight.event("an", "Product Viewed"))

    report = tonight.run(as_of)

    assert report["members"] == {"viewed-not-bought": 0}
    # … but memberships follow the person's present state
    assert len(tonight.world.members("viewed-not-bought")) == 1


def test_a_capped_state_takes_the_nightly_answer(tonight: Night) -> None:
    """A person over the cap: the live engine cannot tell, the night decides, the stream keeps it."""
    rule = {
        "kind": "event",
        "event": "Product Viewed",
        "window": {"last": "30d"},
        "measure": {"agg": "percentile", "of": "properties.price", "p": 50},
        "op": "gte",
        "value": 10,
    }
    tonight.world.segment("pricey", rule)
    tonight.consume(*(tonight.event("an", "Product Viewed", number, price=20) for number in range(230)))
    assert tonight.world.members("pricey") == set()

    report = tonight.run()

    assert (report["spilled"], report["entered"], report["differences"]) == (1, 1, 0)
    tonight.consume(tonight.event("an", "Product Viewed", price=1))
    assert len(tonight.world.members("pricey")) == 1


def test_an_answer_to_a_rule_that_was_changed_meanwhile_does_not_count(tonight: Night) -> None:
    """A person over the cap, and a rule that got another revision between the night's answer and its application."""

    def rule(least: int) -> dict[str, Any]:
        measure = {"agg": "percentile", "of": "properties.price", "p": 50}
        window = {"last": "30d"}
        named = {"kind": "event", "event": "Product Viewed", "window": window, "measure": measure}
        return {**named, "op": "gte", "value": least}

    tonight.world.segment("pricey", rule(10))
    tonight.consume(*(tonight.event("an", "Product Viewed", number, price=20) for number in range(230)))
    run = tonight.begin()
    tonight.world.segment("pricey", rule(1_000))

    for item in tonight.items(run):
        tonight.step("apply", {"Items": [item], "BatchInput": run})

    assert tonight.world.members("pricey") == set()


def test_a_segment_that_is_gone_loses_its_members(tonight: Night) -> None:
    make_segments(tonight)
    store_of_people(tonight)
    tonight.world.parts.control.delete("main", "segment", "spent-100")

    tonight.run()

    assert tonight.world.members("spent-100") == set()


def test_the_archive_of_a_day_becomes_one_file_with_each_message_once(tonight: Night, tmp_path: Path) -> None:
    once = tonight.event("an", "Product Viewed", price=1)
    for received in range(3):
        tonight.world.now += 1_000
        tonight.consume({**once, "properties": {"price": received}})
    day = format_instant(tonight.world.now)[:10]

    tonight.step("compact", _as_of(tonight))

    (key,) = tonight.objects().keys("archive-compact/main/")
    assert key.startswith(f"archive-compact/main/day={day}/part-")
    (tmp_path / "compacted.parquet").write_bytes(tonight.objects().get(key))
    rows = duckdb.sql(f"SELECT message_id, body FROM '{tmp_path / 'compacted.parquet'}'").fetchall()
    assert [(message, json.loads(body)["properties"]) for message, body in rows] == [("m-1", {"price": 0})]


def test_compacting_again_makes_nothing_new_until_files_come(tonight: Night) -> None:
    tonight.consume(tonight.event("an", "Product Viewed"))
    assert tonight.step("compact", _as_of(tonight))["compacted"] == 1
    assert tonight.step("compact", _as_of(tonight))["compacted"] == 0
    tonight.consume(tonight.event("an", "Product Viewed"))

    assert tonight.step("compact", _as_of(tonight))["compacted"] == 1
    assert tonight.step("compact", _as_of(tonight))["compacted"] == 0


def _as_of(tonight: Night, execution: str = "one") -> dict[str, Any]:
    return {"as_of": format_instant(tonight.world.now), "execution": execution}


def _tables(tonight: Night) -> dict[str, Any]:
    parts = tonight.world.parts
    return {"profiles": parts.profiles, "outbox": parts.outbox, "delivery": parts.store.delivery}


def _restore(tonight: Night, start: dict[str, list[dict[str, Any]]]) -> None:
    tonight.world.wipe()
    for name, table in _tables(tonight).items():
        table.batch_write(start[name])
    for key in list(tonight.objects().keys("nightly/")) + list(tonight.objects().keys("archive-compact/")):
        client("s3").delete_object(Bucket="bucket", Key=key)


def test_the_night_puts_the_catalogue_of_days_that_are_over_together(tonight: Night) -> None:
    s3 = client("s3")
    store_of_people(tonight)
    (first, *_) = s3.list_objects_v2(Bucket="bucket", Prefix="catalogue/main/")["Contents"]
    old = {"Bucket": "bucket", "Key": "catalogue/main/day=2001-01-01/shardId-0-1-1.json"}
    s3.copy_object(**old, CopySource={"Bucket": "bucket", "Key": first["Key"]})

    tonight.run()

    days = [found["Key"] for found in s3.list_objects_v2(Bucket="bucket", Prefix="catalogue-days/")["Contents"]]
    assert "catalogue-days/main/2001-01-01.json" in days


def test_the_report_tells_what_was_counted_of_copies_in_the_last_day(tonight: Night) -> None:
    store_of_people(tonight)
    told = {"at": tonight.world.now - HOUR_MS, "struck": 3}
    client("s3").put_object(Bucket="bucket", Key="nightly/main/copies.json", Body=json.dumps(told))
    assert tonight.run()["copies"] == told

    tonight.world.now += 2 * DAY_MS
    assert "copies" not in tonight.run()


def test_a_catalogue_that_cannot_be_read_does_not_hold_the_night_up(tonight: Night) -> None:
    store_of_people(tonight)
    client("s3").put_object(Bucket="bucket", Key="catalogue/main/day=2001-01-01/s-1-1.json", Body=b"{")

    assert tonight.run()["people"] == 3
